/*
 * list: the intrusive doubly-linked list that every queue of the core is made of.
 *
 * A node lives inside the thing it links; a thing is in at most one list per node. A node that is
 * in no list points to itself, so that removing twice is harmless. Lists do not lock and do not
 * own.
 */
#ifndef S3I_BASE_LIST_H
#define S3I_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct s3_list {
    struct s3_list *next, *previous;
};

/* The thing of `type` that holds `node` as its `member`. */
#define S3I_OWNER(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

/* Walks a list; the current node may be removed in the body. */
#define S3I_LIST_EACH(node, list)                                                                  \
    for (struct s3_list *node = (list)->next, *node##_next = (list)->next->next; node != (list);   \
         node = node##_next, node##_next = node##_next->next)

static inline void s3i_list_init(struct s3_list *node)
{
    node->next = node;
    node->previous = node;
}

static inline bool s3i_list_empty(const struct s3_list *list)
{
    return list->next == list;
}

static inline void s3i_list_remove(struct s3_list *node)
{
    node->previous->next = node->next;
    node->next->previous = node->previous;
    s3i_list_init(node);
}

static inline void s3i_list_insert_before(struct s3_list *place, struct s3_list *node)
{
    node->previous = place->previous;
    node->next = place;
    place->previous->next = node;
    place->previous = node;
}

static inline void s3i_list_append(struct s3_list *list, struct s3_list *node)
{
    s3i_list_insert_before(list, node);
}

static inline void s3i_list_prepend(struct s3_list *list, struct s3_list *node)
{
    s3i_list_insert_before(list->next, node);
}

/* The first node, removed; NULL when the list is empty. */
static inline struct s3_list *s3i_list_pop(struct s3_list *list)
{
    if (s3i_list_empty(list)) {
        return NULL;
    }
    struct s3_list *node = list->next;
    s3i_list_remove(node);
    return node;
}

#endif

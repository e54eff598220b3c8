/*
 * op_single: operations that are one request and one answer; op_control.c, op_copy.c, op_http.c,
 * op_list.c and op_write.c describe theirs by a kind.
 */
#ifndef S3I_OPERATIONS_OP_SINGLE_H
#define S3I_OPERATIONS_OP_SINGLE_H

#include "operations/op.h"

struct op_single;

struct s3_single_kind {
    const char *name;
    enum s3_method method;
    bool has_key;
    unsigned encryption;   /* as in struct s3_request */
    size_t document_limit; /* of the answer's document */
    /* Judges and takes in the document of a success (request->document); NULL: there is none of
     * interest. */
    int (*read_document)(struct op_single *single, struct s3_xml_error *xml);
    /* Looks at an answer with the status of an error; as on_refused of a request's class. */
    void (*read_refusal)(struct op_single *single, const struct s3_attempt *attempt,
                         struct s3_xml_error *xml);
    /* What the kind owns; NULL for nothing. */
    void (*destroy)(struct op_single *single);
};

struct op_single {
    struct s3_op op; /* first */
    const struct s3_single_kind *kind;
    struct s3_request request;
    struct s3_buf headers; /* pair block of the operation's own */
    struct s3_buf body;    /* a body of the operation's own */
    void *state;           /* the kind's */
};

/* A new operation of a kind; NULL without memory. `texts` as for s3i_op_new. */
struct op_single *s3i_single_new(const struct s3_single_kind *kind, struct s3_client *client,
                                 const struct s3_op_texts *texts);

/* Appends a pair to a pair block. */
void s3i_pair_add(struct s3_buf *block, struct s3_str name, struct s3_str value);

#endif

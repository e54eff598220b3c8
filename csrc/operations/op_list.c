#include "operations/op_list.h"

#include "base/alloc.h"
#include "operations/op_single.h"
#include "pure/listing.h"

enum {
    ENTRIES_LIMIT = 100000, /* a page has 1,000; some servers are generous */
    DOCUMENT_LIMIT = 128 * 1024 * 1024
};

/* The record that leaves the core is the one that the parser fills. */
_Static_assert(sizeof(struct s3_list_entry) == sizeof(struct s3ext_list_entry), "one layout");

static int read_page(struct op_single *single, struct s3_xml_error *xml)
{
    struct s3_list_page *page = single->state;
    struct s3ext_result *result = &single->op.result;
    s3i_list_page_clear(page);
    s3i_list_page_init(page);
    S3I_TRY(s3i_listing_read(&single->request.document, ENTRIES_LIMIT, page, xml));
    s3i_buf_clear(&single->request.document);
    result->text = page->text.data;
    result->text_size = page->text.size;
    result->objects = (const struct s3ext_list_entry *)page->objects;
    result->object_count = page->object_count;
    result->prefixes = (const struct s3ext_list_entry *)page->prefixes;
    result->prefix_count = page->prefix_count;
    if (page->truncated) {
        result->next_token = page->next_token.data;
        result->next_token_size = page->next_token.size;
    }
    return S3EXT_OK;
}

static void free_page(struct op_single *single)
{
    if (single->state != NULL) {
        s3i_list_page_clear(single->state);
        s3i_free(single->state);
    }
}

static const struct s3_single_kind LIST = {
    .name = "list",
    .method = S3I_GET,
    .document_limit = DOCUMENT_LIMIT,
    .read_document = read_page,
    .destroy = free_page,
};

struct s3_op *s3i_op_list_new(struct s3_client *client, const struct s3_op_texts *texts)
{
    struct op_single *single = s3i_single_new(&LIST, client, texts);
    if (single == NULL) {
        return NULL;
    }
    struct s3_list_page *page = s3i_calloc(1, sizeof(*page));
    if (page == NULL) {
        s3i_op_release(&single->op);
        return NULL;
    }
    s3i_list_page_init(page);
    single->state = page;
    return &single->op;
}

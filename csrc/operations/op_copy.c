#include "operations/op_copy.h"

#include "base/alloc.h"
#include "operations/op_single.h"
#include "operations/op_write.h"

enum { DOCUMENT_LIMIT = 64 * 1024, SOURCE_LIMIT = 8 * 1024 };

/* "<bucket>/<key>", or "<ARN of an access point>/object/<key>" (AWS "CopyObject"), encoded like a
 * path. */
static void add_source(struct s3_buf *out, const struct s3_client *client, struct s3_str key)
{
    struct s3_str bucket = s3i_client_bucket(client);
    bool access_point = s3i_str_starts(bucket, S3I_STR("arn:"));
    s3i_uri_add_path(out, bucket);
    s3i_buf_add(out, access_point ? S3I_STR("/object/") : S3I_STR("/"));
    s3i_uri_add_path(out, key);
}

/* ---- CopyObject ---- */

/* A 200 answer may hold an error (AWS "CopyObject"): only a CopyObjectResult is a success. */
static int read_copied(struct op_single *single, struct s3_xml_error *xml)
{
    return s3i_xml_fields(s3i_buf_str(&single->request.document), "CopyObjectResult", NULL, NULL, 0,
                          xml);
}

static const struct s3_single_kind COPY = {
    .name = "copy",
    .method = S3I_PUT,
    .has_key = true,
    .encryption = S3I_ENCRYPT_WRITE | S3I_ENCRYPT_SOURCE,
    .document_limit = DOCUMENT_LIMIT,
    .read_document = read_copied,
};

struct s3_op *s3i_op_copy_new(struct s3_client *client, struct s3_str source,
                              const struct s3_op_texts *texts, bool conditional)
{
    struct op_single *single = s3i_single_new(&COPY, client, texts);
    if (single == NULL) {
        return NULL;
    }
    single->request.repeatable = !conditional;
    s3i_buf_add(&single->headers, S3I_STR("x-amz-copy-source"));
    s3i_buf_add_char(&single->headers, '\0');
    add_source(&single->headers, client, source);
    s3i_buf_add_char(&single->headers, '\0');
    return &single->op;
}

/* ---- parts ---- */

void s3i_copy_clear(struct s3_copy *copy)
{
    s3i_client_release(copy->signer);
    s3i_free(copy->key);
    s3i_free(copy->source);
    s3i_free(copy->etag);
    *copy = (struct s3_copy){.source = NULL};
}

struct s3_op *s3i_op_copy_parts_new(struct s3_client *client, const struct s3_copy_options *options)
{
    struct s3_buf source;
    s3i_buf_init(&source, SOURCE_LIMIT);
    add_source(&source, client, options->source);
    struct s3_copy copy = {
        .signer = s3i_client_retain(options->signer),
        .key = s3i_strdup(options->source),
        .source = s3i_buf_ok(&source) ? s3i_strdup(s3i_buf_str(&source)) : NULL,
        .etag = s3i_strdup(options->etag),
    };
    s3i_buf_clear(&source);
    if (copy.key == NULL || copy.source == NULL || copy.etag == NULL) {
        s3i_copy_clear(&copy);
        return NULL;
    }
    const struct s3_upload_options upload = {
        .texts = options->texts,
        .copy = &copy,
        .size = options->size,
        .part_size = options->part_size,
        .window = options->window,
        .if_absent = options->if_absent,
    };
    struct s3_op *op = s3i_op_upload_new(client, &upload);
    s3i_copy_clear(&copy); /* the upload has taken the texts, unless there is none */
    return op;
}

void s3i_copy_add_part(struct s3_buf *headers, const struct s3_copy *copy, struct s3_range range,
                       bool whole)
{
    s3i_pair_add(headers, S3I_STR("x-amz-copy-source"), s3i_str_from(copy->source));
    if (copy->etag[0] != '\0') {
        s3i_pair_add(headers, S3I_STR("x-amz-copy-source-if-match"), s3i_str_from(copy->etag));
    }
    if (!whole) { /* which also spares an empty source a range that it cannot have */
        s3i_buf_add(headers, S3I_STR("x-amz-copy-source-range"));
        s3i_buf_add_char(headers, '\0');
        s3i_buf_add(headers, S3I_STR("bytes="));
        s3i_buf_add_u64(headers, range.start);
        s3i_buf_add_char(headers, '-');
        s3i_buf_add_u64(headers, range.end - 1);
        s3i_buf_add_char(headers, '\0');
    }
}

int s3i_copy_read_part(struct s3_str document, struct s3_buf *etag, struct s3_xml_error *xml)
{
    static const char *const names[] = {"ETag"};
    S3I_TRY(s3i_xml_fields(document, "CopyPartResult", names, etag, 1, xml));
    return etag->size ? S3EXT_OK : S3EXT_PROTOCOL;
}

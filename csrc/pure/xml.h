/*
 * xml: the documents that S3 answers with, read by expat into flat records.
 *
 * Bounds: the document (64 MiB), depth, number of records and text length have ceilings; a DOCTYPE
 * (and so every entity trick) ends the parse, and so does anything but UTF-8. Control characters
 * that XML 1.0 forbids but S3 servers send, as references ("&#x1;") or raw, are accepted, NUL
 * excepted: they are rewritten before expat sees them. Of an element that is repeated where one
 * belongs the first counts. Namespaces are ignored: only local names count. White space before the
 * declaration is skipped (S3 keeps a slow answer alive with it). A document is a success only if
 * its root is the one that was asked for: an <Error> root inside a 200 answer gives its code.
 */
#ifndef S3I_PURE_XML_H
#define S3I_PURE_XML_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"

/*
 * What an error document says; cut where it does not fit. Never holds StringToSign or the like.
 * When a function returns PROTOCOL, `message` says in a few fixed words what was wrong with the
 * document.
 */
struct s3_xml_error {
    char code[64];
    char message[256];
    char request_id[64];
    char host_id[128];
    char region[64];    /* <Region> of AuthorizationHeaderMalformed and friends */
    char endpoint[256]; /* <Endpoint> of PermanentRedirect */
    char server_time[40];
};

/* true when the document's root is <Error> and it was read (or its beginning was). */
bool s3i_xml_error(struct s3_str document, struct s3_xml_error *error);

/*
 * The text of the first direct children of the root, by name: for InitiateMultipartUploadResult,
 * CompleteMultipartUploadResult, CopyObjectResult, CopyPartResult, CreateSessionResult. Each `out`
 * buffer receives the text of the element named at the same place (path below the root, parts
 * joined by '/', e.g. "Credentials/Token"); absent elements leave it empty. Returns OK, SERVER (an
 * <Error> root; `error` filled), PROTOCOL (another root, bad XML, a ceiling), NO_MEMORY; INVALID
 * for more paths than the reader has room for (24 elements). Unless it returns OK the buffers are
 * empty.
 */
int s3i_xml_fields(struct s3_str document, const char *root, const char *const *names,
                   struct s3_buf *outs, size_t count, struct s3_xml_error *error);

/* One object or common prefix of a listing; offsets point into the listing's text. */
struct s3_list_entry {
    uint32_t key_offset, key_size;
    uint32_t etag_offset, etag_size; /* etag_size 0: none */
    uint64_t size;
    int64_t last_modified_us; /* microseconds since the epoch */
};

/* One page of ListObjectsV2. Owns its memory; keys are decoded if the page said encoding-type=url.
 */
struct s3_list_page {
    struct s3_buf text;
    struct s3_list_entry *objects;
    size_t object_count, object_capacity;
    struct s3_list_entry *prefixes; /* only key_offset and key_size are set */
    size_t prefix_count, prefix_capacity;
    struct s3_buf next_token; /* NextContinuationToken */
    bool truncated;
};

void s3i_list_page_init(struct s3_list_page *page);
void s3i_list_page_clear(struct s3_list_page *page);
/* Empties the page and keeps its memory. */
void s3i_list_page_reset(struct s3_list_page *page);
/* Decodes the keys and prefixes of a page that came in encoding-type=url, in place. */
void s3i_list_page_decode(struct s3_list_page *page);
/*
 * Codes as for s3i_xml_fields. More than `max_entries` records, truncated without a token, or an
 * entry without key, size or time is PROTOCOL. The page is emptied first (its memory is kept), and
 * is empty after a failure.
 */
int s3i_xml_list(struct s3_str document, size_t max_entries, struct s3_list_page *page,
                 struct s3_xml_error *error);

/* One <Error> of a DeleteResult, offsets into `text`. */
struct s3_delete_failure {
    uint32_t key_offset, key_size;
    uint32_t code_offset, code_size;
    uint32_t message_offset, message_size;
};
struct s3_delete_result {
    struct s3_buf text;
    struct s3_delete_failure *failures;
    size_t failure_count, failure_capacity;
};
void s3i_delete_result_init(struct s3_delete_result *result);
void s3i_delete_result_clear(struct s3_delete_result *result);
/* As s3i_xml_list; a failure without a key is PROTOCOL. */
int s3i_xml_delete(struct s3_str document, size_t max_entries, struct s3_delete_result *result,
                   struct s3_xml_error *error);

/* Appends text escaped for an XML body; control characters as &#xN; (S3 accepts them in keys). */
void s3i_xml_add_text(struct s3_buf *out, struct s3_str text);

#endif

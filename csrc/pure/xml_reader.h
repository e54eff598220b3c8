/*
 * xml_reader: one reader drives expat for every kind of document; a grammar says which elements
 * count. For the files of pure/xml only, one for each family of documents.
 *
 * A grammar is a list of rules "inside element A, an element of this name is B". The reader keeps
 * the open elements on a stack of fixed depth, skips what no rule names, and hands the text of an
 * element to the grammar's own function when the element ends. Text goes straight to where it stays
 * (the page's text, the caller's buffer), so a listing costs no allocation per entry.
 *
 * The reader is a local of the exported functions and lends nothing beyond them; expat's memory
 * comes through base/alloc.h.
 */
#ifndef S3I_PURE_XML_READER_H
#define S3I_PURE_XML_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"
#include "pure/xml.h"
#include "pure/xml_source.h"

enum {
    S3I_XML_DOCUMENT_MAX = 64 << 20, /* bytes; a page of 1,000 keys that are all escapes has 4 MB */
    S3I_XML_DEPTH_MAX = 32,
    S3I_XML_SCRATCH_SIZE = 2048 /* the text of an element that is parsed or cut, then dropped */
};

/* A raw control character grows to a placeholder, until its element ends. */
enum { S3I_XML_TEXT_MAX = S3I_XML_DOCUMENT_MAX * 4LL };

/* What an open element is: the root, nothing that counts, or a node that the grammar numbers
 * itself. */
enum { S3I_NODE_SKIP, S3I_NODE_ROOT, S3I_NODE_FIRST, S3I_NODE_MAX = 31 };

enum s3_xml_kind {
    S3I_KIND_TEXT,  /* has text; the first one in its parent counts */
    S3I_KIND_GROUP, /* has elements; the first one in its parent counts */
    S3I_KIND_RECORD /* has elements; every one counts */
};

struct s3_xml_rule {
    unsigned parent, node;
    enum s3_xml_kind kind;
    struct s3_str name;
};

struct s3_xml_reader;

struct s3_xml_grammar {
    struct s3_str root;
    const struct s3_xml_rule *rules;
    size_t count;
    bool cuts; /* a text that is too long is cut; otherwise it ends the parse */
    /* Where the text of a node goes. */
    struct s3_buf *(*sink)(struct s3_xml_reader *reader, unsigned node);
    /* A node ended: its text runs from `start` to the end of its sink, `seen` has bit n for each
     * child n. */
    void (*ended)(struct s3_xml_reader *reader, unsigned node, size_t start, uint32_t seen);
};

struct s3_xml_frame {
    unsigned node;
    uint32_t seen;
};

struct s3_xml_reader {
    struct XML_ParserStruct *parser; /* expat's */
    struct s3_xml_source source;
    const struct s3_xml_grammar *grammar; /* the one asked for, or that of <Error> */
    struct s3_xml_error *error;
    void *target; /* where the grammar that was asked for puts what it finds */
    size_t max_records;
    struct s3_xml_frame stack[S3I_XML_DEPTH_MAX];
    size_t depth;
    struct s3_buf *sink; /* of the open text element, or NULL */
    size_t start;        /* where its text begins */
    struct s3_buf scratch;
    char scratch_memory[S3I_XML_SCRATCH_SIZE];
    bool is_error; /* the root is <Error> */
    int code;
    const char *reason;
};

/* Any kind of document may be one of these instead (xml_error.c). */
extern const struct s3_xml_grammar s3i_xml_error_grammar;

/*
 * Reads a document by reader->grammar, or as an <Error>. OK, SERVER (it is an <Error>, of which
 * reader->error holds what was read), PROTOCOL (reader->error has the reason), NO_MEMORY.
 */
int s3i_xml_parse(struct s3_xml_reader *reader, struct s3_str document);

/* ---- for grammars ---- */

/* Ends the parse; the first reason stays. */
void s3i_xml_fail(struct s3_xml_reader *reader, int code, const char *reason);
/* The sink of short texts, emptied. */
struct s3_buf *s3i_xml_scratch(struct s3_xml_reader *reader, unsigned node);
const struct s3_xml_rule *s3i_xml_find_rule(const struct s3_xml_grammar *grammar, unsigned parent,
                                            struct s3_str name);
/* Room for one more record: the array, grown if it was full, or NULL when there is no memory. */
void *s3i_xml_make_room(void *records, size_t count, size_t *capacity, size_t size);
/* False, and the parse ended, when the document has more records than it may. */
bool s3i_xml_may_add(struct s3_xml_reader *reader, size_t count);

#endif

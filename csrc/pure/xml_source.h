/*
 * xml_source: a document on its way to expat, for the readers of pure/xml only.
 *
 * Forbidden characters. XML 1.0 knows no U+0001, not even as "&#x1;", but keys may hold it and
 * servers write it, as a reference or raw. While the document is copied into expat's buffer such a
 * character becomes a placeholder, MARK and a letter, and is turned back when its element ends.
 * MARK is U+FDD0, a code point that Unicode keeps free of meaning; where a text really holds it, it
 * becomes a placeholder too (as "&#xFDD0;" as well), so every MARK that expat reports is one of
 * ours and no text is changed by the round trip. Inside CDATA "&#x1;" is plain text: a document
 * that has a CDATA section is given to expat as it is.
 */
#ifndef S3I_PURE_XML_SOURCE_H
#define S3I_PURE_XML_SOURCE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/str.h"

/* What remains of a document on its way to expat. */
struct s3_xml_source {
    struct s3_str rest;
    bool literal;  /* it has a CDATA section: nothing is replaced */
    bool replaced; /* a placeholder was written */
    bool has_nul;  /* no UTF-8 text has one; UTF-16 always does */
};

/* The document without the white space and the byte order mark that may stand before its
 * declaration. Borrows it. */
struct s3_xml_source s3i_xml_source_of(struct s3_str document);
/* Fills `out` from the source as far as it goes; returns the number of bytes written. */
size_t s3i_xml_source_fill(struct s3_xml_source *source, char *out, size_t capacity);
/* Turns the placeholders in the text from `start` on back into what they stand for. */
void s3i_xml_restore(struct s3_buf *text, size_t start);

#endif

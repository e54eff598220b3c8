/*
 * listing: answers of ListObjectsV2 in the shape that servers write them in, read where they lie.
 *
 * expat (pure/xml) judges every document, but costs most of what a listing costs. The scanner here
 * reads the plain ones: ASCII, no comments, CDATA sections, processing instructions, DOCTYPE or
 * namespace prefixes, no attributes but the root's xmlns, nothing repeated that belongs once. What
 * it reads, it reads as expat does; of anything that it does not know for certain it keeps its
 * hands, and expat reads it. So there is one judge of what is valid, and the scanner has no errors
 * of its own. Its time is linear in the document, and its depth is bounded.
 */
#ifndef S3I_PURE_LISTING_H
#define S3I_PURE_LISTING_H

#include "pure/xml.h"

enum s3_scan { S3I_SCAN_DECLINED, S3I_SCAN_READ, S3I_SCAN_NO_MEMORY };

/*
 * Tries the scanner. If it read the document, the page owns its memory, the entries point into it,
 * and `document` is an empty buffer. Otherwise the document is as it was and the page is empty.
 */
enum s3_scan s3i_listing_scan(struct s3_buf *document, size_t max_entries,
                              struct s3_list_page *page);

/* Reads a page by the scanner or, where that declines, by expat. Codes as for s3i_xml_list. */
int s3i_listing_read(struct s3_buf *document, size_t max_entries, struct s3_list_page *page,
                     struct s3_xml_error *error);

#endif

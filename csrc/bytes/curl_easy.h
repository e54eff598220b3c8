/*
 * curl_easy: one easy handle of libcurl's: what is set on it for a configuration and for a transfer,
 * and what a failure of it means.
 *
 * The curl lane or a connector owns the handle and its callbacks. A handle
 * is set up for one configuration at a time (s3_connect.serial) and keeps that from transfer to
 * transfer: then only URL, method, headers and body are set.
 */
#ifndef S3I_BYTES_CURL_EASY_H
#define S3I_BYTES_CURL_EASY_H

#include <curl/curl.h>

#include "bytes/lane.h"

enum {
    S3I_EASY_HEADERS = 64, /* header lines of one request, ours included */
    S3I_EASY_DETAIL = CURL_ERROR_SIZE + 64
};

struct s3_easy {
    CURL *curl;
    const struct s3_transfer *transfer; /* borrowed while one is under way; else NULL */
    uint64_t serial;                    /* of the configuration that it is set up for; 0: none */
    long buffer;
    int no_socket;      /* why no socket could be had for the transfer: an errno; 0: one was */
    bool wrong_version; /* the answer is HTTP/1, and only HTTP/2 was asked for */
    struct curl_slist lines[S3I_EASY_HEADERS + 4];
    char detail[CURL_ERROR_SIZE];
};

/*
 * Forgets everything on the handle and sets what stays the same for a configuration; the caller sets
 * its callbacks afterwards.
 */
CURLcode s3i_easy_configure(struct s3_easy *easy, const struct s3_connect *connect);

/* Certificates that were parsed once, for each connection to the server or to an https proxy: for
 * CURLOPT_SSL_CTX_FUNCTION. */
CURLcode s3i_easy_set_store(CURL *curl, void *context, const struct s3_easy *easy);

/* Sets what belongs to one transfer, which has S3I_EASY_HEADERS headers at most. */
CURLcode s3i_easy_prepare(struct s3_easy *easy, const struct s3_transfer *transfer);

/* http without TLS: bytes behind an answer are nobody's, and HTTP/2 connections are used once. */
bool s3i_easy_is_clear(const struct s3_transfer *transfer);
bool s3i_easy_is_clear_http2(const struct s3_transfer *transfer);

/* What a transfer of it, or an attempt to connect, ended in; `end->detail` may point to `detail`. */
void s3i_easy_end(struct s3_easy *easy, CURLcode result, struct s3_transfer_end *end,
                  char detail[S3I_EASY_DETAIL]);

#endif

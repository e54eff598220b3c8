#include "bytes/curl_easy.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/ssl.h>      /* SSL_CTX_set1_cert_store */
#include <openssl/x509_vfy.h> /* X509_verify_cert_error_string */
#include <stdio.h>

#include "identity/trust.h"

enum {
    /* libcurl 7.88 allocates its buffer for each transfer, so small is faster; and glibc tidies up
       its whole heap when a chunk of 64 KiB is freed, so all but the large ones stay below that. */
    BUFFER_TINY = 16 * 1024,
    BUFFER_SMALL = 60 * 1024,
    BUFFER_LARGE = 512 * 1024,
    TINY_TO = 12 * 1024, /* leaves room for the head of the answer */
    LARGE_FROM = 1024 * 1024,
    CONNECTION_LIFE_S = 300 /* then a new one asks the DNS again, where load may have moved */
};

/* ---- for a configuration ---- */

static void set_proxy(CURL *curl, const struct s3_connect *connect)
{
    /* An unset option keeps libcurl's rules for http_proxy, https_proxy and no_proxy. */
    curl_easy_setopt(curl, CURLOPT_PROXY, connect->proxy_url);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, connect->proxy_excludes);
    curl_easy_setopt(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
}

CURLcode s3i_easy_set_store(CURL *curl, void *context, const struct s3_easy *easy)
{
    (void)curl;
    struct s3_trust *trust = easy->transfer->connect->trust;
    X509_STORE *store = trust != NULL ? s3i_trust_store(trust) : NULL;
    if (store != NULL) {
        SSL_CTX_set1_cert_store(context, store);
    }
    return store != NULL || trust == NULL ? CURLE_OK : CURLE_OUT_OF_MEMORY;
}

static CURLcode on_tls_context(CURL *curl, void *context, void *user)
{
    return s3i_easy_set_store(curl, context, user);
}

/*
 * libcurl shares connections where its own options agree, and cannot see into ours: a path of
 * certificates that cannot exist, another one for each trust, keeps them apart.
 */
static CURLcode set_trust(struct s3_easy *easy, const struct s3_connect *connect)
{
    CURL *curl = easy->curl;
    char mark[64];
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, connect->verify_tls ? 1L : 0L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, connect->verify_tls ? 2L : 0L);
    curl_easy_setopt(curl, CURLOPT_PROXY_SSL_VERIFYPEER, connect->verify_tls ? 1L : 0L);
    curl_easy_setopt(curl, CURLOPT_PROXY_SSL_VERIFYHOST, connect->verify_tls ? 2L : 0L);
    if (connect->trust == NULL) {
        return CURLE_OK;
    }
    snprintf(mark, sizeof(mark), "/dev/null/trust-%" PRIu64, s3i_trust_serial(connect->trust));
    curl_easy_setopt(curl, CURLOPT_CAINFO, NULL);
    curl_easy_setopt(curl, CURLOPT_PROXY_CAINFO, NULL);
    curl_easy_setopt(curl, CURLOPT_PROXY_CAPATH, NULL);
    curl_easy_setopt(curl, CURLOPT_SSL_CTX_DATA, easy);
    CURLcode result = curl_easy_setopt(curl, CURLOPT_CAPATH, mark);
    return result != CURLE_OK ? result
                              : curl_easy_setopt(curl, CURLOPT_SSL_CTX_FUNCTION, on_tls_context);
}

/*
 * libcurl keeps a DNS answer for a minute, and takes its addresses in one order: all connections of a
 * burst would go to one of them. Without that, each connection asks, and shuffles.
 */
static void set_addresses(CURL *curl, const struct s3_connect *connect)
{
    if (connect->randomize_addresses) {
        curl_easy_setopt(curl, CURLOPT_DNS_SHUFFLE_ADDRESSES, 1L);
        curl_easy_setopt(curl, CURLOPT_DNS_CACHE_TIMEOUT, 0L);
    }
}

static CURLcode set_version(CURL *curl, const struct s3_connect *connect)
{
    static const long versions[] = {CURL_HTTP_VERSION_2TLS, CURL_HTTP_VERSION_1_1,
                                    CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE};
    curl_easy_setopt(curl, CURLOPT_PIPEWAIT, connect->http_version == 1 ? 0L : 1L);
    return curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, versions[connect->http_version]);
}

/* How long a connection is kept, and its next ones found. */
static void set_age(CURL *curl, const struct s3_connect *connect)
{
    long idle_seconds = (long)((connect->pool_idle_timeout_ms + 999) / 1000);
    curl_easy_setopt(curl, CURLOPT_MAXAGE_CONN, idle_seconds ? idle_seconds : 1L);
#if LIBCURL_VERSION_NUM >= 0x075000
    curl_easy_setopt(curl, CURLOPT_MAXLIFETIME_CONN, (long)CONNECTION_LIFE_S);
#endif
}

static void set_protocols(CURL *curl)
{
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
#if LIBCURL_VERSION_NUM >= 0x075700
    /* A transfer that is cancelled while its host is looked up must not wait for the look-up. */
    curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L);
#endif
}

CURLcode s3i_easy_configure(struct s3_easy *easy, const struct s3_connect *connect)
{
    CURL *curl = easy->curl;
    curl_easy_reset(curl);
    easy->serial = 0;
    easy->buffer = 0;
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, easy->detail);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_HTTP_CONTENT_DECODING, 0L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)connect->connect_timeout_ms);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, connect->user_agent);
    set_age(curl, connect);
    set_addresses(curl, connect);
    set_protocols(curl);
    set_proxy(curl, connect);
    CURLcode result = set_version(curl, connect);
    result = result == CURLE_OK ? set_trust(easy, connect) : result;
    easy->serial = result == CURLE_OK ? connect->serial : 0;
    return result;
}

/* ---- for a transfer ---- */

bool s3i_easy_is_clear(const struct s3_transfer *transfer)
{
    return strncmp(transfer->url, "http:", 5) == 0;
}

/* libcurl 7.88, the command curl too, breaks off the second request on such a connection. */
bool s3i_easy_is_clear_http2(const struct s3_transfer *transfer)
{
    return s3i_easy_is_clear(transfer) && transfer->connect->http_version == 2;
}

static void set_method(CURL *curl, const struct s3_transfer *transfer)
{
    const char *custom = NULL;
    switch (transfer->method) {
    case S3I_GET:
        curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
        break;
    case S3I_HEAD:
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
        break;
    case S3I_DELETE:
        curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
        custom = "DELETE";
        break;
    case S3I_PUT:
        custom = "PUT";
        /* fall through */
    case S3I_POST:
        curl_easy_setopt(curl, CURLOPT_NOBODY, 0L);
        curl_easy_setopt(curl, CURLOPT_POST, 1L);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)transfer->body.size);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, transfer->body.size ? transfer->body.data : "");
        break;
    }
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, custom);
    /* libcurl sends a request again by itself when a kept connection turns out to be dead. */
    bool fresh = transfer->once || s3i_easy_is_clear_http2(transfer);
    curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, fresh ? 1L : 0L);
}

static void add_line(struct s3_easy *easy, size_t index, const char *line)
{
    memcpy(&easy->lines[index].data, &line, sizeof(line)); /* libcurl reads it only */
    easy->lines[index].next = NULL;
    if (index > 0) {
        easy->lines[index - 1].next = &easy->lines[index];
    }
}

/* libcurl adds Accept, Content-Type and Expect by itself unless an empty one is given. */
static void set_headers(struct s3_easy *easy, const struct s3_transfer *transfer)
{
    size_t count = 0;
    bool typed = false;
    for (size_t i = 0; i < transfer->header_count; i++) {
        add_line(easy, count++, transfer->headers[i]);
        typed = typed || strncasecmp(transfer->headers[i], "content-type:", 13) == 0;
    }
    add_line(easy, count++, "Accept:");
    if (transfer->method == S3I_PUT || transfer->method == S3I_POST) {
        add_line(easy, count++, "Expect:");
        if (!typed) {
            add_line(easy, count++, "Content-Type:");
        }
    }
    curl_easy_setopt(easy->curl, CURLOPT_HTTPHEADER, easy->lines);
}

static void set_buffers(struct s3_easy *easy, const struct s3_transfer *transfer)
{
    uint64_t bytes =
        transfer->expected > transfer->body.size ? transfer->expected : transfer->body.size;
    long buffer = bytes >= LARGE_FROM ? BUFFER_LARGE : bytes > TINY_TO ? BUFFER_SMALL : BUFFER_TINY;
    if (easy->buffer != buffer) {
        curl_easy_setopt(easy->curl, CURLOPT_BUFFERSIZE, buffer);
        curl_easy_setopt(easy->curl, CURLOPT_UPLOAD_BUFFERSIZE, buffer);
        easy->buffer = buffer;
    }
}

CURLcode s3i_easy_prepare(struct s3_easy *easy, const struct s3_transfer *transfer)
{
    easy->detail[0] = '\0';
    easy->no_socket = 0;
    easy->wrong_version = false;
    easy->transfer = transfer;
    set_method(easy->curl, transfer);
    set_headers(easy, transfer);
    set_buffers(easy, transfer);
    return curl_easy_setopt(easy->curl, CURLOPT_URL, transfer->url);
}

/* ---- what it ended in ---- */

static const struct {
    CURLcode curl;
    int code;
} OUTCOMES[] = {
    {CURLE_OK, S3EXT_OK},
    {CURLE_COULDNT_RESOLVE_HOST, S3EXT_RESOLVE},
    {CURLE_COULDNT_RESOLVE_PROXY, S3EXT_PROXY},
    {CURLE_PROXY, S3EXT_PROXY},
    {CURLE_COULDNT_CONNECT, S3EXT_CONNECT},
    {CURLE_INTERFACE_FAILED, S3EXT_CONNECT},
    {CURLE_SSL_CONNECT_ERROR, S3EXT_CONNECT},
    {CURLE_PEER_FAILED_VERIFICATION, S3EXT_TLS},
    {CURLE_SSL_CACERT_BADFILE, S3EXT_TLS},
    {CURLE_SSL_CERTPROBLEM, S3EXT_TLS},
    {CURLE_SSL_CIPHER, S3EXT_TLS},
    {CURLE_SSL_ISSUER_ERROR, S3EXT_TLS},
    {CURLE_SSL_INVALIDCERTSTATUS, S3EXT_TLS},
    {CURLE_USE_SSL_FAILED, S3EXT_TLS},
    {CURLE_OPERATION_TIMEDOUT, S3EXT_TIMEOUT},
    {CURLE_OUT_OF_MEMORY, S3EXT_NO_MEMORY},
    {CURLE_URL_MALFORMAT, S3EXT_INVALID},
    {CURLE_UNSUPPORTED_PROTOCOL,
     S3EXT_PROTOCOL} /* the URL is ours: it is the answer that is no HTTP/1 */,
    {CURLE_WEIRD_SERVER_REPLY, S3EXT_PROTOCOL},
    {CURLE_BAD_CONTENT_ENCODING, S3EXT_PROTOCOL},
};

static int outcome(CURLcode curl)
{
    for (size_t i = 0; i < sizeof(OUTCOMES) / sizeof(OUTCOMES[0]); i++) {
        if (OUTCOMES[i].curl == curl) {
            return OUTCOMES[i].code;
        }
    }
    return S3EXT_TRANSPORT;
}

#define HTTP2_DOUBT "; http2_only is set: does the server speak HTTP/2?"
_Static_assert(sizeof(HTTP2_DOUBT) <= S3I_EASY_DETAIL - CURL_ERROR_SIZE,
               "detail has room for both");

/* Nothing came back in the one version of HTTP that was allowed. */
static bool lacks_answer(const struct s3_easy *easy, CURLcode result)
{
    long header_bytes = 0;
    curl_easy_getinfo(easy->curl, CURLINFO_HEADER_SIZE, &header_bytes);
    return easy->transfer->connect->http_version == 2 && header_bytes == 0 &&
           outcome(result) == S3EXT_TRANSPORT;
}

/* libcurl closes dead connections in the name of whichever transfer comes by, and complains to it. */
static bool is_of_another(const char *detail, CURLcode result)
{
    return result != CURLE_SEND_ERROR && strncmp(detail, "Send failure", 12) == 0;
}

/* libcurl shows the URL of a proxy that it does not take, with the password in it. */
static bool shows_proxy(const char *detail)
{
    return strncmp(detail, "Unsupported proxy", 17) == 0;
}

/*
 * The cause in words. libcurl's own may be overwritten by what followed: a certificate is refused, and
 * then the alert that says so cannot be sent.
 */
static void describe(const struct s3_easy *easy, CURLcode result, char detail[S3I_EASY_DETAIL])
{
    long verified = X509_V_OK;
    long tunnel = 0;
    curl_easy_getinfo(easy->curl, CURLINFO_SSL_VERIFYRESULT, &verified);
    curl_easy_getinfo(easy->curl, CURLINFO_HTTP_CONNECTCODE, &tunnel);
    if (easy->no_socket != 0 && outcome(result) == S3EXT_CONNECT) {
        snprintf(detail, S3I_EASY_DETAIL, "no socket for a connection: %s",
                 strerror(easy->no_socket));
    } else if (easy->wrong_version) {
        snprintf(detail, S3I_EASY_DETAIL, "the server does not speak HTTP/2 (http2_only is set)");
    } else if (outcome(result) == S3EXT_TLS && verified != X509_V_OK) {
        snprintf(detail, S3I_EASY_DETAIL, "the server's certificate is not trusted: %s",
                 X509_verify_cert_error_string(verified));
    } else if (tunnel != 0 && tunnel / 100 != 2) {
        snprintf(detail, S3I_EASY_DETAIL, "CONNECT tunnel failed, response %ld", tunnel);
    } else if (shows_proxy(easy->detail)) {
        snprintf(detail, S3I_EASY_DETAIL, "the URL of the proxy is none that libcurl takes");
    } else {
        bool own = easy->detail[0] != '\0' && !is_of_another(easy->detail, result);
        snprintf(detail, S3I_EASY_DETAIL, "%s%s", own ? easy->detail : curl_easy_strerror(result),
                 lacks_answer(easy, result) ? HTTP2_DOUBT : "");
    }
}

static bool is_before_sending(int code)
{
    return code == S3EXT_RESOLVE || code == S3EXT_CONNECT || code == S3EXT_TLS ||
           code == S3EXT_PROXY;
}

void s3i_easy_end(struct s3_easy *easy, CURLcode result, struct s3_transfer_end *end,
                  char detail[S3I_EASY_DETAIL])
{
    long connect_status = 0;
    long sent = 0;
    long header_bytes = 0;
    curl_off_t connected = 0;
    curl_easy_getinfo(easy->curl, CURLINFO_PRETRANSFER_TIME_T, &connected);
    curl_easy_getinfo(easy->curl, CURLINFO_HEADER_SIZE, &header_bytes);
    curl_easy_getinfo(easy->curl, CURLINFO_HTTP_CONNECTCODE, &connect_status);
    curl_easy_getinfo(easy->curl, CURLINFO_REQUEST_SIZE, &sent);
    *end = (struct s3_transfer_end){.code = outcome(result)};
    if (end->code != S3EXT_OK && connect_status != 0 && connect_status / 100 != 2) {
        end->code = S3EXT_PROXY;
    }
    if (result == CURLE_OUT_OF_MEMORY && header_bytes > 0) {
        end->code = S3EXT_PROTOCOL; /* libcurl's word for a header line longer than it takes */
        easy->detail[0] = '\0';
        result = CURLE_RECV_ERROR;
    }
    if (easy->wrong_version) {
        end->code = S3EXT_PROTOCOL;
    }
    /* Before there is a connection to the server, what was sent is a proxy's CONNECT. */
    end->nothing_sent =
        is_before_sending(end->code) || (end->code != S3EXT_OK && (sent == 0 || connected == 0));
    if (end->code == S3EXT_CONNECT && easy->no_socket == ENOMEM) {
        end->code = S3EXT_NO_MEMORY;
    }
    describe(easy, result, detail);
    end->detail = result == CURLE_OK ? NULL : detail;
}

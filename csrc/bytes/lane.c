#include "bytes/lane.h"

#include <stdio.h>

#include "bytes/curl_easy.h"

const struct s3_lane_class *const s3i_lane_classes[S3I_LANE_KINDS] = {
    [S3I_LANE_CURL] = &s3i_lane_curl,
    [S3I_LANE_DIRECT] = &s3i_lane_direct,
};

int s3i_lane_init(struct s3_error *error)
{
    if (curl_global_init(CURL_GLOBAL_ALL) != CURLE_OK) {
        return s3i_error_set(error, S3EXT_SYSTEM, "libcurl could not be initialised");
    }
    const curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);
    if (info->version_num < 0x074c00) {
        return s3i_error_set(error, S3EXT_NOT_SUPPORTED, "libcurl %s is too old; 7.76 is the least",
                             info->version);
    }
    if ((info->features & CURL_VERSION_SSL) == 0) {
        return s3i_error_set(error, S3EXT_NOT_SUPPORTED, "libcurl %s has no TLS back-end",
                             info->version);
    }
    return S3EXT_OK;
}

/* Where this build of libcurl looks for the system's certificates; told from 7.84 on. */
static const char *system_bundle(void)
{
    static char path[1024];
#if LIBCURL_VERSION_NUM >= 0x075400
    CURL *easy = curl_easy_init();
    char *found = NULL;
    if (easy != NULL && curl_easy_getinfo(easy, CURLINFO_CAINFO, &found) == CURLE_OK &&
        found != NULL) {
        snprintf(path, sizeof(path), "%s", found);
    }
    curl_easy_cleanup(easy);
#endif
    return path;
}

void s3i_lane_versions_get(struct s3_lane_versions *versions)
{
    const curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);
    versions->curl = info->version;
    versions->tls = info->ssl_version ? info->ssl_version : "";
    versions->ca_bundle = system_bundle();
    versions->http2 = (info->features & CURL_VERSION_HTTP2) != 0;
#ifdef CURL_VERSION_THREADSAFE
    versions->threadsafe = (info->features & CURL_VERSION_THREADSAFE) != 0;
#else
    versions->threadsafe = false;
#endif
}

struct s3_str s3i_method_name(enum s3_method method)
{
    static const struct s3_str names[] = {
        [S3I_GET] = {"GET", 3},   [S3I_HEAD] = {"HEAD", 4},     [S3I_PUT] = {"PUT", 3},
        [S3I_POST] = {"POST", 4}, [S3I_DELETE] = {"DELETE", 6},
    };
    return names[method];
}

/* ---- the choice ---- */

/* Requests for it are sent to the proxy itself, in another form. */
static bool is_forwarded(const struct s3_connect *connect, bool tls)
{
    const char *proxy = connect->proxy_url;
    return !tls && proxy != NULL && proxy[0] != '\0' && strncasecmp(proxy, "socks", 5) != 0;
}

static bool has_openssl(void)
{
    const char *tls = curl_version_info(CURLVERSION_NOW)->ssl_version;
    return tls != NULL && strncmp(tls, "OpenSSL/", 8) == 0;
}

/* NULL, or why the direct lane cannot serve. */
static const char *obstacle(const struct s3_connect *connect, bool tls)
{
    if (connect->http_version != 1) {
        return "speaks HTTP/1.1 alone, but HTTP/2 is allowed (http1_only, http2_only)";
    }
    if (is_forwarded(connect, tls)) {
        return "reaches an http endpoint through no http proxy (proxy_url)";
    }
    if (tls && !has_openssl()) {
        return "needs a libcurl that was built with OpenSSL";
    }
    return NULL;
}

int s3i_lane_choose(const struct s3_connect *connect, bool tls, struct s3_str wanted,
                    enum s3_lane_kind *lane, struct s3_error *error)
{
    const char *why = obstacle(connect, tls);
    bool direct = s3i_str_equal(wanted, S3I_STR("direct"));
    *lane = S3I_LANE_CURL;
    if (direct && why != NULL) {
        return s3i_error_set(error, S3EXT_NOT_SUPPORTED, "the direct lane %s", why);
    }
    if (direct || s3i_str_equal(wanted, S3I_STR("auto"))) {
        *lane = why == NULL ? S3I_LANE_DIRECT : S3I_LANE_CURL;
        return S3EXT_OK;
    }
    return s3i_str_equal(wanted, S3I_STR("curl"))
               ? S3EXT_OK
               : s3i_error_set(error, S3EXT_INVALID, "lane must be auto, direct or curl");
}

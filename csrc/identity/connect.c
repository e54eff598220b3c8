#include "identity/connect.h"

#include <inttypes.h> /* PRIu64 */
#include <stdio.h>

#include "base/buf.h"
#include "identity/trust.h"

int s3i_connect_set_route(struct s3_connect *connect)
{
    enum { ROUTE_LIMIT = 64 * 1024 };
    char numbers[64];
    struct s3_buf text;
    const char *strings[] = {connect->proxy_url, connect->proxy_excludes};
    uint64_t trust = connect->trust != NULL ? s3i_trust_serial(connect->trust) : 0;
    int size = snprintf(numbers, sizeof(numbers), "%d %" PRIu64, connect->verify_tls, trust);
    s3i_buf_init(&text, ROUTE_LIMIT);
    s3i_buf_add(&text, s3i_str(numbers, (size_t)size));
    for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++) {
        s3i_buf_add_char(&text, strings[i] != NULL ? '+' : '-');
        s3i_buf_add(&text, s3i_str_from(strings[i]));
        s3i_buf_add_char(&text, '\0');
    }
    int code = s3i_buf_ok(&text)
                   ? s3i_hash_once(S3I_HASH_SHA256, s3i_buf_str(&text), connect->route)
                   : S3EXT_NO_MEMORY;
    s3i_buf_wipe(&text); /* a proxy's password */
    s3i_buf_clear(&text);
    return code;
}

#include "identity/sigv4.h"

#include <assert.h>
#include <openssl/crypto.h> /* OPENSSL_cleanse */

#include "base/alloc.h"
#include "base/time.h"
#include "pure/hash.h"

#define ALGORITHM "AWS4-HMAC-SHA256"
#define TERMINATION "aws4_request"

enum {
    SECONDS_PER_DAY = 86400,
    DATE_SIZE = 8, /* "20130524" */
    SIGNATURE_SIZE = 2 * S3I_SHA256_SIZE,
    STACK_SCRATCH = 4096, /* a usual request fits, with its session token */
};

struct s3_signer {
    struct s3_hmac_key *key;
    int64_t day;              /* since 1970-01-01 */
    struct s3_str credential; /* "<key id>/<scope>", lies behind the struct */
    struct s3_str scope;      /* the end of credential: "<date>/<region>/<service>/aws4_request" */
};

/* Rounds down, for times before 1970 too. */
static int64_t day_of(int64_t epoch)
{
    return epoch / SECONDS_PER_DAY - (epoch % SECONDS_PER_DAY < 0);
}

static void write_digits(char *out, int count, int number)
{
    unsigned rest = (unsigned)number;
    while (count-- > 0) {
        out[count] = (char)('0' + rest % 10);
        rest /= 10;
    }
}

void s3i_amz_date(char out[S3I_AMZ_DATE_SIZE + 1], int64_t epoch)
{
    struct s3_utc utc = s3i_utc_from_epoch(epoch);
    write_digits(out, 4, utc.year);
    write_digits(out + 4, 2, utc.month);
    write_digits(out + 6, 2, utc.day);
    out[8] = 'T';
    write_digits(out + 9, 2, utc.hour);
    write_digits(out + 11, 2, utc.minute);
    write_digits(out + 13, 2, utc.second);
    out[15] = 'Z';
    out[16] = '\0';
}

/* One step of the key's derivation: digest = HMAC(secret, text). */
static int derive(struct s3_str secret, struct s3_str text, uint8_t digest[S3I_SHA256_SIZE])
{
    struct s3_hmac_key *key = s3i_hmac_key_new(S3I_HASH_SHA256, secret);
    if (key == NULL) {
        return S3EXT_NO_MEMORY;
    }
    int code = s3i_hmac(key, text, digest);
    s3i_hmac_key_free(key);
    return code;
}

/* "AWS4" + secret, then one HMAC for each part of the scope. NULL when a step fails. */
static struct s3_hmac_key *derive_key(struct s3_str secret, struct s3_str date,
                                      struct s3_str region, struct s3_str service)
{
    size_t size = secret.size + 4;
    char *first = s3i_malloc(size);
    if (first == NULL) {
        return NULL;
    }
    struct s3_buf start;
    s3i_buf_fixed(&start, first, size);
    s3i_buf_add(&start, S3I_STR("AWS4"));
    s3i_buf_add(&start, secret);

    const struct s3_str parts[] = {date, region, service, S3I_STR(TERMINATION)};
    uint8_t digest[S3I_SHA256_SIZE];
    const struct s3_str key = s3i_str((const char *)digest, sizeof(digest));
    int code = derive(s3i_buf_str(&start), parts[0], digest);
    for (size_t i = 1; i < sizeof(parts) / sizeof(parts[0]) && code == S3EXT_OK; i++) {
        code = derive(key, parts[i], digest);
    }
    struct s3_hmac_key *made = code == S3EXT_OK ? s3i_hmac_key_new(S3I_HASH_SHA256, key) : NULL;
    OPENSSL_cleanse(digest, sizeof(digest));
    s3i_free_secret(first, size);
    return made;
}

struct s3_signer *s3i_signer_new(struct s3_str key_id, struct s3_str secret, struct s3_str region,
                                 struct s3_str service, int64_t epoch)
{
    char stamp[S3I_AMZ_DATE_SIZE + 1];
    s3i_amz_date(stamp, epoch);
    const struct s3_str date = s3i_str(stamp, DATE_SIZE);

    const struct s3_str parts[] = {key_id, date, region, service, S3I_STR(TERMINATION)};
    enum { PARTS = sizeof(parts) / sizeof(parts[0]) };
    size_t size = PARTS - 1; /* slashes */
    for (size_t i = 0; i < PARTS; i++) {
        size += parts[i].size;
    }
    struct s3_signer *signer = s3i_calloc(1, sizeof(*signer) + size);
    if (signer == NULL) {
        return NULL;
    }
    struct s3_buf credential;
    s3i_buf_fixed(&credential, (char *)(signer + 1), size);
    for (size_t i = 0; i < PARTS; i++) {
        if (i > 0) {
            s3i_buf_add_char(&credential, '/');
        }
        s3i_buf_add(&credential, parts[i]);
    }
    signer->credential = s3i_buf_str(&credential);
    signer->scope = s3i_str(credential.data + key_id.size + 1, size - key_id.size - 1);
    signer->day = day_of(epoch);
    signer->key = derive_key(secret, date, region, service);
    if (signer->key == NULL) {
        s3i_signer_free(signer);
        return NULL;
    }
    return signer;
}

void s3i_signer_free(struct s3_signer *signer)
{
    if (signer != NULL) {
        s3i_hmac_key_free(signer->key);
        s3i_free(signer);
    }
}

bool s3i_signer_valid(const struct s3_signer *signer, int64_t epoch)
{
    return signer->day == day_of(epoch);
}

static int compare_names(struct s3_str a, struct s3_str b)
{
    size_t shared = a.size < b.size ? a.size : b.size;
    int order = shared ? memcmp(a.data, b.data, shared) : 0;
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

/* Insertion: few headers, nothing to allocate, and those of one name stay in the order sent. */
void s3i_sign_sort(struct s3_header *headers, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct s3_header header = headers[i];
        size_t at = i;
        for (; at > 0 && compare_names(headers[at - 1].name, header.name) > 0; at--) {
            headers[at] = headers[at - 1];
        }
        headers[at] = header;
    }
}

/* Whether the header before has the same name: then the two count as one, values joined by ','. */
static bool repeats(const struct s3_sign_request *request, size_t at)
{
    return at > 0 && s3i_str_equal(request->headers[at - 1].name, request->headers[at].name);
}

static void add_signed_names(struct s3_buf *out, const struct s3_sign_request *request)
{
    for (size_t i = 0; i < request->header_count; i++) {
        if (!repeats(request, i)) {
            if (i > 0) {
                s3i_buf_add_char(out, ';');
            }
            s3i_buf_add(out, request->headers[i].name);
        }
    }
}

/* Adds a value with each run of spaces as one; most have no space at all, and are copied whole. */
static void add_folded(struct s3_buf *out, struct s3_str value)
{
    while (value.size > 0) {
        const char *space = memchr(value.data, ' ', value.size);
        size_t taken = space ? (size_t)(space - value.data) + 1 : value.size;
        s3i_buf_add(out, s3i_str(value.data, taken));
        while (taken < value.size && value.data[taken] == ' ') {
            taken++;
        }
        value = s3i_str(value.data + taken, value.size - taken);
    }
}

static void add_canonical_headers(struct s3_buf *out, const struct s3_sign_request *request)
{
    for (size_t i = 0; i < request->header_count; i++) {
        if (repeats(request, i)) {
            s3i_buf_add_char(out, ',');
        } else {
            if (i > 0) {
                s3i_buf_add_char(out, '\n');
            }
            s3i_buf_add(out, request->headers[i].name);
            s3i_buf_add_char(out, ':');
        }
        add_folded(out, request->headers[i].value);
    }
    s3i_buf_add_char(out, '\n');
}

static void add_canonical_request(struct s3_buf *out, const struct s3_sign_request *request)
{
    s3i_buf_add(out, request->method);
    s3i_buf_add_char(out, '\n');
    s3i_buf_add(out, request->path);
    s3i_buf_add_char(out, '\n');
    s3i_buf_add(out, request->query);
    s3i_buf_add_char(out, '\n');
    add_canonical_headers(out, request);
    s3i_buf_add_char(out, '\n');
    add_signed_names(out, request);
    s3i_buf_add_char(out, '\n');
    s3i_buf_add(out, request->payload_hash);
}

/* No canonical request and no string to sign is longer. */
static size_t scratch_size(const struct s3_signer *signer, const struct s3_sign_request *request)
{
    size_t canonical = request->method.size + request->path.size + request->query.size +
                       request->payload_hash.size + 6; /* line feeds */
    for (size_t i = 0; i < request->header_count; i++) {
        canonical += 2 * request->headers[i].name.size + request->headers[i].value.size + 3;
    }
    size_t to_sign =
        sizeof(ALGORITHM) + S3I_AMZ_DATE_SIZE + 1 + signer->scope.size + 1 + SIGNATURE_SIZE;
    return canonical > to_sign ? canonical : to_sign;
}

/* The two texts are never needed at once: a scratch of scratch_size() bytes holds both in turn. */
static int sign_in(struct s3_buf *scratch, const struct s3_signer *signer,
                   const struct s3_sign_request *request, const char *date,
                   uint8_t signature[S3I_SHA256_SIZE])
{
    uint8_t digest[S3I_HASH_MAX];
    add_canonical_request(scratch, request);
    S3I_TRY(s3i_hash_once(S3I_HASH_SHA256, s3i_buf_str(scratch), digest));
    s3i_buf_reset(scratch);
    s3i_buf_add(scratch, S3I_STR(ALGORITHM "\n"));
    s3i_buf_add(scratch, s3i_str(date, S3I_AMZ_DATE_SIZE));
    s3i_buf_add_char(scratch, '\n');
    s3i_buf_add(scratch, signer->scope);
    s3i_buf_add_char(scratch, '\n');
    s3i_hash_add_hex(scratch, digest, S3I_SHA256_SIZE);
    assert(s3i_buf_ok(scratch));
    return s3i_hmac(signer->key, s3i_buf_str(scratch), signature);
}

/* The signature of a request whose headers are sorted. */
static int sign(const struct s3_signer *signer, const struct s3_sign_request *request,
                const char *date, uint8_t signature[S3I_SHA256_SIZE])
{
    char stack[STACK_SCRATCH];
    size_t size = scratch_size(signer, request);
    char *heap = NULL;
    if (size > sizeof(stack)) {
        heap = s3i_malloc(size);
        if (heap == NULL) {
            return S3EXT_NO_MEMORY;
        }
    }
    struct s3_buf scratch;
    s3i_buf_fixed(&scratch, heap ? heap : stack, heap ? size : sizeof(stack));
    int code = sign_in(&scratch, signer, request, date, signature);
    s3i_free_secret(heap, size); /* a session token is among the headers */
    return code;
}

int s3i_sign_headers(const struct s3_signer *signer, const struct s3_sign_request *request,
                     int64_t epoch, struct s3_buf *authorization)
{
    char date[S3I_AMZ_DATE_SIZE + 1];
    uint8_t signature[S3I_SHA256_SIZE];
    s3i_amz_date(date, epoch);
    s3i_sign_sort(request->headers, request->header_count);
    S3I_TRY(sign(signer, request, date, signature));
    s3i_buf_add(authorization, S3I_STR(ALGORITHM " Credential="));
    s3i_buf_add(authorization, signer->credential);
    s3i_buf_add(authorization, S3I_STR(", SignedHeaders="));
    add_signed_names(authorization, request);
    s3i_buf_add(authorization, S3I_STR(", Signature="));
    s3i_hash_add_hex(authorization, signature, sizeof(signature));
    return s3i_buf_ok(authorization) ? S3EXT_OK : S3EXT_NO_MEMORY;
}

/* Appends everything of a presigned query but its signature. */
static int add_unsigned_query(struct s3_buf *query, const struct s3_query *own, size_t own_count,
                              const struct s3_query *extra, size_t extra_count)
{
    struct s3_query *pairs = s3i_calloc(own_count + extra_count, sizeof(*pairs));
    if (pairs == NULL) {
        return S3EXT_NO_MEMORY;
    }
    memcpy(pairs, own, own_count * sizeof(*pairs));
    if (extra_count > 0) {
        memcpy(pairs + own_count, extra, extra_count * sizeof(*pairs));
    }
    s3i_uri_add_query(query, pairs, own_count + extra_count);
    s3i_free(pairs);
    return s3i_buf_ok(query) ? S3EXT_OK : S3EXT_NO_MEMORY;
}

int s3i_sign_query(const struct s3_signer *signer, const struct s3_sign_request *request,
                   int64_t epoch, uint32_t expires_seconds, struct s3_str token,
                   const struct s3_query *extra, size_t extra_count, struct s3_buf *query)
{
    if (request->query.size != 0) {
        return S3EXT_INVALID;
    }
    char date[S3I_AMZ_DATE_SIZE + 1];
    char digits[10]; /* of the largest uint32_t */
    struct s3_buf expires;
    struct s3_buf names;
    s3i_amz_date(date, epoch);
    s3i_buf_fixed(&expires, digits, sizeof(digits));
    s3i_buf_add_u64(&expires, expires_seconds);
    s3i_buf_init(&names, SIZE_MAX);
    s3i_sign_sort(request->headers, request->header_count);
    add_signed_names(&names, request);

    const struct s3_query own[] = {
        {S3I_STR("X-Amz-Algorithm"), S3I_STR(ALGORITHM)},
        {S3I_STR("X-Amz-Credential"), signer->credential},
        {S3I_STR("X-Amz-Date"), s3i_str(date, S3I_AMZ_DATE_SIZE)},
        {S3I_STR("X-Amz-Expires"), s3i_buf_str(&expires)},
        {S3I_STR("X-Amz-SignedHeaders"), s3i_buf_str(&names)},
        {S3I_STR("X-Amz-Security-Token"), token}, /* last: left out when there is none */
    };
    size_t own_count = sizeof(own) / sizeof(own[0]) - (token.size == 0);
    size_t start = query->size;
    int code = s3i_buf_ok(&names) ? add_unsigned_query(query, own, own_count, extra, extra_count)
                                  : S3EXT_NO_MEMORY;
    s3i_buf_clear(&names);
    S3I_TRY(code);

    struct s3_sign_request with_query = *request;
    with_query.query = s3i_str(query->data + start, query->size - start);
    uint8_t signature[S3I_SHA256_SIZE];
    S3I_TRY(sign(signer, &with_query, date, signature));
    s3i_buf_add(query, S3I_STR("&X-Amz-Signature="));
    s3i_hash_add_hex(query, signature, sizeof(signature));
    return s3i_buf_ok(query) ? S3EXT_OK : S3EXT_NO_MEMORY;
}

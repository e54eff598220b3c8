#include "pure/hash.h"

#include <openssl/crypto.h> /* OPENSSL_cleanse */
#include <openssl/err.h>
#include <openssl/evp.h>

#include "base/alloc.h"

enum { KINDS = S3I_HASH_MD5 + 1, HMAC_BLOCK = 64 /* of SHA-256 and of SHA-1 */ };

/*
 * Fetched once and kept for the life of the process: each fetch by name takes OpenSSL's locks.
 * MD5 and SHA-1 may be missing (FIPS); only their users fail then.
 */
static EVP_MD *algorithms[KINDS];

int s3i_hash_init(void)
{
    static const char *const NAMES[KINDS] = {"SHA2-256", "SHA1", "MD5"};
    ERR_set_mark(); /* a missing algorithm must not look like the error of a later TLS call */
    for (int kind = 0; kind < KINDS; kind++) {
        if (algorithms[kind] == NULL) {
            algorithms[kind] = EVP_MD_fetch(NULL, NAMES[kind], NULL);
        }
    }
    ERR_pop_to_mark();
    return algorithms[S3I_HASH_SHA256] != NULL ? S3EXT_OK : S3EXT_SYSTEM;
}

int s3i_hash_once(enum s3_hash_kind kind, struct s3_str data, uint8_t *digest)
{
    if (algorithms[kind] == NULL ||
        !EVP_Digest(data.data, data.size, digest, NULL, algorithms[kind], NULL)) {
        return S3EXT_SYSTEM;
    }
    return S3EXT_OK;
}

struct s3_hash {
    EVP_MD_CTX *state;
};

struct s3_hash *s3i_hash_new(enum s3_hash_kind kind)
{
    struct s3_hash *hash = s3i_calloc(1, sizeof(*hash));
    if (hash == NULL) {
        return NULL;
    }
    hash->state = EVP_MD_CTX_new();
    if (hash->state == NULL || algorithms[kind] == NULL ||
        !EVP_DigestInit_ex2(hash->state, algorithms[kind], NULL)) {
        s3i_hash_free(hash);
        return NULL;
    }
    return hash;
}

void s3i_hash_free(struct s3_hash *hash)
{
    if (hash != NULL) {
        EVP_MD_CTX_free(hash->state);
        s3i_free(hash);
    }
}

int s3i_hash_update(struct s3_hash *hash, struct s3_str data)
{
    return EVP_DigestUpdate(hash->state, data.data, data.size) ? S3EXT_OK : S3EXT_SYSTEM;
}

int s3i_hash_final(struct s3_hash *hash, uint8_t *digest)
{
    return EVP_DigestFinal_ex(hash->state, digest, NULL) ? S3EXT_OK : S3EXT_SYSTEM;
}

struct s3_hmac_key {
    EVP_MD_CTX *inner; /* after key ^ ipad */
    EVP_MD_CTX *outer; /* after key ^ opad */
    size_t size;       /* of a digest */
};

/* The state after one block of the key xored with a byte: what RFC 2104 calls a pad. */
static EVP_MD_CTX *padded_state(enum s3_hash_kind kind, const uint8_t block[HMAC_BLOCK],
                                uint8_t pad)
{
    uint8_t padded[HMAC_BLOCK];
    for (size_t i = 0; i < sizeof(padded); i++) {
        padded[i] = block[i] ^ pad;
    }
    EVP_MD_CTX *state = EVP_MD_CTX_new();
    if (state != NULL && (!EVP_DigestInit_ex2(state, algorithms[kind], NULL) ||
                          !EVP_DigestUpdate(state, padded, sizeof(padded)))) {
        EVP_MD_CTX_free(state);
        state = NULL;
    }
    OPENSSL_cleanse(padded, sizeof(padded));
    return state;
}

struct s3_hmac_key *s3i_hmac_key_new(enum s3_hash_kind kind, struct s3_str key)
{
    uint8_t block[HMAC_BLOCK] = {0};
    if (key.size > sizeof(block)) { /* a longer key is replaced by its digest (RFC 2104, 2) */
        if (s3i_hash_once(kind, key, block) != S3EXT_OK) {
            return NULL;
        }
    } else if (key.size > 0) {
        memcpy(block, key.data, key.size);
    }
    struct s3_hmac_key *made = algorithms[kind] ? s3i_calloc(1, sizeof(*made)) : NULL;
    if (made != NULL) {
        made->size = (size_t)EVP_MD_get_size(algorithms[kind]);
        made->inner = padded_state(kind, block, 0x36);
        made->outer = padded_state(kind, block, 0x5C);
        if (made->inner == NULL || made->outer == NULL) {
            s3i_hmac_key_free(made);
            made = NULL;
        }
    }
    OPENSSL_cleanse(block, sizeof(block));
    return made;
}

/* OpenSSL's providers cleanse a state before they free it. */
void s3i_hmac_key_free(struct s3_hmac_key *key)
{
    if (key != NULL) {
        EVP_MD_CTX_free(key->inner);
        EVP_MD_CTX_free(key->outer);
        s3i_free(key);
    }
}

/* The digest of what a state has seen and then `data`; the state itself stays as it is. */
static bool digest_from(const EVP_MD_CTX *start, EVP_MD_CTX *scratch, struct s3_str data,
                        uint8_t *digest)
{
    return EVP_MD_CTX_copy_ex(scratch, start) && EVP_DigestUpdate(scratch, data.data, data.size) &&
           EVP_DigestFinal_ex(scratch, digest, NULL);
}

int s3i_hmac(const struct s3_hmac_key *key, struct s3_str data, uint8_t *digest)
{
    EVP_MD_CTX *scratch = EVP_MD_CTX_new(); /* 30 ns: not worth keeping one for each thread */
    if (scratch == NULL) {
        return S3EXT_NO_MEMORY;
    }
    const struct s3_str inner = s3i_str((const char *)digest, key->size);
    bool done = digest_from(key->inner, scratch, data, digest) &&
                digest_from(key->outer, scratch, inner, digest);
    EVP_MD_CTX_free(scratch);
    return done ? S3EXT_OK : S3EXT_SYSTEM;
}

void s3i_hash_add_hex(struct s3_buf *out, const uint8_t *digest, size_t size)
{
    static const char HEX[] = "0123456789abcdef";
    if (!s3i_buf_reserve(out, 2 * size)) {
        return;
    }
    char *to = out->data + out->size;
    for (size_t i = 0; i < size; i++) {
        *to++ = HEX[digest[i] >> 4];
        *to++ = HEX[digest[i] & 15];
    }
    out->size += 2 * size;
}

void s3i_hash_add_base64(struct s3_buf *out, const uint8_t *digest, size_t size)
{
    enum { PADDING = 64 };
    static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                 "0123456789+/=";
    for (size_t i = 0; i < size; i += 3) {
        size_t bytes = size - i < 3 ? size - i : 3;
        uint32_t bits = 0;
        for (size_t at = 0; at < 3; at++) {
            bits = bits << 8 | (at < bytes ? digest[i + at] : 0U);
        }
        for (size_t digit = 0; digit < 4; digit++) { /* n bytes need n + 1 digits */
            size_t at = digit <= bytes ? bits >> (18 - 6 * digit) & 63 : PADDING;
            s3i_buf_add_char(out, DIGITS[at]);
        }
    }
}

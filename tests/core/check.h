/*
 * check: what the test programs of this folder share. A program is a main that calls its tests one after
 * another; the first check that does not hold ends it with status 1 and a line that says where.
 *
 * Loops are bounded by counts; ROUNDS makes them shorter under ThreadSanitizer, which is ten times slower.
 */
#ifndef TESTS_CORE_CHECK_H
#define TESTS_CORE_CHECK_H

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* What a program is at, for its last words; set by those whose tests are loops over cases. */
static char now[64] = "";

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: in %s: %s (%s)\n", __FILE__, __LINE__, __func__, #condition,   \
                    now);                                                                          \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

/* The same for two numbers, which are shown. */
#define CHECK_EQUAL(left, right)                                                                   \
    do {                                                                                           \
        long long check_left = (long long)(left);                                                  \
        long long check_right = (long long)(right);                                                \
        if (check_left != check_right) {                                                           \
            fprintf(stderr, "%s:%d: in %s: %s is %lld, %s is %lld (%s)\n", __FILE__, __LINE__,     \
                    __func__, #left, check_left, #right, check_right, now);                        \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

#if defined(__SANITIZE_THREAD__)
enum { SLOWNESS = 10 };
#elif defined(__SANITIZE_ADDRESS__)
enum { SLOWNESS = 3 };
#else
enum { SLOWNESS = 1 };
#endif
#define ROUNDS(count) ((count) / SLOWNESS)

enum { THREADS_MAX = 32 };

/* Runs `body` in `count` threads, with 0, 1, ... as argument, and waits for all of them. */
static inline void run_threads(int count, void *(*body)(void *))
{
    pthread_t threads[THREADS_MAX];
    CHECK(count <= THREADS_MAX);
    for (int i = 0; i < count; i++) {
        CHECK(pthread_create(&threads[i], NULL, body, (void *)(intptr_t)i) == 0);
    }
    for (int i = 0; i < count; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
}

/* A number below `limit` from the caller's own state: the same run every time, but for the threads' timing. */
static inline uint32_t pick(uint32_t *state, uint32_t limit)
{
    *state = *state * 1664525u + 1013904223u;
    return (*state >> 8) % limit;
}

#endif

/*
 * server: a small S3 look-alike on 127.0.0.1 for the test programs, one thread for each connection.
 *
 * It checks nothing and stores nothing: what a request gets follows from its method and its key.
 *
 *   size-<n>    an object of n bytes, whose byte at offset i is server_byte(i); ranges are served
 *   half-<n>    the same, but a body stops after its first half until server_release()
 *   stall...    never answered until server_release()
 *   any other   as size-0; PUT, POST and DELETE succeed whatever the key
 *
 * Its memory is its own (no allocation shim), so that a failing allocation is always the client's.
 */
#ifndef TESTS_CORE_SERVER_H
#define TESTS_CORE_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct s3ext_client_config;

void server_start(void);
/* What stalls goes on: at once, and from now on. */
void server_release(void);
/* Closes all connections, so that the next request needs a new one. */
void server_drop(void);
/* Closes everything and joins the threads. */
void server_stop(void);

unsigned char server_byte(uint64_t offset);
/* Whether `data` holds the object's bytes from `offset` on. */
bool server_matches(const char *data, uint64_t offset, uint64_t size);

/* Requests answered since the start, in all and to the method and query that the name says. */
struct server_counts {
    long requests, created, completed, aborted;
};
struct server_counts server_counts(void);

/* A configuration for the server, without retries, for the lane that S3EXT_LANE names. */
struct s3ext_client_config server_config(void);

#endif

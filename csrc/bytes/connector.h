/*
 * connector: libcurl makes one connection: DNS, all addresses of the host, a proxy's tunnel, TLS with
 * verification; by CURLOPT_CONNECT_ONLY, so that nothing is sent over it.
 *
 *   start --> RUNNING --run--> READY: the connection is there --give_up_socket--> IDLE
 *                 |              |
 *                 +--> FAILED    +--> (TLS) it stays with the connection: libcurl speaks TLS
 *
 * A connector is driven by the thread of its lane and never blocks: `run` is called when one of its
 * descriptors is ready or its deadline has come. Any number may be under way, so a host that does not
 * answer delays no other. Each has a multi handle of its own, because libcurl may close a connection
 * that waits in the cache of one with bytes unread (7.88, at the next connect).
 *
 * A plain connection is just its descriptor: the connector gives it up and can make the next one.
 */
#ifndef S3I_BYTES_CONNECTOR_H
#define S3I_BYTES_CONNECTOR_H

#include "base/list.h"
#include "bytes/curl_easy.h"
#include "bytes/watch.h"

enum s3_connector_state {
    S3I_CONNECTOR_IDLE,
    S3I_CONNECTOR_RUNNING,
    S3I_CONNECTOR_READY,
    S3I_CONNECTOR_FAILED
};

struct s3_connector {
    struct s3_list node; /* the lane's: under way, or spare */
    struct s3_watch *watch;
    void *owner; /* what its descriptors are watched for */
    CURLM *multi;
    struct s3_easy easy;
    enum s3_connector_state state;
    CURLcode result;     /* of FAILED */
    int fd;              /* of READY */
    int64_t deadline_ms; /* INT64_MAX: none */
    bool keeps_socket;   /* libcurl lets go of it, and must not close it */
    bool address_failed; /* since libcurl was last asked to go on */
    bool unwatched;      /* the poll had no room for a descriptor: it is run by time alone */
};

/* NULL without memory. */
struct s3_connector *s3i_connector_new(struct s3_watch *watch);
/* Closes what it has connected. */
void s3i_connector_free(struct s3_connector *connector);

/* Begins to connect for a transfer, which must last until that has ended. `share` keeps what the DNS
 * answered and TLS sessions, for all connectors of a lane. false without memory. */
bool s3i_connector_start(struct s3_connector *connector, const struct s3_transfer *transfer,
                         CURLSH *share, void *owner);
void s3i_connector_run(struct s3_connector *connector);

/* The descriptor of a READY connector, as its new owner's; it can then be started again. */
int s3i_connector_give_up_socket(struct s3_connector *connector);
/* Drops what it was about: it can then be started again. */
void s3i_connector_stop(struct s3_connector *connector);

#endif

"""A verifying S3 server for tests: strict about the wire, true to S3, and able to fail in every way.

In a test::

    def test_it(server):  # fixture of tests/conftest.py, with the bucket "bucket"
        server.put("key", b"data")  # straight into the store; server.get("key").data, server.keys()
        fault = server.faults.add(Fault(faults.cut(2), method="GET", key="key"))
        ...  # the client at server.url, with ACCESS_KEY, SECRET_KEY, REGION; path style, or bucket.localhost
        assert fault.hits == 1
        assert [request.status for request in server.find("GET", "key")] == [200, 206]

Server:
    `VerifyingServer(buckets=, region=, tls=, credentials=, require_auth=, min_part_size=, base_path=,
    idle_timeout=, max_requests_per_connection=, allow_chunked=, host=, port=)`; `start()`, `stop()`, context
    manager; `url`, `port`. Many may run at once, each in a thread with a loop of its own.
    `ServerProcess("--tls", "--object", "key=1000000")` is the same in a child process (`url`, `ca`, and
    `record` after `stop()`), for tests that fork or exit.
Store:
    `put(key, data, bucket=, etag=, headers=, metadata=, modified=)` (data: bytes, or `PatternBody(size)` for
    objects of any size in 2 MiB of memory), `get(key)` -> StoredObject, `keys()`, `create_bucket(name,
    region=, public=, versioned=)`; `store.uploads` (open multipart uploads by id), `store.completed`,
    `store.aborted` (ids), `store.delete(bucket, key)`, `store.max_copy_size` (of CopyObject).
S3 Express:
    A bucket whose name ends in `--x-s3` or `--xa-s3` wants requests for the service s3express, signed with
    the keys that CreateSession gives (`session_keys`, valid for `session_seconds`), but for CreateSession,
    copies and presigned URLs. Its listings are in no order and refuse start-after.
Credentials and time:
    `add_credential(access_key, secret_key, token=None, expires_in=None)`, `expire_credential(access_key)`;
    `clock_offset` in seconds shifts the server's clock, its Date header included.
Records:
    `requests` (see `Request`: method, target, path, query, headers, fields, header(), key, bucket, part,
    range(), body (small ones), body_length, body_sha256, connection, arrived, auth, verified, status, code,
    applied, finished, body_sent, faults), `find(method, key, query)`, `connections_opened`,
    `connections_open`, `local_addresses` (one for each opened), `peak_connections`,
    `peak_in_flight`, `tls_failures`; `forget()`, `wait_idle(timeout, connections=)`: call it before looking
    at `finished` and `body_sent`, which the server notes when the client may have its answer already; all
    else is noted before the answer's first byte.
Errors:
    `errors`: everything the client did wrong, as `WireError(code, message, request)`: S3's code for refused
    signatures, bodies, regions, clocks; "Wire" for breaches of HTTP (doubled headers, bodies on GET ...);
    "Secret" for secrets in the head. The fixtures fail a test that leaves some: a test that provokes them
    calls `take_errors()`.
Connections:
    `close_idle_connections(reset=)`, `close_connections(reset=)`, `stop_listening()`, `listen_again()`.
Faults:
    `server.faults.add(Fault(action, method=, bucket=, key=, query=, without_query=, part=, when=, skip=,
    nth=, times=1, probability=, seed=))` returns the fault: `hits`, `wait_hit(count, timeout)`, `release()`;
    `faults.remove(fault)`, `faults.clear()`. The actions are listed in `tests.server.faults`. A fault changes
    the answer, never the records of what the client did.
TLS:
    `make_certificate(kind)` with "good", "wrong-name", "expired", "self-signed":
    `VerifyingServer(tls=make_certificate())`; `.ca` is the file that a client must trust, `authority()` the
    same file.
Proxy:
    `ForwardProxy({"*.s3.us-west-2.amazonaws.com:443": server.port}, kind="http" | "socks4" |
    "socks5", auth=, refuse=, tls=)`: `url`, `requests`.
"""

from __future__ import annotations

from . import faults
from .api import NAMESPACE
from .errors import S3Error
from .faults import Action, Exchange, Fault
from .http import Request, Response
from .process import ServerProcess
from .proxy import ForwardProxy, ProxyRequest
from .server import ACCESS_KEY, REGION, SECRET_KEY, VerifyingServer, WireError
from .signature import Credential, verify
from .store import PatternBody, StoredObject, checksum
from .tls import Certificate, authority, make_certificate

__all__ = [
    "ACCESS_KEY",
    "NAMESPACE",
    "REGION",
    "SECRET_KEY",
    "Action",
    "Certificate",
    "Credential",
    "Exchange",
    "Fault",
    "ForwardProxy",
    "PatternBody",
    "ProxyRequest",
    "Request",
    "Response",
    "S3Error",
    "ServerProcess",
    "StoredObject",
    "VerifyingServer",
    "WireError",
    "authority",
    "checksum",
    "faults",
    "make_certificate",
    "verify",
]

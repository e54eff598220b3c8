"""Signatures before a server that checks them: odd keys, payloads, wrong keys, wrong clocks, tampering."""

from __future__ import annotations

import json
import os
import shutil
import string
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from s3ext import exceptions
from tests.radosgw.conftest import connect
from tests.radosgw.tampering import Tampering

MARKS = [mark for mark in string.punctuation + " " if mark != "/"]

KEYS = {
    "marks alone": [mark for mark in MARKS if mark != "."],
    "marks around": [f"{mark}x{mark}/{mark}{mark}{mark}" for mark in MARKS],
    "all of ASCII": ["".join(map(chr, range(0x20, 0x7F))).replace("/", "")],
    "letters and digits": [string.ascii_letters + string.digits],
    "looks encoded": ["%", "%%", "%2F", "a%20b", "a+b", "a b", "%C3%BC", "%zz", "&amp;", "a%2520b"],
    "two bytes": ["\x80\x85\x9f", "\xa0", "ü", "ÿĀ\u07ff"],
    "three bytes": ["\u0800", "\u2028\u200b\ufeff", "\ud7ff\ue000", "\ufffd", "漢字/かな"],
    "four bytes": ["\U00010000", "🦆/🏳️‍🌈", "\U0010ffff"],
    "composed or not": [unicodedata.normalize(form, "é/Å/한") for form in ("NFC", "NFD")],
    "like a query": ["a?uploads", "a?x=y&z", "k#fragment", "list-type=2", "?"],
    "like a path": ["...", ".a/..b/c..", "a\\..\\b", "http:/x", "~/x", "C:\\x"],
    "like the server's own": ["_x", "__x", "_multipart_x.2~y.meta", "__shadow_x", "_ns_x/_y", "x.meta"],
    "noncharacters": ["\ufdd0\U0001fffe"],
    "longest": ["k" * 1024, "🦆" * 256],
}


@pytest.mark.parametrize("kind", KEYS)
def test_odd_keys_are_put_got_listed_copied_and_deleted(store, boto, bucket, way, kind):
    keys = KEYS[kind]
    for key in keys:
        way(store, "put", key, key.encode())
    listed = [entry["Key"] for entry in boto.list_objects_v2(Bucket=bucket)["Contents"]]
    assert sorted(listed) == sorted(keys)
    assert sorted(meta["path"] for meta in way(store.list(), "collect")) == sorted(keys)
    for key in keys:
        assert way(way(store, "get", key), "bytes") == key.encode()
        assert way(store, "head", key)["size"] == len(key.encode())
        way(store, "copy", key, "copied")
        assert way(way(store, "get", "copied"), "bytes") == key.encode()
    way(store, "delete", "copied")
    way(store, "delete", keys[0])
    way(store, "delete", keys[1:])
    assert way(store.list(), "collect") == []


@pytest.mark.parametrize("prefix", ["a b+c%ü", "&=?#;", "🦆", "~-._", "%2F%20", "'()*!"])
def test_odd_prefixes_and_offsets_are_signed_in_queries(gateway, bucket, way, prefix):
    whole = connect(gateway, bucket)
    for name in ("1", f"{prefix}1", f"{prefix}2"):
        way(whole, "put", f"{prefix}/{name}", b"")
    names = sorted(["1", f"{prefix}1", f"{prefix}2"], key=str.encode)
    listed = way(whole.list(prefix), "collect")
    assert [meta["path"] for meta in listed] == [f"{prefix}/{name}" for name in names]
    inside = connect(gateway, bucket, prefix=prefix)
    after = way(inside.list(offset=names[0]), "collect")
    assert [meta["path"] for meta in after] == names[1:]
    assert way(whole, "list_with_delimiter")["common_prefixes"] == [prefix]


def test_default_headers_are_signed_with_their_odd_values(gateway, bucket, boto, way):
    headers = {"x-amz-meta-flavour": "mint,  twice ; a=b"}
    store = connect(gateway, bucket, client_options={"default_headers": headers})
    way(store, "put", "k", b"1")
    # Signatures see runs of spaces as one; the value keeps them.
    assert boto.head_object(Bucket=bucket, Key="k")["Metadata"] == {"flavour": "mint,  twice ; a=b"}


# ---- keys that are not right ----

CALLS = {
    "get": ("k",),
    "head": ("k",),
    "put": ("k", b"1"),
    "delete": ("k",),
    "copy": ("k", "l"),
    "list_with_delimiter": (),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"secret_access_key": "wrong"}, "SignatureDoesNotMatch"),
        ({"access_key_id": "NOBODY"}, "InvalidAccessKeyId"),
        ({"skip_signature": True, "access_key_id": None, "secret_access_key": None}, "AccessDenied"),
    ],
    ids=["secret", "key", "none"],
)
def test_wrong_keys_are_refused_with_the_servers_code(gateway, store, bucket, call, change, code):
    store.put("k", b"kept")
    with pytest.raises(exceptions.PermissionDeniedError) as caught:
        getattr(connect(gateway, bucket, **change), call)(*CALLS[call])
    assert caught.value.status == 403
    if call != "head":  # an answer to HEAD has no body to name the code
        assert caught.value.code == code
    assert caught.value.request_id
    assert gateway.secret_key not in str(caught.value)
    assert store.get("k").bytes() == b"kept"


def test_who_signs_nothing_reads_what_is_public(gateway, bucket, boto, way):
    boto.put_object(Bucket=bucket, Key="open", Body=b"for all", ACL="public-read")
    store = connect(gateway, bucket, skip_signature=True, access_key_id=None, secret_access_key=None)
    assert way(way(store, "get", "open"), "bytes") == b"for all"


def test_there_is_no_such_bucket(gateway, way):
    store = connect(gateway, "not-there")
    for call, arguments in CALLS.items():
        if call != "copy":
            with pytest.raises(exceptions.NotFoundError) as caught:
                way(store, call, *arguments)
            assert caught.value.code == ("NoSuchBucket" if call != "head" else None)


# ---- payloads and tampering ----


def flip_body(method, path, headers, body):
    return method, path, headers, bytes([body[0] ^ 1]) + body[1:] if body else body


def other_key(method, path, headers, body):
    return method, path.replace("/k", "/l"), headers, body


def more_query(method, path, headers, body):
    return method, path + ("&" if "?" in path else "?") + "acl", headers, body


def longer_range(method, path, headers, body):
    headers = [(name, "bytes=0-9" if name.lower() == "range" else value) for name, value in headers]
    return method, path, headers, body


def other_method(method, path, headers, body):
    return "DELETE" if method == "GET" else method, path, headers, body


@pytest.mark.parametrize("multipart", [False, True])
def test_a_body_changed_on_the_way_is_refused(gateway, bucket, store, way, multipart):
    with Tampering(gateway.url, flip_body) as between:
        tampered = connect(gateway, bucket, endpoint=between.url)
        with pytest.raises(exceptions.BaseError) as caught:
            way(tampered, "put", "k", b"0123456789", use_multipart=multipart)
    assert caught.value.code == "XAmzContentSHA256Mismatch"
    with pytest.raises(exceptions.NotFoundError):
        way(store, "head", "k")


def test_an_unsigned_body_is_taken_as_it_comes(gateway, bucket, store, way):
    """The other half of the proof: here the server has no hash to compare with."""
    with Tampering(gateway.url, flip_body) as between:
        tampered = connect(gateway, bucket, endpoint=between.url, unsigned_payload=True)
        way(tampered, "put", "k", b"0123456789")
    assert way(way(store, "get", "k"), "bytes") == b"1123456789"


@pytest.mark.parametrize("change", [other_key, more_query, longer_range, other_method])
@pytest.mark.parametrize("unsigned", [False, True])
def test_a_request_changed_on_the_way_is_refused(gateway, bucket, store, way, change, unsigned):
    for key in ("k", "l"):
        store.put(key, b"0123456789")
    with Tampering(gateway.url, change) as between:
        tampered = connect(gateway, bucket, endpoint=between.url, unsigned_payload=unsigned)
        with pytest.raises(exceptions.PermissionDeniedError) as caught:
            way(tampered, "get_range", "k", start=2, end=4)
    assert caught.value.code == "SignatureDoesNotMatch"
    assert [meta["path"] for meta in store.list().collect()] == ["k", "l"]


def test_an_untouched_request_passes_the_same_way(gateway, bucket, way):
    with Tampering(gateway.url, lambda *request: request) as between:
        store = connect(gateway, bucket, endpoint=between.url)
        way(store, "put", "k", b"0123456789")
        assert way(store, "get_range", "k", start=2, end=4) == b"23"


@pytest.mark.parametrize("unsigned", [False, True])
@pytest.mark.parametrize("url", ["url", "tls_url"])
def test_all_calls_go_with_signed_and_unsigned_payloads(gateway, bucket, way, unsigned, url):
    options = {"root_certificate": Path(gateway.ca).read_bytes()} if url == "tls_url" else {}
    store = connect(
        gateway, bucket, endpoint=getattr(gateway, url), unsigned_payload=unsigned, client_options=options
    )
    data = bytes(range(256)) * 24_000
    way(store, "put", "big", data)
    way(store, "put", "small", b"1", use_multipart=False)
    assert way(way(store, "get", "big"), "bytes") == data
    way(store, "copy", "small", "copy")
    way(store, "rename", "copy", "renamed")
    assert [meta["path"] for meta in way(store.list(), "collect")] == ["big", "renamed", "small"]
    way(store, "delete", ["big", "small", "renamed"])
    assert way(store.list(), "collect") == []


# ---- clocks ----

SHIFTED_CLOCK = """
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Straight to the kernel: a sanitizer asks for the time when nothing can be looked up yet. */
int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_REALTIME)
        now->tv_sec += atol(getenv("CLOCK_SHIFT"));
    return result;
}
"""

USE_STORE = """
import json, sys
import s3ext
from s3ext.store import S3Store
store = S3Store(**json.loads(sys.argv[1]))
store.put("k", b"0123456789")
print(bytes(store.get_range("k", start=2, end=4)), s3ext.stats()["requests"])
"""


@pytest.mark.parametrize("shift", [-3600, 3600, -86400])
def test_a_wrong_clock_is_found_and_made_up_for(gateway, bucket, boto, tmp_path, shift):
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc to build the shifted clock with")
    (tmp_path / "clock.c").write_text(SHIFTED_CLOCK)
    library = tmp_path / "clock.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, tmp_path / "clock.c", "-ldl"], check=True)
    arguments = {
        "bucket": bucket,
        "endpoint": gateway.url,
        "access_key_id": gateway.access_key,
        "secret_access_key": gateway.secret_key,
        "region": "us-east-1",
        "allow_http": True,
    }
    preload = f"{os.environ.get('LD_PRELOAD', '')} {library}".strip()
    done = subprocess.run(
        [sys.executable, "-c", USE_STORE, json.dumps(arguments)],
        env={**os.environ, "LD_PRELOAD": preload, "CLOCK_SHIFT": str(shift)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "b'23' 3"), done.stderr  # one was refused
    assert boto.get_object(Bucket=bucket, Key="k")["Body"].read() == b"0123456789"

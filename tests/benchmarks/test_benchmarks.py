"""The source serves what it says, and the harness measures every form."""

from __future__ import annotations

import http.client
import importlib.util
import json
import socket
import subprocess
import urllib.parse
import xml.etree.ElementTree as ET
from datetime import datetime
from email.utils import parsedate_to_datetime

import pytest

from tests.benchmarks import harness
from tests.benchmarks.__main__ import main
from tests.benchmarks.content import PERIOD, content
from tests.benchmarks.works import FORMS

GIB = 1 << 30
NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmarks")
    harness.build(folder)
    return folder


@pytest.fixture(scope="module")
def port(built):
    with harness.running_source(built) as port:
        yield port


@pytest.fixture
def connection(port):
    made = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    yield made
    made.close()


def ask(connection, method, path, headers=None, body=None):
    """One request on the connection that is there; returns the status, the headers and the body."""
    connection.request(method, path, body=body, headers=headers or {})
    response = connection.getresponse()
    return response.status, response.headers, response.read()


def test_the_content_is_splitmix64_of_the_position():
    # The first outputs of the published splitmix64 with seed 0.
    assert content(0, 16) == 0xE220A8397B1DCDAF.to_bytes(8, "little") + 0x6E789E6AA1B965F4.to_bytes(
        8, "little"
    )
    assert content(3, 20) == content(0, 40)[3:23]
    assert content(PERIOD - 3, 8) == content(PERIOD - 3, 3) + content(0, 5)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("x-0", 0),
        ("x-1", 1),
        ("a/b/x-16384", 16384),
        ("x-16385", 16385),
        ("2026-01-02-100K", 102400),
        ("x-64KiB", 65536),
        ("%C3%A9-1M", 1 << 20),
    ],
)
def test_a_key_says_how_long_its_object_is(connection, name, size):
    status, headers, body = ask(connection, "GET", f"/bucket/{name}")
    assert (status, headers["Content-Length"], headers["Content-Range"]) == (200, str(size), None)
    assert body == content(0, size)


@pytest.mark.parametrize("name", ["object", "x-", "x-5Q", "x-5KB", "x-1.5", "x--", "x-99999999999999999999"])
def test_other_keys_are_not_there(connection, name):
    status, _, body = ask(connection, "GET", f"/bucket/{name}")
    assert (status, ET.fromstring(body).findtext("Code")) == (404, "NoSuchKey")
    assert ask(connection, "HEAD", f"/bucket/{name}")[0::2] == (404, b"")


@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [
        ("0-0", 0, 0),
        ("1-4096", 1, 4096),
        ("100000-165535", 100000, 165535),
        (f"{PERIOD - 5}-{PERIOD + 4}", PERIOD - 5, PERIOD + 4),
        (f"{PERIOD - 50000}-{PERIOD + 50000}", PERIOD - 50000, PERIOD + 50000),
        (f"{GIB - 10}-", GIB - 10, GIB - 1),
        (f"{GIB - 10}-{GIB + 10}", GIB - 10, GIB - 1),
        ("-100", GIB - 100, GIB - 1),
    ],
)
def test_ranges(connection, wanted, first, last):
    status, headers, body = ask(connection, "GET", "/bucket/object-1GiB", {"Range": f"bytes={wanted}"})
    assert (status, headers["Content-Range"]) == (206, f"bytes {first}-{last}/{GIB}")
    assert headers["Content-Length"] == str(len(body))
    assert body == content(first, last - first + 1)


def test_a_part_of_megabytes_arrives_whole(connection):
    wanted = {"Range": f"bytes={PERIOD - (4 << 20)}-{PERIOD + (4 << 20) - 1}"}
    _, _, body = ask(connection, "GET", "/bucket/object-1GiB", wanted)
    assert len(body) == 8 << 20
    for place in (0, 1234567, (4 << 20) - 500, (8 << 20) - 1000):
        assert body[place : place + 1000] == content(PERIOD - (4 << 20) + place, 1000)


@pytest.mark.parametrize("wanted", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_ranges_that_cannot_be_met(connection, wanted):
    assert ask(connection, "GET", "/bucket/x-100", {"Range": wanted})[0] == 416
    assert ask(connection, "GET", "/bucket/x-100")[0] == 200


@pytest.mark.parametrize("wanted", ["bytes=5-4", "bytes=a-b", "items=0-5", "bytes=0-1,3-4", "bytes=7"])
def test_what_is_no_range_is_ignored(connection, wanted):
    assert ask(connection, "GET", "/bucket/x-100", {"Range": wanted})[0::2] == (200, content(0, 100))


@pytest.mark.parametrize("wanted", [{}, {"Range": "bytes=5-9"}])
def test_head_says_what_get_says(connection, wanted):
    of_get = ask(connection, "GET", "/bucket/x-1000", wanted)
    of_head = ask(connection, "HEAD", "/bucket/x-1000", wanted)
    assert (of_head[0], of_head[2]) == (of_get[0], b"")
    for name in ("Content-Length", "Content-Range", "ETag", "Last-Modified", "Accept-Ranges"):
        assert of_head[1][name] == of_get[1][name]
    assert parsedate_to_datetime(of_head[1]["Last-Modified"]).year == 2026
    assert parsedate_to_datetime(of_head[1]["Date"]) is not None


def test_the_etag_is_of_the_size_and_pins(connection):
    etag = ask(connection, "HEAD", "/bucket/x-1000")[1]["ETag"]
    assert etag[0] == etag[-1] == '"'
    assert ask(connection, "HEAD", "/bucket/x-1001")[1]["ETag"] != etag
    assert ask(connection, "GET", "/bucket/x-1000", {"If-Match": etag})[0] == 200
    assert ask(connection, "GET", "/bucket/x-1001", {"If-Match": etag})[0] == 412


def page(connection, **query):
    target = "/bucket?" + urllib.parse.urlencode({"list-type": "2", **query})
    status, headers, body = ask(connection, "GET", target)
    root = ET.fromstring(body)
    assert (status, headers["Content-Length"]) == (200, str(len(body)))
    keys = [item.findtext(f"{NAMESPACE}Key") for item in root.iter(f"{NAMESPACE}Contents")]
    assert root.findtext(f"{NAMESPACE}KeyCount") == str(len(keys))
    return keys, root.findtext(f"{NAMESPACE}NextContinuationToken"), root


def test_a_list_comes_in_pages_of_a_thousand(connection):
    keys, token, root = page(connection, prefix="some/list-2500/")
    sizes, tokens = [len(keys)], [token]
    while token:
        assert root.findtext(f"{NAMESPACE}IsTruncated") == "true"
        more, token, root = page(connection, **{"prefix": "some/list-2500/", "continuation-token": token})
        keys += more
        sizes.append(len(more))
        tokens.append(token)
    assert (sizes, tokens[-1], root.findtext(f"{NAMESPACE}IsTruncated")) == ([1000, 1000, 500], None, "false")
    assert keys == [f"some/list-2500/{index:08}-4096" for index in range(2500)]


def test_each_key_of_a_list_has_a_time_of_its_own(connection):
    _, _, root = page(connection, **{"prefix": "list-1000/", "encoding-type": "url"})
    times = {item.findtext(f"{NAMESPACE}LastModified") for item in root.iter(f"{NAMESPACE}Contents")}
    assert len(times) == 1000
    assert all(2015 <= datetime.fromisoformat(text).year <= 2025 for text in times)
    assert root.findtext(f"{NAMESPACE}EncodingType") == "url"
    assert page(connection, prefix="list-1/")[2].find(f"{NAMESPACE}EncodingType") is None


def test_a_listed_object_is_there_as_it_was_listed(connection):
    keys, _, root = page(connection, prefix="list-3/")
    _, headers, body = ask(connection, "GET", f"/bucket/{keys[2]}")
    listed = next(root.iter(f"{NAMESPACE}Contents"))
    assert listed.findtext(f"{NAMESPACE}ETag") == headers["ETag"]
    assert listed.findtext(f"{NAMESPACE}Size") == str(len(body)) == "4096"


def test_a_list_begins_after_a_key_and_keeps_to_a_number(connection):
    after = {"prefix": "list-100/", "start-after": "list-100/00000041-4096", "max-keys": "3"}
    keys, token, _ = page(connection, **after)
    assert keys == [f"list-100/{index:08}-4096" for index in (42, 43, 44)]
    assert page(connection, **{"prefix": "list-100/", "continuation-token": token})[0][0].endswith("45-4096")
    assert page(connection, **{**after, "start-after": "list-100/00000099-4096"})[:2] == ([], None)
    assert page(connection, prefix="elsewhere/")[:2] == ([], None)


def test_uploads_are_swallowed_and_the_connection_goes_on(connection):
    for size in (0, 10, 3_000_000):
        status, headers, body = ask(connection, "PUT", f"/bucket/x-{size}", body=bytes(size))
        assert (status, headers["ETag"][:1], body) == (200, '"', b"")
    before = connection.sock
    assert ask(connection, "GET", "/bucket/x-5")[2] == content(0, 5)
    assert connection.sock is before


def test_a_multipart_upload(connection):
    _, _, begun = ask(connection, "POST", "/bucket/big?uploads=")
    upload = ET.fromstring(begun).findtext("UploadId")
    status, headers, _ = ask(
        connection, "PUT", f"/bucket/big?partNumber=1&uploadId={upload}", body=bytes(5 << 20)
    )
    assert (status, bool(headers["ETag"])) == (200, True)
    _, _, done = ask(connection, "POST", f"/bucket/big?uploadId={upload}", body=b"<CompleteMultipartUpload/>")
    assert ET.fromstring(done).findtext("ETag").endswith('-2"')
    assert ask(connection, "DELETE", f"/bucket/big?uploadId={upload}")[0] == 204
    status, _, deleted = ask(connection, "POST", "/bucket?delete", body=b"<Delete/>")
    assert (status, ET.fromstring(deleted).tag) == (200, f"{NAMESPACE}DeleteResult")


def test_requests_in_one_packet_and_heads_in_pieces(port):
    get = b"GET /bucket/x-3 HTTP/1.1\r\nhost: x\r\n\r\n"
    last = b"HEAD /bucket/x-7 HTTP/1.1\r\nhost: x\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=20) as raw, raw.makefile("rb") as stream:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.sendall(get + get + get[:20])
        for piece in (get[20:38], get[38:], last[:5], last[5:]):
            raw.sendall(piece)
        received = stream.read()
    assert received.count(b"HTTP/1.1 200 OK") == 4
    assert received.count(b"\r\n\r\n" + content(0, 3)) == 3


def test_an_upload_that_waits_for_leave(port):
    head = b"PUT /bucket/x HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
        raw.sendall(head)
        assert raw.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        raw.sendall(b"12345")
        assert raw.recv(1000).startswith(b"HTTP/1.1 200 OK")


def test_many_connections_at_once(port):
    made = [http.client.HTTPConnection("127.0.0.1", port, timeout=20) for _ in range(50)]
    for index, one in enumerate(made):
        one.request("GET", f"/bucket/x-{100_000 + index}")
    sizes = [len(one.getresponse().read()) for one in reversed(made)]
    for one in made:
        one.close()
    assert sizes == [100_000 + index for index in reversed(range(50))]


def test_the_source_ends_with_its_standard_input(built):
    process = subprocess.Popen([built / "source"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        assert int(process.stdout.readline()) > 0
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(20) == 0


def test_the_harness_measures_every_form(tmp_path, capsys):
    result = tmp_path / "result.json"
    status = main(["--rounds", "1", "--scale", "0.01", "--json", str(result)])
    assert status == 0, capsys.readouterr().err
    rows = {(row["form"], row["client"]): row for row in json.loads(result.read_text())["rows"]}
    clients = [name for name in ("obstore", "s3ext") if importlib.util.find_spec(name)]
    for form in FORMS:
        wanted = [name for name in clients if name in form.clients]
        for client in ["floor", *wanted] if wanted else []:
            row = rows[form.name, client]
            assert row["cpu"] > 0
            if form.work.operation != "import":
                assert row["to_floor"] > 0
                assert (row["mb_per_s"] > 0) == (form.work.operation not in {"head", "list"})
                assert ("to_beside" in row) == (form.beside != "" and client != "floor")
    assert rows


def test_a_client_that_fails_is_told_and_the_others_go_on(monkeypatch, capsys):
    measure = harness.Bench.measure

    def broken(self, form, client):
        if client != "floor":
            raise harness.MeasurementError("it broke")
        return measure(self, form, client)

    monkeypatch.setattr(harness.Bench, "measure", broken)
    monkeypatch.setattr(harness, "why_not_importable", lambda client: None)
    assert main(["--rounds", "2", "--scale", "0.001", "--work", "d"]) == 1
    printed = capsys.readouterr()
    assert (printed.err.count("it broke"), printed.out.count("floor")) == (2, 2)


def test_a_client_that_is_not_there_is_left_out(monkeypatch, capsys):
    monkeypatch.setattr(harness, "why_not_importable", lambda client: f"No module named {client!r}")
    assert main(["--rounds", "1", "--scale", "0.001", "--work", "e"]) == 0
    assert "without obstore: No module named 'obstore'" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--work", "z"], ["--client", "boto3"], ["--loop", "trio"]])
def test_unknown_words_are_refused(arguments):
    with pytest.raises(SystemExit):
        main(arguments)

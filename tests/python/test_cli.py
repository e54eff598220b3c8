"""The command line: arguments, exit status, and the demo from end to end on small data."""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from s3ext import cli
from s3ext.cli import demo
from s3ext.store import S3Store
from s3ext.testing import serve


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1048576", 1 << 20),
        ("256MiB", 256 << 20),
        ("256m", 256 << 20),
        ("300MB", 300_000_000),
        ("1 GiB", 1 << 30),
        ("2kb", 2000),
        ("7b", 7),
    ],
)
def test_sizes_are_read_with_binary_and_decimal_units(text, size):
    assert cli._size(text) == size


@pytest.mark.parametrize("text", ["", "0", "0MiB", "-1", "1.5GiB", "1TiB", "5ib", "MiB", "x"])
def test_what_is_not_a_size_is_refused_by_its_text(text):
    with pytest.raises(argparse.ArgumentTypeError, match=repr(text)):
        cli._size(text)


@pytest.mark.parametrize(
    "arguments", [[], ["nothing"], ["demo", "--concurrency", "0"], ["demo", "--size", "0"]]
)
def test_wrong_arguments_end_with_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert "usage: s3ext" in capsys.readouterr().err


def test_the_demo_is_not_led_away_by_the_environment(monkeypatch):
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true")
    assert cli.main(["demo", "--size", "1MB"]) == 0
    assert os.environ["AWS_ENDPOINT_URL"] == "http://127.0.0.1:9"


@pytest.mark.smoke
def test_the_demo_writes_lists_reads_and_verifies(capsys):
    assert cli.main(["demo", "--size", "5MB", "--concurrency", "4"]) == 0
    printed = capsys.readouterr().out
    assert "every SHA-256 is right" in printed
    assert "embedded server (moto, in Python) bounds the MB/s" in printed
    for phase in ("put_async", "list", "get_range", "get_range_async"):
        assert f" {phase} " in printed


def test_the_demo_takes_a_folder_with_an_empty_file(tmp_path, capsys):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "tail ü+%.bin").write_bytes(random.Random(1).randbytes(9 << 20))
    (tmp_path / "empty").touch()
    assert cli.main(["demo", str(tmp_path)]) == 0
    assert "2 objects written, listed and read back twice" in capsys.readouterr().out


def test_the_demo_only_reads_from_a_bucket_and_stops_at_the_size(monkeypatch, capsys):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with serve() as server:
        url = server.endpoint_url
        store = S3Store(server.bucket("real"), endpoint=url, client_options={"allow_http": True})
        for number in range(4):
            store.put(f"some/prefix/{number}", bytes([number]) * 100_000)
        status = cli.main(["demo", "s3://real/some/prefix", "--endpoint-url", url, "--size", "250kB"])
        listed = sorted(meta["path"] for page in store.list() for meta in page)
    assert status == 0
    assert "2 objects read twice; both readings have the same SHA-256" in capsys.readouterr().out
    assert listed == [f"some/prefix/{number}" for number in range(4)]


def test_objects_beyond_the_size_are_passed_over_and_without_others_it_is_an_error(capsys, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with serve() as server:
        url = server.endpoint_url
        store = S3Store(server.bucket("real"), endpoint=url, client_options={"allow_http": True})
        store.put("a-large-one", bytes(5000))
        refused = cli.main(["demo", "s3://key:canary@real", "--endpoint-url", url, "--size", "4000"])
        said = capsys.readouterr().err
        assert 'S3Store(bucket="real") holds no object of at most 4,000 bytes' in said
        assert "canary" not in said
        store.put("b-small-one", bytes(3000))
        assert cli.main(["demo", "s3://real", "--endpoint-url", url, "--size", "4000"]) == 0
    assert refused == 1
    assert "1 objects read twice" in capsys.readouterr().out


def test_a_bucket_that_is_not_there_is_one_line_and_status_1(capsys):
    with serve() as server:
        status = cli.main(["demo", "s3://nowhere", "--endpoint-url", server.endpoint_url, "--anonymous"])
    printed = capsys.readouterr()
    assert status == 1
    assert printed.err.startswith("s3ext: error: ")
    assert "NoSuchBucket" in printed.err


@pytest.mark.parametrize(("make", "message"), [(False, "is not a folder"), (True, "holds no files")])
def test_a_folder_without_files_is_an_error(tmp_path, capsys, make, message):
    folder = tmp_path / "folder"
    if make:
        folder.mkdir()
    assert cli.main(["demo", str(folder)]) == 1
    assert message in capsys.readouterr().err


def test_bytes_that_differ_are_found():
    item = demo.Item("key", 4, sha256=b"other")
    with pytest.raises(RuntimeError, match="key: the bytes read are not those expected"):
        demo.Landing(item, bytearray(4), 0).check()


def test_a_piece_that_is_too_short_is_found():
    landing = demo.Landing(demo.Item("key", 4), bytearray(4), 1)
    with pytest.raises(RuntimeError, match="key: 3 bytes came where 4 were to be read"):
        demo._landed(None, landing, 3, 4)


def test_a_listing_that_differs_is_found():
    items = [demo.Item("a", 1), demo.Item("b", 2)]
    with pytest.raises(RuntimeError, match="differs from what was written: b"):
        demo._compare(items, [demo.Item("a", 1), demo.Item("b", 3)])


def test_made_up_data_spans_the_sizes_and_is_the_same_every_time():
    items = demo._made_up(100 << 20)
    assert sum(item.size for item in items) == 100 << 20
    assert {4 << 10, 32 << 20} <= {item.size for item in items}
    assert len({item.key for item in items}) == len(items)
    assert demo._made_up(100 << 20) == items
    assert items[0].content() == items[0].content()


@pytest.mark.parametrize("seconds", [1.0, 2.0, 4.0])
def test_ctrl_c_ends_the_demo_at_once_and_without_a_traceback(seconds):
    with subprocess.Popen(
        [sys.executable, "-m", "s3ext.cli", "demo", "--size", "4GiB"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            time.sleep(seconds)
            os.killpg(process.pid, signal.SIGINT)
            start = time.monotonic()
            printed, _ = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 130
    assert time.monotonic() - start < 3.5  # an exit with work under way takes at most 3 s
    assert printed.rstrip().endswith("interrupted")
    assert "Traceback" not in printed

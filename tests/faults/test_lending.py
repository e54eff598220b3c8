"""Large parts of plain uploads are sent from where they are (bytes/splice.h): what that may never change."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import socket
import threading

import pytest

from tests.faults.tools import connect
from tests.lifecycle.process import Script
from tests.pure import native
from tests.server import Fault, faults

MIB = 1024 * 1024
CHUNK = 5 * MIB

NO_SPLICE = """
#include <errno.h>
#include <sys/types.h>
#include <sys/uio.h>
static int calls;
ssize_t vmsplice(int fd, const struct iovec *pieces, size_t count, unsigned flags)
{
    (void)fd, (void)pieces, (void)count, (void)flags;
    calls++;
    errno = EPERM;
    return -1;
}
int refusals(void)
{
    return calls;
}
"""

LENGTH = 12 * MIB - 3
UPLOAD = f"""
data = (bytes(range(251)) * 60_000)[3 : {LENGTH + 3}]
store.put("k", data, use_multipart=True, chunk_size={CHUNK})
"""


@pytest.mark.parametrize("skipped", [0, 1, 4095])
def test_parts_arrive_as_they_are_wherever_they_begin(server, sync, skipped):
    data = memoryview(random.Random(1).randbytes(13 * MIB + 7))[skipped:]
    for _ in range(2):  # over connections that have lent before
        sync(connect(server), "put", "k", data, use_multipart=True, chunk_size=CHUNK)
        assert server.get("k").data == bytes(data)


@pytest.mark.parametrize("kind", ["file", "chunks"])
def test_memory_of_ours_that_is_used_again_arrives_as_it_was(server, sync, kind, tmp_path):
    data = random.Random(2).randbytes(21 * MIB + 1)
    source = iter([data[at : at + MIB] for at in range(0, len(data), MIB)])
    if kind == "file":
        (tmp_path / "file").write_bytes(data)
        source = tmp_path / "file"
    sync(connect(server), "put", "k", source, chunk_size=CHUNK, max_concurrency=2)
    assert server.get("k").data == data


@pytest.mark.parametrize("reset", [False, True])
def test_a_peer_that_closes_ends_no_process_by_a_signal(server, reset):
    fault = server.faults.add(Fault(faults.cut_upload(MIB, reset=reset), method="PUT", times=2))
    script = f"""
import signal
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
{UPLOAD}
print(signal.sigpending())
"""
    with Script(server, script, limit=20) as child:
        assert child.end() == "set()\n"
    assert fault.hits == 2
    assert server.get("k").size == LENGTH


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no compiler for a kernel that refuses")
def test_where_the_system_refuses_parts_are_copied(server, tmp_path, lane):
    (tmp_path / "refuse.c").write_text(NO_SPLICE)
    library = tmp_path / "refuse.so"
    native.run(["cc", "-shared", "-fPIC", "-o", str(library), str(tmp_path / "refuse.c")])
    script = f"""
import ctypes
{UPLOAD}
print(ctypes.CDLL({str(library)!r}).refusals())
"""
    preload = f"{os.environ.get('LD_PRELOAD', '')} {library}".strip()
    with Script(server, script, limit=20, environment={"LD_PRELOAD": preload}) as child:
        refusals = int(child.end())
    # Each connection asks once.
    assert (1 <= refusals <= 3) if lane == "direct" else refusals == 0
    assert server.get("k").size == LENGTH


def test_a_child_of_a_fork_closes_the_pipes(server):
    fault = server.faults.add(Fault(faults.stall("request"), method="PUT", times=3))
    script = f"""
import threading
def upload():
    {UPLOAD.strip().replace(chr(10), chr(10) + "    ")}
def pipes():
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add((name, os.readlink("/proc/self/fd/" + name)))
        except FileNotFoundError:  # the descriptor of the listing itself
            pass
    return {{(name, what) for name, what in found if what.startswith("pipe:")}}
before = pipes()
thread = threading.Thread(target=upload)
thread.start()
until(lambda: s3ext.stats()["exchanges_in_flight"] >= 3)
def child():
    check()
    assert pipes() <= before, pipes() - before
fork(child)()
print("forked", len(pipes() - before))
thread.join()
assert pipes() == before
"""
    with Script(server, script, limit=20) as child:
        assert child.line().startswith("forked ")
        fault.release()
        child.end()
    assert server.get("k").size == LENGTH


UPLOAD_BEGUN = b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"


class SlowPeer:
    """Takes an upload, and stops reading in the middle of its first part until it is told to go on."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.reading, self.go_on = threading.Event(), threading.Event()
        self.end = None
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.parts = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer):
        with peer, peer.makefile("rb") as stream:
            while line := stream.readline():
                method = line.partition(b" ")[0]
                size = 0
                while (header := stream.readline()) not in {b"\r\n", b""}:
                    name, _, value = header.partition(b":")
                    size = int(value) if name.lower() == b"content-length" else size
                if method == b"PUT":
                    self.take_part(stream)
                    return
                stream.read(size)
                body = b"" if method == b"DELETE" else UPLOAD_BEGUN
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    def take_part(self, stream):
        stream.read(MIB)
        self.reading.set()
        assert self.go_on.wait(20)
        try:
            while stream.read(MIB):
                pass
            self.end = "closed"
        except ConnectionResetError:
            self.end = "reset"


def test_an_attempt_that_is_given_up_is_reset_and_not_sent_to_its_end(lane):
    peer = SlowPeer()
    data = bytes(64 * MIB)

    async def give_up():
        store = connect(peer)
        task = asyncio.create_task(
            store.put_async("k", data, use_multipart=True, chunk_size=len(data), max_concurrency=1)
        )
        await asyncio.to_thread(peer.reading.wait, 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with peer.listener:
        asyncio.run(give_up())
        peer.go_on.set()
        for _ in range(400):
            if peer.end is not None:
                break
            threading.Event().wait(0.05)
    # libcurl has copied what it sends, and closes as usual.
    assert peer.end == ("reset" if lane == "direct" else "closed")

"""A Ceph cluster of one node, in memory and for one run of the tests: a monitor, an OSD, and two gateways.

A process of its own, the supervisor, starts the daemons and ends them; this file is both that process
(`python -m tests.radosgw.cluster DIRECTORY`) and `Cluster`, by which a test process uses it. All test
processes that name the same directory, such as the workers of pytest-xdist, share one cluster.

    test process ──connects──► supervisor ──► ceph-mon, ceph-osd, radosgw, radosgw (with STS)
    test process ──connects──►

The connection says everything. It is to an abstract Unix socket named after the directory: who cannot connect
starts a supervisor, and the second of two that start at once finds the name taken and ends. Its first and
only line from the supervisor is the description, or why there is no cluster. As long as it is open, the test
process uses the cluster; the kernel closes it for one that is killed. With the last of them the supervisor
kills the daemons, removes their files and ends, and only then closes the connection, for which
`Cluster.leave` waits. A supervisor that is killed takes the daemons with it.

Ports of gateways and monitor are chosen by the system, but the daemons bind them later: if one is gone by
then, everything is started anew.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import hashlib
import json
import os
import secrets
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

__all__ = ["PROGRAMS", "Cluster", "Description", "StartError", "missing_programs"]

PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
START_SECONDS = 60.0
"""For all of the start; it takes 1 to 3."""
STOP_SECONDS = 15.0
ATTEMPTS = 3
LOG_LINES = 12
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)

# What is not plain: cephx is on by default, and radosgw hangs without it. Without the short propose interval
# each of the pools that radosgw makes takes a second or two. One version of the daemons' protocol is enough,
# and takes fewer ports. The OSD's memory is used only as far as there are objects.
CONFIGURATION = """
[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{port}
keyring = {directory}/keyring
run dir = {directory}
crash dir = {directory}
log file = {directory}/$name.log
admin socket =
mon cluster log to file = false
cluster addr = 127.0.0.1
ms bind msgr1 = false
paxos propose interval = 0.02
mon data = {directory}/mon
mon allow pool size one = true
mon data avail crit = 1
mon data avail warn = 1
osd data = {directory}/osd
osd objectstore = memstore
memstore device bytes = 4294967296
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
debug rocksdb = 0
rgw thread pool size = 64
rgw dns name = localhost
rgw crypt require ssl = false
rgw dynamic resharding = false
rgw enable gc threads = false
rgw enable lc threads = false
rgw enable usage log = false
rgw sts key = {sts_key}
rgw sts min session duration = 2
[osd]
public addr = 127.0.0.1
"""


class StartError(Exception):
    """The cluster did not start; the message has the ends of the logs."""


@dataclass(frozen=True, slots=True)
class Description:
    """What a test needs to know.

    Attributes:
        url: The gateway. Signatures that are wrong get S3's own error codes.
        tls_url: The same one over https; trust `ca`.
        sts_url: A second gateway to the same objects, which knows session tokens and gives them out.
        ca: PEM file to trust.
        access_key: Key of the user that may do everything.
        secret_key: Its secret.
        supervisor: Process id of the supervisor.
        daemons: Process ids of the daemons.
        directory: Where their files are.
    """

    url: str
    tls_url: str
    sts_url: str
    ca: str
    access_key: str
    secret_key: str
    supervisor: int
    daemons: tuple[int, ...]
    directory: str


def missing_programs() -> list[str]:
    """Return which of the programs that a cluster takes are not installed."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


def _socket_name(directory: Path) -> bytes:
    """Name the abstract socket; a path could be too long for one."""
    return b"\0s3ext-radosgw-" + hashlib.sha256(os.fsencode(directory.resolve())).hexdigest()[:40].encode()


# ---- the test process ----


class Cluster:
    """Use of a cluster, from `join` to `leave`; also a context manager.

    Args:
        directory: An existing directory in which the cluster makes a temporary one for itself. The same
            directory means the same cluster.
    """

    description: Description

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._connection: socket.socket | None = None

    def join(self) -> Self:
        """Use the cluster that runs, or start one.

        Raises:
            StartError: It did not start.
        """
        deadline = time.monotonic() + START_SECONDS + 10
        while (line := self._connect(deadline)) is None:
            self._start(deadline)
        described = json.loads(line)
        if "error" in described:
            self.leave()
            raise StartError(described["error"])
        described["daemons"] = tuple(described["daemons"])
        self.description = Description(**described)
        return self

    def leave(self) -> None:
        """Use it no longer; who leaves last waits until nothing is left of it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with connection, contextlib.suppress(OSError):
                connection.settimeout(STOP_SECONDS)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(1)

    def __enter__(self) -> Self:
        return self.join()

    def __exit__(self, *_exception: object) -> None:
        self.leave()

    def _connect(self, deadline: float) -> bytes | None:
        """Connect and return the supervisor's line, or None if there is none that serves."""
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(max(0.1, deadline - time.monotonic()))
            connection.connect(_socket_name(self._directory))
            with connection.makefile("rb") as lines:
                line = lines.readline()
        except TimeoutError:
            connection.close()
            raise StartError("the cluster's supervisor does not answer") from None
        except OSError:
            line = b""
        except BaseException:
            connection.close()  # Ctrl-C must not leave it to the traceback
            raise
        if not line:
            connection.close()
            return None
        self._connection = connection
        return line

    def _start(self, deadline: float) -> None:
        """Start a supervisor; when this returns it listens, or another one does."""
        if time.monotonic() > deadline:
            raise StartError("the cluster's supervisor ended again and again")
        # Not what a sanitizer or profiler has preloaded into this process.
        environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
        done = subprocess.run(
            [sys.executable, "-m", "tests.radosgw.cluster", str(self._directory)],
            cwd=Path(__file__).resolve().parents[2],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=START_SECONDS,
            start_new_session=True,  # Ctrl-C is for the tests
        )
        if done.returncode:
            raise StartError(f"the cluster's supervisor ended with status {done.returncode}\n{done.stderr}")


# ---- the supervisor ----


class Daemons:
    """The cluster's processes and files, all below a new temporary directory.

    Args:
        parent: Where that is made.
        deadline: When the start must be over, by `time.monotonic()`.
    """

    def __init__(self, parent: Path, deadline: float) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="radosgw-", dir=parent))
        self.deadline = deadline
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.access_key = secrets.token_hex(10).upper()
        self.secret_key = secrets.token_urlsafe(30)
        # Only what programs need: settings for other clusters (CEPH_*) or Pythons are not for these.
        self.environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}

    def start(self) -> Description:
        """Start everything.

        Raises:
            StartError: A program failed or took too long.
        """
        from tests.server.tls import make_certificate

        certificate = make_certificate()
        fsid, monitor, plain, tls, sts = str(uuid.uuid4()), *_free_ports(4)
        self._write_files(fsid, monitor)
        self._start_store(fsid, monitor)
        self._run(
            "radosgw-admin", "user", "create", "--uid=tester", "--display-name=tester", "--caps=roles=*",
            f"--access-key={self.access_key}", f"--secret={self.secret_key}",
        )  # fmt: skip
        # Without tcp_nodelay each small answer waits 40 ms for the client's acknowledgement.
        listen = (
            f"tcp_nodelay=1 endpoint=127.0.0.1:{plain} ssl_endpoint=127.0.0.1:{tls} "
            f"ssl_certificate={certificate.certificate} ssl_private_key={certificate.key}"
        )
        self._spawn("gateway", "radosgw", "--rgw-frontends", f"beast {listen}")
        self._spawn(
            "sts", "radosgw", "--rgw-frontends", f"beast tcp_nodelay=1 endpoint=127.0.0.1:{sts}",
            "--rgw-s3-auth-use-sts=true",
        )  # fmt: skip
        for name, port in (("gateway", plain), ("gateway", tls), ("sts", sts)):
            self._await_port(name, port)
        return Description(
            url=f"http://localhost:{plain}",
            tls_url=f"https://localhost:{tls}",
            sts_url=f"http://localhost:{sts}",
            ca=str(certificate.ca),
            access_key=self.access_key,
            secret_key=self.secret_key,
            supervisor=os.getpid(),
            daemons=tuple(process.pid for process in self.processes.values()),
            directory=str(self.directory),
        )

    def stop(self) -> None:
        """Kill the processes, of which nothing is to be kept, and remove their files."""
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _write_files(self, fsid: str, monitor: int) -> None:
        entries = {
            "mon.": {"mon": "allow *"},
            "client.admin": {"mon": "allow *", "osd": "allow *", "mgr": "allow *"},
            "osd.0": {"mon": "allow profile osd", "osd": "allow *"},
        }
        lines = []
        for name, allowed in entries.items():
            lines += [f"[{name}]", f"key = {_new_key()}"]
            lines += [f'caps {service} = "{capability}"' for service, capability in allowed.items()]
        (self.directory / "keyring").write_text("\n".join([*lines, ""]))
        configuration = CONFIGURATION.format(
            directory=self.directory, fsid=fsid, port=monitor, sts_key=secrets.token_hex(8)
        )
        (self.directory / "ceph.conf").write_text(configuration)
        (self.directory / "mon").mkdir()
        (self.directory / "osd").mkdir()

    def _start_store(self, fsid: str, monitor: int) -> None:
        """Start the monitor and the OSD."""
        monmap, osd = str(self.directory / "monmap"), str(uuid.uuid4())
        address = f"[v2:127.0.0.1:{monitor}]"
        self._run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, monmap)
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap)
        self._spawn("monitor", "ceph-mon", "-i", "a")
        self._run("ceph", "osd", "new", osd, "0")
        self._run("ceph-osd", "--mkfs", "-i", "0", "--osd-uuid", osd)
        self._spawn("osd", "ceph-osd", "-i", "0")

    def _run(self, program: str, *arguments: str) -> None:
        """Run a program to its end, unless a daemon ends or the time does before."""
        process = self._popen(program, f"{program}.out", *arguments)
        try:
            while (status := process.poll()) is None:
                self._check(f"waiting for {program}")
                time.sleep(0.005)
        finally:
            process.kill()
            process.wait()
        if status:
            raise StartError(f"{program} failed with status {status}\n{self._logs()}")

    def _spawn(self, name: str, program: str, *arguments: str) -> None:
        """Start a daemon, in the foreground."""
        log = ("--log-file", str(self.directory / f"{name}.log"))
        self.processes[name] = self._popen(program, f"{name}.out", "-f", *log, *arguments)

    def _popen(self, program: str, output: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.directory / output).open("ab") as file:
            return subprocess.Popen(
                [program, "--conf", str(self.directory / "ceph.conf"), *arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - the supervisor has no threads
            )

    def _await_port(self, name: str, port: int) -> None:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            self._check(f"waiting for {name} to listen")
            time.sleep(0.01)

    def _check(self, doing: str) -> None:
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise StartError(f"{name} ended with status {process.returncode}, {doing}\n{self._logs()}")
        if time.monotonic() > self.deadline:
            raise StartError(f"not ready within {START_SECONDS:g} s, {doing}\n{self._logs()}")

    def _logs(self) -> str:
        """Return the ends of all logs."""
        parts = []
        for path in sorted([*self.directory.glob("*.log"), *self.directory.glob("*.out")]):
            lines = path.read_text(errors="replace").splitlines()[-LOG_LINES:]
            if lines:
                parts += [f"---- {path.name}", *lines]
        return "\n".join(parts).replace(self.secret_key, "***")


def _new_key() -> str:
    """Make a key for cephx: type AES, time of creation, length and 16 bytes."""
    head = struct.pack("<HIIH", 1, int(time.time()), 0, 16)
    return base64.b64encode(head + secrets.token_bytes(16)).decode()


def _free_ports(count: int) -> list[int]:
    """Find ports that are free now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _die_with_parent() -> None:
    """Let the kernel kill this process when the supervisor is killed."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _start_all(parent: Path) -> tuple[Daemons | None, dict[str, object]]:
    """Start the daemons, again if one ended at once, and say how that went."""
    deadline = time.monotonic() + START_SECONDS
    for attempt in range(ATTEMPTS):
        daemons = Daemons(parent, deadline)
        try:
            return daemons, asdict(daemons.start())
        except StartError as error:
            daemons.stop()
            failure = str(error)
            if attempt == ATTEMPTS - 1 or time.monotonic() > deadline:
                break
        except Exception as error:  # noqa: BLE001 - told to the tests, who have the only way to show it
            daemons.stop()
            failure = repr(error)
            break
        except BaseException:
            daemons.stop()
            raise
    return None, {"error": failure}


def _serve(listener: socket.socket, line: bytes) -> list[socket.socket]:
    """Describe the cluster to all who connect; return the connections of the last to leave."""
    users: set[socket.socket] = set()
    patience: float | None = START_SECONDS  # until the first one comes
    while True:
        ready, _, _ = select.select([listener, *users], [], [], patience)
        if not ready:
            return []
        patience = None
        gone = [each for each in ready if each is not listener]
        if listener in ready:
            user, _ = listener.accept()
            with contextlib.suppress(OSError):
                user.sendall(line)
            users.add(user)
        users.difference_update(gone)
        if not users:
            return gone
        for each in gone:
            each.close()


def main(directory: str) -> int:
    """Run a cluster as long as somebody uses it."""
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(_socket_name(Path(directory)))
    except OSError:
        return 0  # another one was faster
    listener.listen(64)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    # Who started us waits for our end, and then connects; a child lives on, on its own.
    if os.fork():
        return 0
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    home = tempfile.mkdtemp(prefix="cluster-", dir=directory)
    tempfile.tempdir = home  # for the certificate
    daemons = None
    try:
        daemons, description = _start_all(Path(home))
        leaving = _serve(listener, json.dumps(description).encode() + b"\n")
    finally:
        listener.close()
        if daemons is not None:
            daemons.stop()
        shutil.rmtree(home, ignore_errors=True)
    for each in leaving:
        each.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

"""The cluster of these tests: one for all who name a directory, and nothing left of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.lifecycle import SLOW
from tests.radosgw import cluster as cluster_module
from tests.radosgw.cluster import Cluster, Daemons, StartError, missing_programs

pytestmark = pytest.mark.skipif(bool(missing_programs()), reason="the programs of Ceph are not installed")

ROOT = Path(__file__).resolve().parents[2]

USER = """
import sys
from pathlib import Path
from tests.radosgw.cluster import Cluster
cluster = Cluster(Path(sys.argv[1])).join()
description = cluster.description
print(description.supervisor, *description.daemons, flush=True)
sys.stdin.read()
"""


def user(directory):
    """Start a process that uses the cluster of a directory; it ends when its input does."""
    return subprocess.Popen(
        [sys.executable, "-c", USER, str(directory)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        process_group=0,
    )


def running(process):
    """Say whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def await_end(processes, directory):
    """Wait until neither processes nor files are left."""
    end = time.monotonic() + 15
    while left := [process for process in processes if running(process)] + list(directory.iterdir()):
        assert time.monotonic() < end, f"still there: {left}"
        time.sleep(0.02)


def test_processes_that_start_at_once_share_one_cluster_until_the_last_has_left(tmp_path):
    users = [user(tmp_path) for _ in range(2)]
    processes = [[int(number) for number in each.stdout.readline().split()] for each in users]
    assert len(processes[0]) == 5
    assert processes[0] == processes[1]
    assert len(list(tmp_path.iterdir())) == 1
    users[0].kill()
    users[0].communicate()
    with Cluster(tmp_path) as cluster:
        assert [cluster.description.supervisor, *cluster.description.daemons] == processes[0]
        users[1].communicate()
        assert all(map(running, processes[0]))
    assert list(tmp_path.iterdir()) == []
    assert not any(map(running, processes[0][1:]))
    await_end(processes[0], tmp_path)


def test_ctrl_c_while_it_starts_leaves_nothing(tmp_path):
    process = user(tmp_path)
    end = time.monotonic() + 20
    while not list(tmp_path.glob("cluster-*/radosgw-*/keyring")):
        assert time.monotonic() < end
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate()
    await_end([], tmp_path)


def test_a_killed_supervisor_takes_its_daemons_along(tmp_path):
    with Cluster(tmp_path) as cluster:
        processes = cluster.description.daemons
        os.kill(cluster.description.supervisor, signal.SIGKILL)
        end = time.monotonic() + 10
        while any(map(running, processes)):
            assert time.monotonic() < end
            time.sleep(0.02)


def fake_programs(directory, **scripts):
    """Make a folder of programs that do what the scripts say; the others do nothing at once."""
    folder = directory / "bin"
    folder.mkdir()
    for program in cluster_module.PROGRAMS:
        file = folder / program
        file.write_text(f"#!/bin/sh\n{scripts.get(program.replace('-', '_'), 'exit 0')}\n")
        file.chmod(0o755)
    return str(folder)


def test_a_start_that_fails_shows_the_logs(tmp_path, monkeypatch):
    script = 'echo "no room for $1 here"; exit 3'
    folder = fake_programs(tmp_path, ceph_mon=script)
    monkeypatch.setenv("PATH", folder, prepend=os.pathsep)
    home = tmp_path / "home"
    home.mkdir()
    with pytest.raises(StartError, match="ceph-mon failed with status 3") as caught:
        Cluster(home).join()
    assert "no room for --conf here" in str(caught.value)
    await_end([], home)


def test_a_start_that_hangs_is_given_up(tmp_path, monkeypatch):
    folder = fake_programs(tmp_path, ceph_mon='[ "$3" = --mkfs ] || exec sleep 100', ceph="exec sleep 100")
    monkeypatch.setenv("PATH", folder, prepend=os.pathsep)
    home = tmp_path / "home"
    home.mkdir()
    daemons = Daemons(home, time.monotonic() + 0.5 * SLOW)
    try:
        with pytest.raises(StartError, match=r"not ready within .* waiting for ceph\n"):
            daemons.start()
    finally:
        daemons.stop()
    assert list(home.iterdir()) == []


def test_a_daemon_that_ends_is_not_waited_for(tmp_path, monkeypatch):
    folder = fake_programs(tmp_path, ceph_mon='[ "$3" = --mkfs ] || exit 4', ceph="exec sleep 100")
    monkeypatch.setenv("PATH", folder, prepend=os.pathsep)
    home = tmp_path / "home"
    home.mkdir()
    daemons = Daemons(home, time.monotonic() + 30)
    try:
        with pytest.raises(StartError, match="monitor ended with status 4"):
            daemons.start()
    finally:
        daemons.stop()

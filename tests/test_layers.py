"""The order of layers in csrc/, as csrc/README.md draws it: nobody includes what lies below."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CSRC = Path(__file__).resolve().parent.parent / "csrc"
LAYERS = ["base", "pure", "identity", "bytes", "flow", "operations", "face"]
SOURCES = sorted(path for layer in LAYERS for path in (CSRC / layer).glob("*.[ch]"))
INCLUDE = re.compile(r'^#include [<"]([^>"]+)[>"]', re.MULTILINE)


def includes(path: Path) -> list[str]:
    return INCLUDE.findall(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_file_includes_only_its_own_layer_and_those_above(path: Path) -> None:
    own = LAYERS.index(path.parent.name)
    below = [name for name in includes(path) if name.partition("/")[0] in LAYERS[own + 1 :]]
    assert below == []


def test_only_a_lane_knows_libcurl() -> None:
    users = {path.name for path in SOURCES if any(name.startswith("curl/") for name in includes(path))}
    assert users == {"curl_easy.h"}
    users = {path.name for path in SOURCES if "bytes/curl_easy.h" in includes(path)}
    assert users == {"curl_easy.c", "lane.c", "lane_curl.c", "connector.h"}
    inner = {f"bytes/{name}.h" for name in ("connector", "connection", "channel", "watch")}
    users = {path.parent.name for path in SOURCES if inner & set(includes(path))}
    assert users == {"bytes"}


def test_only_the_buffer_type_knows_python() -> None:
    users = [path for path in SOURCES if "Python.h" in includes(path)]
    assert users == []
    assert "Python.h" in includes(CSRC / "python" / "buffer.c")


def test_only_the_poll_the_sockets_the_splice_and_the_queue_make_descriptors() -> None:
    calls = re.compile(r"\b(?:socket|epoll_create1|eventfd|pipe2?|accept4?|open)\(")
    makers = {path.name for path in SOURCES if calls.search(path.read_text(encoding="utf-8"))}
    assert makers == {"poll.c", "socket.c", "splice.c", "queue.c"}

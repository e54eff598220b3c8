"""A bucket against a dict: whatever the order of operations, both hold the same."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from tests.python.ways import PART, Way, connect
from tests.server import VerifyingServer

SEGMENTS = st.text(
    st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="/"), min_size=1, max_size=6
)
PATHS = st.lists(SEGMENTS.filter(lambda segment: segment not in {".", ".."}), min_size=1, max_size=3).map(
    "/".join
)
SMALL = st.binary(max_size=200)
# A few sizes around the limits of parts; the bytes differ all over, so that no part can stand for another.
LARGE = st.sampled_from([PART - 1, PART, PART + 1, 2 * PART + 7, 3 * PART]).map(
    lambda size: b"".join(number.to_bytes(4, "little") for number in range(-(-size // 4)))[:size]
)


class Bucket(RuleBasedStateMachine):
    """The machine; `kind` says how operations are called."""

    kind = "sync"
    paths = Bundle("paths")

    def __init__(self):
        super().__init__()
        self.server = VerifyingServer()
        self.server.start()
        self.way = Way(self.kind)
        self.store = connect(self.server, prefix="within/here")
        self.model = {}

    def teardown(self):
        errors = self.server.take_errors()
        self.way.close()
        self.server.stop()
        assert not errors, "\n".join(map(str, errors))

    @rule(target=paths, path=PATHS)
    def name(self, path):
        return path

    @rule(path=paths, data=st.one_of(SMALL, SMALL, LARGE), multipart=st.sampled_from([None, True, False]))
    def put(self, path, data, multipart):
        answer = self.way(self.store, "put", path, data, use_multipart=multipart)
        assert answer["e_tag"]
        self.model[path] = data

    @rule(path=paths, chunks=st.lists(SMALL, max_size=5))
    def put_iterator(self, path, chunks):
        self.way(self.store, "put", path, iter(chunks))
        self.model[path] = b"".join(chunks)

    @rule(path=paths, data=SMALL)
    def create(self, path, data):
        if path in self.model:
            with pytest.raises(FileExistsError):
                self.way(self.store, "put", path, data, mode="create")
        else:
            self.way(self.store, "put", path, data, mode="create")
            self.model[path] = data

    @rule(path=paths)
    def get(self, path):
        if path not in self.model:
            with pytest.raises(FileNotFoundError):
                self.way(self.store, "get", path)
            return
        result = self.way(self.store, "get", path)
        assert result.meta["path"] == path
        assert result.meta["size"] == len(self.model[path])
        assert self.way(result, "bytes") == self.model[path]

    @rule(path=paths, least=st.sampled_from([1, 1_000_000, 7_000_000]))
    def stream(self, path, least):
        if path in self.model:
            stream = self.way(self.store, "get", path).stream(least)
            assert b"".join(self.way.pieces(stream)) == self.model[path]

    @rule(path=paths, data=st.data())
    def get_range(self, path, data):
        body = self.model.get(path)
        if not body:
            return
        start = data.draw(st.integers(0, len(body) - 1))
        end = data.draw(st.integers(start + 1, len(body) + 100))
        assert self.way(self.store, "get_range", path, start=start, end=end) == body[start:end]
        destination = bytearray(end - start)
        read = self.way(self.store, "get_range", path, start=start, end=end, into=destination)
        assert read == body[start:end]
        assert destination.startswith(body[start:end])

    @rule(path=paths, data=st.data(), coalesce=st.sampled_from([0, 10, 1024 * 1024]))
    def get_ranges(self, path, data, coalesce):
        body = self.model.get(path)
        if not body:
            return
        starts = data.draw(st.lists(st.integers(0, len(body) - 1), max_size=8))
        ends = [data.draw(st.integers(start + 1, min(len(body), start + 300) + 5)) for start in starts]
        got = self.way(self.store, "get_ranges", path, starts=starts, ends=ends, coalesce=coalesce)
        assert got == [body[start:end] for start, end in zip(starts, ends, strict=True)]

    @rule(path=paths)
    def head(self, path):
        if path in self.model:
            assert self.way(self.store, "head", path)["size"] == len(self.model[path])
        else:
            with pytest.raises(FileNotFoundError):
                self.way(self.store, "head", path)

    @rule(source=paths, to=paths, move=st.booleans())
    def copy(self, source, to, move):
        if source == to and not move:
            return  # S3 refuses a copy onto itself that changes nothing.
        method = "rename" if move else "copy"
        if source not in self.model:
            with pytest.raises(FileNotFoundError):
                self.way(self.store, method, source, to)
            return
        self.way(self.store, method, source, to)
        self.model[to] = self.model[source]
        if move and source != to:
            del self.model[source]

    @rule(gone=st.lists(paths, max_size=4), single=st.booleans())
    def delete(self, gone, single):
        self.way(self.store, "delete", gone[0] if single and gone else gone)
        for path in gone[:1] if single else gone:
            self.model.pop(path, None)

    @rule(chunk=st.sampled_from([1, 3, 50]))
    def list_all(self, chunk):
        metas = [meta for chunk in self.way.pieces(self.store.list(chunk_size=chunk)) for meta in chunk]
        assert [meta["path"] for meta in metas] == sorted(self.model, key=str.encode)
        assert {meta["path"]: meta["size"] for meta in metas} == {p: len(d) for p, d in self.model.items()}

    @rule(path=paths)
    def list_from(self, path):
        listed = self.way(self.store.list(offset=path), "collect")
        below = sorted((p for p in self.model if p.encode() > path.encode()), key=str.encode)
        assert [meta["path"] for meta in listed] == below

    @rule(path=paths)
    def list_level(self, path):
        prefix = path.split("/")[0]
        level = self.way(self.store, "list_with_delimiter", prefix)
        below = [p for p in self.model if p.startswith(f"{prefix}/")]
        depth = prefix.count("/") + 2
        assert sorted(meta["path"] for meta in level["objects"]) == sorted(
            p for p in below if p.count("/") + 1 == depth
        )
        assert level["common_prefixes"] == sorted(
            {"/".join(p.split("/")[:depth]) for p in below if p.count("/") + 1 > depth}
        )

    @invariant()
    def nothing_is_left_open(self):
        assert not self.server.store.uploads


class AsyncBucket(Bucket):
    """The same in async calls."""

    kind = "async"


LIMITS = settings(
    max_examples=12, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestSyncBucket = Bucket.TestCase
TestSyncBucket.settings = LIMITS
TestAsyncBucket = AsyncBucket.TestCase
TestAsyncBucket.settings = LIMITS

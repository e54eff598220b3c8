"""Checksums of what is read, with the option `verify_checksums`.

Checksums of what is written are the core's (`checksum_algorithm`). On reading, a whole object is compared
with the checksum that the server keeps of it: what `get` gives, as `bytes()`, as a stream, or in `into`.
Ranges are not, for no checksum is kept of them.

The read asks for the checksum (`x-amz-checksum-mode`). But S3 sends none with a range, and the first part of
a read is one. So a HEAD that is under way at the same time asks for it too; where it met another version,
one that is pinned to the right one follows. A checksum of the type FULL_OBJECT, as all of objects put in one
request and all CRC64NVME are, is compared as it is. One of the type COMPOSITE is a digest of the digests of N
parts, written `<digest>-<N>`: another HEAD asks how large the first part is, and the others are taken to
be as large, but for the last. Should the digest then be another one, HEADs for the further parts tell whether
the bytes are wrong or the parts are of different sizes; in the latter case nothing is verified.

Invariant: wrong bytes are never delivered without a ChecksumError, but for a stream's pieces before its last.
"""

from __future__ import annotations

from s3ext._ffi import ffi, lib, text
from s3ext._requests import block
from s3ext._wait import Blocking, Item, Operation
from s3ext.exceptions import ChecksumError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from s3ext._operations import Range, Target
    from s3ext._wait import Steps

__all__ = ["CHECKSUMS", "MODE", "Verification", "ask", "checked_stream", "find_verification"]

CHECKSUMS = (None, "sha256", "sha1", "crc32", "crc32c", "crc64nvme")
"""Algorithms by the numbers of the core's `s3ext_client_config.checksum`."""

MODE = block([("x-amz-checksum-mode", "ENABLED")])
"""What makes a server send an object's checksum."""

_PREFIX = "x-amz-checksum-"
_CRC_BYTES = {"crc32": 4, "crc32c": 4, "crc64nvme": 8}
INLINE = 1024 * 1024
"""Bytes that are hashed at once; for more an event loop is not held up."""
CONFIRMED = 100
"""Parts whose sizes are asked for before a composite checksum is believed to be another one."""


class Verification:
    """What the server says that the bytes of an object come to.

    Args:
        target: The object.
        query: The pair block that asks for its version.
        first: The answer to the read.
        algorithm: One of CHECKSUMS.
        value: The checksum, in base64; of a composite one with the number of parts behind it.

    Attributes:
        verified: Whether the bytes were found to be right.
    """

    __slots__ = (
        "_part_size",
        "_parts",
        "_query",
        "_target",
        "_version",
        "algorithm",
        "size",
        "value",
        "verified",
    )

    def __init__(self, target: Target, query: bytes, first: Range, algorithm: str, value: str) -> None:
        self._target = target
        self._query = query
        self._version = _pin(first)
        self.size: int = first.meta["size"]
        self.algorithm = algorithm
        self.value = value
        self.verified = False
        _, dash, parts = value.partition("-")
        self._parts = int(parts) if parts.isdecimal() else 0 if dash else 1
        # Bytes of each part but the last; a checksum of the whole object is one of a single part.
        self._part_size: int | None = max(self.size, 1) if self._parts == 1 else None

    @property
    def composite(self) -> bool:
        """Whether it is a digest of digests."""
        return "-" in self.value

    def learn_parts(self) -> Steps[None]:
        """Find out how large the parts are, where that counts."""
        if self._parts > 1:
            size = yield from self._size_of_part(1)
            if -(-self.size // max(size, 1)) == self._parts:
                self._part_size = size

    def begin(self) -> _Run | None:
        """Begin with the first byte; None if nothing can be verified."""
        return None if self._part_size is None else _Run(self.algorithm, self._part_size)

    def check(self, data: Any, hint: str = "") -> Steps[None]:
        """Compare all bytes of the object at once.

        Args:
            data: The bytes, a buffer.
            hint: What to add to the error's message.

        Raises:
            ChecksumError: They are not those that the server has a checksum of.
        """
        run = self.begin()
        if run is not None:
            yield from _add(run, data)
            yield from self.finish(run, hint)

    def finish(self, run: _Run, hint: str = "") -> Steps[None]:
        """Compare what a run came to.

        Raises:
            ChecksumError: The bytes are not those that the server has a checksum of.
        """
        found = run.value(composite=self.composite)
        if found == self.value:
            self.verified = True
            return
        for number in range(2, min(self._parts, CONFIRMED + 2)):
            size = yield from self._size_of_part(number)
            if size != self._part_size:
                return
        client, key = self._target.client, self._target.key
        raise ChecksumError(
            f"GET {client.bucket}/{key} failed: the bytes do not match the object's {self.algorithm.upper()} "
            f"checksum: they have {found}, the server names {self.value}{hint}",
            operation="get",
            bucket=client.bucket,
            key=key,
            retryable=True,
        )

    def _size_of_part(self, number: int) -> Steps[int]:
        query = self._query + block([("partNumber", str(number))])
        found = yield from _head(self._target, self._version, query)
        size: int = found.meta["size"]
        return size


class _Run:
    """The checksum of bytes that come piece by piece."""

    __slots__ = ("_algorithm", "_digests", "_left", "_part_size", "_state")

    def __init__(self, algorithm: str, part_size: int) -> None:
        self._algorithm = algorithm
        self._part_size = part_size
        self._left = part_size
        self._digests: list[bytes] = []
        self._state = _begin(algorithm)

    def add(self, data: Any) -> None:
        """Take the next bytes."""
        view = memoryview(data)
        while view:
            if not self._left:
                self._digests.append(_digest(self._algorithm, self._state))
                self._state = _begin(self._algorithm)
                self._left = self._part_size
            piece = view[: self._left]
            self._state = _extend(self._algorithm, self._state, piece)
            self._left -= len(piece)
            view = view[len(piece) :]

    def value(self, *, composite: bool) -> str:
        """Return the checksum as servers write it."""
        from binascii import b2a_base64  # noqa: PLC0415 - only verifying needs it

        digest = _digest(self._algorithm, self._state)
        if not composite:
            return b2a_base64(digest, newline=False).decode()
        digests = [*self._digests, digest]
        state = _extend(self._algorithm, _begin(self._algorithm), b"".join(digests))
        return f"{b2a_base64(_digest(self._algorithm, state), newline=False).decode()}-{len(digests)}"


def _begin(algorithm: str) -> Any:
    if algorithm in _CRC_BYTES:
        return 0
    import hashlib  # noqa: PLC0415 - its import takes OpenSSL's

    return hashlib.new(algorithm, usedforsecurity=False)


def _extend(algorithm: str, state: Any, data: Any) -> Any:
    if algorithm in _CRC_BYTES:
        return lib.s3ext_crc(CHECKSUMS.index(algorithm), state, ffi.from_buffer(data), len(data))
    state.update(data)
    return state


def _digest(algorithm: str, state: Any) -> bytes:
    size = _CRC_BYTES.get(algorithm)
    return bytes(state.digest()) if size is None else int(state).to_bytes(size, "big")


def _add(run: _Run, data: Any) -> Steps[None]:
    if len(data) <= INLINE:
        run.add(data)
    else:
        yield Blocking(lambda: run.add(data))


def ask(target: Target, headers: bytes, query: bytes) -> Operation:
    """Make a HEAD that asks for an object's checksum."""
    raw, headers = target.raw, headers + MODE
    handle = lib.s3ext_op_head(target.client.handle, raw, len(raw), headers, len(headers), query, len(query))
    return Operation(handle, target.client)


def find_verification(
    target: Target, query: bytes, first: Range, asked: Operation
) -> Steps[Verification | None]:
    """Find out what the bytes of a whole object must come to.

    Args:
        target: The object.
        query: The pair block that asks for its version.
        first: The answer to a read of the whole object, or of its first part.
        asked: What `ask` made, begun.

    Returns:
        What the server says, None if it keeps no checksum of the object.

    Raises:
        PreconditionError: The object was replaced since it was read.
    """
    found = _checksum_in(first.headers) if first.end - first.start == first.meta["size"] else None
    # It is waited for in any case: to cancel it would cost the connection.
    yield asked
    result = lib.s3ext_op_result(asked.handle)
    if found is None and not result.code and text(result.etag, result.etag_size) == first.meta["e_tag"]:
        found = _checksum_in(bytes(ffi.buffer(result.headers, result.headers_size)))
    elif found is None:
        again = yield from _head(target, MODE + _pin(first), query)
        found = _checksum_in(again.headers)
    if found is None:
        return None
    verification = Verification(target, query, first, *found)
    yield from verification.learn_parts()
    return verification


def checked_stream(steps: Steps[None], verification: Verification) -> Steps[None]:
    """Pass on the pieces of a stream, the last one only when all of them are verified.

    Args:
        steps: The stream.
        verification: What it must come to.

    Raises:
        ChecksumError: The bytes are wrong; all but the last piece were handed out.
    """
    run = verification.begin()
    held: object = None
    outcome: object = None
    error: Exception | None = None
    try:
        while True:
            try:
                effect = steps.send(outcome) if error is None else steps.throw(error)
            except StopIteration:
                break
            outcome = error = None
            if type(effect) is Item:
                if run is not None:
                    yield from _add(run, effect.value)
                if held is not None:
                    yield Item(held)
                held = effect.value
                continue
            try:
                outcome = yield effect
            except Exception as raised:  # noqa: BLE001 - it is the stream's to handle
                error = raised
    finally:
        steps.close()
    if run is not None:
        yield from verification.finish(run)
    if held is not None:
        yield Item(held)


def _head(target: Target, headers: bytes, query: bytes) -> Steps[Range]:
    from s3ext._operations import head_range  # noqa: PLC0415 - which imports nothing of this

    return head_range(target, headers, query)


def _pin(first: Range) -> bytes:
    """Make the condition that an answer is about the same object."""
    e_tag = first.meta["e_tag"]
    return b"" if e_tag is None else block([("if-match", e_tag)])


def _checksum_in(headers: bytes) -> tuple[str, str] | None:
    """Find algorithm and value in a pair block of an answer's headers."""
    parts = headers.decode("utf-8", "replace").split("\0")
    for name, value in zip(parts[0::2], parts[1::2], strict=False):
        algorithm = name.removeprefix(_PREFIX)
        if algorithm in CHECKSUMS and algorithm != name and value:
            return algorithm, value
    return None

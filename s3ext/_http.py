"""One request to any service, its answer as bytes: what has no operation of its own in the core.

The core signs it for the client's service, tries it again where that helps, and takes the error codes of S3's
XML and of JSON services into account for that. What an answer means is the caller's business.
"""

from __future__ import annotations

from s3ext._errors import code_name, failure
from s3ext._ffi import ffi, lib
from s3ext._requests import block
from s3ext._wait import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from s3ext._clients import Client
    from s3ext._wait import Steps

__all__ = ["Answer", "attempt", "leaves", "request"]


class Answer:
    """An answer.

    Attributes:
        status: The HTTP status; 0 if no answer came.
        headers: Pair block of the headers of interest.
        body: The body; at most 64 KiB.
        label: The outcome's name in the core's table, such as `"OK"` or `"RESOLVE"`.
        error: What is to be raised, None for success.
    """

    __slots__ = ("body", "error", "headers", "label", "status")

    def __init__(
        self, status: int, headers: bytes, body: bytes, *, label: str = "OK", error: Exception | None = None
    ) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.label = label
        self.error = error

    def header(self, name: str) -> str | None:
        """Return a header of interest by its name in lower case; None if it is absent."""
        words = self.headers.split(b"\0")
        pairs = dict(zip(words[::2], words[1::2], strict=False))
        found = pairs.get(name.encode())
        return None if found is None else found.decode("latin-1")


def request(
    client: Client,
    method: str,
    path: str = "",
    *,
    headers: Iterable[tuple[str, str]] = (),
    query: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    repeatable: bool = True,
    expected: Container[int] = (),
    limit_ms: int = 0,
    name: str,
    key: str | None = None,
) -> Steps[Answer]:
    """Do a request; see `attempt`.

    Args:
        client: The client, whose host, service and credentials count.
        method: `"GET"`, `"HEAD"`, `"PUT"`, `"POST"` or `"DELETE"`.
        path: The raw path behind the client's own, without a leading `/`.
        headers: Names in lower case, and values.
        query: Names and values, raw.
        body: The body.
        repeatable: Whether it may be sent again when the server may have seen it.
        expected: Statuses of errors whose answers are returned; all others raise.
        limit_ms: Time for all of it; 0 for no limit.
        name: What the caller does, for errors.
        key: The key that it is about, for errors.

    Raises:
        BaseError: As the answer's status and code say.
    """
    answer = yield from attempt(
        client,
        method,
        path,
        headers=headers,
        query=query,
        body=body,
        repeatable=repeatable,
        limit_ms=limit_ms,
        name=name,
        key=key,
    )
    if answer.error is not None and answer.status not in expected:
        raise answer.error
    return answer


def attempt(
    client: Client,
    method: str,
    path: str = "",
    *,
    headers: Iterable[tuple[str, str]] = (),
    query: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    repeatable: bool = True,
    limit_ms: int = 0,
    name: str,
    key: str | None = None,
) -> Steps[Answer]:
    """Do a request, and return what it came to, be that an error; see `request` for the arguments."""
    raw, sent, asked = path.encode(), block(headers), block(query)
    handle = lib.s3ext_op_http(
        client.handle, method.encode(), raw, len(raw), sent, len(sent), asked, len(asked), body, len(body),
        repeatable,
    )  # fmt: skip
    operation = Operation(handle, client)
    try:
        if limit_ms:
            lib.s3ext_op_limit(operation.handle, limit_ms)
        yield operation
        result = lib.s3ext_op_result(operation.handle)
        view = ffi.new("struct s3ext_error_view *")
        lib.s3ext_op_error(operation.handle, view)
        return Answer(
            int(view.http_status if result.code else result.http_status),
            ffi.unpack(result.headers, result.headers_size) if result.headers_size else b"",
            ffi.unpack(result.text, result.text_size) if result.text_size else b"",
            label=code_name(result.code),
            error=failure(operation, name, key) if result.code else None,
        )
    finally:
        operation.release()


def leaves(document: bytes, root: str) -> list[tuple[str, str]]:
    """Read a small XML document: the texts of its elements without elements in them, in their order.

    Args:
        document: The document.
        root: Local name of its root.

    Returns:
        Local names and texts.

    Raises:
        ValueError: It is no XML, has another root, or a document type, with which all tricks begin.
    """
    from xml.parsers.expat import ExpatError, ParserCreate  # noqa: PLC0415 - few requests are answered in XML here

    found: list[tuple[str, str]] = []
    opened: list[str] = []
    pieces: list[str] = []

    def start(name: str, _: object) -> None:
        if not opened and name.rpartition(" ")[2] != root:
            raise ValueError(f"the document is no {root}")
        opened.append(name.rpartition(" ")[2])
        pieces.clear()
        pieces.append("")

    def end(_: str) -> None:
        name = opened.pop()
        if pieces:
            found.append((name, "".join(pieces)))
        pieces.clear()

    def refuse(*_: object) -> None:
        raise ValueError("the document has a document type")

    def add(text: str) -> None:
        if pieces:
            pieces.append(text)

    parser = ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = add
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(document, True)  # noqa: FBT003 - expat's
    except ExpatError as error:
        raise ValueError(f"the document is no XML: {error}") from error
    return found

# Types of the hand-written extension module; csrc/python/buffer.c describes its behaviour.

from typing import ClassVar, Self, SupportsIndex, TypeVar, overload

from typing_extensions import Buffer as SupportsBuffer

class Buffer:
    __hash__: ClassVar[None]  # type: ignore[assignment]

    def __new__(cls, buf: SupportsBuffer = b"") -> Self: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, key: SupportsIndex, /) -> int: ...
    @overload
    def __getitem__(self, key: slice, /) -> Self: ...
    def __contains__(self, needle: SupportsBuffer, /) -> bool: ...
    def __eq__(self, other: object, /) -> bool: ...

_B = TypeVar("_B", bound=Buffer)

def wrap(
    type: type[_B],  # noqa: A002 - positional only, so the name shadows nothing
    address: int,
    size: int,
    owner_address: int,
    release_address: int,
    /,
) -> _B: ...

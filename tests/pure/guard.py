"""Bytes that end where readable memory ends, so that reading one byte too far ends the process."""

from __future__ import annotations

import mmap

import cffi

__all__ = ["Guard"]

_PROT_NONE, _READ_WRITE, _PRIVATE_ANONYMOUS = 0, 3, 0x22

_ffi = cffi.FFI()
_ffi.cdef("""
    void *mmap(void *address, size_t size, int protection, int flags, int descriptor, long offset);
    int mprotect(void *address, size_t size, int protection);
    int munmap(void *address, size_t size);
""")
_libc = _ffi.dlopen(None)


class Guard:
    """A writable region followed by a page that may not be touched."""

    def __init__(self, size: int = 1 << 16) -> None:
        self._size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        self._whole = self._size + mmap.PAGESIZE
        self._start = _libc.mmap(_ffi.NULL, self._whole, _READ_WRITE, _PRIVATE_ANONYMOUS, -1, 0)
        assert int(_ffi.cast("intptr_t", self._start)) != -1
        assert _libc.mprotect(self._start + self._size, mmap.PAGESIZE, _PROT_NONE) == 0

    def place(self, data: bytes) -> int:
        """Copy `data` to the end of the region and return its address; it stays until the next call."""
        assert len(data) <= self._size
        start = self._start + (self._size - len(data))
        _ffi.memmove(start, data, len(data))
        return int(_ffi.cast("uintptr_t", start))

    def close(self) -> None:
        """Give the memory back."""
        _libc.munmap(self._start, self._whole)

"""The compiled core as cffi shows it: it has no types, so neither do we; csrc/s3ext.h is its description."""

from typing import Any

ffi: Any
lib: Any

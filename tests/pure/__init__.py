"""Tests that drive the C layers without I/O directly, through throw-away cffi modules."""

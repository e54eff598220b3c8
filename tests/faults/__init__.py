"""Faults against the whole client: what servers, proxies and networks do wrong, a file for each area.

Every test goes through the public API, meets one fault of the verifying server, and says what must come of
it: the right bytes or one error of the right class with the right attributes; how many requests are seen on
the wire; what the retry counters show. The fixtures of conftest.py look after the rest: nothing wrong on the
wire, no upload left behind, no slot or memory held, no secret shown.
"""

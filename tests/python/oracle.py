"""obstore as the judge of our configuration, and what tests of it need to stand on firm ground."""

from __future__ import annotations

import os

import pytest

# Self-signed; nobody kept the key.
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBbzCCARWgAwIBAgIUWOvNErLmOMibJYdThFrUlvPetvUwCgYIKoZIzj0EAwIw
DDEKMAgGA1UEAwwBdDAgFw0yNjExMjIwNTMwNThaGA8yMTI2MTAyOTA1MzA1OFow
DDEKMAgGA1UEAwwBdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABIIez6QziHRE
9pfzYofeQIImdt4I4MuNs3AfKLwXkizzahNl4dPoRw/e5Don+MvBqfQCnjr8Lx+T
kVoEK9HeHw2jUzBRMB0GA1UdDgQWBBRQ0Qd1aKPkS7RFkRRsjRo3NjXaADAfBgNV
HSMEGDAWgBRQ0Qd1aKPkS7RFkRRsjRo3NjXaADAPBgNVHRMBAf8EBTADAQH/MAoG
CCqGSM49BAMCA0gAMEUCIQCvYQmiUmhd2otKuxHMOHHT2GF4XAGpQVIGLbhwNO7B
AAIgFiUKW097PV0fVponSWcIFx8Xqh5iY3wKBsBoeL5y0lQ=
-----END CERTIFICATE-----
"""


def obstore(module="store"):
    """Import a module of obstore, or skip the test and say why."""
    name = f"obstore.{module}" if module else "obstore"
    return pytest.importorskip(name, reason="obstore, the oracle, is not installed")


def outcome(function, *args, **kwargs):
    """Call a function: what it returned and no error, or nothing and the name of the class of its error."""
    try:
        return function(*args, **kwargs), None
    except Exception as error:  # noqa: BLE001 - whatever it raises is what is compared
        return None, type(error).__name__


def without_environment(monkeypatch):
    """Take every variable that configures a store out of the environment."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "S3EXT_")):
            monkeypatch.delenv(name)

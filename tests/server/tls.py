"""Throw-away certificates for the test servers, made with the `openssl` command.

`authority()` is one CA for the whole process; its key never leaves a temporary directory. `make_certificate`
makes what a server shows: a good certificate, or one that a client must refuse.
"""

from __future__ import annotations

import atexit
import os
import shutil
import ssl
import subprocess
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Literal

__all__ = ["DEFAULT_NAMES", "Certificate", "authority", "make_certificate"]

DEFAULT_NAMES = (
    "localhost",
    "*.localhost",
    "127.0.0.1",
    "::1",
    "s3.amazonaws.com",
    "*.s3.amazonaws.com",
    "s3.us-east-1.amazonaws.com",
    "*.s3.us-east-1.amazonaws.com",
    "s3.us-west-2.amazonaws.com",
    "*.s3.us-west-2.amazonaws.com",
    "s3.eu-west-1.amazonaws.com",
    "*.s3.eu-west-1.amazonaws.com",
)

Kind = Literal["good", "wrong-name", "expired", "self-signed"]

_CONFIG = """
[ca]
default_ca = this
[this]
database = {directory}/index.txt
new_certs_dir = {directory}
default_md = sha256
policy = any
rand_serial = yes
unique_subject = no
[any]
commonName = supplied
[server]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = {names}
[root]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[req]
distinguished_name = dn
prompt = no
[dn]
CN = {name}
"""


@dataclass(slots=True)
class Certificate:
    """A server's certificate.

    Attributes:
        kind: What it is.
        certificate: PEM file with the certificate. key: PEM file with the key.
        ca: PEM file that a client must trust for it to be good.
    """

    kind: Kind
    certificate: Path
    key: Path
    ca: Path
    _context: ssl.SSLContext | None = field(default=None, repr=False)

    def context(self) -> ssl.SSLContext:
        """Return the server's context: TLS 1.2 and later, ALPN http/1.1."""
        if self._context is None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(self.certificate, self.key)
            self._context.set_alpn_protocols(["http/1.1"])
        return self._context

    def client_context(self) -> ssl.SSLContext:
        """Return a context for Python clients that trusts `ca` only."""
        return ssl.create_default_context(cafile=str(self.ca))


@cache
def _directory() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="s3ext-test-ca-"))
    owner = os.getpid()

    def remove() -> None:
        # A forked child that exits in the ordinary way must not take the directory from its parent.
        if os.getpid() == owner:
            shutil.rmtree(directory, ignore_errors=True)

    atexit.register(remove)
    return directory


def _openssl(*arguments: str | Path) -> None:
    command = shutil.which("openssl")
    if command is None:
        raise RuntimeError("the tests over TLS need the openssl command (apt-get install openssl)")
    done = subprocess.run([command, *arguments], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise RuntimeError(f"openssl {arguments[0]} failed: {done.stderr}")


def _write_config(directory: Path, name: str, names: tuple[str, ...]) -> Path:
    marked = (
        f"IP:{item}" if item.replace(".", "").isdigit() or ":" in item else f"DNS:{item}" for item in names
    )
    config = directory / f"{name}.cnf"
    config.write_text(_CONFIG.format(directory=directory, names=",".join(marked), name=name))
    (directory / "index.txt").touch()
    return config


@cache
def authority() -> Path:
    """Return the PEM file of the process's test CA; its key lies beside it as ca.key."""
    directory = _directory()
    config = _write_config(directory, "ca", ("ca.invalid",))
    _openssl(
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-config",
        config,
        "-extensions",
        "root",
        "-days",
        "7",
        "-keyout",
        directory / "ca.key",
        "-out",
        directory / "ca.pem",
    )
    return directory / "ca.pem"


@cache
def make_certificate(kind: Kind = "good", names: tuple[str, ...] = DEFAULT_NAMES) -> Certificate:
    """Make a server certificate; the same arguments give the same one.

    Args:
        kind: "good"; "wrong-name" (signed by the CA for another host), "expired" (yesterday), "self-signed".
        names: Host names and addresses of a good or expired one.

    Raises:
        RuntimeError: No `openssl` command, or it failed.
    """
    ca = authority()
    directory = _directory()
    if kind == "wrong-name":
        names = ("somewhere-else.invalid",)
    stem = f"{kind}-{abs(hash(names))}"
    config = _write_config(directory, stem, names)
    key, request, certificate = (directory / f"{stem}.{ending}" for ending in ("key", "csr", "pem"))
    new = (
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-config",
        config,
        "-keyout",
        key,
    )
    if kind == "self-signed":
        _openssl("req", "-x509", *new, "-extensions", "server", "-days", "7", "-out", certificate)
        return Certificate(kind, certificate, key, ca)
    _openssl("req", *new, "-out", request)
    start = datetime.now(UTC) - timedelta(days=10)
    end = datetime.now(UTC) + timedelta(days=-1 if kind == "expired" else 7)
    _openssl(
        "ca",
        "-batch",
        "-notext",
        "-config",
        config,
        "-extensions",
        "server",
        "-cert",
        ca,
        "-keyfile",
        directory / "ca.key",
        "-startdate",
        f"{start:%Y%m%d%H%M%SZ}",
        "-enddate",
        f"{end:%Y%m%d%H%M%SZ}",
        "-in",
        request,
        "-out",
        certificate,
    )
    return Certificate(kind, certificate, key, ca)

"""Encryption by the server: the headers that ask for it.

Which of them go with which request is the core's business (`enum s3_encryption` in csrc/identity/client.h),
so that no operation can forget them. What they are is in AWS's "Using server-side encryption with KMS keys"
and "Using server-side encryption with customer-provided keys".

Invariants: the customer's key is in nothing but the blocks returned here. The core keeps its copy until the
client goes, wiped then, as are the header lines of each request; Python's strings cannot be wiped. Presigned
URLs never hold it. Those for GET, HEAD and PUT of a store with SSE-C are signed for the three headers of the
key, and whoever uses one has to send them with it.
"""

from __future__ import annotations

from s3ext._requests import block

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3ext._settings import Settings

__all__ = ["encryption_headers"]

_HEADER = "x-amz-server-side-encryption"
_CUSTOMER = "x-amz-server-side-encryption-customer"
_SOURCE = "x-amz-copy-source-server-side-encryption-customer"


def encryption_headers(settings: Settings) -> tuple[bytes, bytes, bytes]:
    """Make the pair blocks of a client.

    Args:
        settings: The configuration, whose combinations have been checked.

    Returns:
        What goes with the making of an object (PUT, CreateMultipartUpload, CopyObject), with its bytes (GET,
        HEAD, UploadPart, UploadPartCopy), and for the source of copies. The latter two are empty but for
        SSE-C.
    """
    algorithm = settings.server_side_encryption
    if algorithm is None:
        return b"", b"", b""
    if algorithm != "sse-c":
        pairs = [(_HEADER, algorithm)]
        if settings.sse_kms_key_id is not None:
            pairs.append((f"{_HEADER}-aws-kms-key-id", settings.sse_kms_key_id))
        if settings.sse_bucket_key_enabled is not None:
            enabled = "true" if settings.sse_bucket_key_enabled else "false"
            pairs.append((f"{_HEADER}-bucket-key-enabled", enabled))
        return block(pairs), b"", b""
    assert settings.sse_customer_key_base64 is not None
    key = _customer_key(_CUSTOMER, settings.sse_customer_key_base64)
    return key, key, _customer_key(_SOURCE, settings.sse_customer_key_base64)


def _customer_key(header: str, key: str) -> bytes:
    """Make the three headers of a customer's key; the MD5 lets the server see that it came whole."""
    from binascii import a2b_base64, b2a_base64  # noqa: PLC0415 - only SSE-C needs them
    from hashlib import md5  # noqa: PLC0415 - its import takes OpenSSL's

    digest = md5(a2b_base64(key), usedforsecurity=False).digest()
    return block(
        [
            (f"{header}-algorithm", "AES256"),
            (f"{header}-key", key),
            (f"{header}-key-md5", b2a_base64(digest, newline=False).decode()),
        ]
    )

"""`S3Store`, and the functions that find a store for a URL."""

from __future__ import annotations

from s3ext._methods import StoreMethods

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Unpack

    from s3ext._types import (
        BackoffConfig,
        ClientConfig,
        RetryConfig,
        S3ChecksumAlgorithm,
        S3Config,
        S3Credential,
        S3CredentialProvider,
        S3EncryptionAlgorithm,
        S3Regions,
    )

__all__ = [
    "BackoffConfig",
    "ClientConfig",
    "RetryConfig",
    "S3ChecksumAlgorithm",
    "S3Config",
    "S3Credential",
    "S3CredentialProvider",
    "S3EncryptionAlgorithm",
    "S3Regions",
    "S3Store",
    "from_url",
    "parse_scheme",
]


class S3Store(StoreMethods):
    """A bucket of S3, or a prefix within one.

    A store is immutable and cheap: making one does no I/O. See `StoreConfiguration` for the arguments.
    """


def from_url(
    url: str,
    *,
    config: S3Config | None = None,
    client_options: ClientConfig | None = None,
    retry_config: RetryConfig | None = None,
    credential_provider: S3CredentialProvider | None = None,
    **kwargs: Unpack[S3Config],
) -> S3Store:
    """Make the store that a URL names; see `S3Store.from_url` for the arguments.

    Raises:
        NotSupportedError: The URL is one of another kind of store, such as `gs://`.
        GenericError: No store knows the URL.
        ValueError: This is not a URL.
    """
    kind = parse_scheme(url)
    if kind not in {"s3", "http"}:
        from s3ext.exceptions import NotSupportedError  # noqa: PLC0415 - only for this error

        raise NotSupportedError(f"s3ext has stores for S3 only; the URL is one of the kind {kind!r}")
    return S3Store.from_url(
        url,
        config=config,
        client_options=client_options,
        retry_config=retry_config,
        credential_provider=credential_provider,
        **kwargs,
    )


def parse_scheme(url: str) -> str:
    """Tell which kind of store a URL names.

    Args:
        url: A URL.

    Returns:
        `"s3"`, `"gcs"`, `"azure"`, `"http"`, `"local"` or `"memory"`, as `obstore.parse_scheme` does; an http
        URL that is not one of AWS's may still be an S3 server's.

    Raises:
        GenericError: No kind of store knows this URL, or its path cannot be a prefix.
        ValueError: This is not a URL.
        TypeError: The URL is not a str.
    """
    from s3ext._url import parse_scheme as parse  # noqa: PLC0415 - few programs open stores by URL

    return parse(url)


def __getattr__(name: str) -> object:
    """Load the types when one is asked for: importing typing takes longer than the rest of this package."""
    if name in __all__:
        from s3ext import _types  # noqa: PLC0415 - that is what this function is for

        return getattr(_types, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

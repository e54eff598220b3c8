"""C clients: one for each distinct configuration of a process, and the credentials in them.

A client (C) is endpoint, signing, credential slot, retry and timeouts. Stores with equal settings and the
same credential provider share one, and it goes when the last of them goes. In the child of a fork a client
goes on, so that all that refers to it does (stores, results, streams), but its handle was the parent's: it
gets one of the child's own when that is next asked for.

Static credentials are pushed into the slot once. A provider is asked when the core wants credentials: one
daemon thread waits in the core for that and begins a `Call` of it (`_providers`), on a thread of its own, so
that a slow provider delays nobody else's. Of a client one call at a time counts. The daemon thread gives up
calls that take too long, and calls a provider no more of which several calls hang.

Invariants: nothing that a provider returns is kept here; what it raises is kept only as the cause of the
errors that follow from it, until it succeeds. Whoever makes an operation reads `handle` for it, and no other
place keeps a handle.
"""

from __future__ import annotations

import os
import weakref
from itertools import count
from time import monotonic

from s3ext import exceptions
from s3ext._checksums import CHECKSUMS
from s3ext._encryption import encryption_headers
from s3ext._ffi import at_exit, at_fork, ffi, lib, text
from s3ext._providers import HANGING_MOST, NEVER_MS, Call, refresh_before_ms, words
from s3ext._proxies import proxy_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable
    from threading import Thread

    from s3ext._ffi import CData
    from s3ext._providers import Keys, Provider
    from s3ext._settings import Settings

__all__ = ["Client", "client_for"]

WINDOW = 8
"""Parts of one read in flight."""

WATCH_MS = 1000
"""The longest wait for a wish for credentials, after which it is looked whether the process ends."""


class Client:
    """A client of the core's.

    Args:
        settings: The resolved configuration.
        provider: The credential provider, or None.

    Raises:
        GenericError: The core does not accept the configuration.
    """

    __slots__ = (
        "__weakref__",
        "_beside",
        "_connected",
        "bucket",
        "call",
        "handle",
        "host",
        "loop",
        "part_size",
        "provider",
        "provider_error",
        "settings",
        "tag",
    )

    handle: CData

    def __init__(self, settings: Settings, provider: Provider | None) -> None:
        self.bucket = settings.bucket
        self.host = settings.host
        self.part_size = settings.part_size
        self.settings = settings
        self.provider = provider
        self.tag = next(_tags)
        self._beside: dict[str, Client] = {}
        self.begin_anew()
        _living[self.tag] = self
        self._connect()

    def begin_anew(self) -> None:
        """Be without a handle, and without what came of it; in the child of a fork."""
        self.provider_error: BaseException | None = None
        self.call: Call | None = None
        self.loop: weakref.ref[AbstractEventLoop] | None = None
        self._connected: dict[str, CData] = {}
        try:  # noqa: SIM105 - contextlib is not loaded
            del self.handle
        except AttributeError:  # It has none yet, or was never used in a child that forks in its turn.
            pass

    def _connect(self) -> CData:
        """Make the handle, with its credentials or with somebody who will see to them."""
        settings, provider = self.settings, self.provider
        handle = _new_handle(settings, provider, 0 if provider is None else self.tag)
        if provider is not None:
            _watch()
        elif settings.access_key_id is not None and settings.secret_access_key is not None:
            keys = (settings.access_key_id, settings.secret_access_key, settings.session_token)
            _push(handle, *keys, NEVER_MS)
        # Threads of a child may do this at the same time. All must take the same one: credentials go to it.
        handle = self.handle = self._connected.setdefault("handle", handle)
        return handle

    if not TYPE_CHECKING:  # which would let every name pass

        def __getattr__(self, name: str) -> CData:
            """Make the handle anew after a fork; an attribute that is there never comes here."""
            if name != "handle":
                raise AttributeError(name)
            return self._connect()

    def besides_session(self) -> Client:
        """Return the client that signs with the store's own credentials; another one in S3 Express alone."""
        if not self.settings.express_session:
            return self
        client: Client = self.provider.client  # type: ignore[union-attr] # client_for gave it its provider
        return client

    def beside(self, name: str, settings_of: Callable[[Settings], Settings]) -> Client:
        """Return the client that goes with this one for another purpose, and lives as long.

        Args:
            name: The purpose.
            settings_of: Makes its settings from those of this one; its credentials are the same.
        """
        client = self._beside.get(name)
        if client is None:
            base = self.besides_session()
            made = client_for(settings_of(base.settings), base.provider)
            client = self._beside.setdefault(name, made)
        return client

    def call_provider(self, hanging: int) -> Call | None:
        """Begin with what the core wishes for.

        Args:
            hanging: Calls for this client that were given up and have not returned.

        Returns:
            The call; None if one is under way, or if too many hang, which those who wait are told.
        """
        assert self.provider is not None
        if self.call is not None:
            return None
        if hanging >= HANGING_MOST:
            self.take(None, TimeoutError(f"{hanging} earlier calls have not returned"))
            return None
        refused = bool(lib.s3ext_client_is_refused(self.handle))
        self.call = call = Call(self.tag, self.provider, self.loop, _end_call, refused=refused)
        call.start()
        return call

    def take(self, keys: Keys | None, error: BaseException | None) -> None:
        """Hand what a call came to, keys or an error, to the core."""
        self.provider_error = error
        # Before the core is told: a wish that comes after that is a new one and must not get lost.
        self.call = None
        if keys is not None:
            try:
                _push(self.handle, *keys)
            except MemoryError as lost:  # The core has told those who wait.
                self.provider_error = lost
        elif error is not None:
            said = words(error).replace("\0", " ")
            lib.s3ext_client_fail_credentials(self.handle, said.encode("utf-8", "replace")[:400])


_tags = count(1)
_living: weakref.WeakValueDictionary[int, Client] = weakref.WeakValueDictionary()
_clients: weakref.WeakValueDictionary[tuple[Settings, int], Client] = weakref.WeakValueDictionary()


def client_for(settings: Settings, provider: Provider | None) -> Client:
    """Return the process's client for a configuration, made at its first use.

    Args:
        settings: The resolved configuration.
        provider: The credential provider, or None; stores share a client only with the very same object.

    Raises:
        GenericError: No request can be sent with this configuration.
    """
    # The client holds its provider, so no other object can have this id as long as the entry exists.
    key = (settings, id(provider))
    client = _clients.get(key)
    if client is None:
        settings.check_request()
        if settings.express_session:
            from s3ext._express import SessionProvider  # noqa: PLC0415 - few stores are of this kind

            # It holds the client below, and that one the provider.
            provider = SessionProvider(client_for(settings.changed(express_session=False), provider))
        elif provider is None and settings.sources is not None:
            from s3ext._credentials.chain import Chain  # noqa: PLC0415 - only stores without keys need it

            provider = Chain(settings)
        client = _clients.setdefault(key, Client(settings, provider))
    return client


def _new_handle(settings: Settings, provider: Provider | None, tag: int) -> CData:
    """Make the core's client from settings; the core copies all it is given."""
    kept: list[CData] = []

    def chars(value: str | bytes | None) -> CData:
        if value is None:
            return ffi.NULL
        kept.append(ffi.new("char[]", value.encode() if isinstance(value, str) else value))
        return kept[-1]

    headers = b"".join(name + b"\0" + value + b"\0" for name, value in settings.default_headers)
    config = ffi.new("struct s3ext_client_config *")
    for name in (
        "bucket_in_host",
        "express_session",
        "region_may_change",
        "signature_v2",
        "skip_signature",
        "unsigned_payload",
        "request_payer",
        "verify_tls",
        "system_certificates",
        "connect_timeout_ms",
        "first_byte_timeout_ms",
        "stall_timeout_ms",
        "total_timeout_ms",
        "pool_idle_timeout_ms",
        "pool_max_idle",
        "probe_ms",
        "unanswered_ms",
        "http_version",
        "randomize_addresses",
        "part_size",
        "concurrency",
        "max_retries",
        "retry_timeout_ms",
        "init_backoff_ms",
        "max_backoff_ms",
        "backoff_base",
        "init_backoff_set",
    ):
        setattr(config, name, getattr(settings, name))
    for name in ("scheme", "host", "base_path", "bucket", "region", "service", "lane"):
        setattr(config, name, chars(getattr(settings, name)))
    config.proxy_url, config.proxy_excludes = map(chars, proxy_of(settings, os.environ))
    config.user_agent = chars(settings.user_agent or f"s3ext/{text(_versions().core)}")
    config.default_headers = chars(headers)
    config.default_headers_size = len(headers)
    secrets = _set_encryption(config, settings)
    config.checksum = CHECKSUMS.index(settings.checksum_algorithm)
    pem = b"\n".join(filter(None, (settings.ca_pem, settings.proxy_ca_pem)))
    config.ca_pem = chars(pem or None)
    config.ca_pem_size = len(pem)
    config.window = WINDOW
    config.provider_tag = tag
    config.refresh_before_ms = refresh_before_ms(provider)

    code = ffi.new("int *")
    message = ffi.new("char[]", 512)
    try:
        handle = lib.s3ext_client_new(config, code, message, 512)
    finally:
        for secret in secrets:
            ffi.buffer(secret)[:] = bytes(len(secret))
    if not handle:
        said = text(message) or text(lib.s3ext_code_text(code[0]))
        raise exceptions.GenericError(f"Generic S3 error: {said}", bucket=settings.bucket)
    return ffi.gc(handle, lib.s3ext_client_free)


def _set_encryption(config: CData, settings: Settings) -> list[CData]:
    """Set the headers of encryption; what is returned may hold the customer's key, for the caller to wipe."""
    kept = []
    for name, pairs in zip(("write", "key", "source"), encryption_headers(settings), strict=True):
        headers = ffi.new("char[]", pairs)
        setattr(config, f"{name}_headers", headers)
        setattr(config, f"{name}_headers_size", len(pairs))
        kept.append(headers)
    return kept


def _push(handle: CData, key_id: str, secret: str, token: str | None, expires_ms: int) -> None:
    """Put credentials into the slot of a core's client.

    Args:
        handle: The core's client.
        key_id: The access key's id.
        secret: The secret access key.
        token: The session token, or None.
        expires_ms: Milliseconds since the epoch; NEVER_MS for never.

    Raises:
        MemoryError: The core has no memory for them.
    """
    code = lib.s3ext_client_set_credentials(
        handle,
        key_id.encode(),
        secret.encode(),
        ffi.NULL if token is None else token.encode(),
        min(expires_ms, NEVER_MS),
    )
    if code:
        raise MemoryError("no memory for credentials")


def _versions() -> CData:
    versions = ffi.new("struct s3ext_versions *")
    lib.s3ext_versions_get(versions)
    return versions


# ---- providers ----

_watcher: Thread | None = None
_ends = False


def _watch() -> None:
    """Have the thread that waits for the core's wish for credentials."""
    global _watcher  # noqa: PLW0603 - one for the process
    if _watcher is None or not _watcher.is_alive():
        from threading import Thread  # noqa: PLC0415 - only providers need threads

        _watcher = Thread(target=_serve, name="s3ext-credentials", daemon=True)
        _watcher.start()


def _serve() -> None:
    """Begin calls of providers as the core wishes for credentials, and give up those whose time is up."""
    calls: list[Call] = []
    while not _ends:
        tag = lib.s3ext_credentials_wanted(_patience_ms(calls))
        for call in calls:
            if not call.over and monotonic() >= call.deadline:
                call.give_up()
        calls = [call for call in calls if not call.returned]
        client = _living.get(tag) if tag else None
        if client is not None:
            begun = client.call_provider(sum(call.over and call.tag == tag for call in calls))
            calls += [] if begun is None else [begun]
        # It must not stay in this frame: a client lives as long as its stores.
        del client


def _patience_ms(calls: list[Call]) -> int:
    """Return how long to wait for the next wish, so that no deadline is missed."""
    left = [int((call.deadline - monotonic()) * 1000) for call in calls if not call.over]
    return max(1, min([WATCH_MS, *left]))


def _end_call(call: Call, keys: Keys | None, error: BaseException | None) -> None:
    """Take a call's end in, unless its client is gone or, after a fork, has forgotten the call."""
    client = _living.get(call.tag)
    if client is not None and client.call is call:
        client.take(keys, error)


def _drop() -> None:
    """Let go of all handles after a fork: they, and the thread that watched, are the parent's.

    New ones are made when they are needed: many a child starts a program, or never asks for an object.
    """
    global _watcher  # noqa: PLW0603 - one for the process
    for client in list(_living.values()):
        client.begin_anew()
    _watcher = None


def _stop() -> None:
    """End the watching thread; the core, shut down by now, no longer holds it."""
    global _ends  # noqa: PLW0603 - one for the process
    _ends = True
    if _watcher is not None:
        _watcher.join(0.2)


at_fork(_drop)
at_exit(_stop)

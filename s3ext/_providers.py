"""Credential providers: one call of a provider, and the check of what comes of it.

A call runs on a thread of its own, and ends exactly once:

    begun --answer, checked--> over, with keys
      |-----raises, junk-----> over, with an error
      `-----PATIENCE passes--> over, with an error: it is given up, and what it still says counts no more

An async provider is run in the event loop that last used the client, as long as that loop turns; else (it is
closed, or blocked by a sync call, perhaps one that waits for these very keys) in a loop of the call's thread.

Invariants: nothing that a provider returns is kept here, put into an error, or held by an error's traceback;
a call holds its provider, but not its client, which goes with its stores even while a provider hangs.
"""

from __future__ import annotations

from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    import weakref
    from asyncio import AbstractEventLoop
    from collections.abc import Awaitable, Callable
    from typing import Any, TypeAlias

    Provider: TypeAlias = Callable[[], object]
    Keys: TypeAlias = tuple[str, str, str | None, int]

__all__ = ["HANGING_MOST", "NEVER_MS", "Call", "refresh_before_ms", "words"]

PATIENCE = 60.0
"""Seconds that a provider has for its answer."""

HANGING_MOST = 4
"""So many calls of a provider may hang; then it is not called any more until one of them returns."""

NEVER_MS = 2**63 - 1
REFRESH_BEFORE_MS = 300_000
"""A provider is asked again when its credentials are valid for less than this, unless it says otherwise."""

LOOP_PATIENCE = 1.0
"""Seconds without a turn after which a loop counts as blocked; one that waits for a sync call never turns."""


class Call:
    """One call of a provider.

    Args:
        tag: The tag of the client that wants the keys.
        provider: The provider.
        loop: The loop to run an async one in, if it turns.
        end: Told once, with the call and with the keys or the error that it came to: on the call's thread, or
            on that of `give_up`.
        refused: Whether the server has refused the last keys; a chain, which would give them again, is told.

    Attributes:
        deadline: When it is to be given up, by the monotonic clock.
        over: Whether it has ended, as far as others are concerned.
        returned: Whether the provider has come back as well.
    """

    __slots__ = ("_end", "_loop", "_once", "_provider", "_refused", "deadline", "over", "returned", "tag")

    def __init__(
        self,
        tag: int,
        provider: Provider,
        loop: weakref.ref[AbstractEventLoop] | None,
        end: Callable[[Call, Keys | None, BaseException | None], None],
        *,
        refused: bool,
    ) -> None:
        from threading import Lock  # noqa: PLC0415 - only providers need threads

        self.tag = tag
        self.deadline = monotonic() + PATIENCE
        self.over = False
        self.returned = False
        self._provider = provider
        self._loop = loop
        self._end = end
        self._refused = refused
        self._once = Lock()

    def start(self) -> None:
        """Call the provider, on a new thread, which does not hold up the end of the process."""
        from threading import Thread  # noqa: PLC0415 - only providers need threads

        try:
            Thread(target=self._run, name="s3ext-refresh", daemon=True).start()
        except RuntimeError as error:  # The system has no thread left, or the interpreter ends.
            self.returned = True
            self._finish(None, error)

    def give_up(self) -> None:
        """End it, because its time is up."""
        self._finish(None, _overdue())

    def _run(self) -> None:
        keys, error = None, None
        try:
            note_refusal = getattr(self._provider, "note_refusal", None)
            if self._refused and note_refusal is not None:
                note_refusal()
            keys = _checked(_ask(self._provider, self._loop, self.deadline))
        except BaseException as raised:  # noqa: BLE001 - whatever it is, those who wait have to be told
            error = _without_our_frames(raised)
        if monotonic() >= self.deadline:
            keys, error = None, _overdue()
        self.returned = True
        self._finish(keys, error)

    def _finish(self, keys: Keys | None, error: BaseException | None) -> None:
        # Never released: who comes second finds it over.
        if self._once.acquire(blocking=False):
            self.over = True
            self._end(self, keys, error)


def refresh_before_ms(provider: Provider | None) -> int:
    """Return how many milliseconds before their expiry new keys are asked for."""
    threshold = getattr(provider, "refresh_threshold", None)
    if threshold is None:
        return REFRESH_BEFORE_MS
    return max(0, int(threshold.total_seconds() * 1000))


def words(error: BaseException) -> str:
    """Return the text of a provider's error, whatever kind of object that is."""
    try:
        said = str(error)
    except Exception:  # noqa: BLE001 - it is the provider's code
        said = "(it has no text)"
    return f"credential provider: {type(error).__name__}: {said}"


def _overdue() -> TimeoutError:
    return TimeoutError(f"it did not answer within {PATIENCE:g} s")


def _without_our_frames(error: BaseException) -> BaseException:
    """Let an error's traceback begin in the provider: our frames may hold its answer."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals is globals():
        trace = trace.tb_next
    return error.with_traceback(trace)


# ---- the answer ----


def _checked(answer: Any) -> Keys:
    """Check what a provider returned: key id, secret, token, expiry in milliseconds since the epoch.

    Raises:
        TypeError: It is no mapping, or a value has the wrong type. No value is shown: it may be the secret.
        ValueError: A key is missing, or the expiry has no time zone.
    """
    kind = type(answer).__name__
    if not hasattr(answer, "keys") or not hasattr(answer, "__getitem__"):
        yields = " (return the credentials, do not yield them)" if kind.endswith("generator") else ""
        raise TypeError(
            "a credential provider must return a mapping with access_key_id, secret_access_key, optionally "
            f"token, and expires_at, or an awaitable of one, not {kind}{yields}"
        )
    names = set(answer.keys())
    for name in ("access_key_id", "secret_access_key", "expires_at"):
        if name not in names:
            raise ValueError(f"the credential provider's answer lacks {name}")
    return (
        _text("access_key_id", answer["access_key_id"]),
        _text("secret_access_key", answer["secret_access_key"]),
        _token(answer["token"] if "token" in names else None),
        _expires_ms(answer["expires_at"]),
    )


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"the credential provider's {name} must be a str, not {type(value).__name__}")
    if not value or not value.isascii() or not value.isprintable():
        raise ValueError(f"the credential provider's {name} is empty or holds characters that no key has")
    return value


def _token(value: object) -> str | None:
    return None if value is None or value == "" else _text("token", value)


def _expires_ms(moment: object) -> int:
    from datetime import datetime  # noqa: PLC0415 - only providers need it

    if moment is None:
        return NEVER_MS
    if not isinstance(moment, datetime):
        raise TypeError(
            f"the credential provider's expires_at must be a datetime or None, not {type(moment).__name__}"
        )
    if moment.utcoffset() is None:
        raise ValueError(
            "the credential provider's expires_at must have a time zone, such as datetime.timezone.utc"
        )
    return int(moment.timestamp() * 1000)


# ---- the call ----


class _LoopLostError(Exception):
    """The loop that a provider ran in ended, or turns no more."""


def _ask(provider: Provider, last_loop: weakref.ref[AbstractEventLoop] | None, deadline: float) -> object:
    """Call a provider, and wait for its answer where it is an async one."""
    answer: Any = provider()
    if not _is_awaitable(answer):
        return answer
    loop = None if last_loop is None else last_loop()
    if loop is not None and loop.is_running() and _turns(loop):
        try:
            return _in_loop(loop, answer, deadline)
        except _LoopLostError:  # What was begun there cannot be gone on with elsewhere.
            answer = provider()
    return _in_own_loop(answer, deadline)


def _is_awaitable(answer: object) -> bool:
    from inspect import isawaitable  # noqa: PLC0415 - only providers need it

    return isawaitable(answer)


def _turns(loop: AbstractEventLoop) -> bool:
    """Tell whether a loop does what it is asked to, in good time."""
    from threading import Event  # noqa: PLC0415 - only providers need threads

    turned = Event()
    try:
        loop.call_soon_threadsafe(turned.set)
    except RuntimeError:  # It was closed this very moment.
        return False
    return turned.wait(LOOP_PATIENCE)


def _in_loop(loop: AbstractEventLoop, awaitable: Awaitable[object], deadline: float) -> object:
    """Run an awaitable in a loop of another thread.

    Raises:
        _LoopLostError: The loop ended or is blocked.
        TimeoutError: The deadline passed.
    """
    import asyncio  # noqa: PLC0415 - only async providers need it
    from concurrent.futures import CancelledError  # noqa: PLC0415 - the same

    work = _result(awaitable)
    try:
        future = asyncio.run_coroutine_threadsafe(work, loop)
    except RuntimeError:  # It was closed this very moment.
        work.close()
        raise _LoopLostError from None
    while True:
        try:
            return future.result(LOOP_PATIENCE)
        except CancelledError:
            raise _LoopLostError from None
        except TimeoutError:
            if future.done():
                raise
        if monotonic() >= deadline:
            future.cancel()
            raise _overdue()
        if not loop.is_running() or not _turns(loop):
            future.cancel()
            raise _LoopLostError


def _in_own_loop(awaitable: Awaitable[object], deadline: float) -> object:
    """Run an awaitable in a new loop on this thread, until the deadline."""
    import asyncio  # noqa: PLC0415 - only async providers need it

    return asyncio.run(asyncio.wait_for(_result(awaitable), max(0.0, deadline - monotonic())))


async def _result(awaitable: Awaitable[object]) -> object:
    return await awaitable

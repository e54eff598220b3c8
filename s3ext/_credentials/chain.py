"""The chain: where keys come from when nobody gave any.

Before it come a credential provider, keys in code or in the URL, and, unless a profile was asked for, those
of the environment. Then, the first that has keys:

    environment    keys that were set since, or that have an AWS_CREDENTIAL_EXPIRATION   not for a profile=
    web identity   AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN                          not for a profile=
    profile        of the files of AWS's tools: profile=, AWS_DEFAULT_PROFILE, AWS_PROFILE, `default`
    s3cfg          of the same profile
    awssecret                                                                            not for a profile=
    container      ECS, EKS Pod Identity
    instance       EC2 metadata

A source that is there and broken ends the search. Once one has answered, it alone is asked for newer keys, so
that no program changes its identity while it runs.

                     .--------------------- newer keys --------------------------.
                     v                                                           |
    no keys --found--> kept --the core asks: near their end, or refused--> asked again
                     ^                                                           |
                     '---- held for a while: the same keys, or an error while they are good

Called by the core's wish, by a `_providers.Call`: when there are no keys, when they are near their end, and
when the server has refused them, which `note_refusal` says before: then the source is asked whatever was
held. A file's keys are read again when its time, size or inode have changed, and anyway in their last minute.
The core asks for them every minute, which costs one `stat` while the file is the same.

Invariants: a secret is in no attribute but `_keys`, whose repr has none, and in no pickle, since stores
make their chain anew; the child of a fork begins as if it had never asked.
"""

from __future__ import annotations

import os
import random
import weakref
from datetime import UTC, datetime, timedelta
from threading import Lock

from s3ext._credentials import container, environment, metadata, profiles, web_identity
from s3ext._credentials.context import Context
from s3ext._credentials.files import signature_of
from s3ext._credentials.keys import Nothing
from s3ext._credentials.logs import note
from s3ext._ffi import at_fork
from s3ext.exceptions import BaseError, UnauthenticatedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from s3ext._credentials.keys import Keys
    from s3ext._settings import Settings

__all__ = ["STEPS", "Chain"]


class Step:
    """A source.

    Attributes:
        name: What it is called in errors.
        find: Looks for its keys.
        for_profile: Whether it may answer for a profile that was asked for in code.
    """

    __slots__ = ("find", "for_profile", "name")

    def __init__(self, name: str, find: Callable[[Context], Keys], *, for_profile: bool = True) -> None:
        self.name = name
        self.find = find
        self.for_profile = for_profile


STEPS = (
    Step("environment", environment.find, for_profile=False),
    Step("web identity", web_identity.find, for_profile=False),
    Step("profile", profiles.find),
    Step("s3cfg", profiles.find_s3cfg),
    Step("awssecret", profiles.find_awssecret, for_profile=False),
    Step("container", container.find),
    Step("instance metadata", metadata.find),
)

DUE_BEFORE = timedelta(seconds=300)
SPREAD_SECONDS = 60.0
"""Each chain is due by up to this much earlier, so that workers that began together do not ask together."""

FILE_CHECK = timedelta(seconds=60)
"""How often keys of a file are looked after, and how near their end it is read anyway."""

HOLD_SECONDS = 0.5
HOLD_MOST_FILE = 5.0
HOLD_MOST_SERVICE = 30.0
"""How long keys are held at most, when nothing newer could be had."""

FOR_EVER = datetime.max.replace(tzinfo=UTC)


class Chain:
    """The credential provider of a store that was given none.

    Args:
        settings: The store's settings, with its sources.

    Attributes:
        refresh_threshold: How long before their end keys are due.
        source: Where the last keys come from, such as `"profile 'x' in /home/me/.aws/credentials:3"`; None
            before there were any. Without secrets.
        expires_at: When they end, None for never.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        # Workers are not to be told apart by a secret: `random` will do.
        self.refresh_threshold = DUE_BEFORE + timedelta(seconds=random.uniform(0, SPREAD_SECONDS))  # noqa: S311
        self.begin_anew()
        _living.add(self)

    def begin_anew(self) -> None:
        """Forget everything, in the child of a fork; another thread of the parent may have held the lock."""
        self._lock = Lock()
        self._step: Step | None = None
        self._keys: Keys | None = None
        self._refused = False
        self._hold_until = datetime.now(UTC)
        self._holds = 0

    @property
    def source(self) -> str | None:
        """Where the last keys come from."""
        return None if self._keys is None else self._keys.source

    @property
    def expires_at(self) -> datetime | None:
        """When they end."""
        return None if self._keys is None else self._keys.expires_at

    def __repr__(self) -> str:
        return f"<credential chain: {self.source or 'not asked yet'}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a credential chain cannot be pickled; the store that it belongs to makes its own")

    def note_refusal(self) -> None:
        """Hear that the server has refused the last keys as expired: they are not good any more."""
        self._refused = True

    def __call__(self) -> dict[str, object]:
        """Return keys, as a credential provider does.

        Raises:
            UnauthenticatedError: No source has keys; each is named, with what it said.
            BaseError: A source is there and broken, and there are no keys that are still good.
        """
        with self._lock:
            now = datetime.now(UTC)
            refused, self._refused = self._refused, False
            if not refused and self._keys is not None and self._may_wait(self._keys, now):
                return self._answer(self._keys, now)
            try:
                keys = self._find(now)
            except BaseError as error:
                if refused or self._keys is None or _end_of(self._keys) <= now:
                    raise
                note("%s; going on with the keys of %s", error, self._keys.source)
                self._hold(now)
                return self._answer(self._keys, now)
            self._take(keys, now)
            return self._answer(keys, now)

    def _find(self, now: datetime) -> Keys:
        """Ask the source that has answered before, or all of them, for keys that are still good."""
        context = Context(self.settings, os.environ)
        try:
            keys = self._search(context) if self._step is None else self._step.find(context)
        except Nothing as reason:
            assert self._step is not None
            raise UnauthenticatedError(f"{self._step.name}: {reason}") from None
        if _end_of(keys) <= now:
            raise UnauthenticatedError(f"the keys of {keys.source} ended at {keys.expires_at}")
        return keys

    def _search(self, context: Context) -> Keys:
        """Ask all sources, one after the other."""
        said = []
        for step in STEPS:
            if not step.for_profile and context.sources.profile_from == "profile":
                said.append(f"{step.name}: not asked, because of profile={context.sources.profile!r}")
                continue
            try:
                keys = step.find(context)
            except Nothing as reason:
                said.append(f"{step.name}: {reason}")
                continue
            self._step = step
            return keys
        raise UnauthenticatedError(
            "no credentials: give access_key_id and secret_access_key (AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY), a credential_provider, or skip_signature=True for a public bucket. "
            f"These were looked for: {'; '.join(said)}"
        )

    def _take(self, keys: Keys, now: datetime) -> None:
        """Keep keys that were found, and see whether they are newer than the last."""
        last, end = self._keys, _end_of(keys)
        self._keys = keys
        if keys.same_as(last):
            self._hold(now)
        else:
            # Those with a short life are asked for at each use: not more often than twice in it.
            short = end - now < self.refresh_threshold
            self._holds = 0
            self._hold_until = now + (end - now) / 2 if short else now
        note("credentials from %s, which end %s", keys.source, keys.expires_at or "never")

    def _may_wait(self, keys: Keys, now: datetime) -> bool:
        """Tell whether the last keys will do without asking their source."""
        left = _end_of(keys) - now
        if left <= timedelta():
            return False
        if keys.path is not None and signature_of(keys.path) not in {None, keys.signature}:
            return False  # It has changed. One that is gone may be on its way.
        return now < self._hold_until or (keys.path is not None and left >= FILE_CHECK)

    def _hold(self, now: datetime) -> None:
        """Go on with the last keys for a while, longer each time."""
        assert self._keys is not None
        most = HOLD_MOST_FILE if self._keys.path is not None else HOLD_MOST_SERVICE
        wait = min(most, HOLD_SECONDS * 2**self._holds) * random.uniform(0.5, 1)  # noqa: S311 - see __init__
        self._holds = min(self._holds + 1, 16)
        self._hold_until = now + timedelta(seconds=wait)

    def _answer(self, keys: Keys, now: datetime) -> dict[str, object]:
        """Write keys as the core takes them."""
        expires_at = keys.expires_at
        if keys.path is not None:
            expires_at = min(_end_of(keys), now + self.refresh_threshold + FILE_CHECK)
        return {
            "access_key_id": keys.key_id,
            "secret_access_key": keys.secret,
            "token": keys.token,
            "expires_at": expires_at,
        }


def _end_of(keys: Keys) -> datetime:
    return FOR_EVER if keys.expires_at is None else keys.expires_at


_living: weakref.WeakSet[Chain] = weakref.WeakSet()


def _drop() -> None:
    for chain in list(_living):
        chain.begin_anew()


at_fork(_drop)

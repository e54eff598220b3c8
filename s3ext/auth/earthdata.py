"""NASA Earthdata's short-lived keys for direct access to its buckets, as credential providers.

A data centre of Earthdata hands out keys at its credentials URL, to whoever has logged in at the Earthdata
Login host (NASA, "Earthdata Login: S3 direct access"):

    token       GET credentials_url, Authorization: Bearer -> 200 keys | redirect: the token is not taken
    password    GET credentials_url -> redirect to the login host, asked with the password, which redirects
                back to the data centre -> 200 keys | 200 a page for humans: the password is not taken

The steps are the same for both providers, a generator that gives requests and is sent answers; the sync one
sends them with requests, the async one with aiohttp.

Invariants: a token goes only to the credentials URL, a password only to the login host, and neither over
http, unless the credentials URL itself is one; neither is in an error or repr, nor is a URL with its query,
which holds codes of the login. Tokens and passwords of the environment and of netrc are read for each
answer, so they are in no pickle.
"""

from __future__ import annotations

import json
import os
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, TypeAlias
from urllib.parse import urljoin, urlsplit

from s3ext.auth import missing
from s3ext.exceptions import GenericError, UnauthenticatedError

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Self

    import aiohttp
    import requests

    from s3ext.store import S3Config, S3Credential

__all__ = [
    "DEFAULT_EARTHDATA_HOST",
    "NasaEarthdataAsyncCredentialProvider",
    "NasaEarthdataCredentialProvider",
]

DEFAULT_EARTHDATA_HOST = "urs.earthdata.nasa.gov"
"""The login host where neither `host=` nor `EARTHDATA_HOST` names another."""

Auth: TypeAlias = "str | tuple[str, str]"
"""A token, or user name and password."""

_TIMEOUT = 20.0
"""Seconds for each request; a login takes two, with redirects, of a provider's 60."""

_PAUSES = (0.5, 2.0)
"""Seconds before a request is sent again that the server was too busy for."""

_BUSY = frozenset({429, 500, 502, 503, 504})


class _Request(NamedTuple):
    """A GET: whether redirects are followed, and seconds to wait before it."""

    url: str
    auth: Auth | None = None
    follow: bool = False
    pause: float = 0.0


class _Answer(NamedTuple):
    """Status, body, and where a redirect that was not followed leads to."""

    status: int
    location: str | None
    body: bytes


class _Earthdata:
    """What both providers share: the arguments, and the steps of a login."""

    config: S3Config

    def __init__(self, credentials_url: str, host: str | None, auth: Auth | None) -> None:
        self.config = {"region": "us-west-2"}
        self._credentials_url = credentials_url
        self._host = host
        self._given_auth = auth
        self._closed = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._credentials_url!r}, host={self._login_host()!r})"

    def _login_host(self) -> str:
        return self._host or os.environ.get("EARTHDATA_HOST") or DEFAULT_EARTHDATA_HOST

    def _auth(self) -> Auth | None:
        """Find the token or the password: as given, of the environment, of netrc."""
        if self._given_auth:
            return self._given_auth
        environ = os.environ
        if token := environ.get("EARTHDATA_TOKEN"):
            return token
        user, password = environ.get("EARTHDATA_USERNAME"), environ.get("EARTHDATA_PASSWORD")
        return (user, password) if user and password else _netrc_auth(self._login_host())

    def _steps(self) -> Generator[_Request, _Answer, S3Credential]:
        """Get keys.

        Raises:
            UnauthenticatedError: Token or password are missing or not taken.
            GenericError: The server fails, or its answer holds no keys.
            ValueError: The provider was closed.
        """
        if self._closed:
            raise ValueError("credential provider was closed")
        url, auth = self._credentials_url, self._auth()
        if isinstance(auth, str):
            answer = yield from self._ask(_Request(url, auth))
            if answer.location is not None:
                raise self._refused("the token is not accepted", url)
            return self._keys(answer, url)
        answer = yield from self._ask(_Request(url))
        if answer.location is None:  # The session given has logged in before.
            return self._keys(answer, url)
        login = urljoin(url, answer.location)
        place = urlsplit(login)
        if place.scheme != "https" and urlsplit(url).scheme == "https":
            raise GenericError(
                f"Earthdata: {_shown(url)} redirects to {place.scheme}, which is no place to log in"
            )
        ours = place.hostname == self._login_host()
        answer = yield from self._ask(_Request(login, auth if ours else None, follow=True))
        if answer.body.lstrip()[:1] != b"{":
            raise self._refused(self._why_none(auth, ours=ours, host=place.hostname), login)
        return self._keys(answer, login)

    def _ask(self, request: _Request) -> Generator[_Request, _Answer, _Answer]:
        """Send a request, again when the server is too busy for it.

        Raises:
            UnauthenticatedError: 401 or 403.
            GenericError: Any other error.
        """
        answer = yield request
        for pause in _PAUSES:
            if answer.status not in _BUSY:
                break
            answer = yield request._replace(pause=pause)
        if answer.status in {401, 403}:
            raise self._refused("the token or password is not accepted", request.url, answer.status)
        if answer.status >= 400:
            raise GenericError(
                f"Earthdata: {_shown(request.url)} answers {answer.status}", status=answer.status
            )
        return answer

    def _why_none(self, auth: Auth | None, *, ours: bool, host: str | None) -> str:
        if not ours:
            return f"the login is at {host}, not at host={self._login_host()!r}"
        if auth is None:
            return (
                "there is no token or password: give auth=, EARTHDATA_TOKEN, EARTHDATA_USERNAME and "
                f"EARTHDATA_PASSWORD, or an entry for {host} in netrc"
            )
        return "user name and password are not accepted"

    @staticmethod
    def _refused(why: str, url: str, status: int = 401) -> UnauthenticatedError:
        return UnauthenticatedError(f"Earthdata: {why} ({_shown(url)})", status=status)

    @staticmethod
    def _keys(answer: _Answer, url: str) -> S3Credential:
        try:
            found = json.loads(answer.body)
            expires_at = datetime.fromisoformat(found["expiration"])
            return {
                "access_key_id": found["accessKeyId"],
                "secret_access_key": found["secretAccessKey"],
                "token": found["sessionToken"],
                "expires_at": expires_at,
            }
        except (ValueError, KeyError, TypeError) as error:
            problem = type(error).__name__  # its words might show a key
        raise GenericError(f"Earthdata: the answer of {_shown(url)} holds no credentials ({problem})")


class NasaEarthdataCredentialProvider(_Earthdata):
    """Keys for NASA Earthdata's buckets, got with requests.

    The keys work only in the buckets' region, us-west-2.

    Args:
        credentials_url: Where the data centre hands out keys, such as
            `"https://data.ornldaac.earthdata.nasa.gov/s3credentials"`.
        host: The login host; default `EARTHDATA_HOST`, then `DEFAULT_EARTHDATA_HOST`.
        auth: A token, or user name and password; default `EARTHDATA_TOKEN`, then `EARTHDATA_USERNAME` and
            `EARTHDATA_PASSWORD`, then the entry for the host in netrc (`NETRC`, or `~/.netrc`).
        session: A session of requests; it is not closed. Default: a new one for each login.

    Attributes:
        config: Options for the store: the region.
        session: As given.

    Raises:
        ImportError: requests is not installed.
    """

    def __init__(
        self,
        credentials_url: str,
        *,
        host: str | None = None,
        auth: Auth | None = None,
        session: requests.Session | None = None,
    ) -> None:
        try:
            import requests  # noqa: F401, PLC0415 - the other provider does without
        except ImportError as error:
            raise missing(__name__, error) from None
        super().__init__(credentials_url, host, auth)
        self.session = session

    def __call__(self) -> S3Credential:
        """Log in and return new keys.

        Raises:
            UnauthenticatedError: Token or password are missing or not taken.
            GenericError: The server fails or cannot be reached, or its answer holds no keys.
            ValueError: The provider was closed.
        """
        import contextlib  # noqa: PLC0415 - a login is rare
        import time  # noqa: PLC0415 - the same

        import requests  # noqa: PLC0415 - an extra

        session = self.session
        steps = self._steps()
        with requests.Session() if session is None else contextlib.nullcontext(session) as used:
            try:
                request = next(steps)
                while True:
                    time.sleep(request.pause)
                    request = steps.send(_sent(used, request))
            except StopIteration as end:
                credential: S3Credential = end.value
                return credential

    def close(self) -> None:
        """End it: it gives no keys any more."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class NasaEarthdataAsyncCredentialProvider(_Earthdata):
    """Keys for NASA Earthdata's buckets, got with aiohttp; otherwise like the sync provider.

    Args:
        credentials_url: Where the data centre hands out keys.
        host: The login host.
        auth: A token, or user name and password.
        session: A session of aiohttp, or a `RetryClient` of aiohttp_retry; it is not closed, and its loop
            must be the one that uses the store. Default: a new session for each login, in any loop.

    Attributes:
        config: Options for the store: the region.
        session: As given.

    Raises:
        ImportError: aiohttp is not installed.
    """

    def __init__(
        self,
        credentials_url: str,
        *,
        host: str | None = None,
        auth: Auth | None = None,
        session: aiohttp.ClientSession | None = None,
    ) -> None:
        try:
            import aiohttp  # noqa: F401, PLC0415 - the other provider does without
        except ImportError as error:
            raise missing(__name__, error) from None
        super().__init__(credentials_url, host, auth)
        self.session = session

    async def __call__(self) -> S3Credential:
        """Log in and return new keys.

        Raises:
            UnauthenticatedError: Token or password are missing or not taken.
            GenericError: The server fails or cannot be reached, or its answer holds no keys.
            ValueError: The provider was closed.
        """
        import asyncio  # noqa: PLC0415 - a login is rare
        import contextlib  # noqa: PLC0415 - the same

        session = self.session
        steps = self._steps()
        async with (
            _new_session(self._credentials_url)
            if session is None
            else contextlib.nullcontext(session) as used
        ):
            try:
                request = next(steps)
                while True:
                    await asyncio.sleep(request.pause)
                    request = steps.send(await _sent_async(used, request))
            except StopIteration as end:
                credential: S3Credential = end.value
                return credential

    async def close(self) -> None:
        """End it: it gives no keys any more."""
        self._closed = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _sent(session: requests.Session, request: _Request) -> _Answer:
    import requests  # noqa: PLC0415 - an extra

    def authorize(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        prepared.headers.update(_authorization(request.auth))
        return prepared

    # As `auth`, because an entry in netrc would take the place of a mere header.
    auth = authorize if request.auth else None
    try:
        with session.get(request.url, auth=auth, allow_redirects=request.follow, timeout=_TIMEOUT) as answer:
            location = answer.headers.get("location") if answer.is_redirect else None
            return _Answer(answer.status_code, location, answer.content)
    except requests.RequestException as error:
        failure = _unreached(request.url, error)
    raise failure


def _new_session(url: str) -> aiohttp.ClientSession:
    """Make a session that uses the proxy that the environment has for a URL.

    Its `trust_env` would do that too, but would also refuse every request to a host that netrc knows and that
    has an Authorization already.
    """
    from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415 - a login is rare

    import aiohttp  # noqa: PLC0415 - an extra

    place = urlsplit(url)
    excluded = proxy_bypass(place.hostname or "")
    return aiohttp.ClientSession(proxy=None if excluded else getproxies().get(place.scheme))


async def _sent_async(session: aiohttp.ClientSession, request: _Request) -> _Answer:
    import aiohttp  # noqa: PLC0415 - an extra

    try:
        async with session.get(
            request.url,
            headers=_authorization(request.auth),
            allow_redirects=request.follow,
            timeout=aiohttp.ClientTimeout(_TIMEOUT),
        ) as answer:
            location = answer.headers.get("location") if 300 <= answer.status < 400 else None
            return _Answer(answer.status, location, await answer.read())
    except (aiohttp.ClientError, TimeoutError) as error:
        failure = _unreached(request.url, error)
    raise failure


def _authorization(auth: Auth | None) -> dict[str, str]:
    """Make the header; aiohttp, like requests, sends it to no other host that a redirect leads to."""
    import base64  # noqa: PLC0415 - a login is rare

    if auth is None:
        return {}
    if isinstance(auth, str):
        return {"Authorization": f"Bearer {auth}"}
    return {"Authorization": f"Basic {base64.b64encode(':'.join(auth).encode()).decode()}"}


def _unreached(url: str, error: Exception) -> GenericError:
    """Make the error for a request without an answer; the library's own may show a whole URL."""
    return GenericError(f"Earthdata: {_shown(url)} cannot be reached ({type(error).__name__})")


def _netrc_auth(host: str) -> tuple[str, str] | None:
    """Read user name and password for a host from netrc; None if there is no such file or entry."""
    import netrc  # noqa: PLC0415 - few need it

    try:
        found = netrc.netrc(os.environ.get("NETRC")).authenticators(host)
    except FileNotFoundError:
        return None
    except netrc.NetrcParseError as error:
        # Its words might show a password.
        what = "its owner or mode is wrong" if error.lineno is None else f"line {error.lineno} is wrong"
    else:
        return None if found is None else (found[0], found[2])
    raise GenericError(f"Earthdata: the netrc file cannot be used: {what}")


def _shown(url: str) -> str:
    """Return a URL without what may be secret in it: user, query and fragment."""
    place = urlsplit(url)
    return f"{place.scheme}://{place.hostname}{place.path}"

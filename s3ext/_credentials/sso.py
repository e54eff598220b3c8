"""IAM Identity Center ("SSO"): the token that `aws sso login` has left, exchanged for the keys of a role.

    [profile p]                          [sso-session s]
    sso_session = s                      sso_start_url, sso_region
    sso_account_id, sso_role_name        (in the older form all four stand in the profile)

The token is in ~/.aws/sso/cache, in a file named by the SHA-1 of the session's name, or of the start URL in
the older form. A token of a session is renewed by its refresh token when it has less than 15 minutes left (as
botocore does), and the file is replaced, because a refresh token may be good for one use only. Where that
cannot be, a person has to log in: the error says with which command.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from datetime import UTC, datetime, timedelta
from typing import Any

from s3ext._credentials.files import read
from s3ext._credentials.keys import Keys, parse_moment
from s3ext._credentials.services import ask, header, object_of, regional_url, service_client
from s3ext._endpoints import is_region
from s3ext.exceptions import GenericError, ProtocolError, UnauthenticatedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3ext._credentials.context import Context
    from s3ext._credentials.files import Entry, Profile, Section

__all__ = ["find"]

RENEW_BEFORE = timedelta(minutes=15)


class Login:
    """What a profile says of its login.

    Args:
        context: The search.
        profile: The profile.

    Attributes:
        start_url: Where a person logs in.
        region: Region of the services.
        account: Number of the account.
        role: Name of the role.
        session: Name of the session, or None in the older form.

    Raises:
        GenericError: Something is missing.
    """

    def __init__(self, context: Context, profile: Profile) -> None:
        named = profile.get("sso_session")
        session = None if named is None else profile.sso_session(named.text)
        if named is not None and session is None:
            raise GenericError(
                f"{named.where}: there is no [sso-session {named.text}] in {profile.places[1]}"
            )
        self.profile = profile
        self.session = None if named is None else named.text
        self.start_url = self._need("sso_start_url", session)
        self.region = self._need("sso_region", session)
        self.account = self._need("sso_account_id", None)
        self.role = self._need("sso_role_name", None)
        if not is_region(self.region):  # It becomes part of a host's name.
            raise GenericError(f"profile {profile.name!r}: the sso_region {self.region!r} is none")
        digest = hashlib.sha1((self.session or self.start_url).encode(), usedforsecurity=False).hexdigest()
        home = context.environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - as the other files
        self.path = f"{home}/.aws/sso/cache/{digest}.json"

    def _need(self, key: str, session: Section | None) -> str:
        entry: Entry | None = None
        if session is not None:
            session.check()
            entry = session.entries.get(key)
        entry = entry or self.profile.get(key)
        if entry is None or not entry.text:
            raise GenericError(f"profile {self.profile.name!r} has no {key}")
        return entry.text

    def refusal(self, why: str) -> UnauthenticatedError:
        """Make the exception for what only a person can mend."""
        return UnauthenticatedError(f"{why}; log in: aws sso login --profile {self.profile.name}")


def find(context: Context, profile: Profile) -> Keys:
    """Exchange the token of a profile's login.

    Raises:
        UnauthenticatedError: There is no token, or it has ended.
        BaseError: The profile is incomplete, or the service did not answer.
    """
    login = Login(context, profile)
    token = _token(context, login)
    url, label = regional_url(context, "sso", "portal.sso", login.region)
    source = f"login of profile {profile.name!r}, role {login.role}"
    answer = ask(
        service_client(context, url, label),
        "GET",
        "federation/credentials",
        headers=(header("x-amz-sso_bearer_token", token, "the token of the login"),),
        query=(("role_name", login.role), ("account_id", login.account)),
        source=source,
    )
    if answer.status == 401:
        raise login.refusal("the token of the login was refused")
    if answer.status != 200:
        raise UnauthenticatedError(
            f"the role {login.role} of account {login.account} was refused with status {answer.status}",
            status=answer.status,
        )
    said = object_of(answer, label).get("roleCredentials")
    try:
        assert isinstance(said, dict)
        return Keys(
            said["accessKeyId"],
            said["secretAccessKey"],
            said["sessionToken"],
            source,
            expires_at=datetime.fromtimestamp(said["expiration"] / 1000, UTC),
        )
    except (AssertionError, KeyError, TypeError, ValueError, OverflowError):  # Whose words might show a key.
        raise ProtocolError(f"the answer of {label} holds no keys") from None


def _token(context: Context, login: Login) -> str:
    """Return the login's token, renewed if it is near its end."""
    found = read(login.path, "the cache of the login")
    if found is None:
        raise login.refusal("nobody has logged in")
    try:
        kept = json.loads(found[0])
        token, ends = str(kept["accessToken"]), parse_moment(kept["expiresAt"])
    except (AttributeError, KeyError, TypeError, ValueError):
        raise login.refusal(f"{login.path} holds no token") from None
    left = ends - datetime.now(UTC)
    if left > RENEW_BEFORE:
        return token
    renewed = _renew(context, login, kept)
    if renewed is not None:
        return renewed
    if left > timedelta():
        return token
    raise login.refusal("the login has expired")


def _renew(context: Context, login: Login, kept: dict[str, Any]) -> str | None:
    """Renew a token, and replace the file; None if that cannot be."""
    needed = ("clientId", "clientSecret", "refreshToken")
    if login.session is None or not all(isinstance(kept.get(name), str) for name in needed):
        return None
    url, label = regional_url(context, "sso_oidc", "oidc", login.region)
    asked = {"grantType": "refresh_token", **{name: kept[name] for name in needed}}
    answer = ask(
        service_client(context, url, label),
        "POST",
        "token",
        headers=(("content-type", "application/json"),),
        body=json.dumps(asked).encode(),
        source=f"login of profile {login.profile.name!r}",
    )
    if answer.status != 200:
        return None
    said = object_of(answer, label)
    token, seconds = said.get("accessToken"), said.get("expiresIn")
    if not isinstance(token, str) or not isinstance(seconds, int):
        raise ProtocolError(f"the answer of {label} holds no token")
    ends = datetime.now(UTC) + timedelta(seconds=seconds)
    kept = {**kept, "accessToken": token, "expiresAt": ends.strftime("%Y-%m-%dT%H:%M:%SZ")}
    if isinstance(said.get("refreshToken"), str):
        kept["refreshToken"] = said["refreshToken"]
    _replace(login.path, json.dumps(kept))
    return token


def _replace(path: str, text: str) -> None:
    """Replace a file at once, readable by its owner alone; where that cannot be, only this process gains."""
    try:
        descriptor, fresh = tempfile.mkstemp(dir=os.path.dirname(path))  # noqa: PTH120 - as the other files
    except OSError:
        return
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        os.replace(fresh, path)  # noqa: PTH105 - as the other files
    except OSError:
        os.unlink(fresh)  # noqa: PTH108 - as the other files

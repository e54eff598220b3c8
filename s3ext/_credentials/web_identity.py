"""Web identity: a token that the platform writes into a file, exchanged at STS for the keys of a role.

(AWS, "AssumeRoleWithWebIdentity".) The file is read anew for each exchange: the platform replaces it.
"""

from __future__ import annotations

from time import time

from s3ext._credentials.files import read
from s3ext._credentials.keys import Keys, Nothing
from s3ext.exceptions import GenericError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3ext._credentials.context import Context
    from s3ext._credentials.files import Profile

__all__ = ["find", "of_profile"]

DURATION = "3600"


def find(context: Context) -> Keys:
    """Exchange the token of the options web_identity_token_file and role_arn, or of their variables.

    Raises:
        Nothing: They are not set; a role alone is not enough, and no error.
        BaseError: The token cannot be read, or exchanged.
    """
    sources = context.sources
    if not sources.web_identity_token_file:
        raise Nothing("AWS_WEB_IDENTITY_TOKEN_FILE is not set")
    if not sources.role_arn:
        raise GenericError("web_identity_token_file is set, and role_arn (AWS_ROLE_ARN) is not")
    return _exchange(
        context, sources.web_identity_token_file, sources.role_arn, sources.role_session_name, "web identity"
    )


def of_profile(context: Context, profile: Profile) -> Keys:
    """Exchange the token of a profile's web_identity_token_file and role_arn.

    Raises:
        BaseError: It has no role, or the token cannot be read, or exchanged.
    """
    file, role = profile.get("web_identity_token_file"), profile.get("role_arn")
    assert file is not None
    if role is None:
        raise GenericError(f"{file.where}: web_identity_token_file goes with role_arn")
    name = profile.get("role_session_name")
    return _exchange(
        context,
        file.text,
        role.text,
        name.text if name else f"s3ext-{int(time())}",
        f"web identity of profile {profile.name!r} in {file.where}",
    )


def _exchange(context: Context, path: str, role: str, session: str, source: str) -> Keys:
    from s3ext._credentials.services import ask_token_service  # noqa: PLC0415 - heavy, and needed from here on

    found = read(path, "the web identity token")
    token = found[0].decode("utf-8", "replace").strip() if found else ""
    if not token:
        raise GenericError(f"{source}: the token's file {path} is {'empty' if found else 'not there'}")
    fields = {
        "RoleArn": role,
        "RoleSessionName": session,
        "DurationSeconds": DURATION,
        "WebIdentityToken": token,
    }
    return ask_token_service(context, "AssumeRoleWithWebIdentity", fields, f"{source}, role {role}")

"""A profile's keys: which of its ways counts, and the keys that simply stand in a file.

The order is botocore's: a role by web identity or by other keys, SSO, keys in the credentials file,
credential_process, keys in the config file; then s3cfg. What a profile begins it must finish: half a pair or
a role that cannot be assumed is an error, and no reason to look elsewhere.
"""

from __future__ import annotations

from s3ext._credentials.assume_role import assume
from s3ext._credentials.files import read, signature
from s3ext._credentials.keys import Keys, Nothing, parse_moment
from s3ext._credentials.web_identity import of_profile as find_web_identity
from s3ext.exceptions import GenericError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from s3ext._credentials.context import Context
    from s3ext._credentials.files import Entry, Profile, Section

__all__ = ["find", "find_awssecret", "find_s3cfg"]

# Id, secret, and the token's names; the second one is that of old versions of AWS's tools.
_AWS = ("aws_access_key_id", "aws_secret_access_key", ("aws_session_token", "aws_security_token"))
_S3CFG = ("access_key", "secret_key", ("access_token",))

_warned: set[str] = set()


def find(context: Context) -> Keys:
    """Find the keys of the store's profile in AWS's files.

    Raises:
        Nothing: There is no such profile, though nobody asked for one, or it says nothing of keys.
        GenericError: There is no such profile, or it is wrong.
        BaseError: A service that it names did not give keys.
    """
    sources = context.sources
    profile = context.profile()
    profile.require(sources.profile_from)
    if not profile.found:
        raise Nothing(f"there is no profile {profile.name!r} in {', '.join(sources.places[:3])}")
    keys = _of_profile(context, profile, ())
    if keys is None:
        raise Nothing(f"profile {profile.name!r} says nothing of keys")
    return keys


def find_s3cfg(context: Context) -> Keys:
    """Find the keys of the store's profile in s3cfg.

    Raises:
        Nothing: There are none.
        GenericError: There is half a pair.
    """
    profile = context.profile()
    keys = _in_file(profile.s3cfg, _S3CFG, profile)
    if keys is None:
        raise Nothing(f"{context.sources.places[2]} has no access_key for {profile.name!r}")
    return keys


def find_awssecret(context: Context) -> Keys:
    """Find the keys of ~/.awssecret, which has no profiles: two words, id and secret (htslib).

    Raises:
        Nothing: There is no such file, or the store's profile was asked for by name.
        GenericError: It has not two words.
    """
    path = context.sources.places[3]
    if context.sources.profile_from == "profile":
        raise Nothing("knows no profiles")
    found = read(path)
    if found is None:
        raise Nothing(f"there is no {path}")
    words = found[0].decode("utf-8-sig", "replace").split()
    if len(words) != 2:
        raise GenericError(f"{path} must hold two words, id and secret; it has {len(words)}")
    if found[1].st_mode & 0o004:
        _warn(path)
    return Keys(words[0], words[1], None, path, path=path, signature=signature(found[1]))


def _of_profile(context: Context, profile: Profile, asked: tuple[str, ...]) -> Keys | None:
    """Find a profile's keys.

    Args:
        context: The search.
        profile: The profile.
        asked: The profiles whose roles are assumed with its keys, the last first.
    """

    def of_source(name: str) -> Keys:
        source = context.profile(name)
        line = (*asked, profile.name)
        if not source.found:
            raise GenericError(
                f"profile {profile.name!r} has the source_profile {name!r}, which is in no file"
            )
        if name in line and not (name == profile.name and _static(source)):
            raise GenericError(f"the profiles {' -> '.join((*line, name))} are in a ring of source_profile")
        # Keys of its own come before its role: they are what the one who named it means.
        keys = _static(source) or _of_profile(context, source, line)
        if keys is None:
            raise GenericError(f"profile {profile.name!r}: its source_profile {name!r} has no keys")
        return keys

    if profile.get("web_identity_token_file"):
        return find_web_identity(context, profile)
    if profile.get("role_arn"):
        return assume(context, profile, of_source)
    if profile.get("sso_account_id") or profile.get("sso_role_name"):
        from s3ext._credentials import sso  # noqa: PLC0415 - heavy, and few profiles need it

        return sso.find(context, profile)
    keys = _in_section(profile.credentials, profile)
    command = profile.get("credential_process")
    if keys is None and command is not None:
        from s3ext._credentials import process  # noqa: PLC0415 - heavy, and few profiles need it

        return process.run(command, profile.name)
    return keys or _in_section(profile.config, profile)


def _static(profile: Profile) -> Keys | None:
    return _in_section(profile.credentials, profile) or _in_section(profile.config, profile)


def _in_section(section: Section | None, profile: Profile) -> Keys | None:
    return None if section is None else _in_file(section.entries, _AWS, profile)


def _in_file(
    entries: Mapping[str, Entry], names: tuple[str, str, tuple[str, ...]], profile: Profile
) -> Keys | None:
    """Take the keys that stand in one section of one file; None if neither id nor secret is there."""
    filled = {key: entry for key, entry in entries.items() if entry.text}
    key_id, secret = filled.get(names[0]), filled.get(names[1])
    token = next((filled[name] for name in names[2] if name in filled), None)
    half = key_id or secret
    if half is None:
        return None
    if key_id is None or secret is None:
        lacks = names[1] if secret is None else names[0]
        raise GenericError(f"{half.where}: profile {profile.name!r} has no {lacks} beside it")
    document = key_id.document
    if document.open_to_all:
        _warn(document.path)
    return Keys(
        key_id.text,
        secret.text,
        None if token is None else token.text,
        f"profile {profile.name!r} in {key_id.where}",
        expires_at=_expiry(entries.get("expiry_time"), profile.name),
        path=document.path,
        signature=document.signature,
    )


def _expiry(entry: Entry | None, name: str) -> datetime | None:
    if entry is None or not entry.text:
        return None
    try:
        return parse_moment(entry.text)
    except ValueError as error:
        raise GenericError(
            f"{entry.where}: the expiry_time of profile {name!r} is {entry.text!r}: {error}"
        ) from None


def _warn(path: str) -> None:
    """Warn, once in a process, of a file that every user of the machine may read."""
    if path in _warned:
        return
    _warned.add(path)
    import warnings  # noqa: PLC0415 - few files are so

    warnings.warn(f"every user of this machine may read the keys in {path}: chmod 600 it", stacklevel=2)

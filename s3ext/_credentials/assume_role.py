"""A profile's role: its `role_arn`, assumed at STS with the keys of another source.

    source_profile      another profile, which may have a role itself; or this one, for its own static keys
    credential_source   Environment, Ec2InstanceMetadata or EcsContainer

(AWS, "AssumeRole"; AWS SDKs and tools, "Assume role credential provider".)
"""

from __future__ import annotations

from time import time

from s3ext._credentials import container, environment, metadata
from s3ext._credentials.keys import Keys, Nothing
from s3ext.exceptions import GenericError, NotSupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from s3ext._credentials.context import Context
    from s3ext._credentials.files import Profile

__all__ = ["assume"]

_SOURCES = {
    "environment": environment.find,
    "ec2instancemetadata": metadata.find,
    "ecscontainer": container.find,
}


def assume(context: Context, profile: Profile, of_source: Callable[[str], Keys]) -> Keys:
    """Assume the role of a profile.

    Args:
        context: The search.
        profile: The profile, which has a role_arn.
        of_source: Gives the keys of a source_profile.

    Raises:
        GenericError: The profile does not say with which keys, or says it twice.
        NotSupportedError: The role needs a code of an MFA device.
        UnauthenticatedError: STS refuses.
        BaseError: The source has no keys, or there was no answer.
    """
    role = profile.get("role_arn")
    assert role is not None
    device = profile.get("mfa_serial")
    if device is not None:
        raise NotSupportedError(
            f"{device.where}: the role of profile {profile.name!r} needs a code of an MFA device, and nobody "
            "can be asked for one; take keys of a session, as with `aws configure export-credentials "
            f"--profile {profile.name}`, or give a credential_provider"
        )
    named, source = profile.get("source_profile"), profile.get("credential_source")
    if (named is None) == (source is None):
        raise GenericError(
            f"{role.where}: the role of profile {profile.name!r} needs one of source_profile and "
            f"credential_source, not {'none' if named is None else 'both'}"
        )
    signer = of_source(named.text) if named is not None else _of_machine(context, profile)
    fields = {"RoleArn": role.text, "RoleSessionName": f"s3ext-{int(time())}"}
    for key, field in (
        ("role_session_name", "RoleSessionName"),
        ("external_id", "ExternalId"),
        ("duration_seconds", "DurationSeconds"),
    ):
        entry = profile.get(key)
        if entry is not None:
            fields[field] = entry.text
        if entry is not None and key == "duration_seconds" and not entry.text.isdigit():
            raise GenericError(
                f"{entry.where}: duration_seconds is {entry.text!r}; it must be a whole number"
            )
    from s3ext._credentials.services import ask_token_service  # noqa: PLC0415 - heavy, and needed from here on

    text = f"role {role.text} of profile {profile.name!r} in {role.where}, by {signer.source}"
    return ask_token_service(context, "AssumeRole", fields, text, signer=signer)


def _of_machine(context: Context, profile: Profile) -> Keys:
    entry = profile.get("credential_source")
    assert entry is not None
    find = _SOURCES.get(entry.text.lower())
    if find is None:
        raise GenericError(
            f"{entry.where}: credential_source is {entry.text!r}; it must be Environment, "
            "Ec2InstanceMetadata or EcsContainer"
        )
    try:
        return find(context)
    except Nothing as reason:
        raise GenericError(f"{entry.where}: credential_source {entry.text} has no keys: {reason}") from None

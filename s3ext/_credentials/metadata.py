"""The metadata service of an EC2 instance, version 2; version 1 only with imdsv1_fallback.

    PUT  /latest/api/token                                    a token for the next two
    GET  /latest/meta-data/iam/security-credentials/          the name of the instance's role
    GET  /latest/meta-data/iam/security-credentials/<role>    its keys

(AWS, "Use the Instance Metadata Service".) Elsewhere than on an instance nobody answers: one try, one second.
Where it has answered before, or is only busy, there are more. Waits are drawn by lot, a short one before the
first request too, so that a hundred workers that start together do not ask together.

Where it is: metadata_endpoint, AWS_EC2_METADATA_SERVICE_ENDPOINT or the profile's
ec2_metadata_service_endpoint; else the IPv6 address if ..._ENDPOINT_MODE is IPv6; else 169.254.169.254.
AWS_EC2_METADATA_DISABLED=true switches it off.
"""

from __future__ import annotations

import random
from time import sleep

from s3ext._credentials.keys import Keys, Nothing, from_document
from s3ext.exceptions import BaseError, ConnectError, GenericError, RequestTimeoutError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from s3ext._clients import Client
    from s3ext._credentials.context import Context
    from s3ext._http import Answer

__all__ = ["find"]

IPV4 = "http://169.254.169.254"
IPV6 = "http://[fd00:ec2::254]"
CONNECT_MS = 1000
FIRST_BYTE_MS = 2000
TRIES = 5
START_SECONDS = 0.1
"""A search begins after less than this; where nobody answers, that is little beside CONNECT_MS."""
WAIT_SECONDS = 0.2
"""The first wait is shorter than this, each next one up to twice as long."""
LIMIT_MS = 5000
TOKEN_SECONDS = "600"  # noqa: S105 - how long it is good for
ROLES = "latest/meta-data/iam/security-credentials/"

_answered = False
"""Whether there is such a service: it has given something in this process."""


def find(context: Context) -> Keys:
    """Ask the instance.

    Raises:
        Nothing: There is no such service, or the instance has no role.
        BaseError: It answers, but not with keys.
    """
    if context.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        raise Nothing("switched off by AWS_EC2_METADATA_DISABLED")
    from s3ext._credentials.services import object_of, service_client  # noqa: PLC0415 - heavy, needed from here on

    url, label = _url(context)
    client = service_client(
        context,
        url,
        label,
        local=True,
        connect_ms=CONNECT_MS,
        first_byte_ms=FIRST_BYTE_MS,
        max_retries=0,
    )
    sleep(random.uniform(0, START_SECONDS))  # noqa: S311 - nothing secret is drawn
    headers = _token(client, fallback=context.sources.imdsv1_fallback)
    roles = _get(client, ROLES, headers)
    role = roles.body.decode("utf-8", "replace").strip().partition("\n")[0].strip()
    if roles.status == 404 or not role:
        raise Nothing("the instance has no role")
    answer = _get(client, ROLES + role, headers)
    source = f"instance metadata, role {role!r}"
    said = object_of(answer, source)
    if answer.status != 200 or said.get("Code", "Success") != "Success":
        raise GenericError(f"{source}: there are no keys for it (status {answer.status})")
    return from_document(said, source)


def _url(context: Context) -> tuple[str, str]:
    if context.sources.metadata_endpoint:
        return context.sources.metadata_endpoint, "metadata_endpoint"
    for name in ("endpoint", "endpoint_mode"):
        variable = f"AWS_EC2_METADATA_SERVICE_{name.upper()}"
        entry = context.profile().get(f"ec2_metadata_service_{name}")
        text, label = context.environ.get(variable), variable
        if not text and entry is not None:
            text, label = entry.text, entry.where
        if text and name == "endpoint":
            return text, label
        if text and text.lower() not in {"ipv4", "ipv6"}:
            raise GenericError(f"{label} is {text!r}; it must be IPv4 or IPv6")
        if text and text.lower() == "ipv6":
            return IPV6, label
    return IPV4, "metadata_endpoint"


def _token(client: Client, *, fallback: bool) -> tuple[tuple[str, str], ...]:
    """Begin a session of version 2; the header for all requests in it, none for version 1."""
    try:
        answer = _ask(
            client, "PUT", "latest/api/token", (("x-aws-ec2-metadata-token-ttl-seconds", TOKEN_SECONDS),)
        )
    except RequestTimeoutError:
        if fallback:
            return ()
        raise Nothing(
            f"no answer from {client.host} in time (in a container the instance's hop limit must be 2)"
        ) from None
    except ConnectError:
        raise Nothing(f"no connection to {client.host}") from None
    if answer.status == 200:
        from s3ext._credentials.services import header  # noqa: PLC0415 - see find

        token = answer.body.decode("utf-8", "replace").strip()
        return (header("x-aws-ec2-metadata-token", token, f"the token of {client.host}"),)
    if answer.status in {403, 404, 405} and fallback:
        return ()
    hint = "" if fallback else "; imdsv1_fallback=True would try version 1"
    raise Nothing(f"{client.host} gives no token (status {answer.status}{hint})")


def _get(client: Client, path: str, headers: tuple[tuple[str, str], ...]) -> Answer:
    answer = _ask(client, "GET", path, headers)
    if answer.status not in {200, 404}:
        raise GenericError(f"instance metadata at {client.host} answered with status {answer.status}")
    return answer


def _ask(client: Client, method: str, path: str, headers: tuple[tuple[str, str], ...]) -> Answer:
    """Do a request, again and again while the service is busy."""
    global _answered  # noqa: PLW0603 - one for the process
    from s3ext._credentials.services import ask  # noqa: PLC0415 - see find

    turn = 0
    while True:
        last = turn == TRIES - 1
        try:
            answer = ask(client, method, path, headers=headers, limit_ms=LIMIT_MS)
        except BaseError:
            if last or not _answered:
                raise
        else:
            _answered = _answered or answer.status == 200
            if last or (answer.status < 500 and answer.status != 429):
                return answer
        # Nothing secret is drawn: `random` will do.
        sleep(random.uniform(0, WAIT_SECONDS * 2**turn))  # noqa: S311
        turn += 1

"""Requests to the services that give keys out: through the engine, like all others.

The services of a machine (containers, instances) are asked without a proxy; those of AWS as the store's own
endpoint is, with its proxy and its certificates. The store's default headers, which may be somebody's secret,
go to none of them.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from s3ext._clients import Client
from s3ext._credentials.keys import Keys, parse_moment
from s3ext._endpoints import is_region_of_aws, partition_of
from s3ext._http import Answer, leaves, request
from s3ext._url import parse_endpoint
from s3ext._wait import run_sync
from s3ext.exceptions import GenericError, ProtocolError, UnauthenticatedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from s3ext._credentials.context import Context

__all__ = [
    "amazon_url",
    "ask",
    "ask_token_service",
    "header",
    "object_of",
    "regional_url",
    "service_client",
]

ERRORS = range(300, 600)
LIMIT_MS = 20_000
"""For one request with its retries; whoever waits for keys gives up after 60 s."""

_STS = "2011-06-15"


def service_client(
    context: Context,
    url: str,
    label: str,
    *,
    signer: Keys | None = None,
    local: bool = False,
    connect_ms: int = 0,
    first_byte_ms: int = 0,
    max_retries: int = 3,
) -> Client:
    """Make a client of a service.

    Args:
        context: The search.
        url: The service's URL, without a query.
        label: Where the URL comes from, for errors.
        signer: Keys to sign for STS with; default: requests are not signed.
        local: It is a service of this machine: no proxy, and http will do.
        connect_ms: Time to make a connection in; default: the store's.
        first_byte_ms: Time for the answer to begin; default: the store's.
        max_retries: Retries of a request.

    Raises:
        GenericError: The URL is none, or http for a service that is sent or gives out secrets on a network.
    """
    endpoint = parse_endpoint(url, label)
    settings = context.settings
    if endpoint.scheme == "http" and not local and not settings.allow_http:
        raise GenericError(
            f"{label} is http://{endpoint.authority}, and secrets would go in clear; allow it with "
            'client_options={"allow_http": True} or AWS_ALLOW_HTTP=true'
        )
    return Client(
        settings.changed(
            scheme=endpoint.scheme,
            host=endpoint.authority,
            base_path=endpoint.path,
            bucket=endpoint.authority,
            bucket_in_host=True,
            region=_signing_region(settings.region),
            signature_v2=False,
            region_may_change=False,
            service="sts",
            express_session=False,
            credentials="none" if signer is None else "static",
            access_key_id=None if signer is None else signer.key_id,
            secret_access_key=None if signer is None else signer.secret,
            session_token=None if signer is None else signer.token,
            sources=None,
            skip_signature=signer is None,
            unsigned_payload=False,
            request_payer=False,
            default_headers=(),
            checksum_algorithm=None,
            server_side_encryption=None,
            sse_kms_key_id=None,
            sse_bucket_key_enabled=None,
            sse_customer_key_base64=None,
            proxy_url="" if local else settings.proxy_url,
            http_version=1,
            connect_timeout_ms=connect_ms or settings.connect_timeout_ms,
            first_byte_timeout_ms=first_byte_ms or settings.first_byte_timeout_ms,
            max_retries=max_retries,
        ),
        None,
    )


def ask(
    client: Client,
    method: str,
    path: str = "",
    *,
    headers: Iterable[tuple[str, str]] = (),
    query: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    limit_ms: int = LIMIT_MS,
    source: str = "",
) -> Answer:
    """Do a request and return its answer, whatever its status.

    The arguments are those of `_http.request`; `source` says, in the error, which keys are asked for.

    Raises:
        BaseError: There was no answer.
    """
    steps = request(
        client,
        method,
        path,
        headers=headers,
        query=query,
        body=body,
        expected=ERRORS,
        limit_ms=limit_ms,
        name=f"{source}: {method}" if source else method,
    )
    return run_sync(steps)


def header(name: str, value: str, what: str) -> tuple[str, str]:
    """Return a header whose value somebody else has written.

    Args:
        name: Its name, in lower case.
        value: Its value.
        what: What the value is, for errors.

    Raises:
        GenericError: It holds a line's end or another character that could become a header of its own.
    """
    if not value.isascii() or not value.isprintable():
        raise GenericError(f"{what} holds characters that no header may hold")
    return name, value


def object_of(answer: Answer, source: str) -> dict[str, Any]:
    """Read an answer that is a JSON object.

    Raises:
        ProtocolError: It is none; its text, which may be a secret, is not shown.
    """
    try:
        said = json.loads(answer.body)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise ProtocolError(f"the answer of {source} is no JSON object")
    return said


def _signing_region(region: str) -> str:
    """Return a region that AWS's services have."""
    return region if is_region_of_aws(region) else "us-east-1"


def amazon_url(name: str, region: str, *, fips: bool = False, dualstack: bool = False) -> str:
    """Return the URL of a service of AWS, such as `"sts"` or `"portal.sso"`."""
    partition, domain, over_ipv6 = partition_of(region)
    # Those of GovCloud meet FIPS 140 anyhow, and are not called otherwise.
    mark = "-fips" if fips and (dualstack or partition != "aws-us-gov") else ""
    return f"https://{name}{mark}.{region}.{over_ipv6 if dualstack else domain}"


def regional_url(context: Context, service: str, name: str, region: str | None = None) -> tuple[str, str]:
    """Find the URL of a service, as AWS's tools do.

    That is `endpoint_url_sts`, its own variable, AWS_ENDPOINT_URL, `endpoint_url` of the profile's `services`
    and of the profile; else AWS's, with its switches for FIPS and IPv6. The endpoint that code gives a store
    is that of S3 alone.

    Args:
        context: The search.
        service: The service in variables and files, such as `"sso_oidc"`.
        name: The service in host names, such as `"oidc"`.
        region: Its region; default: the store's.

    Returns:
        The URL, and where it comes from.
    """
    sources = context.sources
    if service == "sts" and sources.endpoint_url_sts:
        return sources.endpoint_url_sts, "endpoint_url_sts"
    if not sources.ignore_configured_endpoint_urls:
        for variable in (f"AWS_ENDPOINT_URL_{service.upper()}", "AWS_ENDPOINT_URL"):
            if context.environ.get(variable):
                return context.environ[variable], variable
        profile = context.profile()
        entry = profile.service(service, "endpoint_url") or profile.get("endpoint_url")
        if entry is not None:
            return entry.text, entry.where
    region = _signing_region(region or context.settings.region)
    fips, dualstack = sources.use_fips_endpoint, sources.use_dualstack_endpoint
    return amazon_url(name, region, fips=fips, dualstack=dualstack), name


# ---- STS ----


def ask_token_service(
    context: Context, action: str, fields: Mapping[str, str], source: str, *, signer: Keys | None = None
) -> Keys:
    """Ask STS for the keys of a role.

    Args:
        context: The search.
        action: `"AssumeRole"` or `"AssumeRoleWithWebIdentity"`.
        fields: Its parameters. They go into the body: URLs end up in logs.
        source: What the keys are, for errors and as their source.
        signer: Keys to sign with.

    Raises:
        UnauthenticatedError: It refuses.
        BaseError: There was no answer, or none that could be read.
    """
    url, label = regional_url(context, "sts", "sts")
    client = service_client(context, url, label, signer=signer)
    answer = ask(
        client,
        "POST",
        headers=(("content-type", "application/x-www-form-urlencoded; charset=utf-8"),),
        body=urlencode({"Action": action, "Version": _STS, **fields}).encode(),
        source=source,
    )
    if answer.status != 200:
        raise _refusal(answer, action, client.host, source, fields.get("WebIdentityToken"))
    try:
        found = dict(leaves(answer.body, f"{action}Response"))
        return Keys(
            found["AccessKeyId"],
            found["SecretAccessKey"],
            found["SessionToken"],
            source,
            expires_at=parse_moment(found["Expiration"]),
        )
    except (KeyError, ValueError):  # Whose words might show a key.
        raise ProtocolError(f"{source}: the answer of {client.host} to {action} holds no keys") from None


def _refusal(answer: Answer, action: str, host: str, source: str, secret: str | None) -> UnauthenticatedError:
    said: dict[str, str] = {}
    for root in ("ErrorResponse", "Error"):
        try:
            said = said or dict(leaves(answer.body, root))
        except ValueError:  # A proxy's page: the status tells.
            continue
    message = " ".join(said.get("Message", "").split())[:300]
    if secret:
        message = message.replace(secret, "***")
    words = [str(answer.status), said.get("Code", ""), message]
    return UnauthenticatedError(
        f"{source}: {action} at {host} was refused: {' '.join(word for word in words if word)}",
        status=answer.status,
        code=said.get("Code"),
    )

"""The diagnosis behind `s3ext doctor`: what a store would do with this machine's set-up, and how that goes.

    versions -> configuration -> credentials -> one signed HEAD (-> the same as GET, if it was refused and so
                                                                   without a reason)

A step whose ground is missing is left out. Without a target nothing is sent to S3; the source of the
credentials is asked in any case, as a store would at its first request, be that a file, a metadata service or
STS.

The report is a dict of plain values, made for JSON. Its keys are stable: new ones may come, none goes.

    ok            whether no problem was found
    problems      a list of: check, message, hint (or null); a check is libcurl, configuration, credentials,
                  clock, region or request
    versions      s3ext, python, libcurl, tls, libcrypto, expat, http2 (bool), ca_bundle (path, or null)
    target        bucket, key (null: the bucket), version (null: the newest); null without a target
    region        name, from
    endpoint      url, from
    lane          the option's value
    proxy         url without its user, from, excludes (or null); null for none
    signed        whether requests are signed
    credentials   source, access_key_id (shortened), temporary (bool), expires_at (ISO 8601, null if no end
                  is known); null if there are none
    request       method, status, error, code, request_id, bucket_region (each null if there is none),
                  attempts, elapsed_ms; null if none was sent
    clock         skew_seconds: how much this machine's clock is behind the server's; null if no answer told

`from` names an option, a variable or a file; it is "default" where nobody says anything.

Invariants: no secret is in a report, and nothing is written or logged.
"""

from __future__ import annotations

import os
import platform
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from s3ext import _operations as operations
from s3ext._clients import client_for
from s3ext._configuration import collect, parse_config
from s3ext._ffi import ffi, lib, text
from s3ext._given import over_url
from s3ext._http import attempt
from s3ext._paths import masked
from s3ext._proxies import proxy_of
from s3ext._targets import reasons_of
from s3ext._url import parse_object_url, parse_store_url
from s3ext._wait import run_sync
from s3ext.exceptions import BaseError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from typing import Any, TypeAlias

    from s3ext._clients import Client
    from s3ext._given import Values
    from s3ext._http import Answer
    from s3ext._settings import Settings
    from s3ext._types import RetryConfig

    Report: TypeAlias = dict[str, Any]

__all__ = ["Target", "diagnose", "target_of_url"]

LIMIT_MS = 30_000
"""Time for the request, all in all."""

SKEW_SECONDS = 300
"""A clock that is wrong by more is a problem: S3 takes 15 minutes, and keys end early or late."""

_ONE_TRY: RetryConfig = {"max_retries": 0}

_PLACEHOLDER = "no-bucket"
"""The bucket where none is named: there is no configuration without one."""

# By S3's code, or by the outcome's name in the core's table.
_HINTS = {
    "RESOLVE": "look at the endpoint's spelling, and whether names are looked up here: getent hosts {host}",
    "CONNECT": "look at the endpoint's port, whether the server runs, and whether a firewall wants a proxy "
    "to be used (https_proxy)",
    "TLS": "the server's certificate has to be good for {host}, and its authority known here; a private one "
    "is given by --ca-bundle (root_certificate)",
    "PROXY": "look at the proxy, its user and password; no_proxy names the hosts that go without it",
    "TIMEOUT": "something swallows the packets: a firewall, or the lack of a proxy or VPN",
    "TRANSPORT": "the server hung up: is it one of https that was asked over http, or the other way round?",
    "PROTOCOL": "what listens there does not speak HTTP, or no S3: look at the endpoint",
    "REGION": "give that region: --region, region= in code, or AWS_REGION",
    "AuthorizationHeaderMalformed": "look at the region: --region, region= in code, or AWS_REGION",
    "SignatureDoesNotMatch": "the secret access key is not that of the access key's id, or was copied in "
    "part; rarely, a proxy changes requests",
    "InvalidAccessKeyId": "this endpoint does not know the key: it is another service's, or was deleted",
    "ExpiredToken": "get new keys: `aws sso login`, or whatever made these",
    "InvalidToken": "the session token does not belong to the key, or was copied in part",
    "RequestTimeTooSkewed": "set this machine's clock: timedatectl set-ntp true",
    "NoSuchBucket": "look at the bucket's spelling, and at the endpoint, which may be another service's",
    "NoSuchKey": "the bucket is there and may be read; keys are case-sensitive, and begin without a '/'",
    "NOT_FOUND": "look at the spelling of bucket and key",
    "THROTTLED": "the server has too much to do: try again later",
    "SERVER": "the server is in trouble: try again later, and tell its keeper the request id",
}
_PAYER = "if the requester pays, give --request-payer (request_payer=True)"
_DENIED = {
    "unsigned": "it is not public: leave out --no-sign-request (skip_signature), so that keys are used",
    "key": "the keys are known, but may not read this: they need s3:GetObject, and s3:ListBucket to be told "
    f"that an object is missing; {_PAYER}",
    "bucket": "the keys are known, but may not list the bucket (s3:ListBucket); name an object to see "
    f"whether that can be read; {_PAYER}",
}


class Target:
    """What is asked about.

    Attributes:
        config: What the URL says as options; the bucket at least.
        key: The object's key; None for the bucket.
        version: The object's version; None for the newest.
    """

    def __init__(self, config: Mapping[str, str], key: str | None, version: str | None) -> None:
        self.config = config
        self.key = key
        self.version = version


def target_of_url(url: str) -> Target:
    """Take a URL as a target: an object, or a bucket if it has no path or ends with a `/`.

    Raises:
        GenericError: The URL names neither.
        ValueError: This is not a URL.
    """
    if "?" not in url:
        location = parse_store_url(url)
        if location.prefix is None:
            return Target(location.config, None, None)
    named = parse_object_url(url)
    return Target(named.config, None if named.key.endswith("/") else named.key, named.version)


def diagnose(target: Target | None, options: Mapping[str, object], labels: Mapping[str, str]) -> Report:
    """Look at everything there is to look at, and report.

    Args:
        target: What to ask about; None to send nothing to S3.
        options: Options of a store, by their canonical names; they come before all else.
        labels: What the caller calls them.

    Returns:
        The report; see the table at the top.
    """
    names = ("target", "region", "endpoint", "lane", "proxy", "signed", "credentials", "request", "clock")
    report: Report = {"ok": False, "problems": [], **dict.fromkeys(names)}
    _report_versions(report)
    if target is not None:
        report["target"] = {
            "bucket": target.config["bucket"],
            "key": target.key,
            "version": target.version,
        }
    client = _configured(report, target, options, labels)
    if (
        client is not None
        and (client.settings.skip_signature or report["credentials"])
        and target is not None
    ):
        _ask(report, client, target)
    report["ok"] = not report["problems"]
    return report


def _add_problem(report: Report, check: str, message: str, hint: str | None = None) -> None:
    report["problems"].append({"check": check, "message": message, "hint": hint})


def _report_versions(report: Report) -> None:
    found = ffi.new("struct s3ext_versions *")
    lib.s3ext_versions_get(found)
    names = {"s3ext": "core", "libcurl": "curl", "tls": "tls", "libcrypto": "openssl", "expat": "expat"}
    report["versions"] = {
        **{name: text(getattr(found, field)) for name, field in names.items()},
        "python": platform.python_version(),
        "http2": bool(found.curl_http2),
        "ca_bundle": text(found.ca_bundle) or None,
    }


def _check_libcurl(report: Report, settings: Settings) -> None:
    """See whether this libcurl can do what the configuration needs."""
    versions = report["versions"]
    bundle = versions["ca_bundle"]
    checks = settings.scheme == "https" and settings.verify_tls and settings.system_certificates
    if checks and bundle is not None and not Path(bundle).exists():
        _add_problem(
            report,
            "libcurl",
            f"libcurl trusts the certificates in {bundle}, which is not there",
            "install the package ca-certificates, or give the authority by --ca-bundle (root_certificate)",
        )
    if settings.http_version == 2 and not versions["http2"]:
        _add_problem(
            report,
            "libcurl",
            f"http2_only is asked for, but libcurl {versions['libcurl']} has no HTTP/2",
            "leave it out, or install a libcurl that was built with nghttp2",
        )


# ---- configuration ----


def _configured(
    report: Report, target: Target | None, options: Mapping[str, object], labels: Mapping[str, str]
) -> Client | None:
    """Report the configuration and its credentials; the client, None if there can be none."""
    named = {} if target is None else target.config
    try:
        config = over_url(named, options, {})
        if target is None and not os.environ.get("AWS_BUCKET"):
            config["bucket"] = _PLACEHOLDER
        values = collect(config=config, environ=os.environ)
        settings = parse_config(config=config, retry_config=_ONE_TRY).settings
    except (BaseError, ValueError, TypeError) as error:
        _add_problem(report, "configuration", str(error))
        return None

    def label(given: str) -> str:
        if given in labels and given in options:
            return labels[given]
        return "the URL" if given in named else given or "default"

    reasons = reasons_of(values)
    report["region"] = {"name": settings.region, "from": label(reasons["region"])}
    report["endpoint"] = {"url": _endpoint_of(settings), "from": label(reasons["endpoint"])}
    report["lane"] = settings.lane
    report["proxy"] = _proxy(settings, values, label)
    report["signed"] = not settings.skip_signature
    _check_libcurl(report, settings)
    return _connected(report, settings, values, label)


def _endpoint_of(settings: Settings) -> str:
    host = settings.host.replace("{region}", settings.region)
    return f"{settings.scheme}://{host.removeprefix(f'{_PLACEHOLDER}.')}{settings.base_path}"


def _proxy(settings: Settings, values: Values, label: Callable[[str], str]) -> Report | None:
    url, excludes = proxy_of(settings, os.environ)
    if not url:
        return None
    named = values.source("proxy_url")
    variables = (f"{settings.scheme}_proxy", f"{settings.scheme}_proxy".upper(), "all_proxy", "ALL_PROXY")
    return {
        "url": masked(url).replace("***@", ""),
        "from": next(name for name in variables if os.environ.get(name) == url)
        if named is None
        else label(named.label),
        "excludes": excludes,
    }


# ---- credentials ----


def _connected(
    report: Report, settings: Settings, values: Values, label: Callable[[str], str]
) -> Client | None:
    """Make the client, and report the keys that it signs with.

    Args:
        report: The report.
        settings: What the client is made from.
        values: Who gave what.
        label: Says what the caller calls an option.
    """
    try:
        client = client_for(settings, None)
    except BaseError as error:
        http = settings.scheme == "http" and not settings.allow_http
        hint = "if that is meant: --allow-http here, allow_http=True in code" if http else None
        _add_problem(report, "configuration", str(error), hint)
        return None
    if settings.skip_signature:
        return client
    try:
        # A presigned URL is made here, and tells which keys made it.
        url = run_sync(operations.sign(client, "GET", ["key"], 60))[0]
    except BaseError as error:
        # What the source said, without the request that was made to have it asked.
        cause = error.__cause__ if isinstance(error.__cause__, BaseError) else error
        _add_problem(report, "credentials", str(cause), _credentials_hint(cause))
        return client
    query = parse_qs(urlsplit(url).query)
    key_id = next(query[name][0] for name in ("X-Amz-Credential", "AWSAccessKeyId") if name in query)
    chain = client.besides_session().provider
    given = values.source("access_key_id")
    expires_at: datetime | None = getattr(chain, "expires_at", None)
    source = getattr(chain, "source", None)
    report["credentials"] = {
        "source": source or label("" if given is None else given.label),
        "access_key_id": _shortened(key_id.partition("/")[0]),
        "temporary": "X-Amz-Security-Token" in query or "x-amz-security-token" in query,
        "expires_at": None if expires_at is None else expires_at.isoformat(),
    }
    return client


def _credentials_hint(error: BaseError) -> str | None:
    said = str(error)
    if "aws sso login" in said:
        return "log in again, and ask once more"
    if "no credentials" in said:
        return "--no-sign-request asks without keys, for public buckets"
    return None


def _shortened(key_id: str) -> str:
    """Return enough of an access key's id to tell it from others, and no more."""
    return f"{key_id[:4]}...{key_id[-4:]}" if len(key_id) >= 16 else f"{key_id[:2]}..."


# ---- the request ----


def _ask(report: Report, client: Client, target: Target) -> None:
    """Send the HEAD, and see what it tells."""
    key = target.key
    versions = () if target.version is None else (("versionId", target.version),)
    begun = time.monotonic()
    answer = run_sync(
        attempt(client, "HEAD", key or "", query=versions, limit_ms=LIMIT_MS, name="head", key=key)
    )
    now = time.time()
    elapsed_ms = int((time.monotonic() - begun) * 1000)
    error = answer.error
    report["request"] = {
        "method": "HEAD",
        "status": answer.status or None,
        "error": None,
        "code": None,
        "request_id": answer.header("x-amz-request-id"),
        "bucket_region": answer.header("x-amz-bucket-region"),
        "attempts": getattr(error, "attempts", 1),
        "elapsed_ms": elapsed_ms,
    }
    _report_clock(report, answer, now)
    if error is None:
        _check_region(report, client, answer)
        return
    if answer.status >= 400 and answer.label != "REGION":
        answer = _with_reason(client, target, answer)
        error = answer.error
    code = getattr(error, "code", None)
    report["request"] |= {"error": str(error), "code": code}
    _add_problem(report, "request", str(error), _hint(report, client.settings, target, answer, code))


def _with_reason(client: Client, target: Target, answer: Answer) -> Answer:
    """Ask the same as GET, whose refusal has a body; the first answer if this one is none."""
    if target.key is None:
        query = [("list-type", "2"), ("max-keys", "0")]
        steps = attempt(client, "GET", query=query, limit_ms=LIMIT_MS, name="list")
    else:
        query = [] if target.version is None else [("versionId", target.version)]
        headers = [("range", "bytes=0-0")]
        steps = attempt(
            client,
            "GET",
            target.key,
            headers=headers,
            query=query,
            limit_ms=LIMIT_MS,
            name="get",
            key=target.key,
        )
    second = run_sync(steps)
    return answer if second.error is None else second


def _report_clock(report: Report, answer: Answer, now: float) -> None:
    try:
        moment = parsedate_to_datetime(answer.header("date") or "")
    except ValueError:
        return
    # The header tells whole seconds, which are half a second behind on average.
    skew = round(moment.timestamp() + 0.5 - now)
    report["clock"] = {"skew_seconds": skew}
    if abs(skew) > SKEW_SECONDS:
        way = "behind" if skew > 0 else "ahead of"
        _add_problem(
            report,
            "clock",
            f"this machine's clock is {abs(skew)} s {way} the server's",
            "set it: timedatectl set-ntp true",
        )


def _check_region(report: Report, client: Client, answer: Answer) -> None:
    """See whether the bucket is where the configuration says; the core may have corrected that silently."""
    actual, named = answer.header("x-amz-bucket-region"), client.settings.region
    if client.settings.region_may_change and actual is not None and actual != named:
        _add_problem(
            report,
            "region",
            f"the bucket is in region {actual}, not in {named} ({report['region']['from']})",
            f"give region={actual!r} in code, --region or AWS_REGION: as it is, each process has to find out",
        )


def _hint(report: Report, settings: Settings, target: Target, answer: Answer, code: str | None) -> str | None:
    if code == "AccessDenied" or (answer.status == 403 and code is None):
        if settings.skip_signature:
            return _DENIED["unsigned"]
        return _DENIED["bucket" if target.key is None else "key"]
    hint = _HINTS.get(code or "") or _HINTS.get(answer.label)
    if hint is None:
        return None
    host = urlsplit(f"//{settings.host.replace('{region}', settings.region)}").hostname
    hint = hint.format(host=host)
    proxy = report["proxy"]
    if proxy is not None and answer.label in {"CONNECT", "TIMEOUT"}:
        return (
            f"look at the proxy {proxy['url']} ({proxy['from']}), where requests go through it; else {hint}"
        )
    return hint

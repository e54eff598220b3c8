"""`s3ext doctor [URL]`: which set-up is in force and why, whether it works, and if not what to do about it.

Exit status: 0 when no problem was found, 1 when one was, 2 for wrong arguments. With `--json` the report of
`s3ext._diagnosis`, whose keys are documented there, is printed as one JSON object; else its lines:

    NAME          WHAT (where it comes from)
    problem       CHECK: what is wrong
                  what to do about it
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from s3ext.exceptions import BaseError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

__all__ = ["add_arguments", "run"]

_WIDTH = 14

# Argument: the store's option.
_OPTIONS = {
    "--endpoint-url": "endpoint",
    "--region": "region",
    "--profile": "profile",
    "--no-sign-request": "skip_signature",
    "--allow-http": "allow_http",
    "--request-payer": "request_payer",
    "--ca-bundle": "root_certificate",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument(
        "url",
        nargs="?",
        metavar="URL",
        help="the object, or the bucket, to send a signed HEAD for; without it nothing is sent to S3",
    )
    parser.add_argument("--endpoint-url", metavar="URL", help="the server (default: as a store finds it)")
    parser.add_argument("--region", help="the bucket's region (default: as a store finds it)")
    parser.add_argument("--profile", help="the profile of the shared files (default: AWS_PROFILE)")
    parser.add_argument("--no-sign-request", action="store_true", help="use no keys: for public buckets")
    parser.add_argument("--allow-http", action="store_true", help="allow an endpoint without TLS")
    parser.add_argument(
        "--request-payer", action="store_true", help="agree to pay, for requester-pays buckets"
    )
    parser.add_argument(
        "--ca-bundle", type=_content, metavar="FILE", help="certificates to trust as well, PEM"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(parser=parser)


def _content(path: str) -> bytes:
    """Read a file that an argument names."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{path!r} cannot be read: {error.strerror}") from None


def run(options: argparse.Namespace) -> int:
    """Run the command.

    Args:
        options: What the arguments say.

    Returns:
        The exit status: 0, or 1 when a problem was found.
    """
    from s3ext._diagnosis import diagnose, target_of_url  # noqa: PLC0415 - other commands do without

    try:
        target = None if options.url is None else target_of_url(options.url)
    except (BaseError, ValueError) as error:
        parser: argparse.ArgumentParser = options.parser
        parser.error(str(error))
    given, labels = {}, {}
    for argument, name in _OPTIONS.items():
        value = getattr(options, argument[2:].replace("-", "_"))
        labels[name] = argument
        if value not in {None, False}:
            given[name] = value
    report = diagnose(target, given, labels)
    print(json.dumps(report, indent=2) if options.json else "\n".join(_lines(report)))
    return 0 if report["ok"] else 1


def _lines(report: dict[str, Any]) -> Iterator[str]:
    for name, value in _facts(report):
        yield f"{name:{_WIDTH}}{value}"
    for problem in report["problems"]:
        yield ""
        yield f"{'problem':{_WIDTH}}{problem['check']}: {problem['message']}"
        if problem["hint"]:
            yield f"{'':{_WIDTH}}{problem['hint']}"
    if report["ok"]:
        yield ""
        yield (
            "no problem found"
            if report["request"]
            else "no problem found; name a bucket to send it a request"
        )


def _facts(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    versions = report["versions"]
    yield "s3ext", f"{versions['s3ext']}, Python {versions['python']}, {versions['expat']}"
    http = "HTTP/1.1 and HTTP/2" if versions["http2"] else "HTTP/1.1 only"
    yield "libcurl", f"{versions['libcurl']}, {versions['tls']}, {http}; signs with {versions['libcrypto']}"
    yield "certificates", versions["ca_bundle"] or "where libcurl's TLS finds them"
    target = report["target"]
    if target is not None:
        version = f", version {target['version']}" if target["version"] else ""
        yield "target", f"s3://{target['bucket']}/{target['key'] or ''}{version}"
    if report["region"] is not None:
        yield "region", f"{report['region']['name']} ({report['region']['from']})"
        yield "endpoint", f"{report['endpoint']['url']} ({report['endpoint']['from']})"
        yield "lane", report["lane"]
        yield "proxy", _proxy(report["proxy"])
        yield "credentials", _credentials(report)
    if report["request"] is not None:
        yield "request", _request(report["request"])
    if report["clock"] is not None:
        skew = report["clock"]["skew_seconds"]
        yield "clock", "right" if abs(skew) <= 2 else f"{abs(skew)} s {'behind' if skew > 0 else 'ahead'}"


def _proxy(proxy: dict[str, Any] | None) -> str:
    if proxy is None:
        return "none"
    excludes = f"; not for {proxy['excludes']}" if proxy["excludes"] else ""
    return f"{proxy['url']} ({proxy['from']}){excludes}"


def _credentials(report: dict[str, Any]) -> str:
    found = report["credentials"]
    if not report["signed"]:
        return "none: requests are not signed"
    if found is None:
        return "none"
    kind = "temporary, " if found["temporary"] else ""
    end = f"until {found['expires_at']}" if found["expires_at"] else "no end known"
    return f"{found['access_key_id']} ({found['source']}), {kind}{end}"


def _request(request: dict[str, Any]) -> str:
    status = request["status"] or "no answer"
    identity = f", request id {request['request_id']}" if request["request_id"] else ""
    return f"{request['method']}: {status} in {request['elapsed_ms']} ms{identity}"

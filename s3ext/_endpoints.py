"""Endpoints of S3: which host, path and signing scope a bucket has, by the rules of AWS.

`resolve` is a function of values alone; which of the values given count is the business of `_targets.py`. The
rules are those of AWS's own tools (the rule set of endpoints that every SDK carries), and tests hold both
together. With `{suffix}` for the partition's domain, and `.dualstack` and `-fips` where asked for:

| bucket | host | signed for |
|---|---|---|
| a name, path style | `s3[-fips][.dualstack].{region}.{suffix}` | s3 |
| a name, virtual-hosted style | `{bucket}.s3[-fips][.dualstack].{region}.{suffix}` | s3 |
| a name, accelerated | `{bucket}.s3-accelerate[.dualstack].{suffix}` | s3 |
| a directory bucket | `{bucket}.s3express[-fips]-{zone}[.dualstack].{region}.{suffix}` | s3express |
| ARN of an access point | `{name}-{account}.s3-accesspoint[-fips][.dualstack].{region}.{suffix}` | s3 |
| of one of Object Lambda | `{name}-{account}.s3-object-lambda[-fips].{region}.{suffix}` | s3-object-lambda |
| of one on an Outpost | `{name}-{account}.{outpost}.s3-outposts.{region}.{suffix}` | s3-outposts |
| its alias | `{alias}.op-{outpost}.s3-outposts.{region}.{suffix}` | s3-outposts |
| any other alias | as a name | s3 |

An endpoint of one's own stands in place of `s3.{region}.{suffix}`. Buckets that are signed for by no version
of the signature that we have (multi-region access points, which need SigV4A) are refused.

The style `auto` is that of the htslib S3 plugin: virtual-hosted where the bucket's name can be part of a host
name, a dot in it being no obstacle to http alone; but never before an address, such as 127.0.0.1.

Invariants: no I/O, no environment; what contradicts itself is an error that names both sides.
"""

from __future__ import annotations

from s3ext._paths import shown
from s3ext.exceptions import GenericError, NotSupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from s3ext._url import Endpoint

__all__ = ["Arn", "Asked", "is_region", "is_region_of_aws", "partition_of", "resolve"]

_DOTTED = "its dots are not covered by any certificate of AWS"
# How names of regions begin: the partition, its domain, and that of services other than S3 over IPv6.
# What begins otherwise is of the first one.
_PARTITIONS = (
    ("", "aws", "amazonaws.com", "api.aws"),
    ("cn-", "aws-cn", "amazonaws.com.cn", "api.amazonwebservices.com.cn"),
    ("us-gov-", "aws-us-gov", "amazonaws.com", "api.aws"),
    ("us-iso-", "aws-iso", "c2s.ic.gov", "api.aws.ic.gov"),
    ("us-isob-", "aws-iso-b", "sc2s.sgov.gov", "api.aws.scloud"),
    ("eu-isoe-", "aws-iso-e", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"),
    ("us-isof-", "aws-iso-f", "csp.hci.ic.gov", "api.aws.hci.ic.gov"),
    ("eusc-", "aws-eusc", "amazonaws.eu", "api.amazonwebservices.eu"),
)
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz")
_DIGITS = frozenset("0123456789")
_LABEL = _LETTERS | _DIGITS | frozenset("-")
_SHORTEST_BUCKET, _LONGEST_LABEL = 3, 63
_OUTPOST_ALIAS = "--op-s3"


class Asked:
    """What is asked for. A switch is the words for who turned it on, for errors, and `""` when it is off.

    Attributes:
        bucket: Name, alias or ARN.
        region: The region in use.
        region_is_asked: Who named it in code; an ARN that names another one contradicts.
        arn_region_only: Who said that an ARN may not name another region than the one in use.
        style: `"path"`, `"virtual"` or `"auto"`; None where nobody said, which is path style.
        style_is_asked: Who named the style, if that may not give way.
        endpoint: An endpoint of one's own, or None.
        endpoint_is_asked: Who named it.
        endpoint_has_bucket: The endpoint's host names the bucket already, as obstore has it.
        scheme: `"http"` or `"https"` at AWS's own hosts.
        accelerate: Transfer acceleration.
        dualstack: IPv6 and IPv4.
        fips: FIPS 140 endpoints.
        express: The bucket is a directory bucket, or an access point of one.
        signature_v2: Requests are signed with version 2.
    """

    __slots__ = (
        "accelerate",
        "arn_region_only",
        "bucket",
        "dualstack",
        "endpoint",
        "endpoint_has_bucket",
        "endpoint_is_asked",
        "express",
        "fips",
        "region",
        "region_is_asked",
        "scheme",
        "signature_v2",
        "style",
        "style_is_asked",
    )

    def __init__(self, bucket: str, region: str) -> None:
        self.bucket = bucket
        self.region = region
        self.region_is_asked = ""
        self.arn_region_only = ""
        self.style: str | None = None
        self.style_is_asked = ""
        self.endpoint: Endpoint | None = None
        self.endpoint_is_asked = ""
        self.endpoint_has_bucket = False
        self.scheme = "https"
        self.accelerate = ""
        self.dualstack = ""
        self.fips = ""
        self.express = ""
        self.signature_v2 = ""


class Arn:
    """An ARN of an access point, taken apart and checked.

    Attributes:
        text: All of it.
        partition: Such as `"aws"`.
        service: `"s3"`, `"s3-object-lambda"` or `"s3-outposts"`.
        region: Its region.
        account: Number of the account.
        outpost: The Outpost, or `""`.
        name: Name of the access point.
    """

    __slots__ = ("account", "name", "outpost", "partition", "region", "service", "text")

    def __init__(self, text: str) -> None:
        parts = text.split(":", 5)
        if len(parts) < 6 or not parts[1] or not parts[5]:
            _refuse_arn(text, "is no ARN; write arn:<partition>:s3:<region>:<account>:accesspoint/<name>")
        self.text = text
        _, self.partition, self.service, self.region, self.account, resource = parts
        words = resource.replace(":", "/").split("/")
        if self.service == "s3" and not self.region and not self.account and words[0] != "accesspoint":
            _refuse_arn(text, f"is a bucket's; give the bucket's name, {words[0]!r}")
        if self.service not in {"s3", "s3-object-lambda", "s3-outposts"}:
            _refuse_arn(text, f"is of the service {self.service!r}, not of s3")
        self.outpost = ""
        if self.service == "s3-outposts":
            if words[0] != "outpost" or len(words) < 2:
                _refuse_arn(text, "names no outpost/<outpost>/accesspoint/<name>")
            self.outpost, words = words[1], words[2:]
        self._check(words)
        self.name = words[1]

    def _check(self, words: list[str]) -> None:
        if len(words) != 2 or words[0] != "accesspoint" or not words[1]:
            _refuse_arn(self.text, "names no accesspoint/<name>, or something behind it")
        if not self.region:
            if self.service == "s3":
                raise NotSupportedError(
                    f"the bucket {shown(self.text)} is a multi-region access point, which needs requests "
                    f"signed with SigV4A; that is not supported"
                )
            _refuse_arn(self.text, "has no region")
        names = {"region": self.region, "account": self.account, "name": words[1]}
        if self.outpost or self.service == "s3-outposts":
            names["outpost"] = self.outpost
        for what, name in names.items():
            if not _is_label(name.lower()):
                _refuse_arn(self.text, f"has the {what} {name!r}, which cannot be part of a host name")
        if partition_of(self.region)[0] != self.partition:
            _refuse_arn(
                self.text,
                f"is of the partition {self.partition!r}, but its region is of "
                f"{partition_of(self.region)[0]!r}",
            )


def is_region(text: str) -> bool:
    """Tell whether a text can name a region, of AWS or of any other server."""
    plain = text.replace("-", "").replace("_", "").replace(".", "")
    return plain.isascii() and plain.isalnum() and len(text) <= _LONGEST_LABEL


def is_region_of_aws(text: str) -> bool:
    """Tell whether a region is named as AWS's are; `auto` and the like are other servers' words."""
    words = text.split("-")
    letters = all(word and set(word) <= _LETTERS for word in words[:-1])
    return len(words) > 2 and letters and len(words[0]) > 1 and words[-1].isascii() and words[-1].isdigit()


def partition_of(region: str) -> tuple[str, str, str]:
    """Return the partition of a region, such as `"aws-cn"`, and the domains of its services.

    The second domain is that of services other than S3 over IPv6 and IPv4.
    """
    found = _PARTITIONS[0]
    for row in _PARTITIONS[1:]:
        if region.startswith(row[0]):
            found = row
    return found[1], found[2], found[3]


def resolve(asked: Asked) -> dict[str, object]:
    """Work out where requests go, and what they are signed for.

    Returns:
        Fields of Settings: scheme, host (with `{region}` where it follows the region), base_path,
        bucket_in_host, region, region_may_change, service.

    Raises:
        GenericError: What is asked for contradicts itself, or S3 has no such endpoint.
        NotSupportedError: Requests to this bucket cannot be signed.
    """
    arn = Arn(asked.bucket) if asked.bucket.startswith("arn:") else None
    _check_switches(asked)
    _check_partition(asked, asked.region if arn is None else arn.region)
    if arn is not None:
        return _access_point(asked, arn)
    if asked.bucket.endswith(_OUTPOST_ALIAS):
        return _outpost_alias(asked)
    if asked.endpoint is not None:
        return _custom(asked, asked.endpoint)
    if asked.express:
        return _zonal(asked)
    return _of_aws(asked)


# ---- what contradicts itself ----


def _refuse(text: str) -> NoReturn:
    raise GenericError(f"Generic Config error: {text}")


def _refuse_arn(arn: str, why: str) -> NoReturn:
    raise GenericError(f"Generic S3 error: Invalid bucket name: the ARN {shown(arn)} {why}")


def _check_switches(asked: Asked) -> None:
    """Refuse switches that go with no kind of bucket."""
    if asked.accelerate and asked.fips:
        _refuse(f"{asked.accelerate} and {asked.fips} exclude each other: acceleration has no FIPS endpoints")
    if asked.endpoint is not None:
        for switch in (asked.accelerate, asked.dualstack, asked.fips):
            if switch:
                _refuse(
                    f"{switch} chooses among AWS's endpoints, and {asked.endpoint_is_asked} names one; "
                    f"leave out one of them"
                )
    if asked.accelerate and asked.style == "path":
        _refuse(
            f"{asked.accelerate} needs the bucket in the host name, but {asked.style_is_asked} asks for path "
            f"style"
        )
    if asked.express and asked.accelerate:
        _refuse(f"{asked.accelerate} and {asked.express} exclude each other")
    special = asked.express or asked.bucket.startswith("arn:") or asked.bucket.endswith(_OUTPOST_ALIAS)
    if asked.signature_v2 and special:
        _refuse(f"{asked.signature_v2}: the bucket {shown(asked.bucket)} takes version 4 signatures only")


def _check_partition(asked: Asked, region: str) -> None:
    """Refuse what is not there in a region's partition."""
    if partition_of(region)[0] != "aws-cn":
        return
    if asked.fips:
        _refuse(f"{asked.fips}: there are no FIPS endpoints in the region {region!r}")
    if asked.accelerate:
        _refuse(f"{asked.accelerate}: there is no acceleration in the region {region!r}")


def _exclude(asked: Asked, what: str, *names: str) -> None:
    """Refuse switches that a kind of bucket does not know."""
    for name in names:
        if switch := getattr(asked, name):
            _refuse(f"{switch}: {what} such as {shown(asked.bucket)} cannot be reached that way")


# ---- names ----


def _is_label(text: str) -> bool:
    """Whether a text can be a label of a host name (RFC 1123, 2.1)."""
    return 0 < len(text) <= _LONGEST_LABEL and set(text) <= _LABEL and text[0] != "-" != text[-1]


def _is_address(authority: str) -> bool:
    """Whether a host is an address, which no label can stand before."""
    host = authority.rpartition("]")[0] or authority.partition(":")[0]
    return authority.startswith("[") or set(host) <= _DIGITS | {"."}


def _fits_a_host(bucket: str, scheme: str) -> bool:
    """Whether the style `auto` names a bucket in the host: htslib's rule."""
    if not _SHORTEST_BUCKET <= len(bucket) <= _LONGEST_LABEL or not set(bucket) <= _LABEL | {"."}:
        return False
    if set(bucket) <= _DIGITS | {"."} or bucket[0] == "-" or bucket[-1] == "-":
        return False
    if "." not in bucket:
        return True
    ends = all(label and label[0] != "-" != label[-1] for label in bucket.split("."))
    return scheme == "http" and ends


def _check_host_label(asked: Asked, why: str) -> None:
    """Refuse a bucket that cannot be named in one of AWS's hosts."""
    bucket = asked.bucket
    if not _is_label(bucket):
        reason = _DOTTED if "." in bucket else "it holds what no host name may"
        _refuse(f"{why}: the bucket {shown(bucket)} cannot be part of a host name: {reason}")


# ---- the kinds of buckets ----


def _fields(asked: Asked, host: str, **others: object) -> dict[str, object]:
    """Make the fields of one of AWS's hosts."""
    fields: dict[str, object] = {
        "scheme": asked.scheme,
        "host": host,
        "base_path": "",
        "bucket_in_host": True,
        "region": asked.region,
        "region_may_change": True,
        "service": "s3express" if asked.express else "s3",
    }
    return {**fields, **others}


def _of_aws(asked: Asked) -> dict[str, object]:
    bucket, suffix = asked.bucket, partition_of(asked.region)[1]
    dualstack = ".dualstack" if asked.dualstack else ""
    if asked.accelerate:
        _check_host_label(asked, asked.accelerate)
        return _fields(asked, f"{bucket}.s3-accelerate{dualstack}.{suffix}")
    host = f"s3{'-fips' if asked.fips else ''}{dualstack}.{{region}}.{suffix}"
    style = asked.style
    if style == "auto":
        style = "virtual" if _fits_a_host(bucket, asked.scheme) else "path"
    elif style == "virtual" and not asked.endpoint_has_bucket and asked.scheme == "https":
        _check_host_label(asked, asked.style_is_asked)
    if style != "virtual":
        return _fields(asked, host, bucket_in_host=False)
    _check_carried(bucket)
    return _fields(asked, f"{bucket}.{host}")


def _check_carried(bucket: str) -> None:
    """Refuse a bucket that no host name can carry at all."""
    plain = bucket.replace("-", "").replace("_", "").replace(".", "")
    if not (plain.isascii() and plain.isalnum() and plain == plain.lower()) or not all(bucket.split(".")):
        raise GenericError(
            f"Generic S3 error: the bucket {shown(bucket)} cannot be part of a host name; "
            f"leave out virtual hosting, or ask for path style"
        )


def _custom(asked: Asked, endpoint: Endpoint) -> dict[str, object]:
    """Take an endpoint of one's own; AWS's hosts among them follow the region."""
    from s3ext._url import regional_host  # noqa: PLC0415 - few stores have one

    authority, amazon = regional_host(endpoint.authority, asked.region)
    style = asked.style
    if style == "auto":
        fits = _fits_a_host(asked.bucket, endpoint.scheme) and not _is_address(authority)
        style = "virtual" if fits else "path"
    in_host = style == "virtual"
    if in_host and not asked.endpoint_has_bucket:
        if _is_address(authority):
            _refuse(
                f"{asked.style_is_asked} asks for the bucket in the host name, but the host of "
                f"{asked.endpoint_is_asked} is an address, {endpoint.authority}"
            )
        _check_carried(asked.bucket)
        authority = f"{asked.bucket}.{authority}"
    return _fields(
        asked,
        authority,
        scheme=endpoint.scheme,
        base_path=endpoint.path,
        bucket_in_host=in_host,
        region_may_change=amazon,
    )


def _zonal(asked: Asked) -> dict[str, object]:
    """Reach a directory bucket at its zone, which its name tells."""
    bucket = asked.bucket
    base = next((bucket.removesuffix(end) for end in ("--x-s3", "--xa-s3") if bucket.endswith(end)), "")
    name, _, zone = base.rpartition("--")
    if not name or not zone:
        raise GenericError(f"Generic S3 error: Invalid Zone suffix for bucket '{bucket}'")
    service = f"s3express{'-fips' if asked.fips else ''}-{zone}{'.dualstack' if asked.dualstack else ''}"
    host = f"{bucket}.{service}.{{region}}.{partition_of(asked.region)[1]}"
    return _fields(asked, host, region_may_change=False)


def _access_point(asked: Asked, arn: Arn) -> dict[str, object]:
    if arn.service == "s3":
        _exclude(asked, "an access point", "accelerate")
    elif arn.service == "s3-object-lambda":
        _exclude(asked, "an access point of Object Lambda", "accelerate", "dualstack")
    else:
        _exclude(asked, "an access point on an Outpost", "accelerate", "dualstack", "fips")
    if asked.style == "path" and asked.style_is_asked:
        _refuse(
            f"{asked.style_is_asked} asks for path style, in which no ARN can be named: {shown(arn.text)}"
        )
    if arn.region != asked.region and (asked.region_is_asked or asked.arn_region_only):
        who = asked.arn_region_only or asked.region_is_asked
        _refuse(
            f"the access point {shown(arn.text)} is in {arn.region!r}, but the region is {asked.region!r} "
            f"({who}); leave out the region, or set use_arn_region=True"
        )
    first = f"{arn.name}-{arn.account}{f'.{arn.outpost}' if arn.outpost else ''}"
    fields = {"region": arn.region, "region_may_change": False, "service": arn.service}
    if asked.endpoint is not None:
        host = f"{first}.{asked.endpoint.authority}"
        return _fields(asked, host, **fields, scheme=asked.endpoint.scheme, base_path=asked.endpoint.path)
    service = "s3-accesspoint" if arn.service == "s3" else arn.service
    service += ("-fips" if asked.fips else "") + (".dualstack" if asked.dualstack else "")
    return _fields(asked, f"{first}.{service}.{{region}}.{partition_of(arn.region)[1]}", **fields)


def _outpost_alias(asked: Asked) -> dict[str, object]:
    """Reach an access point on an Outpost by its alias, whose end tells the Outpost and its hardware."""
    _exclude(asked, "an access point on an Outpost", "accelerate", "dualstack", "fips")
    _check_host_label(asked, "the alias of an access point on an Outpost")
    alias = asked.bucket
    # AWS: the places, from the end, of the letter of the hardware and of the Outpost's id.
    hardware, outpost = alias[-50:-49], alias[-49:-32]
    if hardware not in {"e", "o"} or not _is_label(outpost) or asked.endpoint is not None:
        _refuse(
            f"the bucket {shown(alias)} is not the alias of an access point on an Outpost, or is not to be "
            f"reached through an endpoint of one's own"
        )
    place = "ec2" if hardware == "e" else f"op-{outpost}"
    host = f"{alias}.{place}.s3-outposts.{{region}}.{partition_of(asked.region)[1]}"
    return _fields(asked, host, region_may_change=False, service="s3-outposts")

"""Where a store's requests go: which of the regions, endpoints and styles that were given count.

Each is looked for at three levels, the strongest first: what code gives (with the URL and the provider), the
environment, and the profile of the shared files. `_endpoints.py` makes hosts of what was found.

    region      region; AWS_REGION; AWS_DEFAULT_REGION; the profile's region; bucket_location of s3cfg;
                default_region in code; us-east-1. A bucket's ARN goes before all that is not in code
    endpoint    endpoint_url_s3, endpoint, host; AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS_ENDPOINT,
                HTS_S3_HOST; endpoint_url of the profile's service s3, then its own; host_base of s3cfg
    style       addressing_style or virtual_hosted_style_request; their variables; addressing_style of the
                profile's block s3, then its own; host_bucket of s3cfg
    switches    use_accelerate_endpoint, use_dualstack_endpoint, use_fips_endpoint likewise. One that code
                does not give yields to an endpoint; a path style that it does not give, to acceleration
                and to ARNs

The files are read unless code gives both region and endpoint, and then for a `profile=` that nothing else
would look at: one that was asked for and is in no file is an error. What s3cfg says counts where keys come
from there, or none are used, and its `use_https = False` beside a host_base that counts. `auto` in a file is
what these tools do anyhow, and asks for nothing.

This is the order of AWS's tools. The htslib S3 plugin lets its files beat the environment, does not know
AWS_REGION, and takes any unknown style for auto, which is an error here.
"""

from __future__ import annotations

from s3ext._endpoints import Asked, is_region, resolve
from s3ext._given import Given
from s3ext._options import BY_NAME
from s3ext._paths import masked, shown
from s3ext.exceptions import GenericError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from s3ext._credentials.files import Entry, Profile
    from s3ext._given import Values
    from s3ext._url import Endpoint

__all__ = ["add_profile", "reasons_of", "target_of"]

_BUCKET_KEY = "host_bucket"
_FLAG = "virtual_hosted_style_request"
_AWS_HOST = "s3.amazonaws.com"
# What a location may be called in s3cfg, and what region it is.
_LOCATIONS = {"us": "us-east-1", "eu": "eu-west-1"}
_BUCKET_MARKS = ("%(bucket)s", "%(bucket).s")
# Keys of a profile that tell where its credentials come from.
_CREDENTIALS = (
    "aws_access_key_id",
    "credential_process",
    "role_arn",
    "sso_session",
    "sso_start_url",
    "web_identity_token_file",
)
# Options that a profile may set: under their own name, or in its block `s3`.
_SWITCHES = (
    "use_accelerate_endpoint",
    "use_arn_region",
    "use_dualstack_endpoint",
    "use_fips_endpoint",
    "ignore_configured_endpoint_urls",
)
# What the block `s3` calls a version of the signature.
_SIGNATURES = {"s3v4": "v4", "s3": "v2"}


# ---- what the files say ----


def add_profile(values: Values, environ: Mapping[str, str], *, has_provider: bool) -> None:
    """Add what the shared files say of region, endpoint and addressing, as the weakest values.

    Args:
        values: What is given; it gets more.
        environ: The environment, which tells where the files are and which profile counts.
        has_provider: Whether keys come from a provider.

    Raises:
        GenericError: A file cannot be read, a profile that was asked for is in none, or a value is wrong.
    """
    settled = "region" in values.given and bool(values.given.keys() & {"endpoint", "endpoint_url_s3"})
    # Where the chain looks for keys, it is the one that needs the profile, at the first request.
    by_chain = not has_provider and not values.flag("skip_signature") and "access_key_id" not in values.given
    if settled and (by_chain or not values.text("profile")):
        return
    from s3ext._credentials.files import choose_profile, places_of, profile_of  # noqa: PLC0415 - see above

    name, named_by = choose_profile(values.text("profile"), environ)
    profile = profile_of(name, places_of(environ))
    profile.require(named_by)
    if settled:
        return
    found: dict[str, Given] = {}
    for option, key, entry in _entries(profile):
        found.setdefault(option, Given(BY_NAME[option], key, _text(option, entry), _source(profile, entry)))
    if not has_provider and _s3cfg_counts(values, profile):
        for option, key, text, entry in _s3cfg_entries(profile):
            found.setdefault(option, Given(BY_NAME[option], key, text, _source(profile, entry)))
        if "host" not in found or _names_endpoint(values, found):
            found.pop("scheme", None)
    style = found.get("addressing_style")
    if style is not None and str(style.text).lower() == "auto" and style.key != _BUCKET_KEY:
        del found["addressing_style"]
    values.add_profile(found)


def _source(profile: Profile, entry: Entry) -> str:
    return f"profile {profile.name!r}, {entry.where}"


def _entries(profile: Profile) -> Iterator[tuple[str, str, Entry]]:
    """Give option, key and entry for each key of a profile that counts here, the strongest first."""
    wanted = [
        ("region", "region", profile.get("region")),
        ("endpoint_url_s3", "endpoint_url", profile.service("s3", "endpoint_url")),
        ("endpoint", "endpoint_url", profile.get("endpoint_url")),
        ("signature_version", "signature_version", profile.s3("signature_version")),
    ]
    for name in ("addressing_style", *_SWITCHES):
        wanted += [(name, name, profile.s3(name)), (name, name, profile.get(name))]
    for option, key, entry in wanted:
        if entry is not None:
            yield option, key, entry


def _text(option: str, entry: Entry) -> str:
    if option == "signature_version":
        return _SIGNATURES.get(entry.text.lower(), entry.text)
    return entry.text


def _s3cfg_counts(values: Values, profile: Profile) -> bool:
    """Tell whether keys come from s3cfg, so that its other values go with them."""
    keys, token_file = values.source("access_key_id"), values.source("web_identity_token_file")
    # A profile that code names comes before what the environment holds.
    if any(
        given is not None and ("profile" not in values.given or _in_code(values, given))
        for given in (keys, token_file)
    ):
        return False
    if any(profile.get(key) is not None for key in _CREDENTIALS):
        return False
    return values.flag("skip_signature") or "access_key" in profile.s3cfg


def _s3cfg_entries(profile: Profile) -> Iterator[tuple[str, str, str, Entry]]:
    """Give option, key, text and entry for what s3cfg says."""
    location = profile.s3cfg.get("bucket_location")
    if location is not None and location.text:
        yield "region", "bucket_location", _LOCATIONS.get(location.text.lower(), location.text), location
    host = profile.s3cfg.get("host_base")
    if host is not None and host.text:
        yield "host", "host_base", host.text, host
    secure = profile.s3cfg.get("use_https")
    if secure is not None and secure.text:
        given = Given(BY_NAME["allow_http"], "use_https", secure.text, _source(profile, secure))
        if not given.parse():
            yield "scheme", "use_https", "http", secure
    bucket = profile.s3cfg.get(_BUCKET_KEY)
    if bucket is not None and bucket.text:
        in_host = any(mark in bucket.text for mark in _BUCKET_MARKS)
        yield "addressing_style", _BUCKET_KEY, "auto" if in_host else "path", bucket


def _names_endpoint(values: Values, found: Mapping[str, Given]) -> bool:
    """Tell whether anything stronger than host_base names an endpoint."""
    named = values.given.keys() | values.environment.keys()
    return not {"endpoint", "endpoint_url_s3"}.isdisjoint(named | found.keys()) or "host" in named


# ---- what counts ----


def target_of(values: Values, bucket: str) -> dict[str, object]:
    """Work out where requests go and what they are signed for; see `_endpoints.resolve`.

    Args:
        values: What is given.
        bucket: The bucket, by name, alias or ARN.

    Raises:
        GenericError: A value is wrong, or values contradict each other.
        NotSupportedError: Requests to this bucket cannot be signed.
    """
    region, named = _region(values)
    asked = Asked(bucket, region)
    asked.scheme = values.text("scheme") or asked.scheme
    if named is not None and named is values.given.get("region"):
        asked.region_is_asked = named.label
    _set_arn_region(values, asked)
    asked.express = _switch(values, "s3_express")
    asked.signature_v2 = _signature_v2(values)
    _set_endpoint(values, asked)
    _set_switches(values, asked)
    _set_style(values, asked)
    return resolve(asked)


def reasons_of(values: Values) -> dict[str, str]:
    """Say who named the region and the endpoint, by the labels of their options; "" for nobody.

    Args:
        values: What is given, profile included.
    """
    region, named = _region(values)
    asked = Asked("", region)
    asked.scheme = values.text("scheme") or asked.scheme
    _set_endpoint(values, asked)
    return {"region": "" if named is None else named.label, "endpoint": asked.endpoint_is_asked}


def _in_code(values: Values, given: Given) -> bool:
    return values.given.get(given.option.name) is given


def _region(values: Values) -> tuple[str, Given | None]:
    """Choose the region, and say who named it."""
    levels = (values.given, values.environment)
    found = next((level["region"] for level in levels if "region" in level), None)
    found = found or values.environment.get("default_region") or values.profile.get("region")
    found = found or values.given.get("default_region")
    region = BY_NAME["region"].default if found is None else found.text
    assert isinstance(region, str)
    if not is_region(region):
        where = "" if found is None else f" for {found.label}"
        raise GenericError(
            f"Generic Config error: failed to parse {shown(region)} as region{where}: it must be 1 to 63 "
            f"letters, digits, '-', '_' or '.', such as us-east-1 or auto"
        )
    return region, found


def _set_arn_region(values: Values, asked: Asked) -> None:
    given = values.source("use_arn_region")
    if given is not None and not values.flag("use_arn_region"):
        asked.arn_region_only = given.label
    elif given is not None and _in_code(values, given):
        asked.region_is_asked = ""


def _switch(values: Values, name: str) -> str:
    given = values.source(name)
    return given.label if given is not None and values.flag(name) else ""


def _signature_v2(values: Values) -> str:
    given = values.source("signature_version")
    return given.label if given is not None and values.text("signature_version") == "v2" else ""


def _set_endpoint(values: Values, asked: Asked) -> None:
    from s3ext._url import parse_endpoint  # noqa: PLC0415 - few stores have an endpoint of their own

    ignored = values.flag("ignore_configured_endpoint_urls")
    for level in values.levels():
        url = level.get("endpoint_url_s3") or level.get("endpoint")
        if url is not None and (level is values.given or not ignored):
            asked.endpoint, asked.endpoint_is_asked = parse_endpoint(str(url.text), url.label), url.label
            _check_scheme(values, asked.endpoint, url)
            return
        host = level.get("host")
        if host is not None:
            _set_host(asked, host)
            return


def _check_scheme(values: Values, endpoint: Endpoint, given: Given) -> None:
    """Refuse an endpoint of another scheme than was asked for: that is no matter of rank."""
    scheme = values.text("scheme")
    if scheme is not None and scheme != endpoint.scheme:
        raise GenericError(
            f"Generic Config error: the scheme is to be {scheme}, but {given.label} is a URL of "
            f"{endpoint.scheme}; give them the same one"
        )


def _set_host(asked: Asked, given: Given) -> None:
    """Take a host. AWS's usual one is no endpoint of one's own: every new s3cfg file names it."""
    from s3ext._url import parse_endpoint  # noqa: PLC0415 - as above

    text = str(given.text)
    if "/" in text:
        raise GenericError(
            f"Generic Config error: {given.label} {shown(masked(text))} must be <host> or <host>:<port>; "
            f"a URL goes into endpoint= or AWS_ENDPOINT_URL"
        )
    if text.lower() != _AWS_HOST:
        asked.endpoint = parse_endpoint(f"{asked.scheme}://{text}", given.label)
        asked.endpoint_is_asked = given.label


def _set_switches(values: Values, asked: Asked) -> None:
    """Take the switches that choose among AWS's endpoints."""
    for field, name in (
        ("accelerate", "use_accelerate_endpoint"),
        ("dualstack", "use_dualstack_endpoint"),
        ("fips", "use_fips_endpoint"),
    ):
        given = values.source(name)
        if given is not None and values.flag(name) and (asked.endpoint is None or _in_code(values, given)):
            setattr(asked, field, given.label)


def _set_style(values: Values, asked: Asked) -> None:
    if asked.accelerate:
        asked.style, asked.style_is_asked = "virtual", asked.accelerate
    for level in values.levels():
        found = _style_in(level)
        if found is None:
            continue
        style, given = found
        has_weight = _in_code(values, given) or style != "path"
        if not has_weight and _needs_a_host(asked):
            return
        asked.style = style
        asked.style_is_asked = given.label if has_weight else ""
        asked.endpoint_has_bucket = given.option.name == _FLAG and style == "virtual"
        return


def _style_in(level: Mapping[str, Given]) -> tuple[str, Given] | None:
    """Return the style that a level asks for, and what asks for it.

    Raises:
        GenericError: Two options of the level contradict each other.
    """
    style, flag = level.get("addressing_style"), level.get(_FLAG)
    of_flag = "virtual" if flag is not None and flag.parse() else "path"
    if style is None:
        return None if flag is None else (of_flag, flag)
    wanted = str(style.text).lower()
    if flag is not None and wanted != of_flag:
        raise GenericError(
            f"Generic Config error: {style.label} is {wanted!r}, but {flag.label} is {flag.text!r}: "
            f"give one of them"
        )
    return wanted, style


def _needs_a_host(asked: Asked) -> bool:
    """Whether the bucket has to be in the host name anyhow, so that a style of no weight yields."""
    return bool(asked.accelerate) or asked.bucket.startswith("arn:")

"""Hosts, paths and signing scopes, held against the rule set that botocore carries for all of AWS's tools."""

from __future__ import annotations

import urllib.parse
from datetime import timedelta
from functools import cache

import boto3
import botocore.session
import pytest
from botocore.config import Config
from botocore.endpoint_provider import EndpointProvider
from botocore.exceptions import EndpointProviderError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from s3ext._configuration import parse_config
from s3ext._endpoints import Arn, partition_of
from s3ext.exceptions import BaseError, GenericError, NotSupportedError
from s3ext.store import S3Store

ACCOUNT = "123456789012"
KEYS = {"access_key_id": "AK", "secret_access_key": "SK"}


cases = settings(max_examples=60, deadline=None)


@cache
def partitions():
    return botocore.session.Session().get_component("data_loader").load_data("partitions")


@cache
def provider():
    """Return the rule set; a session reads it from the package's data."""
    loader = botocore.session.Session().get_component("data_loader")
    return EndpointProvider(loader.load_service_model("s3", "endpoint-rule-set-1"), partitions())


@cache
def regions():
    """Return the partition of each region."""
    rows = partitions()["partitions"]
    return {name: row["id"] for row in rows for name in row["regions"] if "global" not in name}


@pytest.fixture(scope="module", autouse=True)
def _loaded():
    """Read the data before hypothesis looks at the time."""
    provider()
    regions()


def theirs(bucket, region, *, style, flags, endpoint=None, arn_region=True):
    """Return URL, signing name and signing region; None where the rules refuse."""
    parameters = {
        "Bucket": bucket,
        "Region": region,
        "UseFIPS": "fips" in flags,
        "UseDualStack": "dualstack" in flags,
        "Accelerate": "accelerate" in flags,
        "ForcePathStyle": style == "path",
        "UseGlobalEndpoint": False,
        "UseArnRegion": arn_region,
        "DisableMultiRegionAccessPoints": False,
    }
    if endpoint is not None:
        parameters["Endpoint"] = endpoint
    try:
        found = provider().resolve_endpoint(**parameters)
    except EndpointProviderError:
        return None
    schemes = {scheme["name"]: scheme for scheme in found.properties["authSchemes"]}
    # Where SigV4A comes first, SigV4 of the endpoint's one region will do.
    scheme = schemes.get("sigv4") or schemes.get("sigv4-s3express")
    if scheme is None:
        return None
    return found.url.rstrip("/"), scheme["signingName"], scheme["signingRegion"]


def options_of(style, flags, endpoint=None):
    options = {f"use_{flag}_endpoint": True for flag in flags}
    if style is not None:
        options["addressing_style"] = style
    if endpoint is not None:
        options["endpoint"] = endpoint
    return options


def ours(bucket, region, **options):
    """Return the same of a store; None where it is refused."""
    try:
        found = parse_config(bucket, kwargs={**options, "region": region}, environ={}).settings
    except (GenericError, NotSupportedError):
        return None
    path = found.base_path + ("" if found.bucket_in_host else "/" + urllib.parse.quote(bucket, safe=""))
    url = f"{found.scheme}://{found.host.format(region=found.region)}{path}"
    return url, found.service, found.region


words = st.text("ab09-", max_size=12)
labels = words.map("b{}9".format).filter(lambda name: len(name) > 2 and "--" not in name)
dotted = st.tuples(labels, labels).map(".".join)
odd = st.text("aB0_.%-", min_size=2, max_size=12).map("b{}".format)
names = labels | dotted | odd | labels.map("{}-s3alias".format) | labels.map("{}--ol-s3".format)
flags = st.sets(st.sampled_from(["accelerate", "dualstack", "fips"]))
any_region = st.deferred(lambda: st.sampled_from(sorted(regions())))


def test_partitions_are_those_of_botocore():
    outputs = {row["id"]: row["outputs"] for row in partitions()["partitions"]}
    assert len(regions()) > 30
    assert {region: partition_of(region) for region in regions()} == {
        region: (partition, outputs[partition]["dnsSuffix"], outputs[partition]["dualStackDnsSuffix"])
        for region, partition in regions().items()
    }


@cases
@given(names, any_region, flags)
@example("bucket", "us-east-1", set())
@example("bucket", "cn-north-1", {"dualstack"})
@example("bucket", "us-gov-west-1", {"dualstack", "fips"})
@example("a.b", "eu-west-1", {"dualstack"})
def test_path_style(bucket, region, flags):
    assert ours(bucket, region, **options_of(None, flags - {"accelerate"})) == theirs(
        bucket, region, style="path", flags=flags - {"accelerate"}
    )
    assert ours(bucket, region, **options_of("path", flags)) == theirs(
        bucket, region, style="path", flags=flags
    )


@cases
@given(labels | dotted, any_region, flags)
@example("bucket", "us-east-1", {"accelerate", "dualstack"})
@example("bucket", "cn-north-1", {"accelerate"})
@example("a.b", "us-east-1", {"accelerate"})
@example("bucket", "us-east-1", {"accelerate", "fips"})
def test_auto_style(bucket, region, flags):
    """For AWS's hosts htslib's rule is that of AWS's tools."""
    assert ours(bucket, region, **options_of("auto", flags)) == theirs(
        bucket, region, style="auto", flags=flags
    )


@cases
@given(labels, any_region, flags)
def test_virtual_style(bucket, region, flags):
    expected = theirs(bucket, region, style="virtual", flags=flags)
    assert ours(bucket, region, **options_of("virtual", flags)) == expected
    assert ours(bucket, region, virtual_hosted_style_request=True, **options_of(None, flags)) == expected


@cases
@given(dotted, any_region)
def test_virtual_style_with_dots_is_refused_where_their_tools_fall_back_to_paths(bucket, region):
    """What was asked for is not given up in silence."""
    assert ours(bucket, region, addressing_style="virtual") is None
    url, _, _ = theirs(bucket, region, style="virtual", flags=set())
    assert url.endswith(f"/{bucket}")


endpoints = st.sampled_from(
    [
        "https://minio.test",
        "https://minio.test:9000",
        "https://minio.test:9000/base/path",
        "http://minio.test",
        "http://localhost:9000",
        "https://127.0.0.1:9000",
        "http://10.0.0.1",
        "http://[::1]:9000",
        "https://bucket.vpce-1a2b3c4d-5e6f.s3.us-east-1.vpce.amazonaws.com",
    ]
)


@cases
@given(labels, any_region, endpoints, st.sampled_from([None, "path", "virtual", "auto"]))
@example("bucket", "us-east-1", "http://127.0.0.1:9000", "auto")
def test_endpoints_of_ones_own(bucket, region, endpoint, style):
    expected = theirs(bucket, region, style=style or "path", flags=set(), endpoint=endpoint)
    found = ours(bucket, region, **options_of(style, set(), endpoint))
    address = endpoint.partition("//")[2][0] in "[1"
    if style == "virtual" and address:
        assert found is None  # theirs go on in path style
    else:
        assert found == expected


@cases
@given(dotted, st.sampled_from(["http://minio.test", "https://minio.test"]))
def test_dots_in_auto_style_are_no_obstacle_to_http(bucket, endpoint):
    found, _, _ = ours(bucket, "us-east-1", addressing_style="auto", endpoint=endpoint)
    http = endpoint.startswith("http:")
    assert found == (f"http://{bucket}.minio.test" if http else f"https://minio.test/{bucket}")
    assert (found, "s3", "us-east-1") == theirs(
        bucket, "us-east-1", style="auto", flags=set(), endpoint=endpoint
    )


@cases
@given(labels, endpoints, flags.filter(bool), st.sampled_from([None, "virtual"]))
def test_switches_exclude_an_endpoint(bucket, endpoint, flags, style):
    assert ours(bucket, "us-east-1", **options_of(style, flags, endpoint)) is None
    assert theirs(bucket, "us-east-1", style=style or "path", flags=flags, endpoint=endpoint) is None


# ---- access points ----


@st.composite
def arns(draw):
    """Make an ARN, right or wrong in one place."""
    region = draw(any_region | st.sampled_from(["", "us_west_2"]))
    partition = regions().get(region, "aws")
    service = draw(st.sampled_from(["s3", "s3-object-lambda", "s3-outposts", "sqs"]))
    mark = draw(st.sampled_from(":/"))
    words = ["accesspoint", draw(labels)]
    if service == "s3-outposts":
        words = ["outpost", draw(st.sampled_from(["op-01234567890123456", "op_1", ""])), *words]
    words = draw(st.sampled_from([words, words, words, words[:-1], [*words, "more"], ["bucket_name", "x"]]))
    account = draw(st.sampled_from([ACCOUNT, ACCOUNT, ACCOUNT, "a_b"]))
    return f"arn:{partition}:{service}:{region}:{account}:{mark.join(words)}", region


@cases
@given(arns(), flags, st.sampled_from([None, "virtual", "auto"]))
@example((f"arn:aws:s3:us-west-2:{ACCOUNT}:accesspoint/p", "us-west-2"), set(), None)
@example((f"arn:aws:s3:us-west-2:{ACCOUNT}:accesspoint:p", "us-west-2"), {"fips", "dualstack"}, None)
@example((f"arn:aws-cn:s3:cn-north-1:{ACCOUNT}:accesspoint/p", "cn-north-1"), {"dualstack"}, None)
@example((f"arn:aws:s3-object-lambda:us-west-2:{ACCOUNT}:accesspoint/p", "us-west-2"), {"fips"}, None)
@example(
    (f"arn:aws:s3-outposts:us-west-2:{ACCOUNT}:outpost/op-01234567890123456/accesspoint/p", "us-west-2"),
    set(),
    None,
)
def test_access_points(made, flags, style):
    arn, region = made
    region = region if region in regions() else "us-east-1"
    expected = theirs(arn, region, style=style, flags=flags)
    assert ours(arn, region, **options_of(style, flags)) == expected
    # No region in code: that of the ARN is taken.
    if expected is not None:
        found = parse_config(arn, kwargs=options_of(style, flags), environ={"AWS_REGION": "eu-west-3"})
        assert found.settings.region == expected[2]


@cases
@given(arns(), st.sampled_from(["https://vpce.test", "http://localhost:9000"]))
def test_access_points_behind_an_endpoint(made, endpoint):
    arn, region = made
    region = region if region in regions() else "us-east-1"
    expected = theirs(arn, region, style=None, flags=set(), endpoint=endpoint)
    found = ours(arn, region, endpoint=endpoint)
    if expected is not None and ":s3-outposts:" in arn:
        expected = (expected[0].replace("https:", endpoint.partition("//")[0]), *expected[1:])
    assert found == expected


@cases
@given(any_region, any_region)
def test_an_arn_of_another_region(region, other):
    arn = f"arn:{regions()[region]}:s3:{region}:{ACCOUNT}:accesspoint/p"
    strict = {"environ": {"AWS_REGION": other, "AWS_S3_USE_ARN_REGION": "false"}}
    expected = theirs(arn, other, style=None, flags=set(), arn_region=False)
    if expected is None:
        with pytest.raises(GenericError, match="AWS_S3_USE_ARN_REGION"):
            parse_config(arn, **strict)
    else:
        assert parse_config(arn, **strict).settings.region == region
    assert parse_config(arn, environ={"AWS_REGION": other}).settings.region == region


@pytest.mark.parametrize("hardware", ["o", "e", "x"])
@cases
@given(st.text("ab09", min_size=17, max_size=17))
def test_aliases_of_outposts(hardware, outpost):
    alias = f"name-{hardware}{outpost}{'a' * 25}--op-s3"
    expected = theirs(alias, "us-west-2", style=None, flags=set())
    assert ours(alias, "us-west-2") == expected
    assert (expected is None) == (hardware == "x")


@pytest.mark.parametrize("end", ["--x-s3", "--xa-s3"])
@cases
@given(st.sampled_from(["use1-az4", "usw2-az1", "apne1-az4"]), labels, flags)
def test_directory_buckets(end, zone, name, flags):
    bucket = f"{name}--{zone}{end}"
    found = ours(bucket, "us-west-2", s3_express=True, **options_of(None, flags))
    assert found == theirs(bucket, "us-west-2", style="virtual", flags=flags)


# ---- whole clients ----

CASES = [
    ("bucket", {}, {"s3": {"addressing_style": "path"}}),
    ("bucket", {"addressing_style": "virtual"}, {"s3": {"addressing_style": "virtual"}}),
    ("bucket", {"addressing_style": "auto"}, {"s3": {"addressing_style": "virtual"}}),
    ("a.b", {"addressing_style": "auto"}, {"s3": {"addressing_style": "path"}}),
    ("bucket", {"use_accelerate_endpoint": True}, {"s3": {"use_accelerate_endpoint": True}}),
    (
        "bucket",
        {"use_dualstack_endpoint": True, "addressing_style": "virtual"},
        {"use_dualstack_endpoint": True, "s3": {"addressing_style": "virtual"}},
    ),
    (
        "bucket",
        {"use_fips_endpoint": True, "addressing_style": "virtual"},
        {"use_fips_endpoint": True, "s3": {"addressing_style": "virtual"}},
    ),
    (f"arn:aws:s3:eu-west-1:{ACCOUNT}:accesspoint/p", {}, {}),
    (f"arn:aws:s3-object-lambda:eu-west-1:{ACCOUNT}:accesspoint/p", {}, {}),
]


@pytest.mark.parametrize(("bucket", "options", "config"), CASES)
@pytest.mark.parametrize("key", ["k", "a b/ü+"])
def test_a_presigned_url_is_that_of_boto3(bucket, options, config, key):
    """The whole way: host, path and scope of what would be sent."""
    client = boto3.client(
        "s3",
        region_name="eu-west-1",
        aws_access_key_id="AK",
        aws_secret_access_key="SK",
        config=Config(signature_version="s3v4", **config),
    )
    expected = urllib.parse.urlsplit(
        client.generate_presigned_url("get_object", {"Bucket": bucket, "Key": key}, ExpiresIn=60)
    )
    found = urllib.parse.urlsplit(
        S3Store(bucket, region="eu-west-1", **KEYS, **options).sign("GET", key, timedelta(minutes=1))
    )
    assert (found.netloc, found.path) == (expected.netloc, expected.path)
    scopes = [
        urllib.parse.parse_qs(url.query)["X-Amz-Credential"][0].split("/", 2)[2] for url in (found, expected)
    ]
    assert scopes[0] == scopes[1]


def test_a_presigned_url_of_version_2_is_that_of_boto3():
    client = boto3.client(
        "s3",
        region_name="us-east-1",
        endpoint_url="https://old.test",
        aws_access_key_id="AK",
        aws_secret_access_key="SK",
        config=Config(signature_version="s3"),
    )
    expected = urllib.parse.urlsplit(
        client.generate_presigned_url("get_object", {"Bucket": "bucket", "Key": "a b"}, ExpiresIn=60)
    )
    store = S3Store("bucket", endpoint="https://old.test", signature_version="v2", **KEYS)
    found = urllib.parse.urlsplit(store.sign("GET", "a b", timedelta(minutes=1)))
    assert (found.netloc, found.path) == (expected.netloc, expected.path)
    mine, yours = (dict(urllib.parse.parse_qsl(url.query)) for url in (found, expected))
    assert mine.keys() == yours.keys() == {"AWSAccessKeyId", "Expires", "Signature"}


# ---- refusals ----


@pytest.mark.parametrize(
    ("arn", "words"),
    [
        ("arn:aws:s3:::bucket", "give the bucket's name, 'bucket'"),
        ("arn:aws:s3:us-west-2", "is no ARN"),
        (f"arn:aws:sqs:us-west-2:{ACCOUNT}:queue", "is of the service 'sqs'"),
        (f"arn:aws:s3:us-west-2:{ACCOUNT}:bucket/x", "names no accesspoint/<name>"),
        (f"arn:aws:s3:us-west-2:{ACCOUNT}:accesspoint/p/object/k", "something behind it"),
        (f"arn:aws:s3:us-west-2:{ACCOUNT}:accesspoint/a_b", "the name 'a_b'"),
        (f"arn:aws-cn:s3:us-west-2:{ACCOUNT}:accesspoint/p", "its region is of 'aws'"),
        (f"arn:aws:s3-outposts:us-west-2:{ACCOUNT}:bucket/p", "names no outpost"),
        (f"arn:aws:s3-object-lambda::{ACCOUNT}:accesspoint/p", "has no region"),
    ],
)
def test_a_wrong_arn_is_refused_with_the_reason(arn, words):
    with pytest.raises(GenericError, match=words):
        Arn(arn)


def test_a_multi_region_access_point_is_refused_because_it_needs_sigv4a():
    with pytest.raises(NotSupportedError, match="SigV4A"):
        S3Store(f"arn:aws:s3::{ACCOUNT}:accesspoint/mfzwi23gnjvgw.mrap", **KEYS)


@pytest.mark.parametrize(
    ("bucket", "options", "words"),
    [
        ("b", {"use_accelerate_endpoint": True, "use_fips_endpoint": True}, ["accelerate", "fips"]),
        (
            "b",
            {"use_accelerate_endpoint": True, "addressing_style": "path"},
            ["accelerate", "addressing_style"],
        ),
        (
            "b",
            {"use_accelerate_endpoint": True, "virtual_hosted_style_request": False},
            ["accelerate", "virtual_hosted_style_request"],
        ),
        (
            "b",
            {"use_accelerate_endpoint": True, "endpoint": "https://h"},
            ["use_accelerate", "endpoint names one"],
        ),
        (
            "b",
            {"use_fips_endpoint": True, "endpoint": "https://h"},
            ["use_fips_endpoint", "endpoint names one"],
        ),
        (
            "b",
            {"use_dualstack_endpoint": True, "endpoint": "https://h"},
            ["use_dualstack", "endpoint names one"],
        ),
        ("a.b", {"use_accelerate_endpoint": True}, ["accelerate", '"a.b"', "dots"]),
        ("a.b", {"addressing_style": "virtual"}, ["addressing_style", '"a.b"', "dots"]),
        ("A_b", {"addressing_style": "virtual"}, ["addressing_style", '"A_b"']),
        ("b", {"use_fips_endpoint": True, "region": "cn-north-1"}, ["use_fips_endpoint", "'cn-north-1'"]),
        ("b", {"use_accelerate_endpoint": True, "region": "cn-north-1"}, ["accelerate", "'cn-north-1'"]),
        (
            "b",
            {"addressing_style": "path", "virtual_hosted_style_request": True},
            ["addressing_style", "virtual_hosted_style_request"],
        ),
        (
            "b",
            {"addressing_style": "virtual", "endpoint": "http://127.0.0.1"},
            ["virtual|addressing", "address"],
        ),
        (
            f"arn:aws:s3:us-west-2:{ACCOUNT}:accesspoint/p",
            {"region": "eu-west-1"},
            ["'us-west-2'", "'eu-west-1'", "use_arn_region"],
        ),
        (
            f"arn:aws:s3:us-west-2:{ACCOUNT}:accesspoint/p",
            {"addressing_style": "path"},
            ["addressing_style", "path"],
        ),
        (f"arn:aws:s3:us-west-2:{ACCOUNT}:accesspoint/p", {"signature_version": "v2"}, ["signature_version"]),
        (
            f"arn:aws-cn:s3:cn-north-1:{ACCOUNT}:accesspoint/p",
            {"use_fips_endpoint": True},
            ["use_fips_endpoint", "'cn-north-1'"],
        ),
        ("n--use1-az4--x-s3", {"s3_express": True, "signature_version": "v2"}, ["signature_version"]),
        (
            "n--use1-az4--x-s3",
            {"s3_express": True, "use_accelerate_endpoint": True},
            ["s3_express", "use_accelerate_endpoint"],
        ),
    ],
)
def test_what_contradicts_itself_is_refused_at_construction_and_named(bucket, options, words):
    with pytest.raises(BaseError) as caught:
        S3Store(bucket, **KEYS, **options)
    for word in words:
        assert any(choice in str(caught.value) for choice in word.split("|")), str(caught.value)


def test_a_default_region_gives_way_to_an_arn():
    arn = f"arn:aws:s3:us-west-2:{ACCOUNT}:accesspoint/p"
    found = parse_config(arn, kwargs={"default_region": "eu-west-1"}, environ={})
    assert found.settings.region == "us-west-2"


def test_an_arns_region_may_replace_the_one_in_code_where_code_says_so():
    arn = f"arn:aws:s3:us-west-2:{ACCOUNT}:accesspoint/p"
    found = parse_config(arn, kwargs={"region": "eu-west-1", "use_arn_region": True}, environ={})
    assert found.settings.region == "us-west-2"

"""Which region, endpoint, style and switches count: code, environment, profile, s3cfg, in this order."""

from __future__ import annotations

import pickle

import pytest

from s3ext._configuration import parse_config
from s3ext.exceptions import BaseError, GenericError
from s3ext.store import S3Store

KEYS = {"access_key_id": "AK", "secret_access_key": "SK"}


class Files:
    """The shared files, in a folder of the test's own, and a store's settings with them."""

    def __init__(self, folder):
        self.folder = folder
        self.environ = {
            "HOME": str(folder),
            "AWS_CONFIG_FILE": str(folder / "config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials"),
            "HTS_S3_S3CFG": str(folder / "s3cfg"),
        }

    def write(self, **files):
        for name, text in files.items():
            (self.folder / name).write_text(text)

    def settings(self, bucket="bucket", environ=(), **options):
        return parse_config(bucket, kwargs=options, environ={**self.environ, **dict(environ)}).settings

    def url(self, *arguments, **options):
        found = self.settings(*arguments, **options)
        style = "virtual" if found.bucket_in_host else "path"
        return f"{found.scheme}://{found.host.format(region=found.region)}{found.base_path}", style


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


# ---- regions ----

# Every source of a region, the strongest first, and how to set it.
REGIONS = ["region", "AWS_REGION", "AWS_DEFAULT_REGION", "profile", "s3cfg", "default_region"]


@pytest.mark.parametrize("strongest", range(len(REGIONS) + 1))
def test_the_strongest_source_of_a_region_counts(files, strongest):
    present = REGIONS[strongest:]
    files.write(
        config="[default]\nregion = profile-1\n" if "profile" in present else "",
        s3cfg="[default]\naccess_key = a\nsecret_key = s\nbucket_location = s3cfg-1\n"
        if "s3cfg" in present
        else "",
    )
    environ = {name: f"{name.lower().replace('_', '-')}-1" for name in present if name.startswith("AWS_")}
    options = {
        name: f"{name.replace('_', '-')}-1" for name in present if name in {"region", "default_region"}
    }
    expected = f"{present[0].lower().replace('_', '-')}-1" if present else "us-east-1"
    assert files.settings(environ=environ.items(), **options).region == expected


def test_the_url_names_the_region_before_the_environment(files, monkeypatch):
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    store = S3Store.from_url("https://bucket.s3.us-west-2.amazonaws.com/p", **KEYS)
    assert store._settings.region == "us-west-2"


@pytest.mark.parametrize("credentials", ["[default]\nregion = eu-west-2\n", "[other]\nregion = eu-west-2\n"])
def test_the_credentials_file_may_name_the_region(files, credentials):
    files.write(credentials=credentials, config="[default]\nregion = eu-west-1\n")
    assert files.settings().region == ("eu-west-2" if "default" in credentials else "eu-west-1")


@pytest.mark.parametrize(
    ("environ", "options", "region"),
    [
        ({}, {}, "eu-west-1"),
        ({"AWS_PROFILE": "dev"}, {}, "eu-west-2"),
        ({"AWS_PROFILE": "default", "AWS_DEFAULT_PROFILE": "dev"}, {}, "eu-west-2"),
        ({"AWS_PROFILE": "default"}, {"profile": "dev"}, "eu-west-2"),
        ({"AWS_REGION": "eu-west-3"}, {"profile": "dev"}, "eu-west-3"),
    ],
)
def test_the_profile_that_is_chosen_counts(files, environ, options, region):
    files.write(config="[default]\nregion = eu-west-1\n[profile dev]\nregion = eu-west-2\n")
    assert files.settings(environ=environ.items(), **options).region == region


@pytest.mark.parametrize("variable", ["", "AWS_PROFILE", "AWS_DEFAULT_PROFILE"])
@pytest.mark.parametrize("keys", [KEYS, {"skip_signature": True}, {}])
def test_a_profile_that_is_in_no_file_is_an_error_where_files_are_read(files, variable, keys):
    files.write(config="[default]\nregion = eu-west-1\n")
    environ = {variable: "nope"} if variable else {}
    options = keys if variable else {**keys, "profile": "nope"}
    for more in ({}, {"region": "r"}, {"endpoint": "https://h"}):
        with pytest.raises(
            GenericError, match=rf"no profile 'nope' \({variable or 'profile'}\) in .*credentials, .*s3cfg"
        ):
            files.settings(environ=environ.items(), **options, **more)
    if variable:
        assert files.settings(environ=environ.items(), region="r", endpoint="https://h", **keys).host == "h"


def test_a_wrong_region_of_a_file_is_named_with_its_line(files):
    files.write(config="# mine\n[profile dev]\nregion = eu west 1\n")
    with pytest.raises(GenericError, match=r"'?eu west 1.* as region .*profile 'dev', .*config:3"):
        files.settings(profile="dev")
    assert files.settings(profile="dev", region="eu-west-1").region == "eu-west-1"


@pytest.mark.parametrize(
    ("location", "region"), [("US", "us-east-1"), ("EU", "eu-west-1"), ("eu-west-3", "eu-west-3")]
)
def test_locations_of_s3cfg_are_regions(files, location, region):
    files.write(s3cfg=f"[default]\naccess_key = a\nsecret_key = s\nbucket_location = {location}\n")
    assert files.settings().region == region


# ---- endpoints ----

ENDPOINTS = [
    "endpoint_url_s3",
    "endpoint",
    "host",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT",
    "HTS_S3_HOST",
    "service",
    "profile",
    "host_base",
]


def lay_out(files, present):
    """Give each source that is present an endpoint of its name."""
    lines = ["[default]"]
    lines += ["services = mine"] if "service" in present else []
    lines += ["endpoint_url = https://profile.test"] if "profile" in present else []
    lines += ["[services mine]", "sts =", "  endpoint_url = https://sts.test"]
    lines += ["s3 =", "  endpoint_url = https://service.test"] if "service" in present else []
    host = "host_base = host-base.test\n" if "host_base" in present else ""
    files.write(config="\n".join(lines), s3cfg=f"[default]\naccess_key = a\nsecret_key = s\n{host}")
    names = {name: f"https://{name.lower().replace('_', '-')}.test" for name in present}
    for host in names.keys() & {"host", "HTS_S3_HOST"}:
        names[host] = names[host].removeprefix("https://")
    environ = {name: value for name, value in names.items() if name.isupper()}
    options = {
        name: value
        for name, value in names.items()
        if name.startswith(("endpoint", "host")) and name != "host_base"
    }
    return environ.items(), options


@pytest.mark.parametrize("strongest", range(len(ENDPOINTS) + 1))
def test_the_strongest_endpoint_counts(files, strongest):
    present = ENDPOINTS[strongest:]
    environ, options = lay_out(files, present)
    name = present[0].lower().replace("_", "-") if present else ""
    expected = f"https://{name}.test" if present else "https://s3.us-east-1.amazonaws.com"
    assert files.url(environ=environ, **options) == (expected, "path")


@pytest.mark.parametrize("where", ["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "config", "code"])
@pytest.mark.parametrize(
    ("present", "expected"),
    [
        (["endpoint"], "https://endpoint.test"),
        (["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"], "https://s3.us-east-1.amazonaws.com"),
        (["service", "profile"], "https://s3.us-east-1.amazonaws.com"),
        (["AWS_ENDPOINT_URL", "HTS_S3_HOST"], "https://hts-s3-host.test"),
        (["profile", "host_base"], "https://host-base.test"),
    ],
)
def test_configured_urls_may_be_ignored(files, where, present, expected):
    environ, options = lay_out(files, present)
    environ = dict(environ)
    if where == "code":
        options["ignore_configured_endpoint_urls"] = True
    elif where == "config":
        text = (files.folder / "config").read_text()
        files.write(config=text.replace("[default]", "[default]\nignore_configured_endpoint_urls = true"))
    else:
        environ[where] = "true"
    assert files.url(environ=environ.items(), **options)[0] == expected


@pytest.mark.parametrize("host", ["http://h", "https://h:1", "h/base", "h h", "user@h", "h:99999"])
@pytest.mark.parametrize("where", ["host", "HTS_S3_HOST", "host_base"])
def test_a_host_that_is_none_is_refused_and_named(files, where, host):
    if where == "host_base":
        files.write(s3cfg=f"[default]\naccess_key = a\nsecret_key = s\nhost_base = {host}\n")
    environ = {"HTS_S3_HOST": host} if where == "HTS_S3_HOST" else {}
    options = {"host": host} if where == "host" else {}
    with pytest.raises(GenericError, match=where) as caught:
        files.settings(environ=environ.items(), **options)
    assert "user@" not in str(caught.value)


@pytest.mark.parametrize("host", ["s3.amazonaws.com", "S3.amazonaws.com"])
def test_the_usual_host_of_aws_follows_the_region(files, host):
    """htslib's rule, and what every s3cfg says that nobody has changed."""
    environ = {"HTS_S3_HOST": host, "AWS_REGION": "eu-west-1"}
    assert files.url(environ=environ.items()) == ("https://s3.eu-west-1.amazonaws.com", "path")


S3CFG = """\
[default]
access_key = a
secret_key = s
host_base = ceph.test:7480
host_bucket = %(bucket)s.ceph.test
"""


@pytest.mark.parametrize(
    ("config", "environ", "options", "counts"),
    [
        ("", {}, {}, True),
        ("", {}, {"skip_signature": True}, True),
        ("", {}, KEYS, False),
        ("", {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"}, {}, False),
        ("", {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"}, {"profile": "default"}, True),
        ("[default]\naws_access_key_id = a\naws_secret_access_key = s\n", {}, {}, False),
        ("[default]\ncredential_process = x\n", {}, {}, False),
        ("[default]\nsso_session = x\n", {}, {}, False),
        ("", {"AWS_WEB_IDENTITY_TOKEN_FILE": "/t", "AWS_ROLE_ARN": "arn:aws:iam::1:role/r"}, {}, False),
        ("[default]\noutput = json\n", {}, {}, True),
    ],
)
def test_s3cfg_counts_where_keys_come_from_there(files, config, environ, options, counts):
    files.write(config=config, s3cfg=S3CFG)
    expected = "https://bucket.ceph.test:7480" if counts else "https://s3.us-east-1.amazonaws.com"
    assert files.url(environ=environ.items(), **options)[0] == expected


@pytest.mark.parametrize(
    ("word", "environ", "options", "expected"),
    [
        ("False", {}, {}, "http://bucket.ceph.test:7480"),
        ("no", {}, {}, "http://bucket.ceph.test:7480"),
        ("True", {}, {}, "https://bucket.ceph.test:7480"),
        ("False", {"AWS_ENDPOINT_URL": "https://h.test"}, {}, "https://bucket.h.test"),
        ("False", {"HTS_S3_HOST": "h.test"}, {}, "https://bucket.h.test"),
        ("False", {}, {"endpoint": "https://h.test"}, "https://bucket.h.test"),
        ("False", {}, {"scheme": "https"}, "https://bucket.ceph.test:7480"),
        ("False", {}, KEYS, "https://s3.us-east-1.amazonaws.com"),
    ],
)
def test_use_https_of_s3cfg_goes_with_its_host(files, word, environ, options, expected):
    files.write(s3cfg=f"{S3CFG}use_https = {word}\n")
    assert files.url(environ=environ.items(), **options)[0] == expected
    found = files.settings(environ=environ.items(), **options)
    assert found.allow_http is expected.startswith("http:")


def test_use_https_of_s3cfg_must_be_yes_or_no_and_counts_for_nothing_without_a_host(files):
    files.write(s3cfg="[default]\naccess_key = a\nsecret_key = s\nuse_https = False\n")
    assert files.url()[0] == "https://s3.us-east-1.amazonaws.com"
    files.write(s3cfg=f"{S3CFG}use_https = maybe\n")
    with pytest.raises(GenericError, match=r"'?\"?maybe.* for use_https \(profile 'default', .*s3cfg:6\)"):
        files.settings()


def test_s3cfg_does_not_count_beside_a_provider(files):
    files.write(s3cfg=S3CFG)
    found = parse_config("bucket", credential_provider=dict, environ=files.environ).settings
    assert found.host == "s3.{region}.amazonaws.com"


def test_files_are_left_alone_where_code_names_region_and_endpoint(files):
    files.write(config="no line of any file\n")
    assert files.settings(region="r", endpoint="https://h", **KEYS).host == "h"
    with pytest.raises(GenericError, match="config:1"):
        files.settings(region="r", **KEYS)


# ---- styles ----


@pytest.mark.parametrize(
    ("host_bucket", "style"),
    [
        ("%(bucket)s.h.test", "virtual"),
        ("%(bucket).s.h.test", "virtual"),
        ("h.test", "path"),
        ("h.test/%(bucket)s", "virtual"),
    ],
)
def test_host_bucket_tells_the_style(files, host_bucket, style):
    files.write(
        s3cfg=f"[default]\naccess_key = a\nsecret_key = s\nhost_base = h.test\nhost_bucket = {host_bucket}\n"
    )
    expected = "https://bucket.h.test" if style == "virtual" else "https://h.test"
    assert files.url() == (expected, style)
    assert files.url("a.b") == ("https://h.test", "path")


@pytest.mark.parametrize(
    ("environ", "config", "options", "expected"),
    [
        ({}, "", {}, "path"),
        ({"HTS_S3_ADDRESS_STYLE": "VIRTUAL"}, "", {}, "virtual"),
        ({"HTS_S3_ADDRESS_STYLE": "Auto"}, "", {}, "virtual"),
        ({"HTS_S3_ADDRESS_STYLE": "path"}, "addressing_style = virtual", {}, "path"),
        ({}, "addressing_style = virtual", {}, "virtual"),
        ({}, "addressing_style = auto", {}, "path"),
        ({}, "s3 =\n  addressing_style = virtual", {}, "virtual"),
        ({}, "addressing_style = path\ns3 =\n  addressing_style = virtual", {}, "virtual"),
        ({"AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true"}, "", {}, "virtual"),
        ({"AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true"}, "", {"addressing_style": "path"}, "path"),
        ({"HTS_S3_ADDRESS_STYLE": "virtual"}, "", {"virtual_hosted_style_request": False}, "path"),
        ({"HTS_S3_ADDRESS_STYLE": "path"}, "", {"addressing_style": "auto"}, "virtual"),
        ({}, "", {"addressing_style": "path", "virtual_hosted_style_request": False}, "path"),
        ({}, "", {"addressing_style": "virtual", "virtual_hosted_style_request": True}, "virtual"),
    ],
)
def test_the_strongest_style_counts(files, environ, config, options, expected):
    files.write(config=f"[default]\n{config}\n")
    url = (
        "https://bucket.s3.us-east-1.amazonaws.com"
        if expected == "virtual"
        else "https://s3.us-east-1.amazonaws.com"
    )
    assert files.url(environ=environ.items(), **options) == (url, expected)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ("https://h.test:1/base", "path")),
        ({"virtual_hosted_style_request": True}, ("https://h.test:1/base", "virtual")),
        ({"addressing_style": "virtual"}, ("https://bucket.h.test:1/base", "virtual")),
        ({"addressing_style": "auto"}, ("https://bucket.h.test:1/base", "virtual")),
        ({"addressing_style": "path"}, ("https://h.test:1/base", "path")),
    ],
)
def test_the_bucket_goes_before_an_endpoint_unless_obstores_flag_says_that_it_is_there(
    files, options, expected
):
    assert files.url(endpoint="https://h.test:1/base", **options) == expected


@pytest.mark.parametrize("value", ["dns", "pathy", "1"])
def test_an_unknown_style_is_refused_and_named_unlike_in_htslib(files, value):
    with pytest.raises(GenericError, match=r"HTS_S3_ADDRESS_STYLE \(environment\)"):
        files.settings(environ=[("HTS_S3_ADDRESS_STYLE", value)])
    files.write(config=f"[default]\ns3 =\n  addressing_style = {value}\n")
    with pytest.raises(GenericError, match=r"addressing_style \(profile 'default', .*config:3\)"):
        files.settings()


@pytest.mark.parametrize(
    "environ", [{"HTS_S3_ADDRESS_STYLE": "path", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true"}]
)
def test_a_contradiction_in_the_environment_is_named_unless_code_decides(files, environ):
    with pytest.raises(GenericError, match=r"HTS_S3_ADDRESS_STYLE.*AWS_VIRTUAL_HOSTED_STYLE_REQUEST"):
        files.settings(environ=environ.items())
    assert files.url(environ=environ.items(), addressing_style="virtual")[1] == "virtual"


# ---- switches ----

SWITCHED = {
    "use_accelerate_endpoint": "https://bucket.s3-accelerate.amazonaws.com",
    "use_dualstack_endpoint": "https://s3.dualstack.us-east-1.amazonaws.com",
    "use_fips_endpoint": "https://s3-fips.us-east-1.amazonaws.com",
}
VARIABLES = {
    "use_dualstack_endpoint": "AWS_USE_DUALSTACK_ENDPOINT",
    "use_fips_endpoint": "AWS_USE_FIPS_ENDPOINT",
}


@pytest.mark.parametrize("name", SWITCHED)
@pytest.mark.parametrize("block", ["{} = true", "s3 =\n  {} = true"])
def test_switches_of_profiles_variables_and_code(files, name, block):
    usual = "https://s3.us-east-1.amazonaws.com"
    files.write(config=f"[default]\n{block.format(name)}\n")
    assert files.url()[0] == SWITCHED[name]
    assert files.url(**{name: False})[0] == usual
    if name in VARIABLES:
        assert files.url(environ=[(VARIABLES[name], "false")])[0] == usual
        files.write(config="")
        assert files.url(environ=[(VARIABLES[name], "true")])[0] == SWITCHED[name]


@pytest.mark.parametrize("name", SWITCHED)
def test_a_switch_that_code_does_not_give_yields_to_an_endpoint(files, name):
    files.write(config=f"[default]\ns3 =\n  {name} = true\n")
    assert files.url(endpoint="https://h.test", region="r")[0] == "https://h.test"
    assert files.url(environ=[("AWS_ENDPOINT_URL", "https://h.test")])[0] == "https://h.test"
    with pytest.raises(GenericError, match=f"{name}.*AWS_ENDPOINT_URL"):
        files.settings(environ=[("AWS_ENDPOINT_URL", "https://h.test")], **{name: True})


def test_path_style_of_no_weight_yields_to_acceleration_and_arns(files):
    environ = [("HTS_S3_ADDRESS_STYLE", "path")]
    assert files.url(environ=environ, use_accelerate_endpoint=True)[0] == SWITCHED["use_accelerate_endpoint"]
    arn = "arn:aws:s3:us-west-2:123456789012:accesspoint/p"
    assert (
        files.url(arn, environ=environ)[0] == "https://p-123456789012.s3-accesspoint.us-west-2.amazonaws.com"
    )


# ---- version of the signature ----


@pytest.mark.parametrize(
    ("environ", "config", "options", "expected"),
    [
        ({}, "", {}, False),
        ({"HTS_S3_V2": "1"}, "", {}, True),
        ({"HTS_S3_V2": "0"}, "", {}, True),
        ({"HTS_S3_V2": ""}, "", {}, True),
        ({"HTS_S3_V2": "1"}, "", {"signature_version": "v4"}, False),
        ({}, "", {"signature_version": "V2"}, True),
        ({}, "s3 =\n  signature_version = s3", {}, True),
        ({}, "s3 =\n  signature_version = s3v4", {}, False),
    ],
)
def test_the_version_of_the_signature(files, environ, config, options, expected):
    files.write(config=f"[default]\n{config}\n")
    assert files.settings(environ=environ.items(), **options).signature_v2 is expected


@pytest.mark.parametrize("value", ["v3", "s3", "2"])
def test_an_unknown_version_is_refused(files, value):
    with pytest.raises(GenericError, match="signature version for signature_version"):
        files.settings(signature_version=value)


# ---- stores ----


def test_a_store_keeps_what_code_gave_and_nothing_of_files_and_environment(files, monkeypatch):
    files.write(config="[default]\nregion = eu-west-1\nuse_fips_endpoint = true\n")
    for name, value in files.environ.items():
        monkeypatch.setenv(name, value)
    store = S3Store("bucket", addressing_style="virtual", **KEYS)
    assert store.config == {"bucket": "bucket", "addressing_style": "virtual", **KEYS}
    assert store._settings.host == "bucket.s3-fips.{region}.amazonaws.com"
    again = pickle.loads(pickle.dumps(store))
    assert (again._settings, again.config) == (store._settings, store.config)


@pytest.mark.parametrize("bucket", ["arn:", "arn:aws", "arn:aws:s3:us-west-2:1:accesspoint/../x"])
def test_what_only_looks_like_an_arn_is_refused(bucket):
    with pytest.raises(BaseError, match="ARN"):
        S3Store(bucket, **KEYS)

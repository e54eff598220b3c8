"""The shared files: botocore's rules, file and line of every key, and files that are none."""

from __future__ import annotations

import os
import threading

import pytest
from botocore.configloader import build_profile_map, load_config, raw_config_parse
from botocore.exceptions import ConfigParseError
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from s3ext._credentials import files
from s3ext._credentials.files import choose_profile, load, parse, places_of, profile_of
from s3ext.exceptions import GenericError
from s3ext.store import S3Store

# ---- botocore beside it ----

NAMES = st.text("abcXYZ_-0", min_size=1, max_size=6)
WORDS = st.text("abc XYZ=:#;[]%()/+\u00e4'\"\\", max_size=12)
SPACES = st.sampled_from(["", " ", "\t", "  "])
LINES = st.one_of(
    st.builds("{}{}{}{}{}".format, NAMES, SPACES, st.sampled_from("=:"), SPACES, WORDS),
    st.builds("{} =\n  {} = {}\n\t{}={}".format, NAMES, NAMES, WORDS, NAMES, WORDS),
    st.builds("{} = {}\n   {}".format, NAMES, WORDS, WORDS),
    st.builds("{}{}{}".format, SPACES, st.sampled_from("#;"), WORDS),
    SPACES,
)
HEADERS = st.one_of(
    st.just("[default]"),
    st.builds("[{}]".format, NAMES),
    st.builds("[{}{}{}]".format, st.sampled_from(["profile ", "sso-session ", "services "]), SPACES, NAMES),
    st.builds('[profile "{} {}"]'.format, NAMES, NAMES),
    st.builds("[{}] {}".format, NAMES, st.sampled_from(["# x", "; x", ""])),
)
SECTIONS = st.builds("{}\n{}\n".format, HEADERS, st.lists(LINES, max_size=5).map("\n".join))
TEXTS = st.lists(SECTIONS, max_size=4).map("".join)
ENDS = st.sampled_from(["\n", "\r\n", "\r"])


def plain(entries):
    """Write entries as botocore does."""
    return {
        key: {name: below.text for name, below in entry.nested.items()}
        if entry.text[:1] == "\n"
        else entry.text
        for key, entry in entries.items()
    }


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(TEXTS, ENDS)
@example("[a]\nx =\n  y = 1\n\n# c\n  z: 2\nw=1", "\n")
@example("[a]\nx = 1\n\n  2\n ; c\n  3\n\n", "\r\n")
def test_what_botocore_reads_is_read_just_so(tmp_path, text, end):
    path = tmp_path / "config"
    path.write_bytes(text.replace("\n", end).encode())
    try:
        theirs = raw_config_parse(str(path))
    except ConfigParseError:  # A section or a key comes twice, or a line is none.
        assume(False)
    document = parse(str(path), path.read_bytes().decode())
    assert {name: plain(section.entries) for name, section in document.sections.items()} == theirs
    assert not any(section.broken for section in document.sections.values())
    mapped = build_profile_map(theirs)
    for kind, known in (("profile", "profiles"), ("sso-session", "sso_sessions"), ("services", "services")):
        ours = {name: plain(section.entries) for name, section in files._named(document, kind).items()}
        assert ours == mapped[known]
    lines = text.split("\n")
    for section in document.sections.values():
        assert section.name in lines[section.line - 1]
        for key, entry in section.entries.items():
            assert lines[entry.line - 1].strip().lower().startswith(key)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(NAMES, st.dictionaries(NAMES, NAMES, max_size=3)), max_size=4), st.data())
def test_credentials_are_laid_over_the_config_as_by_botocore(home, written, data):
    """By `Session.full_config`: values of the credentials file replace those of the config file."""
    from botocore.session import Session

    config, credentials = {}, {}
    for name, values in written:
        data.draw(st.sampled_from([config, credentials]))[name] = values
    places = (
        home.write("credentials", write(credentials, "")),
        home.write("config", write(config, "profile ")),
        "/dev/null/none",
        "/dev/null/none",
    )
    session = Session()
    session.set_config_variable("config_file", places[1])
    session.set_config_variable("credentials_file", places[0])
    theirs = session.full_config["profiles"]
    for name in {*config, *credentials}:
        lowered = {key.lower(): value for key, value in theirs[name].items()}
        assert plain(profile_of(name, places).entries) == lowered
        assert profile_of(name, places).found


def write(sections, before):
    return "".join(
        f"[{before}{name}]\n" + "".join(f"{key} = {value}\n" for key, value in lowered(values).items())
        for name, values in sections.items()
    )


def lowered(values):
    return {key.lower(): value for key, value in values.items()}


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200), st.booleans())
def test_no_text_makes_the_parser_fail(text, as_s3cfg):
    document = parse("f", text, plain=as_s3cfg)
    for section in (document.preamble, *document.sections.values()):
        assert section.broken <= text.count("\n") + text.count("\r") + 1


# ---- our own rules ----


def test_what_comes_twice_is_no_error_and_the_last_counts():
    document = parse("f", "[a]\nx=1\nx=2\n[b]\ny=1\n[a]\nX=3\nz=4\n")
    assert {name: entry.text for name, entry in document.sections["a"].entries.items()} == {
        "x": "3",
        "z": "4",
    }
    assert document.sections["a"].entries["x"].where == "f:7"


def test_a_byte_order_mark_is_no_part_of_a_name(home):
    path = home.write("credentials", b"\xef\xbb\xbf[default]\r\naws_access_key_id = A\r\n")
    assert load(path).sections["default"].entries["aws_access_key_id"].text == "A"
    assert load_config(home.write("config", b"[default]\r\nregion = r\r\n"))["profiles"]["default"]


def test_nested_blocks_services_and_s3cfg_are_told_with_their_lines(home):
    home.write(
        "config",
        "[profile p]\nregion = eu-north-1\ns3 =\n  addressing_style = path\n  use_dualstack_endpoint = true\n"
        "services = here\n[services here]\ns3 =\n  endpoint_url = http://one\nsts =\n  endpoint_url = http://two\n",
    )
    home.write("credentials", "[p]\nregion = eu-west-1\naddressing_style = virtual\nexpiry_time =\n")
    home.write(".s3cfg", 'host_bucket = %(bucket)s.x\n[p]\nhost_base = "host:1"\n  bucket_location = EU\n')
    profile = profile_of("p")
    assert profile.get("region").text == "eu-west-1"
    assert profile.get("region").where.endswith(".aws/credentials:2")
    assert profile.s3("addressing_style").where.endswith(".aws/config:4")
    assert profile.s3("use_dualstack_endpoint").text == "true"
    assert profile.get("addressing_style").text == "virtual"
    assert profile.get("expiry_time") is None
    assert profile.service("s3", "endpoint_url").where.endswith(".aws/config:9")
    assert profile.service("sts", "endpoint_url").text == "http://two"
    assert profile.service("sso", "endpoint_url") is None
    assert {name: entry.text for name, entry in profile.s3cfg.items()} == {
        "host_bucket": "%(bucket)s.x",
        "host_base": "host:1",
        "bucket_location": "EU",
    }
    assert not profile_of("q").found


def test_a_config_section_without_the_word_is_no_profile(home):
    home.write("config", "[p]\nregion = r\n[profile q]\nregion = r\n")
    home.write("credentials", "[profile q]\nregion = other\n")
    assert not profile_of("p").found
    assert profile_of("q").get("region").text == "r"


def test_a_malformed_line_spoils_its_own_section_alone(home):
    path = home.write("credentials", "[good]\nregion = r\n[bad]\nregion = r\nsecret without a mark\n")
    assert profile_of("good").get("region").text == "r"
    with pytest.raises(GenericError, match=rf"{path}:5: .*\[bad\]") as caught:
        profile_of("bad")
    assert "secret" not in str(caught.value)


def test_a_key_before_any_section_is_an_error_in_files_of_aws_alone(home):
    home.write(".s3cfg", "access_key = A\n")
    assert profile_of("any").s3cfg["access_key"].text == "A"
    path = home.write("credentials", "# c\naws_access_key_id = A\n[default]\n")
    with pytest.raises(GenericError, match=f"{path}:2: .*before any"):
        profile_of("default")


def test_where_the_files_are(home):
    at = str(home.path)
    assert places_of(os.environ) == (
        f"{at}/.aws/credentials",
        f"{at}/.aws/config",
        f"{at}/.s3cfg",
        f"{at}/.awssecret",
    )
    home.set(AWS_SHARED_CREDENTIALS_FILE="~/c", AWS_CONFIG_FILE="$HOME/d", HTS_S3_S3CFG="/e")
    assert places_of(os.environ) == (f"{at}/c", f"{at}/d", "/e", f"{at}/.awssecret")


@pytest.mark.parametrize(
    ("asked", "environ", "chosen"),
    [
        ("p", {"AWS_PROFILE": "q"}, ("p", "profile")),
        (None, {"AWS_PROFILE": "q", "AWS_DEFAULT_PROFILE": "d"}, ("d", "AWS_DEFAULT_PROFILE")),
        (None, {"AWS_PROFILE": "q", "AWS_DEFAULT_PROFILE": ""}, ("q", "AWS_PROFILE")),
        (None, {}, ("default", "")),
    ],
)
def test_which_profile(asked, environ, chosen):
    assert choose_profile(asked, environ) == chosen


# ---- files that are none ----


def make_directory(path):
    path.mkdir()


def make_pipe(path):
    os.mkfifo(path)


def make_ring(path):
    path.symlink_to(path.name)


def make_large(path):
    with path.open("wb") as file:
        file.truncate(1 << 30)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (make_directory, "no regular file"),
        (make_pipe, "no regular file"),
        (make_ring, "Too many levels of symbolic links"),
        (make_large, "larger than 1 MiB"),
    ],
)
def test_what_is_no_file_is_an_error_that_names_it_and_never_waits(home, make, reason):
    (home.path / ".aws").mkdir()
    make(home.path / ".aws/credentials")
    with pytest.raises(GenericError, match=rf"{home.path}/.aws/credentials cannot be read: .*{reason}"):
        profile_of("default")


def test_a_permission_that_is_refused_is_an_error(home, monkeypatch):
    """Refused by hand: root, who may run the tests, has all of them."""
    path = home.write("credentials", "[default]\n")

    def refuse(*_):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(files.os, "open", refuse)
    with pytest.raises(GenericError, match=f"{path} cannot be read: Permission denied"):
        load(path)


def test_what_is_not_needed_is_not_read(home):
    home.write("credentials", "[default]\nregion = r\n")
    os.mkfifo(home.path / ".s3cfg")
    profile = profile_of("default")
    assert profile.found
    with pytest.raises(GenericError, match=r"\.s3cfg cannot be read"):
        assert profile.s3cfg is None


def test_what_is_missing_is_as_if_empty(home):
    (home.path / "file").touch()
    for path in ("none", "file/below", "none/none"):
        assert load(f"{home.path}/{path}").sections == {}


def test_dev_null_is_no_file(home):
    """So that AWS_CONFIG_FILE=/dev/null switches a file off, as with AWS's tools."""
    home.set(AWS_CONFIG_FILE="/dev/null", AWS_SHARED_CREDENTIALS_FILE="/dev/null")
    assert not profile_of("default").found
    S3Store("bucket")
    with pytest.raises(GenericError, match="no regular file"):
        load("/dev/zero")


@pytest.mark.parametrize("how", ["replaced", "growing"])
def test_a_file_that_is_written_while_it_is_read_is_read_again(home, monkeypatch, how):
    path = home.write("credentials", "[default]\nregion = half\n")
    true_read, writes = os.read, []

    def write_meanwhile(descriptor, size):
        found = true_read(descriptor, size)
        if not writes and not found:
            writes.append(1)
            if how == "replaced":
                home.write("credentials", "[default]\nregion = whole\n")
            else:
                with open(path, "a") as file:  # noqa: PTH123 - it is a str
                    file.write("region = whole\n")
        return found

    monkeypatch.setattr(files.os, "read", write_meanwhile)
    assert load(path).sections["default"].entries["region"].text == "whole"


def test_a_file_is_parsed_once_while_it_stays_the_same(home, monkeypatch):
    path = home.write("credentials", "[a]\n")
    assert load(path) is not load(path)  # it may change within this tick of its clock
    os.utime(path, (1, 1))
    assert load(path) is load(path)
    home.write("credentials", "[b]\n")
    os.utime(path, (1, 1))
    assert list(load(path).sections) == ["b"]


def test_many_threads_may_load_a_file_that_is_replaced(home):
    path = home.write("credentials", "[a]\nx = 0\n")
    seen, done = [], threading.Event()

    def look():
        while not done.is_set():
            seen.append(int(load(path).sections["a"].entries["x"].text))

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(1, 100):
        home.write("credentials", f"[a]\nx = {number}\n")
    done.set()
    for thread in threads:
        thread.join()
    assert seen
    assert set(seen) <= set(range(100))

"""`s3ext doctor` as a process: what it says, as text and as JSON, of set-ups that work and that do not.

Its keys have a secret and a token that no output may show, whatever happens.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from s3ext import _diagnosis
from tests.lifecycle import SLOW
from tests.python.oracle import without_environment
from tests.server import ForwardProxy, VerifyingServer, make_certificate

ROOT = Path(__file__).resolve().parents[2]
KEY, SECRET, TOKEN = "AKIDCANARY0000000001", "canary+secret/which=nobody+may/see", "canary//token+of=session"
SHORT = "AKID...0001"
PASSWORD = "canary-of-the-proxy"
CANARIES = (KEY, SECRET, TOKEN, PASSWORD, "canary%2B", "canary%2F", "Signature=")

REPORT = {
    "ok", "problems", "versions", "target", "region", "endpoint", "lane", "proxy", "signed", "credentials",
    "request", "clock",
}  # fmt: skip
PARTS = {
    "versions": {"s3ext", "python", "libcurl", "tls", "libcrypto", "expat", "http2", "ca_bundle"},
    "target": {"bucket", "key", "version"},
    "region": {"name", "from"},
    "endpoint": {"url", "from"},
    "proxy": {"url", "from", "excludes"},
    "credentials": {"source", "access_key_id", "temporary", "expires_at"},
    "request": {
        "method", "status", "error", "code", "request_id", "bucket_region", "attempts", "elapsed_ms",
    },
    "clock": {"skew_seconds"},
}  # fmt: skip


class Doctor:
    """Runs the doctor.

    Args:
        home: A directory without any files of AWS's tools, at first.
    """

    def __init__(self, home):
        self.home = home
        hidden = ("AWS_", "S3EXT_", "HTS_")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(hidden)},
            "HOME": str(home),
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_SESSION_TOKEN": TOKEN,
            "AWS_EC2_METADATA_DISABLED": "true",
            "no_proxy": "127.0.0.1,localhost",
        }

    def without_keys(self):
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            del self.environment[name]
        return self

    def write(self, name, content):
        path = self.home / ".aws" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        path.chmod(0o600)
        return self

    def run(self, *arguments):
        """Run it; status, output, errors."""
        done = subprocess.run(
            [sys.executable, "-m", "s3ext.cli", "doctor", *arguments],
            env={**self.environment, "PYTHONPATH": str(ROOT)},
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=30 * SLOW,
            check=False,
        )
        for canary in CANARIES:
            assert canary not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout, done.stderr

    def report(self, *arguments):
        """Run it for its JSON; the status and the report, whose keys are those that are promised."""
        status, output, errors = self.run(*arguments, "--json")
        assert errors == ""
        report = json.loads(output)
        assert report.keys() == REPORT
        for name, keys in PARTS.items():
            assert report[name] is None or report[name].keys() == keys
        assert all(problem.keys() == {"check", "message", "hint"} for problem in report["problems"])
        assert (status == 0) == report["ok"] == (report["problems"] == [])
        return status, report

    def problem(self, *arguments):
        """Run it for the one problem that it finds; the problem and the report."""
        status, report = self.report(*arguments)
        assert status == 1
        [problem] = report["problems"]
        return problem, report


@pytest.fixture
def doctor(tmp_path):
    return Doctor(tmp_path)


@pytest.fixture
def known(server):
    """A server that knows the keys, with an object."""
    server.add_credential(KEY, SECRET, token=TOKEN)
    server.put("some/key", b"data")
    return server


def at(server):
    return "--endpoint-url", server.url, "--allow-http"


# ---- what works ----


def test_what_works_is_told_with_its_reasons(doctor, known):
    doctor.environment["AWS_REGION"] = "us-east-1"
    status, output, errors = doctor.run("s3://bucket/some/key", *at(known))
    assert (status, errors) == (0, "")
    facts = dict(line.split(maxsplit=1) for line in output.splitlines() if line)
    assert facts["target"] == "s3://bucket/some/key"
    assert facts["region"] == "us-east-1 (AWS_REGION (environment))"
    assert facts["endpoint"] == f"{known.url} (--endpoint-url)"
    assert facts["credentials"] == f"{SHORT} (AWS_ACCESS_KEY_ID (environment)), temporary, no end known"
    assert facts["request"].startswith("HEAD: 200 in ")
    assert (facts["proxy"], facts["clock"], facts["lane"]) == ("none", "right", "auto")
    assert facts["libcurl"].startswith(tuple("78"))
    assert output.endswith("\nno problem found\n")
    assert [(each.method, each.key) for each in known.requests] == [("HEAD", "some/key")]


@pytest.mark.parametrize("url", ["s3://bucket", "s3://bucket/", "s3://bucket/some/"])
def test_a_url_without_a_key_asks_about_the_bucket(doctor, known, url):
    status, report = doctor.report(url, *at(known))
    assert status == 0
    assert report["target"] == {"bucket": "bucket", "key": None, "version": None}
    assert report["request"]["status"] == 200
    assert [(each.method, each.bucket, each.key) for each in known.requests] == [("HEAD", "bucket", "")]


def test_without_a_url_nothing_is_sent(doctor, known):
    status, report = doctor.report(*at(known))
    assert status == 0
    assert (report["target"], report["request"], report["clock"]) == (None, None, None)
    assert report["credentials"]["access_key_id"] == SHORT
    assert report["endpoint"]["url"] == known.url
    assert known.connections_opened == 0
    status, output, _ = doctor.run(*at(known))
    assert status == 0
    assert output.endswith("no problem found; name a bucket to send it a request\n")


def test_keys_of_a_profile_are_told_with_file_and_end(doctor, known):
    end = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0)
    keys = {
        "Version": 1,
        "AccessKeyId": KEY,
        "SecretAccessKey": SECRET,
        "SessionToken": TOKEN,
        "Expiration": end.isoformat(),
    }
    (doctor.home / "keys.json").write_text(json.dumps(keys))
    doctor.without_keys().write(
        "config",
        f"[profile work]\ncredential_process = cat {doctor.home}/keys.json\nendpoint_url = {known.url}\n"
        "region = us-east-1\n",
    )
    status, report = doctor.report("s3://bucket/some/key", "--profile", "work", "--allow-http")
    assert status == 0
    credentials = report["credentials"]
    assert "profile 'work'" in credentials["source"]
    assert datetime.fromisoformat(credentials["expires_at"]) == end
    assert credentials["temporary"] is True
    where = f"{doctor.home}/.aws/config"
    assert where in report["region"]["from"]
    assert where in report["endpoint"]["from"]
    assert report["endpoint"]["url"] == known.url


def test_the_url_may_say_all_of_it(doctor, known):
    doctor.without_keys()
    _, place = known.url.split("://")
    known.add_credential(KEY, "plain-canary")
    status, report = doctor.report(
        f"s3+http://{KEY}:plain-canary@bucket/some/key", "--endpoint-url", known.url
    )
    assert (status, report["problems"]) == (0, [])
    assert report["credentials"]["source"] == "the URL"
    assert "plain-canary" not in json.dumps(report)
    assert known.requests[0].header("host") == place


def test_a_public_bucket_needs_no_keys(doctor, known):
    known.create_bucket("public", public=True)
    known.put("k", b"data", bucket="public")
    arguments = ("s3://public/k", "--no-sign-request", *at(known))
    status, report = doctor.without_keys().report(*arguments)
    assert (status, report["signed"], report["credentials"]) == (0, False, None)
    assert "credentials   none: requests are not signed\n" in doctor.run(*arguments)[1]
    assert not any(request.header("authorization") for request in known.requests)


def test_a_version_is_asked_for(doctor, known):
    known.create_bucket("kept", versioned=True)
    first = known.put("k", b"one", bucket="kept").version_id
    known.put("k", b"two", bucket="kept")
    _, report = doctor.report(f"s3://kept/k?versionId={first}", *at(known))
    assert report["target"]["version"] == first
    assert known.requests[0].query == {"versionId": first}


# ---- what does not ----


def test_a_host_that_nobody_knows(doctor):
    problem, report = doctor.problem("s3://bucket", "--endpoint-url", "https://no-such-host.invalid")
    assert problem["check"] == "request"
    assert "getent hosts no-such-host.invalid" in problem["hint"]
    assert report["request"]["status"] is None
    assert report["clock"] is None


def test_a_port_where_nobody_listens(doctor):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        problem, _ = doctor.problem("s3://bucket", "--endpoint-url", url, "--allow-http")
    assert problem["check"] == "request"
    assert "look at the endpoint's port" in problem["hint"]


def test_a_certificate_that_nobody_trusts_and_then_one_that_is_given(doctor, tls_server):
    tls_server.add_credential(KEY, SECRET, token=TOKEN)
    problem, _ = doctor.problem("s3://bucket", "--endpoint-url", tls_server.url)
    assert "--ca-bundle" in problem["hint"]
    ca = str(tls_server.tls.ca)
    status, _ = doctor.report("s3://bucket", "--endpoint-url", tls_server.url, "--ca-bundle", ca)
    assert status == 0


def test_http_that_is_not_allowed(doctor, known):
    problem, report = doctor.problem("s3://bucket", "--endpoint-url", known.url)
    assert problem["check"] == "configuration"
    assert "--allow-http here" in problem["hint"]
    assert report["request"] is None
    assert known.connections_opened == 0


def test_https_where_http_is_spoken(doctor, known):
    doctor.environment["AWS_CONNECT_TIMEOUT"] = "500ms"
    problem, _ = doctor.problem("s3://bucket", "--endpoint-url", known.url.replace("http", "https"))
    assert problem["hint"]


def test_a_region_that_a_server_does_not_take(doctor, known):
    known.create_bucket("west", region="us-west-2")
    problem, report = doctor.problem("s3://west", *at(known))
    assert "us-west-2" in problem["message"]
    assert "--region" in problem["hint"]
    assert report["region"] == {"name": "us-east-1", "from": "default"}
    status, _ = doctor.report("s3://west", *at(known), "--region", "us-west-2")
    assert status == 0
    known.take_errors()


def test_a_region_that_is_corrected_at_aws_is_told(doctor):
    with VerifyingServer(tls=make_certificate()) as server:
        server.add_credential(KEY, SECRET, token=TOKEN)
        server.create_bucket("west", region="us-west-2")
        with ForwardProxy({"*.amazonaws.com:443": server.port}, auth=("user", PASSWORD)) as proxy:
            doctor.environment["https_proxy"] = proxy.url.replace("://", f"://user:{PASSWORD}@")
            problem, report = doctor.problem("s3://west", "--ca-bundle", str(server.tls.ca))
        server.take_errors()
    assert problem["check"] == "region"
    assert problem["message"] == "the bucket is in region us-west-2, not in us-east-1 (default)"
    assert "us-west-2" in problem["hint"]
    assert report["request"]["status"] == 200
    assert report["endpoint"] == {"url": "https://s3.us-east-1.amazonaws.com", "from": "default"}
    assert report["proxy"] == {"url": proxy.url, "from": "https_proxy", "excludes": "127.0.0.1,localhost"}


def test_a_proxy_that_refuses(doctor):
    with ForwardProxy(refuse=407) as proxy:
        doctor.environment["https_proxy"] = proxy.url.replace("://", f"://user:{PASSWORD}@")
        problem, _ = doctor.problem("s3://bucket")
    assert "look at the proxy" in problem["hint"]


def test_a_proxy_where_nobody_listens(doctor):
    doctor.environment["AWS_PROXY_URL"] = f"http://user:{PASSWORD}@127.0.0.1:9"
    problem, report = doctor.problem("s3://bucket")
    assert "look at the proxy http://127.0.0.1:9 (AWS_PROXY_URL (environment))" in problem["hint"]
    assert report["proxy"]["url"] == "http://127.0.0.1:9"


def test_a_proxy_whose_password_is_not_encoded(doctor):
    doctor.environment["https_proxy"] = f"http://user:p://{PASSWORD}@127.0.0.1:9"
    problem, report = doctor.problem("s3://bucket")
    assert "look at the proxy" in problem["hint"]
    assert report["proxy"]["url"] == "http://127.0.0.1:9"


@pytest.mark.parametrize(("offset", "way"), [(4000, "behind"), (-4000, "ahead of")])
def test_a_clock_that_is_wrong(doctor, known, offset, way):
    known.clock_offset = offset
    problem, report = doctor.problem("s3://bucket/some/key", *at(known))
    assert problem["check"] == "clock"
    assert f"s {way} the server's" in problem["message"]
    assert abs(report["clock"]["skew_seconds"] - offset) < 10
    assert report["request"]["status"] == 200
    known.take_errors()


REFUSED = {
    "NoSuchBucket": ("s3://elsewhere/k", 404, "the bucket's spelling"),
    "NoSuchKey": ("s3://bucket/Some/key", 404, "case-sensitive"),
}


@pytest.mark.parametrize("code", REFUSED)
def test_what_is_not_there(doctor, known, code):
    url, status, hint = REFUSED[code]
    problem, report = doctor.problem(url, *at(known))
    assert hint in problem["hint"]
    assert (report["request"]["status"], report["request"]["code"]) == (status, code)
    assert [each.method for each in known.requests] == ["HEAD", "GET"]


def test_keys_that_may_not(doctor, known):
    from tests.server import Fault, faults

    known.faults.add(Fault(faults.s3_error("AccessDenied"), times=None))
    problem, report = doctor.problem("s3://bucket/some/key", *at(known))
    assert report["request"]["code"] == "AccessDenied"
    assert "s3:GetObject" in problem["hint"]
    assert "--request-payer" in problem["hint"]
    problem, _ = doctor.problem("s3://bucket", *at(known), "--request-payer")
    assert "s3:ListBucket" in problem["hint"]
    assert [each.header("x-amz-request-payer") for each in known.requests] == ["", "", *["requester"] * 2]


def test_no_keys_where_some_are_needed(doctor, known):
    problem, report = doctor.problem("s3://bucket/some/key", "--no-sign-request", *at(known))
    assert report["request"]["status"] == 403
    assert "it is not public" in problem["hint"]
    known.take_errors()


BAD_KEYS = {
    "SignatureDoesNotMatch": ("AWS_SECRET_ACCESS_KEY", "another", "copied in part"),
    "InvalidAccessKeyId": ("AWS_ACCESS_KEY_ID", "AKIDNOBODY0000000001", "does not know the key"),
    "InvalidToken": ("AWS_SESSION_TOKEN", "another", "does not belong to the key"),
}


@pytest.mark.parametrize("code", BAD_KEYS)
def test_keys_that_are_wrong(doctor, known, code):
    variable, value, hint = BAD_KEYS[code]
    doctor.environment[variable] = value
    problem, report = doctor.problem("s3://bucket/some/key", *at(known))
    assert report["request"]["code"] == code
    assert hint in problem["hint"]
    known.take_errors()


def test_a_token_that_has_expired(doctor, known):
    known.expire_credential(KEY)
    problem, report = doctor.problem("s3://bucket/some/key", *at(known))
    assert report["request"]["code"] == "ExpiredToken"
    assert "aws sso login" in problem["hint"]
    known.take_errors()


def test_no_keys_at_all(doctor, known):
    problem, report = doctor.without_keys().problem("s3://bucket/some/key", *at(known))
    assert problem["check"] == "credentials"
    assert problem["message"].startswith("no credentials: ")
    assert "instance metadata" in problem["message"]
    assert "--no-sign-request" in problem["hint"]
    assert (report["credentials"], report["request"]) == (None, None)
    assert known.requests == []


SETUPS = {
    "half a pair": ({"AWS_SECRET_ACCESS_KEY": ""}, (), "AWS_ACCESS_KEY_ID"),
    "an endpoint that is none": ({"AWS_ENDPOINT_URL": "nowhere"}, (), "AWS_ENDPOINT_URL"),
    "a profile that is not there": ({}, ("--profile", "nobody"), "nobody"),
    "one of a variable": ({"AWS_PROFILE": "nobody"}, (), "no profile 'nobody' (AWS_PROFILE)"),
    "one of botocore's first": ({"AWS_DEFAULT_PROFILE": "nobody"}, ("--no-sign-request",), "'nobody'"),
    "a region that is none": ({"AWS_REGION": "a b"}, (), "AWS_REGION"),
}


@pytest.mark.parametrize("case", SETUPS)
def test_a_set_up_that_cannot_be(doctor, case):
    changes, arguments, message = SETUPS[case]
    doctor.environment |= changes
    problem, report = doctor.problem("s3://bucket", *arguments)
    assert problem["check"] in {"configuration", "credentials"}
    assert message in problem["message"]
    assert report["request"] is None


def test_a_problem_is_told_in_lines(doctor):
    doctor.environment["AWS_ENDPOINT_URL"] = "nowhere"
    status, output, _ = doctor.run("s3://bucket")
    lines = output.splitlines()
    assert status == 1
    assert lines[-1].startswith("problem       configuration: ")
    assert "no problem" not in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gs://bucket"], "gs"),
        (["bucket"], "bucket"),
        (["s3://"], "s3://"),
        ([f"s3://{KEY}:{SECRET}@bucket/k"], "write '/' as %2F"),
        ([f"s3://{KEY}:x:{TOKEN}:y@bucket/k"], "***"),
        ([f"s3://bucket/k?X-Amz-Signature={SECRET}"], "query"),
        (["s3://bucket", "another"], "another"),
        (["--ca-bundle", "/nowhere"], "cannot be read"),
        (["--unknown"], "--unknown"),
    ],
)
def test_wrong_arguments_end_with_status_2(doctor, arguments, message):
    status, output, errors = doctor.run(*arguments)
    assert (status, output) == (2, "")
    assert errors.startswith("usage: s3ext")
    assert message in errors


@pytest.mark.parametrize(
    ("versions", "message", "hint"),
    [
        ({"ca_bundle": "/nowhere/ca.crt"}, "/nowhere/ca.crt, which is not there", "ca-certificates"),
        ({"http2": False}, "libcurl 7.76.0 has no HTTP/2", "nghttp2"),
    ],
)
def test_what_this_libcurl_cannot_do(monkeypatch, tmp_path, versions, message, hint):
    """In this process, and with the versions of another machine."""
    monkeypatch.setenv("HOME", str(tmp_path))
    without_environment(monkeypatch)
    told = {"libcurl": "7.76.0", "http2": True, "ca_bundle": None, **versions}
    monkeypatch.setattr(_diagnosis, "_report_versions", lambda report: report.update(versions=told))
    report = _diagnosis.diagnose(None, {"skip_signature": True, "http2_only": True}, {})
    [problem] = report["problems"]
    assert problem["check"] == "libcurl"
    assert message in problem["message"]
    assert hint in problem["hint"]
    assert not report["ok"]


def test_ctrl_c_ends_it_at_once(doctor, known):
    import signal
    import time

    from tests.server import Fault, faults

    hold = known.faults.add(Fault(faults.stall("answer")))
    with subprocess.Popen(
        [sys.executable, "-m", "s3ext.cli", "doctor", "s3://bucket", *at(known)],
        env={**doctor.environment, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        hold.wait_hit()
        process.send_signal(signal.SIGINT)
        begun = time.monotonic()
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert time.monotonic() - begun < 3 * SLOW
    assert errors.strip() == "interrupted"
    hold.release()

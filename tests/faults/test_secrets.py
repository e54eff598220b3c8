"""Canaries: secrets, tokens and signatures appear in no error, repr, log or counter, whatever goes wrong."""

from __future__ import annotations

import logging
import pickle
import re
import traceback

import pytest

import s3ext
from s3ext import exceptions
from tests.faults.tools import PART, connect, pattern
from tests.server import Fault, faults

KEY = "AKIDCANARY0000000001"
SECRET = "canary+secret/which=nobody+may/see00000="
TOKEN = "canary//session+token==which-nobody-may-see"
CANARIES = (SECRET, TOKEN, "canary%2Bsecret", "canary%2F%2Fsession")

ACTIONS = {
    "denied": faults.s3_error("AccessDenied"),
    "signature": faults.s3_error("SignatureDoesNotMatch", elements={"StringToSign": "AWS4-HMAC-SHA256"}),
    "token": faults.s3_error("InvalidToken", elements={"Token-0": TOKEN}),
    "echo": faults.respond(
        403, f"<Error><Code>AccessDenied</Code><Message>no</Message><Token>{TOKEN}</Token></Error>".encode()
    ),
    "throttle": faults.slow_down(),
    "html": faults.html_error(500),
    "drop": faults.drop(),
    "cut_head": faults.cut_head(20),
    "redirect": faults.redirect(307, location="http://127.0.0.1:1/"),
    "junk": faults.respond(200, b"junk"),
    "flood": faults.header_flood(20_000),
}


def operations(store):
    return {
        "get": lambda: store.get("k").bytes(),
        "head": lambda: store.head("k"),
        "put": lambda: store.put("k", b"data"),
        "upload": lambda: store.put("k", pattern(2 * PART), use_multipart=True, chunk_size=PART),
        "delete": lambda: store.delete(["k", "k2"]),
        "list": lambda: store.list().collect(),
        "copy": lambda: store.copy("k", "k2"),
    }


def everything_about(error):
    """All that a program can print of an exception, its causes and tracebacks' lines included."""
    texts = ["".join(traceback.format_exception(error))]
    while error is not None:
        texts += [
            str(error),
            repr(error),
            repr(vars(error)),
            repr(error.args),
            repr(pickle.loads(pickle.dumps(error))),
        ]
        error = error.__cause__ or error.__context__
    return "\n".join(texts)


@pytest.mark.smoke
@pytest.mark.parametrize("action", ACTIONS)
def test_no_failure_shows_a_secret(server, caplog, capfd, action):
    caplog.set_level(logging.NOTSET)
    server.add_credential(KEY, SECRET, token=TOKEN)
    server.put("k", b"data")
    store = connect(server, access_key_id=KEY, secret_access_key=SECRET, session_token=TOKEN, max_retries=1)
    server.faults.add(Fault(ACTIONS[action], times=None))
    seen = [repr(store), str(store), repr(s3ext.stats())]
    failures = 0
    for operation in operations(store).values():
        try:
            operation()
        except exceptions.BaseError as error:
            failures += 1
            seen.append(everything_about(error))
    assert failures >= (5 if action != "junk" else 1)
    printed = capfd.readouterr()
    text = "\n".join([*seen, caplog.text, printed.out, printed.err])
    for canary in CANARIES:
        assert canary not in text
    assert not re.search(r"Signature=|AWS4-HMAC-SHA256 Credential|[0-9a-f]{64}", text)
    server.store.uploads.clear()
    server.take_errors()


def test_a_signature_that_is_wrong_is_not_shown(server):
    server.add_credential(KEY, "the server knows another one", token=TOKEN)
    store = connect(server, access_key_id=KEY, secret_access_key=SECRET, session_token=TOKEN)
    with pytest.raises(exceptions.PermissionDeniedError) as caught:
        store.get("k")
    text = everything_about(caught.value)
    assert caught.value.code == "SignatureDoesNotMatch"
    sent = server.requests[0].header("authorization").rpartition("Signature=")[2]
    assert len(sent) == 64
    assert sent not in text
    assert not any(canary in text for canary in CANARIES)
    assert {error.code for error in server.take_errors()} == {"SignatureDoesNotMatch"}


def test_no_secret_is_on_the_wire(server):
    """The server looks through every request's head for the secrets it knows."""
    server.add_credential(KEY, SECRET, token=TOKEN)
    store = connect(server, access_key_id=KEY, secret_access_key=SECRET, session_token=TOKEN)
    for operation in operations(store).values():
        try:
            operation()
        except exceptions.NotFoundError:
            continue
    assert all(request.header("x-amz-security-token") == TOKEN for request in server.requests)
    assert all(SECRET not in str(request.headers) for request in server.requests)


def test_the_command_line_and_the_environment_hold_no_secret():
    from pathlib import Path

    for name in ("cmdline", "environ", "comm"):
        assert SECRET.encode() not in Path(f"/proc/self/{name}").read_bytes()

"""A secret in every source, and then a search for it wherever a program leaves traces."""

from __future__ import annotations

import gc
import json
import logging
import pickle
import traceback
from datetime import timedelta
from pathlib import Path

import pytest

from s3ext import exceptions
from s3ext._clients import client_for
from tests.credentials.services import refusal
from tests.credentials.test_sources import REFRESH, ROLE, SESSION, lay_login, lay_process, role
from tests.credentials.tools import connect, section

CANARY = "canary"


def environment(home, services):
    name, secret, token, _ = services.keys()
    home.set(AWS_ACCESS_KEY_ID=name, AWS_SECRET_ACCESS_KEY=secret, AWS_SESSION_TOKEN=token)
    home.set(AWS_CREDENTIAL_EXPIRATION="2099-01-01T00:00:00Z")
    return {}


def files(home, services):
    home.write("credentials", section("default", services.keys()[:3]))
    return {}


def s3cfg(home, services):
    name, secret, token, _ = services.keys()
    home.write(".s3cfg", f"[default]\naccess_key = {name}\nsecret_key = {secret}\naccess_token = {token}\n")
    return {}


def web_identity(home, services):
    home.set(AWS_WEB_IDENTITY_TOKEN_FILE=home.write("web", "canary-web"), AWS_ROLE_ARN=ROLE)
    home.set(AWS_ENDPOINT_URL_STS=services.url)
    return {}


def assumed_role(home, services):
    home.set(AWS_ENDPOINT_URL_STS=services.url)
    home.write("credentials", section("base", services.keys()[:3]))
    home.write("config", role(services, external_id="canary-external"))
    return {"profile": "r"}


def program(home, services):
    lay_process(home, f"print({json.dumps({'Version': 1, **services.document('SessionToken')})!r})")
    return {"profile": "p"}


def login(home, services):
    lay_login(home, services, SESSION, left=timedelta(minutes=1), **REFRESH)
    return {"profile": "p"}


def container(home, services):
    home.set(AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{services.url}/container")
    home.set(AWS_CONTAINER_AUTHORIZATION_TOKEN="canary-container")
    return {}


def instance(home, services):
    home.set(AWS_EC2_METADATA_DISABLED="", AWS_EC2_METADATA_SERVICE_ENDPOINT=services.url)
    return {}


SOURCES = [environment, files, s3cfg, web_identity, assumed_role, program, login, container, instance]


def traces(store, error=None):
    """Everything that a program may print, log, pickle or show of a store, its chain and an error."""
    client = client_for(store._settings, None)
    chain = client.provider
    for thing in (store, store.config, store._settings, store._settings.sources, client, chain, chain._keys):
        yield from (repr(thing), str(thing))
    yield from (repr(chain.__dict__), str(chain.source), f"{chain.expires_at}")
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        yield pickle.dumps(store, protocol).decode("latin-1")
    while error is not None:
        yield from (repr(error), str(error), repr(error.args), repr(error.__dict__))
        yield "".join(traceback.format_exception(error))
        yield pickle.dumps(error).decode("latin-1")
        error = error.__cause__
    yield Path("/proc/self/cmdline").read_text()
    yield Path("/proc/self/comm").read_text()


@pytest.mark.parametrize("lay", SOURCES, ids=lambda lay: lay.__name__)
def test_no_secret_leaves_a_trace(home, server, services, lay, caplog, capfd):
    caplog.set_level(0)
    logging.getLogger("s3ext.credentials").setLevel(1)
    store = connect(server, **lay(home, services))
    store.put("k", b"data")
    kept = [*traces(store)]
    # Whatever is wrong with the keys at the server, and at the services when newer ones are asked for.
    for name in ("/container", "/federation/credentials", "/latest/api/token"):
        services.answers[name] = 403, "canary-in-an-answer"
    for name in ("AssumeRole", "AssumeRoleWithWebIdentity"):
        services.answers[name] = refusal(403, "AccessDenied", "no")
    home.write("does", "print('canary'); sys.exit(1)")
    services.expire()
    with pytest.raises(exceptions.BaseError) as caught:
        store.get("k")
    kept += traces(store, caught.value)
    kept += [caplog.text, *(repr(record.__dict__) for record in caplog.records), *capfd.readouterr()]
    for text in kept:
        assert CANARY not in text
    assert len(kept) > 30
    server.take_errors()


def test_the_scan_would_find_one(home, server, services):
    """What the scan rests on: the secrets are there, and they hold the word that it looks for."""
    files(home, services)
    store = connect(server)
    store.put("k", b"data")
    keys = client_for(store._settings, None).provider._keys
    assert CANARY in keys.secret
    assert CANARY in keys.token


def test_no_secret_stays_in_what_outlives_a_store(home, server, services):
    """Neither a cache of the package's nor a client of STS that was made for one question."""
    assumed_role(home, services)
    store = connect(server, profile="r")
    store.put("k", b"data")
    del store
    gc.collect()
    from s3ext import _clients

    assert not [client for client in _clients._living.values() if client.settings.service == "sts"]

"""Types: what checkers make of programs that use s3ext, and what there is of the types at run time."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import s3ext
from s3ext import _types, store

ROOT = Path(__file__).parents[2]
SNIPPET = Path(__file__).with_name("snippet.py")
WRONG = {
    number for number, line in enumerate(SNIPPET.read_text().splitlines(), 1) if line.endswith("# wrong")
}


def needs(*modules):
    """Skip where a checker, or what the program imports, is not installed."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def run(*command, cwd):
    # What sanitizers see in these tools, and in Node below one of them, is nothing of ours.
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.stdout + done.stderr


def mypy(folder, path):
    """Run mypy --strict over a program: the text, and the lines of errors in it."""
    options = ["--strict", "--no-error-summary", "--config-file=", f"--cache-dir={folder / 'cache'}"]
    output = run("mypy", *options, str(path), cwd=ROOT)
    lines = re.findall(rf"^[^\n]*{re.escape(path.name)}:(\d+): error:", output, re.MULTILINE)
    return output, {int(line) for line in lines}


def pyright(project):
    """Run pyright: the errors as text, and their lines, from 1."""
    output = run("pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(project), cwd=ROOT)
    if '"generalDiagnostics"' not in output:
        pytest.skip(f"pyright cannot run: {output.strip()[-200:]}")
    found = json.loads(output[output.index("{\n") :])
    assert found["summary"]["filesAnalyzed"] > 0
    errors = [item for item in found["generalDiagnostics"] if item["severity"] == "error"]
    lines = [item["range"]["start"]["line"] + 1 for item in errors]
    texts = [f"{item['file']}:{line}: {item['message']}" for item, line in zip(errors, lines, strict=True)]
    return "\n".join(texts), set(lines)


@pytest.mark.slow
@needs("mypy", "obspec")
def test_mypy_finds_the_mistakes_of_a_program_and_no_others(tmp_path):
    output, lines = mypy(tmp_path, SNIPPET)
    assert lines == WRONG, output


@pytest.mark.slow
@needs("pyright", "obspec")
def test_pyright_finds_the_mistakes_of_a_program_and_no_others(tmp_path):
    project = {"include": [str(SNIPPET.name)], "extraPaths": [str(ROOT)], "pythonVersion": "3.11"}
    (tmp_path / SNIPPET.name).symlink_to(SNIPPET)
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(project))
    output, lines = pyright(tmp_path)
    assert lines == WRONG, output


@pytest.mark.slow
@needs("pyright")
def test_the_package_is_clean_under_pyright():
    output, _ = pyright(ROOT / "pyproject.toml")
    assert not output


def test_there_are_mistakes_to_be_found():
    assert len(WRONG) >= 10


# At run time.

STORE_TYPES = [
    "BackoffConfig",
    "ClientConfig",
    "RetryConfig",
    "S3ChecksumAlgorithm",
    "S3Config",
    "S3Credential",
    "S3CredentialProvider",
    "S3EncryptionAlgorithm",
    "S3Regions",
]
PACKAGE_TYPES = [
    "Attribute",
    "Attributes",
    "GetOptions",
    "ListResult",
    "ObjectMeta",
    "OffsetRange",
    "PutMode",
]
PACKAGE_TYPES += [
    "PutResult",
    "SuffixRange",
    "UpdateVersion",
    "Bytes",
    "BytesStream",
    "GetResult",
    "ListStream",
]


@pytest.mark.parametrize(
    ("module", "name"),
    [(store, name) for name in STORE_TYPES] + [(s3ext, name) for name in PACKAGE_TYPES],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_type_can_be_imported_at_run_time(module, name):
    assert name in module.__all__
    assert getattr(module, name) is not None
    namespace = {}
    exec(f"from {module.__name__} import {name}", namespace)
    assert namespace[name] is getattr(module, name)


def test_annotations_of_a_program_can_be_read_at_run_time():
    def program(config: store.S3Config, options: s3ext.GetOptions) -> s3ext.ObjectMeta:
        raise NotImplementedError

    hints = typing.get_type_hints(program)
    assert hints == {
        "config": store.S3Config,
        "options": s3ext.GetOptions,
        "return": s3ext.ObjectMeta,
    }


DICTS = [name for name in _types.__all__ if hasattr(getattr(_types, name), "__total__")]


def test_there_are_typed_dicts():
    assert {"S3Config", "ClientConfig", "RetryConfig", "BackoffConfig", "S3Credential"} <= set(DICTS)
    assert {"GetOptions", "ObjectMeta", "PutResult", "OffsetRange", "SuffixRange"} <= set(DICTS)


@pytest.mark.parametrize("name", DICTS)
def test_every_key_of_a_typed_dict_is_explained(name):
    tree = ast.parse(Path(_types.__file__).read_text())
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    assert isinstance(body[0], ast.Expr), f"{name} has no text"
    for node, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign):
            assert isinstance(following, ast.Expr), f"{name}.{node.target.id} has no text"


# Section 1.2 of obstore's contract, and 2.1 and 2.2: the canonical names.
S3_KEYS = """
access_key_id secret_access_key session_token region default_region bucket endpoint endpoint_url_s3
virtual_hosted_style_request s3_express imdsv1_fallback metadata_endpoint unsigned_payload checksum_algorithm
container_credentials_relative_uri container_credentials_full_uri container_authorization_token_file
web_identity_token_file role_arn role_session_name endpoint_url_sts skip_signature copy_if_not_exists
conditional_put disable_tagging disable_bulk_delete request_payer server_side_encryption sse_kms_key_id
sse_bucket_key_enabled sse_customer_key_base64
"""
CLIENT_KEYS = """
allow_http allow_invalid_certificates disable_system_certificates root_certificate connect_timeout timeout
read_timeout pool_idle_timeout pool_max_idle_per_host http1_only http2_only http2_keep_alive_interval
http2_keep_alive_timeout http2_keep_alive_while_idle http2_max_frame_size proxy_url proxy_ca_certificate
proxy_excludes randomize_addresses user_agent default_content_type default_headers
"""


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("S3Config", S3_KEYS),
        ("ClientConfig", CLIENT_KEYS),
        ("S3Keywords", f"{S3_KEYS} {CLIENT_KEYS}".replace(" bucket ", " ")),
        ("RetryConfig", "backoff max_retries retry_timeout"),
        ("BackoffConfig", "init_backoff max_backoff base"),
        ("S3Credential", "access_key_id secret_access_key token expires_at"),
        (
            "GetOptions",
            "if_match if_none_match if_modified_since if_unmodified_since range version head",
        ),
        ("ObjectMeta", "path last_modified size e_tag version"),
        ("PutResult", "e_tag version"),
    ],
)
def test_a_typed_dict_has_every_key_of_the_contract(name, keys):
    assert set(keys.split()) <= set(typing.get_type_hints(getattr(_types, name)))


@pytest.mark.parametrize("name", ["S3Config", "ClientConfig", "RetryConfig", "BackoffConfig", "GetOptions"])
def test_no_key_of_a_configuration_is_required(name):
    assert getattr(_types, name).__required_keys__ == frozenset()


def test_the_package_says_that_it_is_typed():
    assert Path(s3ext.__file__).with_name("py.typed").exists()


def test_importing_the_package_loads_no_types():
    loaded = (
        "import sys, s3ext, s3ext.store; print(*(m for m in ('typing', 's3ext._types') if m in sys.modules))"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            f"import sys; sys.path[:0] = {[str(ROOT), *paths_of_cffi()]}; {loaded}",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == []


def paths_of_cffi():
    """Return where cffi is; -S leaves out the folder with everything else, whose hooks may import typing."""
    spec = importlib.util.find_spec("_cffi_backend")
    assert spec is not None
    return [str(Path(spec.origin).parent)]

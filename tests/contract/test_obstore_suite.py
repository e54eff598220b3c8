"""obstore's own tests that touch S3, run on s3ext through `obstore_shim`.

They are not part of this project: `S3EXT_OBSTORE_CHECKOUT` names a checkout of obstore (tag py-v0.11 or
later), and without it these tests are skipped. Every test there must pass, but for those listed here with the
reason why s3ext does otherwise on purpose; one that is listed and passes is an error too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

CHECKOUT = os.environ.get("S3EXT_OBSTORE_CHECKOUT", "")
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    not CHECKOUT, reason="S3EXT_OBSTORE_CHECKOUT does not name a checkout of developmentseed/obstore"
)

FILES = [
    "test_attributes",
    "test_backoff",
    "test_buffered",
    "test_bytes",
    "test_copy",
    "test_delete",
    "test_get",
    "test_head",
    "test_list",
    "test_put",
    "test_rename",
    "store/test_client_options",
    "store/test_config",
    "store/test_from_url",
    "store/test_s3",
    "store/test_sign",
]

# What S3 itself does differently from a local or memory store: obstore's S3Store fails these tests too.
NATURE_OF_S3 = {
    "test_attributes::test_custom_attribute": "S3 gives back the names of user metadata in lower case",
    "test_delete::test_delete_one_local_fs": "to delete what does not exist is no error on S3",
    "test_delete::test_delete_many_local_fs": "to delete what does not exist is no error on S3",
}

# What s3ext does not want to be.
OTHER_STORES = {
    "test_from_url::test_local": "file:// is no S3 store: NotSupportedError",
    "test_from_url::test_memory": "memory:// is no S3 store: NotSupportedError",
    "test_from_url::test_gcs_params": "gs:// is no S3 store: NotSupportedError",
    "test_from_url::test_azure_params": "abfs:// is no S3 store: NotSupportedError",
    "test_from_url::test_credential_provider_to_http_store_raises": "an http URL names a bucket on a server "
    "that speaks S3, with a credential provider like any other store",
}

DEVIATIONS = {**NATURE_OF_S3, **OTHER_STORES}


def run_suite(folder, target):
    """Run the tests on a package: the outcome of each, and pytest's own text."""
    for name in FILES:
        shutil.copy(Path(CHECKOUT, "tests", f"{name}.py"), folder)
    report = folder / "report.xml"
    plugin = ["-p", "tests.contract.obstore_shim", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [
            *[sys.executable, "-m", "pytest", "-q", "--tb=short", "--timeout=60", "-c", os.devnull],
            *[f"--rootdir={folder}", f"--junitxml={report}", *plugin, str(folder)],
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "S3EXT_SHIM_TARGET": target},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert report.exists(), done.stdout + done.stderr
    outcomes = {}
    for case in ET.parse(report).getroot().iter("testcase"):
        test = f"{case.get('classname')}::{case.get('name')}"
        kinds = {child.tag for child in case}
        outcomes[test] = "failed" if kinds & {"failure", "error"} else "skipped" if kinds else "passed"
    return outcomes, done.stdout


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    return run_suite(tmp_path_factory.mktemp("suite"), "s3ext")


@pytest.mark.parametrize("file", [Path(name).name for name in FILES])
def test_every_test_passes_or_deviates_for_a_reason(file, suite):
    outcomes = {test: end for test, end in suite[0].items() if test.startswith((f"{file}::", f"{file}."))}
    assert outcomes, f"no test of {file} ran:\n{suite[1]}"
    failed = {test for test, end in outcomes.items() if end != "passed"}
    expected = DEVIATIONS.keys() & outcomes.keys()
    assert failed - expected == set(), f"{Counter(outcomes.values())}\n{suite[1]}"
    assert expected - failed == set(), "listed as deviations, but they pass"


def test_every_deviation_names_a_test(suite):
    assert DEVIATIONS.keys() <= suite[0].keys()


def test_obstore_fails_where_s3_itself_is_different(tmp_path):
    outcomes, output = run_suite(tmp_path, "obstore")
    assert {test: outcomes[test] for test in NATURE_OF_S3} == dict.fromkeys(NATURE_OF_S3, "failed"), output
    assert Counter(outcomes.values())["passed"] > 300

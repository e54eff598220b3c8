"""build.py: what it says when it cannot build, and what it packs. Our sources are not compiled here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest

import s3ext
from s3ext._ffi import ffi, lib, text

ROOT = Path(__file__).resolve().parents[2]
INSTALL_LINES = ("apt-get install", "dnf install", "apk add")


@pytest.fixture
def tree(tmp_path):
    """A copy of what a build needs, so that none writes into the tree under test."""
    for name in ("csrc", "s3ext", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name in ("build.py", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def run(tree, *arguments, **environment):
    base = {name: value for name, value in os.environ.items() if name not in ("LD_PRELOAD", "S3EXT_SANITIZE")}
    return subprocess.run(
        [sys.executable, *(arguments or ("build.py",))],
        cwd=tree,
        env=base | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def assert_says_what_to_install(result, reason):
    assert result.returncode == 1
    assert reason in result.stderr
    assert all(line in result.stderr for line in INSTALL_LINES)
    assert "Traceback" not in result.stderr


def test_a_missing_pkg_config_is_one_message_with_the_packages_of_three_distributions(tree):
    assert_says_what_to_install(run(tree, PKG_CONFIG="no-such-pkg-config"), "pkg-config was not found")


def test_unknown_libraries_are_named(tree, tmp_path):
    result = run(tree, PKG_CONFIG_LIBDIR=str(tmp_path / "empty"), PKG_CONFIG_PATH="")
    assert_says_what_to_install(result, "pkg-config does not find libcurl >= 7.76, libcrypto >= 3.0")


def test_a_library_that_only_pkg_config_knows_is_named(tree):
    (tree / "pc").mkdir()
    (tree / "pc" / "expat.pc").write_text(
        "Name: expat\nDescription: expat\nVersion: 2.5\nLibs: -lno_such_expat\n"
    )
    assert_says_what_to_install(run(tree, PKG_CONFIG_PATH=str(tree / "pc")), "no_such_expat")


def test_a_missing_header_is_named(tree):
    (tree / "pc").mkdir()
    (tree / "pc" / "expat.pc").write_text(
        "Name: expat\nDescription: expat\nVersion: 2.5\nCflags: -include no_such_header.h\n"
    )
    assert_says_what_to_install(run(tree, PKG_CONFIG_PATH=str(tree / "pc")), "no_such_header.h")


def test_a_missing_compiler_is_named(tree):
    assert_says_what_to_install(run(tree, CC="no-such-compiler"), "compiler no-such-compiler was not found")


def test_another_system_than_linux_is_refused_in_one_sentence(tree):
    code = "import build, sys; sys.argv = ['build.py']; sys.platform = 'plan9'; build.main()"
    result = run(tree, "-c", code)
    assert result.returncode == 1
    assert result.stderr.strip() == "error: s3ext supports Linux only so far; this is plan9."


def test_an_unknown_sanitizer_is_refused(tree):
    result = run(tree, S3EXT_SANITIZE="adress")
    assert result.returncode == 1
    assert "S3EXT_SANITIZE='adress'" in result.stderr
    assert "Traceback" not in result.stderr


def test_package_and_core_have_the_same_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == s3ext.__version__
    versions = ffi.new("struct s3ext_versions *")
    lib.s3ext_versions_get(versions)
    assert text(versions.core) == s3ext.__version__


def test_the_source_distribution_carries_all_that_a_build_and_the_tests_need(tree):
    code = "import setuptools.build_meta as backend; print(backend.build_sdist('dist'))"
    result = run(tree, "-c", code)
    assert result.returncode == 0, result.stderr
    (archive,) = (tree / "dist").iterdir()
    with tarfile.open(archive) as opened:
        packed = {name.partition("/")[2] for name in opened.getnames()}
    kept = (path for folder in ("csrc", "s3ext", "tests") for path in (tree / folder).rglob("*"))
    wanted = {str(path.relative_to(tree)) for path in kept if path.is_file() and path.suffix != ".pyc"}
    assert wanted | {"build.py", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"} <= packed

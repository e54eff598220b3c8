"""What samtools writes s3ext.open reads, and the other way round, on a server that verifies both signatures.

The environment and the files that say who and where are the same for both; each run of samtools has a fresh
folder, because it saves the indexes that it fetches in the current one, and finds them there.
"""

from __future__ import annotations

import gzip
import os
import random
import shutil
import struct
import subprocess
from urllib.parse import quote

import pytest

import s3ext
from s3ext.store import S3Store
from tests.conftest import serve
from tests.python.oracle import without_environment
from tests.server import ACCESS_KEY, REGION, SECRET_KEY, VerifyingServer

PLACE = "chr2:100000-120000"
KEY_PAIR = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
CREDENTIALS = f"aws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\nregion = {REGION}\n"
OTHER = "aws_access_key_id = other\naws_secret_access_key = other\n"
S3CFG = f"access_key = {ACCESS_KEY}\nsecret_key = {SECRET_KEY}\nbucket_location = {REGION}\n"


@pytest.fixture(scope="module", autouse=True)
def _programs():
    missing = [name for name in ("samtools", "tabix", "bgzip") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (Debian: samtools tabix)")


@pytest.fixture
def server():
    """A server whose upload ids need no encoding, which htslib does not do."""
    server = VerifyingServer()
    server.store.upload_id_end = ""
    yield from serve(server)


class Bench:
    """Runs programs of htslib's, each in a folder of its own, with the environment of this process."""

    def __init__(self, folder):
        self.folder = folder
        self.runs = 0

    def __call__(self, *command):
        self.runs += 1
        here = self.folder / f"run{self.runs}"
        here.mkdir()
        done = subprocess.run(command, cwd=here, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()


@pytest.fixture
def run(tmp_path):
    return Bench(tmp_path)


@pytest.fixture
def surroundings(server, monkeypatch, tmp_path):
    """Set the environment up, with an empty home; more of it as keyword arguments."""
    without_environment(monkeypatch)
    for name in [name for name in os.environ if name.startswith("HTS_S3_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    # The tests' own, which keep the files of whoever runs them away.
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    def set_up(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_up


@pytest.fixture
def usual(server, surroundings):
    """Keys, host and style from the environment."""
    surroundings(
        **KEY_PAIR,
        AWS_DEFAULT_REGION=REGION,
        HTS_S3_HOST=f"127.0.0.1:{server.port}",
        HTS_S3_ADDRESS_STYLE="path",
    )


def reads(count):
    """Make sorted reads on two chromosomes, as lines of SAM."""
    drawn = random.Random(count)
    places = sorted((drawn.randrange(1, 3), drawn.randrange(1, 200_000)) for _ in range(count))
    for number, (chromosome, place) in enumerate(places):
        bases = "".join(drawn.choices("ACGT", k=50))
        yield f"r{number}\t0\tchr{chromosome}\t{place}\t60\t50M\t*\t0\t0\t{bases}\t{'I' * 50}\n"


@pytest.fixture(scope="module")
def sam(tmp_path_factory):
    """A file of 3,000 reads."""
    return write_sam(tmp_path_factory.mktemp("sam") / "in.sam", 3000)


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """A file of 50,000 reads, which are two parts as BAM without compression."""
    return write_sam(tmp_path_factory.mktemp("big") / "big.sam", 50_000)


def write_sam(path, count):
    header = "@HD\tVN:1.6\tSO:coordinate\n@SQ\tSN:chr1\tLN:200100\n@SQ\tSN:chr2\tLN:200100\n"
    path.write_text(header + "".join(reads(count)), encoding="ascii")
    return path


def body(sam):
    return "".join(
        line for line in sam.read_text(encoding="ascii").splitlines(keepends=True) if line[0] != "@"
    )


@pytest.fixture(scope="module")
def bam(sam):
    """The same as BAM, with its index beside it: what samtools makes of it here."""
    path = sam.with_suffix(".bam")
    subprocess.run(["samtools", "view", "-b", "-o", path, sam], check=True)
    subprocess.run(["samtools", "index", path], check=True)
    return path


def names_in(file):
    """Read the names of the reads of a BAM file."""
    with gzip.open(file) as unpacked:
        assert unpacked.read(4) == b"BAM\1"
        unpacked.read(struct.unpack("<i", unpacked.read(4))[0])
        for _ in range(struct.unpack("<i", unpacked.read(4))[0]):
            unpacked.read(struct.unpack("<i", unpacked.read(4))[0] + 4)
        while size := unpacked.read(4):
            record = unpacked.read(struct.unpack("<i", size)[0])
            yield record[32 : 32 + record[8] - 1].decode()


def copy_up(path, url):
    with path.open("rb") as source, s3ext.open(url, "wb") as file:
        shutil.copyfileobj(source, file)


@pytest.mark.usefixtures("usual")
def test_what_samtools_writes_is_read(server, run, sam):
    url = "s3+http://bucket/dir/out.bam"
    run("samtools", "view", "-b", "-o", url, str(sam))
    with s3ext.open(url) as file:
        assert list(names_in(file)) == [f"r{number}" for number in range(3000)]
        file.seek(0)
        assert file.read() == server.get("dir/out.bam").data


@pytest.mark.usefixtures("usual")
def test_what_samtools_writes_in_parts_is_read(server, run, big):
    url = "s3+http://bucket/big.bam"
    run("samtools", "view", "-b", "-u", "-o", url, str(big))
    assert len(server.find("PUT", query="partNumber")) == 2
    with s3ext.open(url) as file:
        assert sum(1 for _ in names_in(file)) == 50_000


@pytest.mark.usefixtures("usual")
def test_samtools_reads_what_is_written(run, sam, bam):
    url = "s3+http://bucket/dir/in.bam"
    copy_up(bam, url)
    copy_up(bam.with_name("in.bam.bai"), f"{url}.bai")
    assert run("samtools", "view", url) == body(sam)
    local = run("samtools", "view", str(bam), PLACE)
    assert local.count("\n") > 100
    assert run("samtools", "view", url, PLACE) == local


@pytest.mark.usefixtures("usual")
def test_samtools_reads_what_is_written_in_parts(server, run, big, tmp_path, monkeypatch):
    monkeypatch.setenv("HTS_S3_PART_SIZE", "5")
    run("samtools", "view", "-b", "-u", "-o", str(tmp_path / "big.bam"), str(big))
    url = "s3+http://bucket/big.bam"
    copy_up(tmp_path / "big.bam", url)
    assert len(server.find("PUT", query="partNumber")) == 2
    assert run("samtools", "view", "-c", url) == "50000\n"


@pytest.mark.usefixtures("usual")
def test_text_goes_both_ways(run, sam):
    url = "s3+http://bucket/text.sam"
    run("samtools", "view", "-h", "--no-PG", "-o", url, str(sam))
    with s3ext.open(url, "r", encoding="ascii") as file:
        text = file.read()
    assert text == sam.read_text(encoding="ascii")
    with s3ext.open(url, "w", encoding="ascii") as file:
        file.writelines(text.splitlines(keepends=True)[:103])
    assert run("samtools", "view", "-c", url) == "100\n"


@pytest.mark.usefixtures("usual")
def test_tabix_reads_what_is_written(run, sam, tmp_path):
    rows = [line.split("\t") for line in body(sam).splitlines()]
    text = "".join(f"{row[2]}\t{row[3]}\t{row[0]}\n" for row in rows)
    (tmp_path / "t.tsv").write_text(text, encoding="ascii")
    run("bgzip", str(tmp_path / "t.tsv"))
    run("tabix", "-s1", "-b2", "-e2", str(tmp_path / "t.tsv.gz"))
    for name in ("t.tsv.gz", "t.tsv.gz.tbi"):
        copy_up(tmp_path / name, f"s3+http://bucket/{name}")
    local = run("tabix", str(tmp_path / "t.tsv.gz"), PLACE)
    assert local.count("\n") > 100
    assert run("tabix", "s3+http://bucket/t.tsv.gz", PLACE) == local
    with s3ext.open("s3+http://bucket/t.tsv.gz") as file, gzip.open(file, "rt") as unpacked:
        assert unpacked.read() == text


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("a b+c.bam", "a b+c.bam"),
        ("a%20b%2Bc.bam", "a b+c.bam"),
        ("12_1#5.bam", "12_1#5.bam"),
        ("50%.bam", "50%.bam"),
        ("%C3%A9%3D%26%3B.bam", "é=&;.bam"),
        ("(a,'!=&;.bam", "(a,'!=&;.bam"),
    ],
)
@pytest.mark.usefixtures("usual")
def test_a_url_names_the_same_object_for_both(server, run, sam, bam, name, key):
    url = f"s3+http://bucket/dir/{name}"
    copy_up(bam, url)
    assert server.keys() == [f"dir/{key}"]
    assert run("samtools", "view", url) == body(sam)
    run("samtools", "view", "-b", "--no-PG", "-o", url, str(sam))
    assert server.keys() == [f"dir/{key}"]
    with s3ext.open(url) as file:
        assert sum(1 for _ in names_in(file)) == 3000


# Who and where: the URL's scheme and user, variables and files. {host} is the server's.
WAYS = {
    "environment": ("s3+http://", {**KEY_PAIR, "AWS_DEFAULT_REGION": REGION}, {}),
    "default profile": ("s3+http://", {}, {".aws/credentials": f"[default]\n{CREDENTIALS}"}),
    "AWS_PROFILE": (
        "s3+http://",
        {"AWS_PROFILE": "mine"},
        {".aws/credentials": f"[default]\n{OTHER}[mine]\n{CREDENTIALS}"},
    ),
    "AWS_DEFAULT_PROFILE": (
        "s3+http://",
        {"AWS_PROFILE": "default", "AWS_DEFAULT_PROFILE": "mine"},
        {".aws/credentials": f"[default]\n{OTHER}[mine]\n{CREDENTIALS}"},
    ),
    "another credentials file": (
        "s3+http://",
        {"AWS_SHARED_CREDENTIALS_FILE": "{home}/other"},
        {"other": f"[default]\n{CREDENTIALS}", ".aws/credentials": f"[default]\n{OTHER}"},
    ),
    "style of a file": (
        "s3+http://",
        {"HTS_S3_ADDRESS_STYLE": "auto"},
        {".aws/credentials": f"[default]\n{CREDENTIALS}addressing_style = path\n"},
    ),
    "s3cfg": ("s3+http://", {}, {".s3cfg": f"[default]\n{S3CFG}"}),
    "another s3cfg": ("s3+http://", {"HTS_S3_S3CFG": "{home}/cfg"}, {"cfg": f"[default]\n{S3CFG}"}),
    "host and profile of s3cfg": (
        "s3+http://mine@",
        {"HTS_S3_HOST": "", "HTS_S3_ADDRESS_STYLE": ""},
        {".s3cfg": f"[default]\n{OTHER}[mine]\n{S3CFG}host_base = {{host}}\nhost_bucket = {{host}}\n"},
    ),
    "awssecret": (
        "s3+http://",
        {"AWS_DEFAULT_REGION": REGION},
        {".awssecret": f"{ACCESS_KEY} {SECRET_KEY}\n"},
    ),
}


@pytest.mark.parametrize("how", WAYS)
def test_who_and_where_come_from_the_same_places(server, surroundings, run, sam, tmp_path, how):
    before, variables, files = WAYS[how]
    host = f"127.0.0.1:{server.port}"
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.format(host=host), encoding="ascii")
        path.chmod(0o600)
    usual = {"HTS_S3_HOST": host, "HTS_S3_ADDRESS_STYLE": "path"}
    given = {name: value.format(home=tmp_path) for name, value in variables.items()}
    surroundings(**{**usual, **given})
    url = f"{before}bucket/dir/x.bam"
    run("samtools", "view", "-b", "--no-PG", "-o", url, str(sam))
    with s3ext.open(url) as file:
        data = file.read()
    assert data == server.get("dir/x.bam").data
    with s3ext.open(f"{before}bucket/dir/y.bam", "wb") as file:
        file.write(data)
    assert run("samtools", "view", f"{before}bucket/dir/y.bam") == body(sam)
    assert S3Store.from_url(f"{before}bucket/dir").head("y.bam")["size"] == len(data)


def test_keys_of_a_url_reach_the_endpoint_of_the_environment_unlike_htslibs(server, surroundings, bam):
    surroundings(
        HTS_S3_HOST=f"127.0.0.1:{server.port}", HTS_S3_ADDRESS_STYLE="path", AWS_DEFAULT_REGION=REGION
    )
    url = f"s3+http://{ACCESS_KEY}:{quote(SECRET_KEY, safe='')}@bucket/k.bam"
    copy_up(bam, url)
    asked = len(server.requests)
    # It goes to AWS's host; a proxy that is none keeps it on this machine.
    surroundings(http_proxy="http://127.0.0.1:9", https_proxy="http://127.0.0.1:9", no_proxy="")
    done = subprocess.run(["samtools", "view", "-c", url], capture_output=True, timeout=60, check=False)
    assert done.returncode != 0
    assert len(server.requests) == asked

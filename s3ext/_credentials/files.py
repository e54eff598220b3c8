"""The shared files of AWS's tools, `~/.s3cfg` and `~/.awssecret`, as plain data.

    ~/.aws/credentials  AWS_SHARED_CREDENTIALS_FILE   `[name]` is a profile
    ~/.aws/config       AWS_CONFIG_FILE               `[profile name]` and `[default]`; `[sso-session name]`,
                                                      `[services name]`
    ~/.s3cfg            HTS_S3_S3CFG                  `[name]`; what stands before any section counts for all
    ~/.awssecret                                      two words: id and secret

The rules are botocore's (`configloader.py`, which stands on configparser): `key = value` or `key: value`;
keys in any case; whole-line comments by `#` and `;`, none behind values; a deeper line goes on with the value
above it, and below an empty value such lines are keys of their own (`s3 =`, `endpoint_url` in a service).
Values of the credentials file replace those of the config file.

It is no configparser because that knows no line numbers, and refuses a whole file for one line. Differences
on purpose: a section or key that comes twice is no error, the last one counts; a line without a mark between
key and value spoils its own section only; `[DEFAULT]` is a section like any other. htslib takes keys before
any section for every profile; here, as in AWS's tools, they are an error in AWS's files, and taken in s3cfg
alone.

Reading never waits and never takes much: a missing file is as an empty one, and so is /dev/null; a
directory, a pipe, a loop of links, more than 1 MiB, or no permission is an error with the file's name. What
was read is kept as long as the file looks the same (time, size, inode), unless it was written just now.

Invariants: nothing of a value is in an error. `re`, `datetime` and so on stay out of here, for a store may
be made in every process.
"""

from __future__ import annotations

import os
import stat
from time import sleep, time

from s3ext.exceptions import GenericError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import TypeAlias

    # Credentials, config, s3cfg, awssecret.
    Places: TypeAlias = tuple[str, str, str, str]
    Signature: TypeAlias = tuple[int, int, int, int]

__all__ = [
    "Document",
    "Entry",
    "Profile",
    "Section",
    "choose_profile",
    "load",
    "places_of",
    "profile_of",
    "read",
    "signature",
    "signature_of",
]

LIMIT = 1024 * 1024
"""No file of these is larger, in bytes."""

NULL_DEVICE = os.makedev(1, 3)
"""`/dev/null`, by which a variable says that there is no file."""

FRESH_SECONDS = 2.0
"""A file may be written twice within one tick of its time; one as young as this is not kept."""

READ_TRIES = 3
PAUSE_SECONDS = 0.02
"""Between two tries to read a file that is being written."""


class Entry:
    """A key's value.

    Attributes:
        text: The value; lines of it, joined, where it goes on over several.
        document: The file.
        line: The line of its key, from 1.
        nested: The keys below it, where its own line has no value.
    """

    __slots__ = ("document", "line", "nested", "text")

    def __init__(
        self, text: str, document: Document, line: int, nested: dict[str, Entry] | None = None
    ) -> None:
        self.text = text
        self.document = document
        self.line = line
        self.nested = nested or {}

    @property
    def where(self) -> str:
        """File and line, for errors."""
        return f"{self.document.path}:{self.line}"

    def __repr__(self) -> str:
        return f"<entry {self.where}>"


class Section:
    """A section of a file.

    Attributes:
        name: What stands in its brackets.
        document: The file.
        line: Its first line, from 1.
        entries: Its keys, in lower case.
        broken: The first line of it that is no `key = value`, or 0.
    """

    __slots__ = ("broken", "document", "entries", "line", "name")

    def __init__(self, name: str, document: Document, line: int) -> None:
        self.name = name
        self.document = document
        self.line = line
        self.entries: dict[str, Entry] = {}
        self.broken = 0

    def check(self) -> None:
        """Make sure that all of it could be read.

        Raises:
            GenericError: A line of it is no `key = value`.
        """
        if self.broken:
            raise GenericError(
                f"Generic S3 error: {self.document.path}:{self.broken}: the line, in [{self.name}], is no "
                "'key = value'"
            )


class Document:
    """A file.

    Attributes:
        path: Its name.
        preamble: What stands before any section.
        sections: By name, in the order in which they first appear.
        open_to_all: Whether every user of the machine may read it.
        signature: What the file looked like when it was read; None for one that was not there.
    """

    __slots__ = ("open_to_all", "path", "preamble", "sections", "signature")

    def __init__(self, path: str) -> None:
        self.path = path
        self.preamble = Section("", self, 0)
        self.sections: dict[str, Section] = {}
        self.open_to_all = False
        self.signature: Signature | None = None


class Profile:
    """All that the files say of a profile.

    Attributes:
        name: Its name.
        entries: Its keys in AWS's files; those of the credentials file replace those of the config file.
        credentials: Its section of the credentials file alone, or None.
        config: Its section of the config file alone, or None.
        document: The config file, for sessions and services.
        places: The files.
    """

    __slots__ = ("config", "credentials", "document", "entries", "name", "places")

    def __init__(self, name: str, places: Places) -> None:
        credentials, config = load(places[0]), load(places[1])
        for document in (credentials, config):
            _check_preamble(document)
        self.name = name
        self.places = places
        self.document = config
        self.credentials = credentials.sections.get(name)
        self.config = _named(config, "profile").get(name)
        self.entries = _merged((self.config, self.credentials))

    @property
    def found(self) -> bool:
        """Whether any file has it; keys before any section of s3cfg are those of all profiles."""
        if self.credentials or self.config:
            return True
        s3cfg = self._s3cfg()
        return self.name in s3cfg.sections or "access_key" in s3cfg.preamble.entries

    def require(self, named_by: str) -> None:
        """Make sure that some file has it, if it was asked for (botocore's ProfileNotFound).

        Args:
            named_by: Who named it, as `choose_profile` says; nothing is wrong where nobody did.

        Raises:
            GenericError: It was asked for, and no file has it.
        """
        if named_by and not self.found:
            raise GenericError(
                f"Generic Config error: there is no profile {self.name!r} ({named_by}) in "
                f"{', '.join(self.places[:3])}"
            )

    @property
    def s3cfg(self) -> dict[str, Entry]:
        """Its keys in s3cfg: access_key, host_base, bucket_location, host_bucket and so on."""
        document = self._s3cfg()
        return _merged((document.preamble, document.sections.get(self.name)))

    def _s3cfg(self) -> Document:
        """Read s3cfg, which matters only where AWS's files say nothing."""
        return load(self.places[2], plain=True)

    def get(self, key: str) -> Entry | None:
        """Return what AWS's files say of a key, None where it is not there or empty."""
        return _unless_empty(self.entries.get(key))

    def s3(self, key: str) -> Entry | None:
        """Return a key of the block `s3 =`, such as `addressing_style`."""
        return self._below("s3", key)

    def service(self, service: str, key: str) -> Entry | None:
        """Return a key of a service, of the section `[services ...]` that the profile names.

        Args:
            service: The service, such as `"s3"` or `"sts"`.
            key: Such as `"endpoint_url"`.
        """
        name = self.get("services")
        section = None if name is None else _named(self.document, "services").get(name.text)
        if section is None:
            return None
        section.check()
        block = section.entries.get(service)
        return None if block is None else _unless_empty(block.nested.get(key))

    def sso_session(self, name: str) -> Section | None:
        """Return the section `[sso-session name]`."""
        return _named(self.document, "sso-session").get(name)

    def _below(self, block: str, key: str) -> Entry | None:
        entry = self.entries.get(block)
        return None if entry is None else _unless_empty(entry.nested.get(key))


def _unless_empty(entry: Entry | None) -> Entry | None:
    return entry if entry is not None and entry.text else None


def _merged(sections: Iterable[Section | None]) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    for section in sections:
        if section is not None:
            section.check()
            entries.update(section.entries)
    return entries


def _check_preamble(document: Document) -> None:
    preamble = document.preamble
    line = min((entry.line for entry in preamble.entries.values()), default=0) or preamble.broken
    if line:
        raise GenericError(f"Generic S3 error: {document.path}:{line}: the line stands before any [section]")


def _named(document: Document, kind: str) -> dict[str, Section]:
    """Return the sections `[kind name]` by name; for profiles, `[default]` as well."""
    found = {}
    for header, section in document.sections.items():
        if header == "default" and kind == "profile":
            found[header] = section
        if header.startswith(kind):
            words = _words(header)
            if len(words) == 2 and words[0] == kind:
                found[words[1]] = section
    return found


def _words(header: str) -> list[str]:
    if "'" not in header and '"' not in header and "\\" not in header:
        return header.split()
    import shlex  # noqa: PLC0415 - few names have quotes

    try:
        return shlex.split(header)
    except ValueError:  # A quote without its end.
        return []


# ---- which files, which profile ----


def places_of(environ: Mapping[str, str]) -> Places:
    """Return the paths of credentials, config, s3cfg and awssecret.

    Args:
        environ: The environment; an empty variable is as none.
    """

    def path(variable: str, default: str) -> str:
        given = (environ.get(variable) or default) if variable else default
        if given.startswith("~/") and environ.get("HOME"):
            return environ["HOME"] + given[1:]
        return os.path.expanduser(os.path.expandvars(given))  # noqa: PTH111 - pathlib costs too much

    return (
        path("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
        path("AWS_CONFIG_FILE", "~/.aws/config"),
        path("HTS_S3_S3CFG", "~/.s3cfg"),
        path("", "~/.awssecret"),
    )


def choose_profile(asked: str | None, environ: Mapping[str, str]) -> tuple[str, str]:
    """Choose a profile: the one that was asked for, AWS_DEFAULT_PROFILE, AWS_PROFILE, `default`.

    AWS_DEFAULT_PROFILE comes first, as in botocore and htslib.

    Args:
        asked: The option `profile`, or None.
        environ: The environment.

    Returns:
        Its name, and who named it: `"profile"`, a variable, or `""` for nobody.
    """
    if asked:
        return asked, "profile"
    for variable in ("AWS_DEFAULT_PROFILE", "AWS_PROFILE"):
        if name := environ.get(variable):
            return name, variable
    return "default", ""


def profile_of(name: str, places: Places | None = None) -> Profile:
    """Read what the files say of a profile; one that no file has is not `found`, and empty.

    Args:
        name: Its name.
        places: The files; default: those of the environment as it is now.

    Raises:
        GenericError: A file cannot be read, or a line that matters is malformed; it says which.
    """
    return Profile(name, places_of(os.environ) if places is None else places)


# ---- reading ----


def signature_of(path: str) -> Signature | None:
    """Return what a file looks like now; None if it is not there."""
    try:
        return signature(os.stat(path))  # noqa: PTH116 - pathlib costs too much
    except (OSError, ValueError):
        return None


def signature(status: os.stat_result) -> Signature:
    """Return what changes with a file's contents: time, size, inode and device."""
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev


_kept: dict[tuple[str, bool], Document] = {}


def load(path: str, *, plain: bool = False) -> Document:
    """Read and parse a file; one that is not there is empty.

    Args:
        path: Its name.
        plain: A line is a line: none goes on with the one above it, and quotes around values are dropped. For
            s3cfg.

    Raises:
        GenericError: It cannot be read.
    """
    kept = _kept.get((path, plain))
    if kept is not None and kept.signature == signature_of(path):
        return kept
    found = read(path)
    if found is None:
        _kept.pop((path, plain), None)
        return Document(path)
    data, status = found
    document = parse(path, data.decode("utf-8-sig", "replace"), plain=plain)
    document.open_to_all = bool(status.st_mode & stat.S_IROTH)
    document.signature = signature(status)
    if time() - status.st_mtime > FRESH_SECONDS:
        _kept[path, plain] = document
    return document


def read(path: str, what: str = "the file") -> tuple[bytes, os.stat_result] | None:
    """Read a small file whole, without ever waiting for one that is no file.

    A file that is being written is read again, until it stays the same or a few times.

    Args:
        path: Its name.
        what: What it is, for errors.

    Returns:
        Its contents and its status, or None if it is not there.

    Raises:
        GenericError: It cannot be read, is no regular file, or too large.
    """
    found = _read_once(path, what)
    for _ in range(READ_TRIES - 1):
        if found is None or signature_of(path) == signature(found[1]):
            break
        sleep(PAUSE_SECONDS)
        found = _read_once(path, what)
    return found


def _read_once(path: str, what: str) -> tuple[bytes, os.stat_result] | None:
    try:
        # O_NONBLOCK: to open a pipe would wait for who writes to it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise _unreadable(path, what, getattr(error, "strerror", None) or str(error)) from None
    try:
        status = os.fstat(descriptor)
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == NULL_DEVICE:
            return None
        if not stat.S_ISREG(status.st_mode):
            raise _unreadable(path, what, "it is no regular file")
        pieces, size = [], 0
        while piece := os.read(descriptor, 64 * 1024):
            pieces.append(piece)
            size += len(piece)
            if size > LIMIT:
                raise _unreadable(path, what, "it is larger than 1 MiB")
    except OSError as error:
        raise _unreadable(path, what, str(error.strerror)) from None
    finally:
        os.close(descriptor)
    return b"".join(pieces), status


def _unreadable(path: str, what: str, reason: str) -> GenericError:
    return GenericError(f"Generic S3 error: {what} {path} cannot be read: {reason}")


# ---- parsing ----


def parse(path: str, text: str, *, plain: bool = False) -> Document:
    """Parse the text of a file; see the top of this file for the rules.

    Args:
        path: Its name.
        text: Its text.
        plain: As in `load`.
    """
    document = Document(path)
    section = document.preamble
    # The key whose value the next lines may go on with: its indentation, name, and lines so far.
    indent, key, lines = 0, "", [(0, "")]

    def close() -> None:
        if key:
            section.entries[key] = _entry(section, lines, plain=plain)

    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        word = line.strip()
        if not word or word[0] in "#;":
            if key and not word and not plain:
                lines.append((number, ""))
            continue
        depth = len(line) - len(line.lstrip())
        if key and depth > indent and not plain:
            lines.append((number, word))
            continue
        close()
        indent, key = depth, ""
        end = word.rfind("]")
        if word[0] == "[" and end > 1:
            section = document.sections.setdefault(word[1:end], Section(word[1:end], document, number))
            continue
        name, value = _split(word)
        if name:
            key, lines = name.lower(), [(number, value)]
        else:
            section.broken = section.broken or number
    close()
    return document


def _split(word: str) -> tuple[str, str]:
    """Split a line at its first `=` or `:`; no name if it has none."""
    ends = [place for place in (word.find("="), word.find(":")) if place >= 0]
    if not ends:
        return "", ""
    return word[: min(ends)].rstrip(), word[min(ends) + 1 :].strip()


def _entry(section: Section, lines: list[tuple[int, str]], *, plain: bool) -> Entry:
    number, first = lines[0]
    text = "\n".join(line for _, line in lines).rstrip()
    if plain and len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    nested = {}
    if not first:
        for at, line in lines[1:]:
            name, mark, value = line.partition("=")
            if mark:
                nested[name.strip()] = Entry(value.strip(), section.document, at)
            elif line:
                section.broken = section.broken or at
    return Entry(text, section.document, number, nested)

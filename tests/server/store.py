"""S3's semantics in memory: buckets, objects, versions, multipart uploads, conditions, listing.

Knows nothing of HTTP but the words of conditional headers. All public methods take the lock, so that a test's
thread may use the store beside the server's. Object bodies are never copied after they were received; a
stored object is immutable.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
import zlib
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from functools import lru_cache
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING

from .errors import S3Error
from .http import Body, BytesBody

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = [
    "CHECKSUMS",
    "Bucket",
    "ListPage",
    "Part",
    "PatternBody",
    "SegmentsBody",
    "Store",
    "StoredObject",
    "Upload",
    "check_conditions",
    "checksum",
]

MIN_PART = 5 * 1024 * 1024
MAX_KEY_BYTES = 1024
MAX_PARTS = 10_000


class SegmentsBody:
    """A body made of pieces: the parts of a multipart upload."""

    __slots__ = ("_starts", "pieces", "size")

    def __init__(self, pieces: Sequence[Body]) -> None:
        self.pieces = list(pieces)
        self._starts = [0]
        for piece in self.pieces:
            self._starts.append(self._starts[-1] + piece.size)
        self.size = self._starts[-1]

    def views(self, start: int, stop: int) -> Iterator[memoryview]:
        """Give the bytes [start, stop), piece by piece."""
        index = max(bisect_right(self._starts, start) - 1, 0)
        while index < len(self.pieces) and self._starts[index] < stop:
            base, piece = self._starts[index], self.pieces[index]
            yield from piece.views(max(start - base, 0), min(stop - base, piece.size))
            index += 1


class PatternBody:
    """A body of any size that takes 1 MiB: a random block whose length is a prime, repeated.

    No two offsets that differ by a power of two or a round decimal number hold the same bytes, so misplaced
    parts show.

    Args:
        size: Length in bytes, up to terabytes.
        seed: Another seed gives other bytes.
    """

    PERIOD = 1_048_573

    def __init__(self, size: int, seed: int = 0) -> None:
        self.size = size
        self._block = memoryview(Random(seed).randbytes(self.PERIOD) * 2)

    def views(self, start: int, stop: int) -> Iterator[memoryview]:
        """Give the bytes [start, stop)."""
        while start < stop:
            at = start % self.PERIOD
            size = min(stop - start, self.PERIOD)
            yield self._block[at : at + size]
            start += size

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes [start, stop), for comparison."""
        return b"".join(self.views(start, stop))


@lru_cache(maxsize=2)
def _crc_table(polynomial: int) -> list[int]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (polynomial if value & 1 else 0)
        table.append(value)
    return table


def _crc(data: bytes | bytearray, polynomial: int, bits: int) -> bytes:
    table = _crc_table(polynomial)
    mask = (1 << bits) - 1
    value = mask
    for byte in data:
        value = (value >> 8) ^ table[(value ^ byte) & 0xFF]
    return (value ^ mask).to_bytes(bits // 8, "big")


# The algorithms of the x-amz-checksum-* headers; the bit-reflected polynomials of CRC-32C and CRC-64/NVME.
CHECKSUMS: dict[str, Callable[[bytes | bytearray], bytes]] = {
    "crc32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "crc32c": lambda data: _crc(data, 0x82F63B78, 32),
    "crc64nvme": lambda data: _crc(data, 0x9A6C9329AC4BC9B5, 64),
    "sha1": lambda data: hashlib.sha1(data).digest(),
    "sha256": lambda data: hashlib.sha256(data).digest(),
}


def checksum(algorithm: str, data: bytes | bytearray) -> str:
    """Return S3's base64 form of a checksum; `algorithm` as in the header's name (crc64nvme is slow here)."""
    return base64.b64encode(CHECKSUMS[algorithm](data)).decode()


@dataclass(slots=True, frozen=True)
class StoredObject:
    """An object, or a delete marker.

    Attributes:
        key: Its key. body: Its bytes. etag: With the quotes. modified: Whole seconds since 1970 of the
            server's clock.
        headers: The stored response headers (content-type, cache-control ...), lower-case names.
        metadata: User metadata without the x-amz-meta- prefix, lower-case names.
        tagging: The x-amz-tagging header as sent. checksums: algorithm to base64 value; of the type
            `checksum_type`.
        parts: Sizes of the parts of a multipart upload. storage_class: "STANDARD" if not given.
        extra: Further x-amz-* headers that were given and are given back (encryption).
        version_id: "null" where versions are off.
    """

    key: str
    body: Body
    etag: str
    modified: int
    headers: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    tagging: str = ""
    checksums: dict[str, str] = field(default_factory=dict)
    checksum_type: str = "FULL_OBJECT"
    parts: tuple[int, ...] = ()
    storage_class: str = "STANDARD"
    extra: dict[str, str] = field(default_factory=dict)
    version_id: str = "null"
    delete_marker: bool = False

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self.body.size

    @property
    def data(self) -> bytes:
        """The whole body; a copy."""
        return b"".join(self.body.views(0, self.body.size))


@dataclass(slots=True, frozen=True)
class Part:
    """An uploaded part."""

    number: int
    body: Body
    etag: str
    modified: int
    checksums: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Upload:
    """An open multipart upload. `draft` holds the attributes of the object that it will become."""

    id: str
    bucket: str
    key: str
    initiated: int
    draft: StoredObject
    checksum_algorithm: str = ""
    checksum_type: str = ""
    parts: dict[int, Part] = field(default_factory=dict)


@dataclass(slots=True)
class Bucket:
    """A bucket. `public` lets anybody read without a signature."""

    name: str
    region: str
    public: bool = False
    versioned: bool = False
    objects: dict[str, StoredObject] = field(default_factory=dict)
    versions: dict[str, list[StoredObject]] = field(default_factory=dict)
    _sorted: list[tuple[bytes, str]] | None = None

    def sorted_keys(self) -> list[tuple[bytes, str]]:
        """Return (UTF-8 bytes, key) in S3's order, which is that of the bytes."""
        if self._sorted is None:
            self._sorted = sorted((key.encode("utf-8", "surrogateescape"), key) for key in self.objects)
        return self._sorted

    def forget_order(self) -> None:
        """Note that a key came or went."""
        self._sorted = None


@dataclass(slots=True)
class ListPage:
    """One page of a listing."""

    contents: list[StoredObject]
    prefixes: list[str]
    next_token: str | None


def _matches(header: str, etag: str) -> bool:
    tags = [tag.strip() for tag in header.split(",")]
    return "*" in tags or etag in tags or etag.strip('"') in tags


def _seconds(header: str) -> float | None:
    try:
        return parsedate_to_datetime(header).timestamp()
    except (TypeError, ValueError):
        return None


def check_conditions(
    fields: Mapping[str, list[str]], stored: StoredObject, *, prefix: str = "", copy: bool = False
) -> int:
    """Evaluate the four conditional headers of a read, or of a copy's source.

    RFC 9110 section 13.2.2 and S3's own rule: If-Match that holds outweighs If-Unmodified-Since,
    If-None-Match that holds outweighs If-Modified-Since.

    Args:
        fields: The request's headers.
        stored: The object.
        prefix: Before the header names: "x-amz-copy-source-" for a copy.
        copy: 412 where a read would answer 304.

    Returns:
        200, 304 or 412.
    """

    def value(name: str) -> str | None:
        values = fields.get(prefix + name)
        return values[0] if values else None

    if_match, if_none_match = value("if-match"), value("if-none-match")
    unmodified, modified = value("if-unmodified-since"), value("if-modified-since")
    if if_match is not None:
        if not _matches(if_match, stored.etag):
            return 412
    elif unmodified is not None:
        limit = _seconds(unmodified)
        if limit is not None and stored.modified > limit:
            return 412
    not_modified = 412 if copy else 304
    if if_none_match is not None:
        if _matches(if_none_match, stored.etag):
            return not_modified
    elif modified is not None:
        limit = _seconds(modified)
        if limit is not None and stored.modified <= limit:
            return not_modified
    return 200


class Store:
    """Everything that the server holds.

    Args:
        clock: Gives the server's time in seconds since 1970.
        region: The region of new buckets.
        min_part_size: A part but the last that is smaller makes Complete fail with EntityTooSmall; 0 switches
            that off.
    """

    def __init__(self, clock: Callable[[], float], region: str, min_part_size: int = MIN_PART) -> None:
        self.clock = clock
        self.region = region
        self.min_part_size = min_part_size
        self.buckets: dict[str, Bucket] = {}
        self.uploads: dict[str, Upload] = {}
        self.completed: list[str] = []
        self.aborted: list[str] = []
        self.max_copy_size = 5 * 1024**3
        # Some clones of S3 give upload ids with characters that need encoding in a query. Empty for clients
        # that cannot do that.
        self.upload_id_end = "+/="
        self.lock = threading.RLock()
        self._token_salt = secrets.token_bytes(3)

    def create_bucket(
        self, name: str, *, region: str | None = None, public: bool = False, versioned: bool = False
    ) -> Bucket:
        """Create a bucket.

        Raises:
            S3Error: BucketAlreadyOwnedByYou.
        """
        with self.lock:
            if name in self.buckets:
                raise S3Error(
                    "BucketAlreadyOwnedByYou",
                    "Your previous request to create the named bucket succeeded.",
                    elements={"BucketName": name},
                )
            self.buckets[name] = Bucket(name, region or self.region, public, versioned)
            return self.buckets[name]

    def bucket(self, name: str) -> Bucket:
        """Return a bucket.

        Raises:
            S3Error: NoSuchBucket.
        """
        bucket = self.buckets.get(name)
        if bucket is None:
            raise S3Error(
                "NoSuchBucket", "The specified bucket does not exist", elements={"BucketName": name}
            )
        return bucket

    def delete_bucket(self, name: str) -> None:
        """Delete an empty bucket.

        Raises:
            S3Error: NoSuchBucket, BucketNotEmpty.
        """
        with self.lock:
            if self.bucket(name).objects:
                raise S3Error(
                    "BucketNotEmpty",
                    "The bucket you tried to delete is not empty",
                    elements={"BucketName": name},
                )
            del self.buckets[name]

    def get(self, bucket_name: str, key: str, version: str = "") -> StoredObject:
        """Return an object.

        Raises:
            S3Error: NoSuchBucket, NoSuchKey, NoSuchVersion.
        """
        bucket = self.bucket(bucket_name)
        if version:
            current = [bucket.objects[key]] if key in bucket.objects else []
            for stored in bucket.versions.get(key) or current:
                if stored.version_id == version and not stored.delete_marker:
                    return stored
            raise S3Error(
                "NoSuchVersion",
                "The specified version does not exist.",
                elements={"Key": key, "VersionId": version},
            )
        found = bucket.objects.get(key)
        if found is None:
            raise S3Error("NoSuchKey", "The specified key does not exist.", elements={"Key": key})
        return found

    def check_write(self, bucket_name: str, key: str, if_match: str = "", if_none_match: str = "") -> None:
        """Check the conditions of a write.

        Raises:
            S3Error: KeyTooLongError; PreconditionFailed; NoSuchKey for If-Match on a missing key;
            NotImplemented for an
                If-None-Match other than `*`.
        """
        size = len(key.encode("utf-8", "surrogateescape"))
        if size > MAX_KEY_BYTES:
            raise S3Error(
                "KeyTooLongError",
                "Your key is too long",
                elements={"Size": str(size), "MaxSizeAllowed": str(MAX_KEY_BYTES)},
            )
        current = self.bucket(bucket_name).objects.get(key)
        if if_none_match and if_none_match != "*":
            raise S3Error(
                "NotImplemented",
                "A header you provided implies functionality that is not implemented",
                elements={"Header": "If-None-Match"},
            )
        if if_none_match and current is not None:
            raise S3Error(
                "PreconditionFailed",
                "At least one of the pre-conditions you specified did not hold",
                elements={"Condition": "If-None-Match"},
            )
        if if_match:
            if current is None:
                raise S3Error("NoSuchKey", "The specified key does not exist.", elements={"Key": key})
            if not _matches(if_match, current.etag):
                raise S3Error(
                    "PreconditionFailed",
                    "At least one of the pre-conditions you specified did not hold",
                    elements={"Condition": "If-Match"},
                )

    def put(
        self, bucket_name: str, stored: StoredObject, *, if_match: str = "", if_none_match: str = ""
    ) -> StoredObject:
        """Store an object.

        Raises:
            S3Error: As `check_write`.
        """
        with self.lock:
            bucket = self.bucket(bucket_name)
            self.check_write(bucket_name, stored.key, if_match, if_none_match)
            if bucket.versioned:
                stored = replace(stored, version_id=secrets.token_urlsafe(24))
                bucket.versions.setdefault(stored.key, []).append(stored)
            if stored.key not in bucket.objects:
                bucket.forget_order()
            bucket.objects[stored.key] = stored
            return stored

    def delete(self, bucket_name: str, key: str, version: str = "") -> StoredObject | None:
        """Delete an object; deleting what is not there succeeds.

        Returns:
            The delete marker that was made, in a bucket with versions.
        """
        with self.lock:
            bucket = self.bucket(bucket_name)
            if version and version != "null":
                left = [stored for stored in bucket.versions.get(key, []) if stored.version_id != version]
                bucket.versions[key] = left
                bucket.objects.pop(key, None)
                if left and not left[-1].delete_marker:
                    bucket.objects[key] = left[-1]
                bucket.forget_order()
                return None
            if bucket.objects.pop(key, None) is not None:
                bucket.forget_order()
            if not bucket.versioned:
                return None
            marker = StoredObject(
                key,
                BytesBody(),
                "",
                int(self.clock()),
                version_id=secrets.token_urlsafe(24),
                delete_marker=True,
            )
            bucket.versions.setdefault(key, []).append(marker)
            return marker

    def create_upload(
        self, bucket_name: str, draft: StoredObject, checksum_algorithm: str = "", checksum_type: str = ""
    ) -> Upload:
        """Open a multipart upload."""
        with self.lock:
            self.check_write(bucket_name, draft.key)
            upload = Upload(
                secrets.token_urlsafe(30) + self.upload_id_end,
                bucket_name,
                draft.key,
                int(self.clock()),
                draft,
                checksum_algorithm,
                checksum_type,
            )
            self.uploads[upload.id] = upload
            return upload

    def upload(self, bucket_name: str, key: str, upload_id: str) -> Upload:
        """Return an open upload.

        Raises:
            S3Error: NoSuchUpload.
        """
        upload = self.uploads.get(upload_id)
        if upload is None or (upload.bucket, upload.key) != (bucket_name, key):
            raise S3Error(
                "NoSuchUpload",
                "The specified upload does not exist. The upload ID may be invalid, "
                "or the upload may have been aborted or completed.",
                elements={"UploadId": upload_id},
            )
        return upload

    def put_part(self, upload: Upload, part: Part) -> None:
        """Store a part; a second one of the same number replaces the first.

        Raises:
            S3Error: InvalidArgument for a number outside 1..10000.
        """
        if not 1 <= part.number <= MAX_PARTS:
            raise S3Error(
                "InvalidArgument",
                "Part number must be an integer between 1 and 10000, inclusive",
                elements={"ArgumentName": "partNumber"},
            )
        with self.lock:
            upload.parts[part.number] = part

    def complete(
        self,
        upload: Upload,
        wanted: Sequence[tuple[int, str, dict[str, str]]],
        *,
        whole: str = "",
        if_match: str = "",
        if_none_match: str = "",
    ) -> StoredObject:
        """Make the object of an upload's parts.

        Args:
            upload: The upload.
            wanted: The client's list: number, ETag, checksums by algorithm.
            whole: What the client says that the object's checksum is, or "".
            if_match: The header, or "".
            if_none_match: The header, or "".

        Raises:
            S3Error: MalformedXML, InvalidPartOrder, InvalidPart, EntityTooSmall, InvalidRequest for a
                checksum that is missing, BadDigest, or as `check_write`.
        """
        with self.lock:
            self.check_write(upload.bucket, upload.key, if_match, if_none_match)
            parts = self._wanted_parts(upload, wanted)
            digest = hashlib.md5(
                b"".join(bytes.fromhex(part.etag.strip('"')) for part in parts), usedforsecurity=False
            ).hexdigest()
            body = SegmentsBody([part.body for part in parts])
            self._check_listed(upload, wanted)
            sums = self._whole_checksums(upload, parts, body)
            if whole and sums.get(upload.checksum_algorithm) != whole:
                raise S3Error(
                    "BadDigest",
                    f"The {upload.checksum_algorithm} you specified did not match the calculated checksum.",
                )
            stored = replace(
                upload.draft,
                body=body,
                etag=f'"{digest}-{len(parts)}"',
                modified=int(self.clock()),
                parts=tuple(part.body.size for part in parts),
                checksums=sums,
                checksum_type=upload.checksum_type or "FULL_OBJECT",
            )
            stored = self.put(upload.bucket, stored)
            del self.uploads[upload.id]
            self.completed.append(upload.id)
            return stored

    def _wanted_parts(self, upload: Upload, wanted: Sequence[tuple[int, str, dict[str, str]]]) -> list[Part]:
        if not wanted:
            raise S3Error(
                "MalformedXML",
                "The XML you provided was not well-formed or did not validate against our published schema",
            )
        numbers = [number for number, _, _ in wanted]
        if any(later <= earlier for earlier, later in pairwise(numbers)):
            raise S3Error(
                "InvalidPartOrder",
                "The list of parts was not in ascending order. Parts must be ordered by part number.",
            )
        parts = []
        for number, etag, sums in wanted:
            part = upload.parts.get(number)
            if (
                part is None
                or etag.strip('"') != part.etag.strip('"')
                or any(part.checksums.get(name) != value for name, value in sums.items())
            ):
                raise S3Error(
                    "InvalidPart",
                    "One or more of the specified parts could not be found. "
                    "The part may not have been uploaded, "
                    "or the specified entity tag may not match the part's entity tag.",
                    elements={"UploadId": upload.id, "PartNumber": str(number), "ETag": etag},
                )
            parts.append(part)
        for part in parts[:-1]:
            if part.body.size < self.min_part_size:
                raise S3Error(
                    "EntityTooSmall",
                    "Your proposed upload is smaller than the minimum allowed size",
                    elements={
                        "ProposedSize": str(part.body.size),
                        "MinSizeAllowed": str(self.min_part_size),
                        "PartNumber": str(part.number),
                    },
                )
        return parts

    @staticmethod
    def _check_listed(upload: Upload, wanted: Sequence[tuple[int, str, dict[str, str]]]) -> None:
        """Check that each part of an upload with composite checksums is listed with its own."""
        algorithm = upload.checksum_algorithm
        missing = [number for number, _, sums in wanted if algorithm not in sums]
        if upload.checksum_type == "COMPOSITE" and missing:
            raise S3Error(
                "InvalidRequest",
                f"The upload was created using a {algorithm} checksum. The complete request must include the "
                f"checksum for each part. It was missing for part {missing[0]} in the request.",
            )

    @staticmethod
    def _whole_checksums(upload: Upload, parts: Sequence[Part], body: Body) -> dict[str, str]:
        algorithm = upload.checksum_algorithm
        if upload.checksum_type == "FULL_OBJECT":
            return {algorithm: checksum(algorithm, b"".join(body.views(0, body.size)))}
        if not algorithm or any(algorithm not in part.checksums for part in parts):
            return {}
        joined = b"".join(base64.b64decode(part.checksums[algorithm]) for part in parts)
        return {algorithm: f"{checksum(algorithm, joined)}-{len(parts)}"}

    def abort(self, upload: Upload) -> None:
        """Forget an upload and its parts."""
        with self.lock:
            self.uploads.pop(upload.id, None)
            self.aborted.append(upload.id)

    def list_page(
        self, bucket_name: str, prefix: str, delimiter: str, start_after: str, token: str, max_keys: int
    ) -> ListPage:
        """List one page, in the order of the keys' UTF-8 bytes.

        Raises:
            S3Error: NoSuchBucket; InvalidArgument for a token that this server did not give.
        """
        with self.lock:
            bucket = self.bucket(bucket_name)
            page = ListPage([], [], None)
            keys = bucket.sorted_keys()
            prefix_bytes = prefix.encode("utf-8", "surrogateescape")
            at = bisect_left(keys, (prefix_bytes, ""))
            if token:
                at = max(at, self._after(keys, self._read_token(token)))
            elif start_after:
                at = max(
                    at,
                    bisect_right(
                        keys, start_after.encode("utf-8", "surrogateescape"), key=lambda item: item[0]
                    ),
                )
            while at < len(keys) and keys[at][0].startswith(prefix_bytes):
                key = keys[at][1]
                cut = key.find(delimiter, len(prefix)) if delimiter else -1
                if len(page.contents) + len(page.prefixes) >= max_keys:
                    if max_keys:
                        page.next_token = self._make_token(page, keys, at)
                    break
                if cut < 0:
                    page.contents.append(bucket.objects[key])
                    at += 1
                else:
                    common = key[: cut + len(delimiter)]
                    page.prefixes.append(common)
                    at = self._after(keys, b"p" + common.encode("utf-8", "surrogateescape"))
            return page

    @staticmethod
    def _after(keys: list[tuple[bytes, str]], mark: bytes) -> int:
        """Return the index of the first key behind a mark: "k" and a key, or "p" and a prefix to pass."""
        kind, value = mark[:1], mark[1:]
        if kind == b"p":
            # No UTF-8 byte is 0xff, so this is behind every key with the prefix.
            return bisect_left(keys, value + b"\xff", key=lambda item: item[0])
        return bisect_right(keys, value, key=lambda item: item[0])

    def _make_token(self, page: ListPage, keys: list[tuple[bytes, str]], at: int) -> str:
        before = keys[at - 1][0]
        prefixes = [prefix.encode("utf-8", "surrogateescape") for prefix in page.prefixes[-1:]]
        mark = b"p" + prefixes[0] if prefixes and before.startswith(prefixes[0]) else b"k" + before
        # Reversed and salted, so that no client takes the token for a key; base64's + / = need encoding.
        return base64.b64encode(self._token_salt + b"\xfb\xef\xff" + mark[::-1]).decode()

    def _read_token(self, token: str) -> bytes:
        try:
            raw = base64.b64decode(token, validate=True)
        except ValueError:
            raw = b""
        if not raw.startswith(self._token_salt + b"\xfb\xef\xff"):
            raise S3Error(
                "InvalidArgument",
                "The continuation token provided is incorrect",
                elements={"ArgumentName": "continuation-token"},
            )
        return raw[6:][::-1]

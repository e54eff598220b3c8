"""S3's REST face: requests to operations on the store, results to answers.

`Api.handle` takes a request whose signature was already checked. What S3 would answer with an error is raised
as `S3Error`.
"""

from __future__ import annotations

import base64
import hashlib
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus, unquote_plus, unquote_to_bytes
from xml.etree import ElementTree as ET

from .errors import S3Error, xml_text
from .http import BytesBody, Request, Response, http_date
from .store import CHECKSUMS, Part, SegmentsBody, Store, StoredObject, check_conditions, checksum

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .http import Body

__all__ = ["NAMESPACE", "Api", "is_directory", "xml_response"]

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
MAX_PUT = 5 * 1024**3

_STORED_HEADERS = (
    "content-type",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
)
_EXTRA_HEADERS = (
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-bucket-key-enabled",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-server-side-encryption-customer-key-md5",
    "x-amz-website-redirect-location",
)
_CUSTOMER = "server-side-encryption-customer-"
_SOURCE = "x-amz-copy-source-"
_RESPONSE_OVERRIDES = {f"response-{name}": name for name in _STORED_HEADERS}
# A key behind an access point, whose bucket is called here what its host is called.
_ACCESS_POINT = re.compile(
    r"arn:[^:]+:s3:[^:]+:(?P<account>\d+):accesspoint/(?P<name>[^/]+)/object/(?P<key>.+)"
)
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_CHECKSUM_NAMES = {f"Checksum{name.upper()}": name for name in CHECKSUMS}
_SUBRESOURCES = frozenset(
    [
        "accelerate",
        "acl",
        "analytics",
        "attributes",
        "cors",
        "encryption",
        "inventory",
        "legal-hold",
        "lifecycle",
        "logging",
        "metrics",
        "notification",
        "object-lock",
        "ownershipControls",
        "policy",
        "publicAccessBlock",
        "replication",
        "requestPayment",
        "restore",
        "retention",
        "select",
        "session",
        "tagging",
        "torrent",
        "versioning",
        "versions",
        "website",
    ]
)


def _iso(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))


def is_directory(bucket: str) -> bool:
    """Tell a bucket of S3 Express One Zone by its name."""
    return bucket.endswith(("--x-s3", "--xa-s3"))


def xml_response(root: str, inner: str, status: int = 200) -> Response:
    """Make an XML answer with S3's name space."""
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} xmlns="{NAMESPACE}">{inner}</{root}>'
    return Response(
        status, {"Content-Type": "application/xml"}, BytesBody(text.encode("utf-8", "surrogateescape"))
    )


def _tags(pairs: Iterable[tuple[str, str]]) -> str:
    return "".join(f"<{name}>{xml_text(value)}</{name}>" for name, value in pairs)


def _malformed() -> S3Error:
    return S3Error(
        "MalformedXML",
        "The XML you provided was not well-formed or did not validate against our published schema",
    )


def _parse_xml(body: bytes | bytearray, root: str) -> ET.Element:
    try:
        element = ET.fromstring(bytes(body))
    except ET.ParseError as error:
        raise _malformed() from error
    for node in element.iter():
        node.tag = node.tag.removeprefix(f"{{{NAMESPACE}}}")
    if element.tag != root:
        raise _malformed()
    return element


def _customer_key(request: Request, prefix: str = "x-amz-") -> str:
    """Check the three headers of a customer's key, and return the key's MD5; "" without a key.

    Raises:
        S3Error: InvalidArgument.
    """
    key, algorithm, digest = (
        request.header(prefix + _CUSTOMER + part) for part in ("key", "algorithm", "key-md5")
    )
    if not (key or algorithm or digest):
        return ""
    try:
        raw = base64.b64decode(key, validate=True)
    except ValueError:
        raw = b""
    if algorithm != "AES256" or len(raw) != 32:
        raise S3Error("InvalidArgument", "The secret key was invalid for the specified algorithm.")
    if base64.b64encode(hashlib.md5(raw, usedforsecurity=False).digest()).decode() != digest:
        raise S3Error(
            "InvalidArgument", "The calculated MD5 hash of the key did not match the hash that was provided."
        )
    return digest


class Api:
    """The operations.

    Args:
        store: Where the objects are.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    def handle(self, request: Request, body: bytearray) -> Response:
        """Do a request's operation.

        Raises:
            S3Error: What S3 would answer.
        """
        unknown = _SUBRESOURCES & request.query.keys()
        if request.method == "GET" and request.key:
            unknown -= {"tagging"}
        if unknown:
            raise S3Error("NotImplemented", f"This server does not know the subresource {sorted(unknown)}")
        if not request.bucket:
            return self._list_buckets(request)
        if not request.key:
            return self._bucket_operation(request, body)
        return self._object_operation(request, body)

    def _bucket_operation(self, request: Request, body: bytearray) -> Response:
        match request.method, request.query:
            case "PUT", _:
                self.store.create_bucket(request.bucket)
                response = Response(200, {"Location": f"/{request.bucket}"})
            case "HEAD", _:
                bucket = self.store.bucket(request.bucket)
                response = Response(200, {"x-amz-bucket-region": bucket.region})
            case "DELETE", _:
                self.store.delete_bucket(request.bucket)
                response = Response(204)
            case "GET", {"location": _}:
                region = self.store.bucket(request.bucket).region
                response = xml_response("LocationConstraint", "" if region == "us-east-1" else region)
            case "GET", {"uploads": _}:
                response = self._list_uploads(request)
            case "GET", {"list-type": "2"}:
                response = self._list(request)
            case "POST", {"delete": _}:
                response = self._delete_many(request, body)
            case _:
                raise S3Error(
                    "MethodNotAllowed",
                    f"No such operation on a bucket here: {request.method} ?{request.raw_query}",
                )
        return response

    def _object_operation(self, request: Request, body: bytearray) -> Response:
        copying = bool(request.header("x-amz-copy-source"))
        match request.method, request.query:
            case "GET", {"uploadId": _}:
                response = self._list_parts(request)
            case "GET", {"tagging": _}:
                response = self._get_tagging(request)
            case "GET" | "HEAD", _:
                response = self._get(request)
            case "PUT", {"uploadId": _, "partNumber": _}:
                response = self._copy_part(request) if copying else self._put_part(request, body)
            case "PUT", _:
                response = self._copy(request) if copying else self._put(request, body)
            case "POST", {"uploads": _}:
                response = self._create_upload(request)
            case "POST", {"uploadId": _}:
                response = self._complete(request, body)
            case "DELETE", {"uploadId": upload_id}:
                self.store.abort(self.store.upload(request.bucket, request.key, upload_id))
                response = Response(204)
            case "DELETE", _:
                response = self._delete(request)
            case _:
                raise S3Error(
                    "MethodNotAllowed",
                    f"No such operation on an object here: {request.method} ?{request.raw_query}",
                )
        return response

    # Reading.

    def _get(self, request: Request) -> Response:
        stored = self.store.get(request.bucket, request.key, request.query.get("versionId", ""))
        self._check_customer_key(request, stored)
        status = check_conditions(request.fields, stored)
        if status == 412:
            raise S3Error(
                "PreconditionFailed", "At least one of the pre-conditions you specified did not hold"
            )
        headers = self._object_headers(request, stored)
        if status == 304:
            headers.pop("Content-Type", None)
            return Response(304, headers)
        response = Response(200, headers, stored.body, 0, stored.size)
        part = request.part
        if part is not None:
            self._select_part(response, stored, part)
        else:
            self._select_range(request, response, stored)
        if response.status == 200 and request.header("x-amz-checksum-mode") == "ENABLED":
            response.headers |= {f"x-amz-checksum-{name}": value for name, value in stored.checksums.items()}
            if stored.checksums:
                response.headers["x-amz-checksum-type"] = stored.checksum_type
        return response

    def _get_tagging(self, request: Request) -> Response:
        stored = self.store.get(request.bucket, request.key, request.query.get("versionId", ""))
        pairs = (
            [unquote_plus(text) for text in pair.split("=")] for pair in stored.tagging.split("&") if pair
        )
        rows = (f"<Tag>{_tags([('Key', key), ('Value', value)])}</Tag>" for key, value in pairs)
        return xml_response("Tagging", f"<TagSet>{''.join(rows)}</TagSet>")

    @staticmethod
    def _select_part(response: Response, stored: StoredObject, part: int) -> None:
        sizes = stored.parts or (stored.size,)
        if not 1 <= part <= len(sizes):
            raise S3Error(
                "InvalidRange",
                "The requested partnumber is not satisfiable",
                elements={"ActualPartCount": str(len(sizes))},
            )
        start = sum(sizes[: part - 1])
        response.start, response.stop = start, start + sizes[part - 1]
        if stored.parts:
            response.headers["x-amz-mp-parts-count"] = str(len(sizes))
        if stored.size:
            response.status = 206
            response.headers["Content-Range"] = f"bytes {start}-{response.stop - 1}/{stored.size}"

    @staticmethod
    def _select_range(request: Request, response: Response, stored: StoredObject) -> None:
        header = request.header("range")
        match = _RANGE.fullmatch(header)
        if match is None or not (match[1] or match[2]):
            # S3 ignores what it cannot read, several ranges included.
            return
        size = stored.size
        if match[1]:
            start, last = int(match[1]), int(match[2]) if match[2] else size - 1
            if match[2] and int(match[2]) < start:
                return
        else:
            start, last = max(size - int(match[2]), 0), size - 1
            if int(match[2]) == 0:
                start = size
        if start >= size:
            raise S3Error(
                "InvalidRange",
                "The requested range is not satisfiable",
                elements={"RangeRequested": header, "ActualObjectSize": str(size)},
            )
        last = min(last, size - 1)
        response.status, response.start, response.stop = 206, start, last + 1
        response.headers["Content-Range"] = f"bytes {start}-{last}/{size}"

    @staticmethod
    def _object_headers(request: Request, stored: StoredObject) -> dict[str, str]:
        headers = {"Last-Modified": http_date(stored.modified), "ETag": stored.etag, "Accept-Ranges": "bytes"}
        headers["Content-Type"] = stored.headers.get("content-type", "binary/octet-stream")
        headers |= {name: value for name, value in stored.headers.items() if name != "content-type"}
        headers |= {f"x-amz-meta-{name}": value for name, value in stored.metadata.items()} | stored.extra
        if stored.storage_class != "STANDARD":
            headers["x-amz-storage-class"] = stored.storage_class
        if stored.version_id != "null":
            headers["x-amz-version-id"] = stored.version_id
        if stored.tagging:
            headers["x-amz-tagging-count"] = str(stored.tagging.count("&") + 1)
        for name, header in _RESPONSE_OVERRIDES.items():
            if name in request.query:
                headers.pop("Content-Type" if header == "content-type" else header, None)
                headers[header] = request.query[name]
        return headers

    @staticmethod
    def _check_customer_key(request: Request, stored: StoredObject, prefix: str = "x-amz-") -> None:
        """Check the key that comes with a read, or with `prefix` that for a copy's source."""
        wanted = stored.extra.get(f"x-amz-{_CUSTOMER}key-md5")
        given = _customer_key(request, prefix)
        if wanted is None:
            if given:
                raise S3Error(
                    "InvalidRequest", "The encryption parameters are not applicable to this object."
                )
            return
        if not given:
            raise S3Error(
                "InvalidRequest",
                "The object was stored using a form of Server Side Encryption. "
                "The correct parameters must be provided.",
            )
        if given != wanted:
            raise S3Error("AccessDenied", "The customer key does not fit the object")

    # Listing.

    def _list_buckets(self, request: Request) -> Response:
        if request.method != "GET":
            raise S3Error("MethodNotAllowed", "The specified method is not allowed against this resource.")
        rows = "".join(
            f"<Bucket><Name>{xml_text(name)}</Name><CreationDate>{_iso(0)}</CreationDate></Bucket>"
            for name in sorted(self.store.buckets)
        )
        return xml_response(
            "ListAllMyBucketsResult", f"<Owner><ID>owner</ID></Owner><Buckets>{rows}</Buckets>"
        )

    def _list(self, request: Request) -> Response:
        query = request.query
        limit = query.get("max-keys", "1000")
        if not limit.isdigit():
            raise S3Error(
                "InvalidArgument",
                "Provided max-keys not an integer or within integer range",
                elements={"ArgumentName": "max-keys"},
            )
        encoding = query.get("encoding-type", "")
        if encoding not in ("", "url"):
            raise S3Error(
                "InvalidArgument",
                "Invalid Encoding Method specified in Request",
                elements={"ArgumentName": "encoding-type"},
            )
        if "start-after" in query and is_directory(request.bucket):
            raise S3Error("NotImplemented", "Directory buckets do not know start-after")
        if "continuation-token" in query and not query["continuation-token"]:
            raise S3Error(
                "InvalidArgument",
                "The continuation token provided is incorrect",
                elements={"ArgumentName": "continuation-token"},
            )
        prefix, delimiter, start_after = (
            query.get("prefix", ""),
            query.get("delimiter", ""),
            query.get("start-after", ""),
        )
        token, max_keys = query.get("continuation-token", ""), min(int(limit), 1000)
        page = self.store.list_page(request.bucket, prefix, delimiter, start_after, token, max_keys)

        def enc(value: str) -> str:
            return quote_plus(value, safe="/", errors="surrogateescape") if encoding else value

        head = [("Name", request.bucket), ("Prefix", enc(prefix)), ("MaxKeys", str(int(limit)))]
        head += [("Delimiter", enc(delimiter))] if delimiter else []
        head += [("EncodingType", "url")] if encoding else []
        head += [("StartAfter", enc(start_after))] if start_after else []
        head += [("ContinuationToken", token)] if token else []
        head += [("NextContinuationToken", page.next_token)] if page.next_token else []
        head += [
            ("KeyCount", str(len(page.contents) + len(page.prefixes))),
            ("IsTruncated", "true" if page.next_token else "false"),
        ]
        owner = "<Owner><ID>owner</ID></Owner>" if query.get("fetch-owner") == "true" else ""
        rows = [
            f"<Contents><Key>{xml_text(enc(stored.key))}</Key><LastModified>{_iso(stored.modified)}</LastModified>"
            f"<ETag>{xml_text(stored.etag)}</ETag><Size>{stored.size}</Size>{owner}<StorageClass>{stored.storage_class}</StorageClass></Contents>"
            for stored in page.contents
        ]
        if is_directory(request.bucket):
            rows.reverse()  # Their listings are in no order.
        rows += [
            f"<CommonPrefixes><Prefix>{xml_text(enc(common))}</Prefix></CommonPrefixes>"
            for common in page.prefixes
        ]
        return xml_response("ListBucketResult", _tags(head) + "".join(rows))

    def _list_uploads(self, request: Request) -> Response:
        self.store.bucket(request.bucket)
        prefix = request.query.get("prefix", "")
        rows = "".join(
            "<Upload>"
            + _tags([("Key", upload.key), ("UploadId", upload.id), ("Initiated", _iso(upload.initiated))])
            + "</Upload>"
            for upload in self.store.uploads.values()
            if upload.bucket == request.bucket and upload.key.startswith(prefix)
        )
        return xml_response(
            "ListMultipartUploadsResult", _tags([("Bucket", request.bucket), ("IsTruncated", "false")]) + rows
        )

    def _list_parts(self, request: Request) -> Response:
        upload = self.store.upload(request.bucket, request.key, request.query["uploadId"])
        rows = "".join(
            "<Part>"
            + _tags(
                [
                    ("PartNumber", str(n)),
                    ("LastModified", _iso(part.modified)),
                    ("ETag", part.etag),
                    ("Size", str(part.body.size)),
                ]
            )
            + "</Part>"
            for n, part in sorted(upload.parts.items())
        )
        head = [
            ("Bucket", upload.bucket),
            ("Key", upload.key),
            ("UploadId", upload.id),
            ("IsTruncated", "false"),
        ]
        return xml_response("ListPartsResult", _tags(head) + rows)

    # Writing.

    @staticmethod
    def _check_body(request: Request, body: bytearray) -> dict[str, str]:
        """Verify Content-MD5 and x-amz-checksum-*; return the checksums that were given."""
        declared = request.header("content-md5")
        if declared:
            try:
                digest = base64.b64decode(declared, validate=True)
            except ValueError:
                digest = b""
            if len(digest) != 16:
                raise S3Error(
                    "InvalidDigest",
                    "The Content-MD5 you specified was invalid.",
                    elements={"Content-MD5": declared},
                )
            if digest != hashlib.md5(body, usedforsecurity=False).digest():
                raise S3Error(
                    "BadDigest",
                    "The Content-MD5 you specified did not match what we received.",
                    elements={"ExpectedDigest": declared},
                )
        given = {
            name: request.header(f"x-amz-checksum-{name}")
            for name in CHECKSUMS
            if request.header(f"x-amz-checksum-{name}")
        }
        if len(given) > 1:
            raise S3Error(
                "InvalidRequest",
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
            )
        for name, value in given.items():
            if checksum(name, body) != value:
                raise S3Error(
                    "BadDigest", f"The {name.upper()} you specified did not match the calculated checksum."
                )
        return given

    def _draft(self, request: Request, body: Body) -> StoredObject:
        _customer_key(request)
        return StoredObject(
            request.key,
            body,
            "",
            int(self.store.clock()),
            headers={name: request.header(name) for name in _STORED_HEADERS if request.header(name)},
            metadata={
                name.removeprefix("x-amz-meta-"): ",".join(values)
                for name, values in request.fields.items()
                if name.startswith("x-amz-meta-")
            },
            tagging=request.header("x-amz-tagging"),
            storage_class=request.header("x-amz-storage-class") or "STANDARD",
            extra={name: request.header(name) for name in _EXTRA_HEADERS if request.header(name)},
        )

    def _write(self, request: Request, stored: StoredObject) -> StoredObject:
        if_none_match = request.header("if-none-match") or request.header("cf-copy-destination-if-none-match")
        return self.store.put(
            request.bucket, stored, if_match=request.header("if-match"), if_none_match=if_none_match
        )

    @staticmethod
    def _written_headers(stored: StoredObject) -> dict[str, str]:
        headers = dict(stored.extra)
        if stored.version_id != "null":
            headers["x-amz-version-id"] = stored.version_id
        return headers

    def _put(self, request: Request, body: bytearray) -> Response:
        self.store.bucket(request.bucket)
        if len(body) > MAX_PUT:
            raise S3Error("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
        sums = self._check_body(request, body)
        etag = f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
        stored = self._write(
            request, replace(self._draft(request, BytesBody(body)), etag=etag, checksums=sums)
        )
        sent = {f"x-amz-checksum-{name}": value for name, value in sums.items()}
        return Response(200, {"ETag": stored.etag} | self._written_headers(stored) | sent)

    def _delete(self, request: Request) -> Response:
        marker = self.store.delete(request.bucket, request.key, request.query.get("versionId", ""))
        if marker is None:
            return Response(204)
        return Response(204, {"x-amz-version-id": marker.version_id, "x-amz-delete-marker": "true"})

    def _delete_many(self, request: Request, body: bytearray) -> Response:
        self.store.bucket(request.bucket)
        if not self._check_body(request, body) and not request.header("content-md5"):
            raise S3Error(
                "InvalidRequest", "Missing required header for this request: Content-MD5 OR x-amz-checksum-*"
            )
        document = _parse_xml(body, "Delete")
        objects = document.findall("Object")
        if not 1 <= len(objects) <= 1000:
            raise _malformed()
        quiet = (document.findtext("Quiet") or "").strip() == "true"
        rows = []
        for item in objects:
            key = item.findtext("Key")
            if not key:
                raise _malformed()
            self.store.delete(request.bucket, key, item.findtext("VersionId") or "")
            if not quiet:
                rows.append(f"<Deleted><Key>{xml_text(key)}</Key></Deleted>")
        return xml_response("DeleteResult", "".join(rows))

    # Copying.

    def _source(self, request: Request) -> StoredObject:
        path, _, query = request.header("x-amz-copy-source").partition("?")
        decoded = unquote_to_bytes(path).decode("utf-8", "surrogateescape").removeprefix("/")
        bucket, slash, key = decoded.partition("/")
        if point := _ACCESS_POINT.fullmatch(decoded):
            bucket, key = f"{point['name']}-{point['account']}", point["key"]
        if not (bucket and slash and key):
            raise S3Error(
                "InvalidArgument",
                "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
            )
        stored = self.store.get(bucket, key, query.removeprefix("versionId=") if query else "")
        self._check_customer_key(request, stored, _SOURCE)
        if check_conditions(request.fields, stored, prefix=_SOURCE, copy=True) != 200:
            raise S3Error(
                "PreconditionFailed", "At least one of the pre-conditions you specified did not hold"
            )
        return stored

    def _copy(self, request: Request) -> Response:
        source = self._source(request)
        if source.size > self.store.max_copy_size:
            raise S3Error(
                "InvalidRequest",
                "The specified copy source is larger than the maximum allowable size for a copy source: "
                f"{self.store.max_copy_size}",
            )
        directive = request.header("x-amz-metadata-directive") or "COPY"
        if directive not in ("COPY", "REPLACE"):
            raise S3Error(
                "InvalidArgument",
                "Unknown metadata directive.",
                elements={"ArgumentName": "x-amz-metadata-directive"},
            )
        draft = self._draft(request, source.body)
        same = self.store.bucket(request.bucket).objects.get(request.key) is source
        changed = directive == "REPLACE" or draft.storage_class != source.storage_class or draft.extra
        if same and not changed:
            raise S3Error(
                "InvalidRequest",
                "This copy request is illegal because it is trying to copy an object to itself "
                "without changing the object's metadata, storage class, website redirect location "
                "or encryption attributes.",
            )
        if directive == "COPY":
            draft = replace(draft, headers=source.headers, metadata=source.metadata)
        if request.header("x-amz-tagging-directive") != "REPLACE":
            draft = replace(draft, tagging=source.tagging)
        # A copy is a single object: its ETag is the MD5 of the bytes, also where the source has parts.
        etag = (
            source.etag
            if not source.parts
            else f'"{hashlib.md5(source.data, usedforsecurity=False).hexdigest()}"'
        )
        stored = self._write(
            request, replace(draft, etag=etag, checksums=source.checksums if not source.parts else {})
        )
        response = xml_response(
            "CopyObjectResult", _tags([("LastModified", _iso(stored.modified)), ("ETag", stored.etag)])
        )
        response.headers |= self._written_headers(stored)
        return response

    # Multipart.

    def _create_upload(self, request: Request) -> Response:
        self.store.bucket(request.bucket)
        algorithm = request.header("x-amz-checksum-algorithm").lower()
        if algorithm and algorithm not in CHECKSUMS:
            raise S3Error("InvalidRequest", "Checksum algorithm provided is unsupported.")
        kind = request.header("x-amz-checksum-type") or (
            "" if not algorithm else "FULL_OBJECT" if algorithm == "crc64nvme" else "COMPOSITE"
        )
        allowed = {"": [""], "crc64nvme": ["FULL_OBJECT"], "sha1": ["COMPOSITE"], "sha256": ["COMPOSITE"]}
        if kind not in allowed.get(algorithm, ["COMPOSITE", "FULL_OBJECT"]):
            raise S3Error(
                "InvalidRequest", f"The {kind} checksum type cannot be used with the {algorithm} checksum."
            )
        upload = self.store.create_upload(request.bucket, self._draft(request, BytesBody()), algorithm, kind)
        pairs = [("Bucket", request.bucket), ("Key", request.key), ("UploadId", upload.id)]
        response = xml_response("InitiateMultipartUploadResult", _tags(pairs))
        response.headers |= upload.draft.extra
        if algorithm:
            response.headers["x-amz-checksum-algorithm"] = algorithm.upper()
            response.headers["x-amz-checksum-type"] = kind
        return response

    def _put_part(self, request: Request, body: bytearray) -> Response:
        upload = self.store.upload(request.bucket, request.key, request.query["uploadId"])
        self._check_customer_key(request, upload.draft)
        sums = self._check_body(request, body)
        if upload.checksum_algorithm and any(name != upload.checksum_algorithm for name in sums):
            raise S3Error(
                "InvalidRequest",
                f"Checksum Type mismatch occurred, expected checksum Type: {upload.checksum_algorithm}, "
                f"actual checksum Type: {next(iter(sums))}",
            )
        etag = f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
        self.store.put_part(
            upload, Part(request.part or 0, BytesBody(body), etag, int(self.store.clock()), sums)
        )
        return Response(
            200, {"ETag": etag} | {f"x-amz-checksum-{name}": value for name, value in sums.items()}
        )

    def _copy_part(self, request: Request) -> Response:
        upload = self.store.upload(request.bucket, request.key, request.query["uploadId"])
        self._check_customer_key(request, upload.draft)
        source = self._source(request)
        start, stop = 0, source.size
        header = request.header("x-amz-copy-source-range")
        if header:
            match = re.fullmatch(r"bytes=(\d+)-(\d+)", header)
            if match is None:
                raise S3Error(
                    "InvalidArgument",
                    "The x-amz-copy-source-range value must be of the form bytes=first-last",
                )
            start, stop = int(match[1]), int(match[2]) + 1
            if start >= stop or stop > source.size:
                raise S3Error(
                    "InvalidArgument",
                    f"Range specified is not valid for source object of size: {source.size}",
                )
        pieces = SegmentsBody([BytesBody(view) for view in source.body.views(start, stop)])
        digest = hashlib.md5(usedforsecurity=False)
        for view in pieces.views(0, pieces.size):
            digest.update(view)
        part = Part(request.part or 0, pieces, f'"{digest.hexdigest()}"', int(self.store.clock()))
        self.store.put_part(upload, part)
        return xml_response(
            "CopyPartResult", _tags([("LastModified", _iso(part.modified)), ("ETag", part.etag)])
        )

    def _complete(self, request: Request, body: bytearray) -> Response:
        upload = self.store.upload(request.bucket, request.key, request.query["uploadId"])
        wanted = []
        for item in _parse_xml(body, "CompleteMultipartUpload").findall("Part"):
            number, etag = (item.findtext("PartNumber") or "").strip(), (item.findtext("ETag") or "").strip()
            if not number.isdigit() or not etag:
                raise _malformed()
            sums = {
                name: item.findtext(tag) or ""
                for tag, name in _CHECKSUM_NAMES.items()
                if item.find(tag) is not None
            }
            wanted.append((int(number), etag, sums))
        if upload.checksum_algorithm:
            # AWS: "required only when the object was created using a checksum algorithm".
            self._check_customer_key(request, upload.draft)
        if request.header("x-amz-checksum-type") not in ("", upload.checksum_type):
            raise S3Error("InvalidRequest", "The checksum type is not that of the upload.")
        stored = self.store.complete(
            upload,
            wanted,
            whole=request.header(f"x-amz-checksum-{upload.checksum_algorithm}"),
            if_match=request.header("if-match"),
            if_none_match=request.header("if-none-match"),
        )
        location = (
            f"http://{request.header('host')}/{request.bucket}/{quote(request.key, errors='surrogateescape')}"
        )
        pairs = [
            ("Location", location),
            ("Bucket", request.bucket),
            ("Key", request.key),
            ("ETag", stored.etag),
        ]
        response = xml_response("CompleteMultipartUploadResult", _tags(pairs))
        response.headers |= self._written_headers(stored)
        return response

"""pure/xml: the documents of AWS, MinIO and moto, hostile ones, and every way for one to be cut short."""

from __future__ import annotations

import datetime as dt
import time
import urllib.parse
import xml.etree.ElementTree as ET
from xml.parsers import expat

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from tests.pure.fuzzing import search
from tests.pure.guard import Guard
from tests.pure.native import CSRC, load

XML_SOURCES = [*sorted(str(path.relative_to(CSRC)) for path in CSRC.glob("pure/xml_*.c")), "pure/http.c"]

ffi, lib = load(
    "xml",
    XML_SOURCES,
    """
    struct s3_str { const char *data; size_t size; };
    struct s3_buf { char *data; size_t size, capacity, limit; bool fixed, failed, starved; };
    void s3i_buf_init(struct s3_buf *buf, size_t limit);
    void s3i_buf_clear(struct s3_buf *buf);
    struct s3_xml_error {
        char code[64], message[256], request_id[64], host_id[128], region[64], endpoint[256], server_time[40];
    };
    bool s3i_xml_error(struct s3_str document, struct s3_xml_error *error);
    int s3i_xml_fields(struct s3_str document, const char *root, const char *const *names,
                       struct s3_buf *outs, size_t count, struct s3_xml_error *error);
    struct s3_list_entry {
        uint32_t key_offset, key_size, etag_offset, etag_size;
        uint64_t size;
        int64_t last_modified_us;
    };
    struct s3_list_page {
        struct s3_buf text;
        struct s3_list_entry *objects;
        size_t object_count, object_capacity;
        struct s3_list_entry *prefixes;
        size_t prefix_count, prefix_capacity;
        struct s3_buf next_token;
        bool truncated;
    };
    void s3i_list_page_init(struct s3_list_page *page);
    void s3i_list_page_clear(struct s3_list_page *page);
    int s3i_xml_list(struct s3_str document, size_t max_entries, struct s3_list_page *page,
                     struct s3_xml_error *error);
    struct s3_delete_failure {
        uint32_t key_offset, key_size, code_offset, code_size, message_offset, message_size;
    };
    struct s3_delete_result {
        struct s3_buf text;
        struct s3_delete_failure *failures;
        size_t failure_count, failure_capacity;
    };
    void s3i_delete_result_init(struct s3_delete_result *result);
    void s3i_delete_result_clear(struct s3_delete_result *result);
    int s3i_xml_delete(struct s3_str document, size_t max_entries, struct s3_delete_result *result,
                       struct s3_xml_error *error);
    void s3i_xml_add_text(struct s3_buf *out, struct s3_str text);
    void s3i_alloc_fail_after(long count);
    long s3i_alloc_live(void);
    """,
)

OK, INVALID, NO_MEMORY, SERVER, PROTOCOL = 0, -1, -2, -17, -24
GUARD = Guard()
DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>\n'
NAMESPACE = b' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'

AWS_PAGE = (
    DECLARATION
    + b"<ListBucketResult"
    + NAMESPACE
    + b"><Name>bucket</Name><Prefix>data/</Prefix><NextContinuationToken>1ueGcxLPRx1Tr/XYEx+nhQ=="
    b"</NextContinuationToken><KeyCount>3</KeyCount><MaxKeys>3</MaxKeys><Delimiter>/</Delimiter>"
    b"<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><Contents><Key>data/my+image%2B1.jpg</Key>"
    b"<LastModified>2009-10-12T17:50:30.000Z</LastModified><ETag>&quot;fba9dede5f27731c9771645a39863328&quot;"
    b"</ETag><ChecksumAlgorithm>CRC32</ChecksumAlgorithm><Size>434234</Size><Owner><ID>7d5e</ID><DisplayName>m"
    b"</DisplayName></Owner><StorageClass>STANDARD</StorageClass></Contents><Contents><Key>data/%E4%BD%A0%01"
    b"</Key><LastModified>2009-10-12T17:50:31.500Z</LastModified><Size>18446744073709551615</Size></Contents>"
    b"<CommonPrefixes><Prefix>data/a%2Fb/</Prefix></CommonPrefixes></ListBucketResult>"
)
AWS_PAGE_READ = {
    "objects": [
        (b"data/my image+1.jpg", b'"fba9dede5f27731c9771645a39863328"', 434234, 1255369830000000),
        ("data/\u4f60\x01".encode(), b"", 2**64 - 1, 1255369831500000),
    ],
    "prefixes": [b"data/a/b/"],
    "token": b"1ueGcxLPRx1Tr/XYEx+nhQ==",
    "truncated": True,
}
MINIO_PAGE = (
    DECLARATION
    + b"<ListBucketResult"
    + NAMESPACE
    + b"><Name>b</Name><Prefix></Prefix><KeyCount>1</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false"
    b"</IsTruncated><Contents><Key>a&#34;b&#39;c&amp;d&#xA;e</Key><LastModified>2024-01-02T03:04:05.678Z"
    b"</LastModified><ETag>&#34;d41d8cd98f00b204e9800998ecf8427e&#34;</ETag><Size>0</Size><StorageClass>STANDARD"
    b"</StorageClass></Contents></ListBucketResult>"
)
ERROR = (
    DECLARATION
    + b"<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region 'us-east-1' is wrong; expecting "
    b"'eu-west-1'</Message><Region>eu-west-1</Region><StringToSign>AWS4-HMAC-SHA256 canary</StringToSign>"
    b"<RequestId>656c76696e6727732072657175657374</RequestId><HostId>Uuag1LuByRx9e6j5Onimru9pO4ZVKnJ2Qz7/C1NPcf"
    b"</HostId><Endpoint>b.s3.eu-west-1.amazonaws.com</Endpoint><ServerTime>2024-01-02T03:04:05Z</ServerTime>"
    b"</Error>"
)
DELETED = (
    DECLARATION
    + b"<DeleteResult"
    + NAMESPACE
    + b"><Deleted><Key>a</Key></Deleted><Error><Key>b&#x1;</Key><Code>AccessDenied</Code><Message>Access "
    b"Denied</Message></Error><Deleted><Key>c</Key></Deleted><Error><Key>d</Key><VersionId>v</VersionId><Code>"
    b"InternalError</Code></Error></DeleteResult>"
)
CREATED = (
    DECLARATION
    + b"<InitiateMultipartUploadResult"
    + NAMESPACE
    + b"><Bucket>b</Bucket><Key>a&amp;b</Key><UploadId>VXBsb2FkIElE</UploadId>"
    b"</InitiateMultipartUploadResult>"
)
UPLOAD = ("InitiateMultipartUploadResult", ["UploadId", "Key"])


def entry(key=b"k", size=b"1", modified=b"2009-10-12T17:50:30.000Z", extra=b""):
    return (
        b"<Contents><Key>" + key + b"</Key><Size>" + size + b"</Size><LastModified>" + modified
        + b"</LastModified>" + extra + b"</Contents>"
    )  # fmt: skip


def page(*parts):
    return b"<ListBucketResult>" + b"".join(parts) + b"</ListBucketResult>"


def slice_of(document, guard=None):
    if guard is not None:
        return (ffi.cast("const char *", guard.place(document)), len(document)), None
    kept = ffi.from_buffer(document)
    return (ffi.cast("const char *", kept), len(document)), kept


def new_error():
    error = ffi.new("struct s3_xml_error *")
    ffi.memmove(error, b"\xa5" * ffi.sizeof("struct s3_xml_error"), ffi.sizeof("struct s3_xml_error"))
    return error


def fields_of(error):
    names = ["code", "message", "request_id", "host_id", "region", "endpoint", "server_time"]
    return {name: ffi.string(getattr(error, name)) for name in names}


def bytes_of(buf):
    return ffi.buffer(buf.data, buf.size)[:] if buf.size else b""


def read_error(document, guard=None):
    text, _kept = slice_of(document, guard)
    error = new_error()
    found = lib.s3i_xml_error(text, error)
    return fields_of(error) if found else None


def read_page(document, max_entries=1000, guard=None):
    """Return the code, what the page holds, and the fields of the error record."""
    text, _kept = slice_of(document, guard)
    error, made = new_error(), ffi.new("struct s3_list_page *")
    lib.s3i_list_page_init(made)
    code = lib.s3i_xml_list(text, max_entries, made, error)
    run = bytes_of(made.text)

    def cut(offset, size):
        assert offset + size <= len(run)
        return run[offset : offset + size]

    read = {
        "objects": [
            (cut(o.key_offset, o.key_size), cut(o.etag_offset, o.etag_size), o.size, o.last_modified_us)
            for o in made.objects[0 : made.object_count]
        ],
        "prefixes": [cut(p.key_offset, p.key_size) for p in made.prefixes[0 : made.prefix_count]],
        "token": bytes_of(made.next_token),
        "truncated": made.truncated,
    }
    lib.s3i_list_page_clear(made)
    assert lib.s3i_alloc_live() == 0
    if code != OK:
        assert read == {"objects": [], "prefixes": [], "token": b"", "truncated": False}
    return code, read, fields_of(error)


def read_keys(document, **options):
    code, read, error = read_page(document, **options)
    assert code == OK, error["message"]
    return [key for key, _, _, _ in read["objects"]]


def read_deleted(document, max_entries=1000, guard=None):
    text, _kept = slice_of(document, guard)
    error, made = new_error(), ffi.new("struct s3_delete_result *")
    lib.s3i_delete_result_init(made)
    code = lib.s3i_xml_delete(text, max_entries, made, error)
    run = bytes_of(made.text)
    failures = [
        (
            run[f.key_offset : f.key_offset + f.key_size],
            run[f.code_offset : f.code_offset + f.code_size],
            run[f.message_offset : f.message_offset + f.message_size],
        )
        for f in made.failures[0 : made.failure_count]
    ]
    lib.s3i_delete_result_clear(made)
    assert lib.s3i_alloc_live() == 0
    assert code == OK or not failures
    return code, failures


def read_fields(document, root, names, guard=None, limit=4096):
    text, _kept = slice_of(document, guard)
    error, outs = new_error(), ffi.new("struct s3_buf[]", len(names))
    for i in range(len(names)):
        lib.s3i_buf_init(ffi.addressof(outs, i), limit)
    kept_names = [ffi.new("char[]", name.encode()) for name in names]
    pointers = ffi.new("char *[]", kept_names)
    code = lib.s3i_xml_fields(
        text, root.encode(), ffi.cast("const char *const *", pointers), outs, len(names), error
    )
    values = [bytes_of(outs[i]) for i in range(len(names))]
    for i in range(len(names)):
        lib.s3i_buf_clear(ffi.addressof(outs, i))
    assert lib.s3i_alloc_live() == 0
    assert code == OK or not any(values)
    return code, values, fields_of(error)


def test_a_page_as_aws_writes_it():
    code, read, error = read_page(AWS_PAGE)
    assert code == OK, error["message"]
    assert read == AWS_PAGE_READ
    assert not any(error.values())


def test_a_page_as_minio_writes_it():
    code, read, _ = read_page(MINIO_PAGE)
    assert code == OK
    assert read == {
        "objects": [(b"a\"b'c&d\ne", b'"d41d8cd98f00b204e9800998ecf8427e"', 0, 1704164645678000)],
        "prefixes": [],
        "token": b"",
        "truncated": False,
    }


@pytest.fixture(scope="module")
def moto_documents():
    """Raw answers of moto and what botocore read from them, by operation."""
    raw = {}

    def keep(response_dict, operation_model, **_):
        raw.setdefault(operation_model.name, []).append(response_dict["body"])

    with mock_aws():
        client = boto3.client(
            "s3", region_name="us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing"
        )
        client.meta.events.register("before-parse.s3", keep)
        client.create_bucket(Bucket="bucket")
        keys = ["a b+c%&<>\"'.txt", "dir/x", "dir/y", "sch\u00f6n/\u4f60\U0001f600", "ctl\x01\x1f", "z\ufffe"]
        for key in keys:
            client.put_object(Bucket="bucket", Key=key, Body=key.encode())
        answers = [client.list_objects_v2(Bucket="bucket")]
        answers.append(client.list_objects_v2(Bucket="bucket", MaxKeys=2, Delimiter="/"))
        client.delete_objects(Bucket="bucket", Delete={"Objects": [{"Key": "dir/x"}, {"Key": "none"}]})
        upload = client.create_multipart_upload(Bucket="bucket", Key="big")["UploadId"]
        with pytest.raises(client.exceptions.NoSuchKey):
            client.get_object(Bucket="bucket", Key="missing")
    return raw, answers, keys, upload


def test_pages_as_moto_writes_them(moto_documents):
    raw, answers, keys, _ = moto_documents
    found = [read_page(document)[:2] for document in raw["ListObjectsV2"]]
    assert sorted(key.decode() for key, *_ in found[0][1]["objects"]) == sorted(keys)
    for (code, read), answer in zip(found, answers, strict=True):
        assert code == OK
        assert read["objects"] == [
            (
                item["Key"].encode(),
                item["ETag"].encode(),
                item["Size"],
                int(item["LastModified"].timestamp()) * 1_000_000,
            )
            for item in answer["Contents"]
        ]
        assert read["prefixes"] == [item["Prefix"].encode() for item in answer.get("CommonPrefixes", [])]
        assert read["token"] == answer.get("NextContinuationToken", "").encode()
        assert read["truncated"] == answer["IsTruncated"]


def test_other_answers_as_moto_writes_them(moto_documents):
    raw, _, _, upload = moto_documents
    assert read_fields(raw["CreateMultipartUpload"][0], *UPLOAD)[:2] == (OK, [upload.encode(), b"big"])
    assert read_deleted(raw["DeleteObjects"][0]) == (OK, [])
    error = read_error(raw["GetObject"][0])
    assert error["code"] == b"NoSuchKey"
    assert error["message"] == b"The specified key does not exist."
    assert error["request_id"]


def test_an_error_document_gives_its_fields_and_nothing_secret():
    text, _kept = slice_of(ERROR)
    record = new_error()
    assert lib.s3i_xml_error(text, record)
    assert fields_of(record) == {
        "code": b"AuthorizationHeaderMalformed",
        "message": b"the region 'us-east-1' is wrong; expecting 'eu-west-1'",
        "request_id": b"656c76696e6727732072657175657374",
        "host_id": b"Uuag1LuByRx9e6j5Onimru9pO4ZVKnJ2Qz7/C1NPcf",
        "region": b"eu-west-1",
        "endpoint": b"b.s3.eu-west-1.amazonaws.com",
        "server_time": b"2024-01-02T03:04:05Z",
    }
    assert b"canary" not in ffi.buffer(record)[:]


def test_fields_of_an_error_are_cut_at_a_character_where_they_do_not_fit():
    long = "\u4f60" * 5000
    error = read_error(f"<Error><Message>{long}</Message><Code>{'C' * 100}</Code></Error>".encode())
    assert error["code"] == b"C" * 63
    assert error["message"].decode() == "\u4f60" * 85


def test_control_characters_in_an_error_become_spaces():
    assert read_error(b"<Error><Message>a&#x1;b\nc\x02d&#10;e</Message></Error>")["message"] == b"a b c d e"


def test_the_beginning_of_an_error_document_is_enough():
    for size in range(len(ERROR) + 1):
        error = read_error(ERROR[:size])
        assert (error is not None) == (size >= ERROR.index(b"<Error>") + len(b"<Error>"))
        assert error is None or error["code"] in {b"", b"AuthorizationHeaderMalformed"}
        if size > ERROR.index(b"</Code>") + 7:
            assert error["code"] == b"AuthorizationHeaderMalformed"


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"   \r\n",
        b"<html><body>502</body></html>",
        b"<!DOCTYPE html><html>",
        b"{}",
        b"<Errors/>",
        AWS_PAGE,
    ],
)
def test_what_has_no_error_root_is_no_error_document(document):
    assert read_error(document) is None


@pytest.mark.parametrize("lead", [b"", b" \t\r\n" * 2000, b"\xef\xbb\xbf", b"\n\xef\xbb\xbf\n"])
def test_an_error_root_inside_a_200_answer_is_found_after_white_space(lead):
    document = lead + DECLARATION + b"<Error><Code>InternalError</Code></Error>"
    for code, error in (read_page(document)[::2], read_fields(document, *UPLOAD)[::2]):
        assert code == SERVER
        assert error["code"] == b"InternalError"
    assert read_deleted(document)[0] == SERVER


@pytest.mark.parametrize("lead", [b" ", b"\r\n" * 5000, b"\xef\xbb\xbf", b" \xef\xbb\xbf "])
def test_white_space_and_a_byte_order_mark_before_the_declaration_are_skipped(lead):
    assert read_page(lead + AWS_PAGE)[:2] == (OK, AWS_PAGE_READ)


def test_comments_cdata_prefixes_and_unknown_elements_are_understood():
    document = (
        b'<?xml version="1.0"?><!-- <Key>no</Key> --><s3:ListBucketResult xmlns:s3="u"><?pi x?>'
        b"<s3:Contents a='1'><s3:Owner><Key>no</Key></s3:Owner><s3:Key>a<!-- - -->b<![CDATA[<c>&#x1;&amp;]]>d"
        b"</s3:Key>\n<s3:Size>1</s3:Size><s3:LastModified>2009-10-12T17:50:30Z</s3:LastModified>"
        b"<s3:New><Deep><Deeper/></Deep></s3:New></s3:Contents></s3:ListBucketResult><!-- end -->\n"
    )
    assert read_keys(document) == [b"ab<c>&#x1;&amp;d"]


def test_a_document_with_cdata_is_not_rewritten():
    cdata = page(entry(b"<![CDATA[\xef\xb7\x90a]]>&#xFDD0;a"))
    assert read_keys(cdata) == [b"\xef\xb7\x90a\xef\xb7\x90a"]
    assert read_page(page(entry(b"<![CDATA[a]]>&#x1;")))[0] == PROTOCOL


def test_the_first_of_a_repeated_element_counts():
    document = page(
        b"<IsTruncated>false</IsTruncated><IsTruncated>true</IsTruncated>",
        b"<Contents><Key>a</Key><Key>b</Key><Size>1</Size><Size>junk</Size>",
        b"<LastModified>2009-10-12T17:50:30Z</LastModified><ETag>x</ETag><ETag>y</ETag></Contents>",
        b"<EncodingType>url</EncodingType><EncodingType>x</EncodingType>",
    )
    code, read, _ = read_page(document)
    assert code == OK
    assert not read["truncated"]
    assert read["objects"] == [(b"a", b"x", 1, 1255369830000000)]
    twice = b"<R><A>1</A><A>2</A><B><C>3</C></B><B><C>4</C></B></R>"
    assert read_fields(twice, "R", ["A", "B/C"])[:2] == (OK, [b"1", b"3"])


def test_fields_are_found_by_their_paths_only():
    document = (
        b"<CreateSessionResult><Token>outer</Token><Credentials><Token>t</Token><Expiration>e</Expiration>"
        b"<More><Token>inner</Token></More></Credentials><Other><Credentials><Key>no</Key></Credentials></Other>"
        b"</CreateSessionResult>"
    )
    names = ["Credentials/Token", "Credentials/Expiration", "Credentials/Key", "Token", "Missing"]
    assert read_fields(document, "CreateSessionResult", names)[:2] == (OK, [b"t", b"e", b"", b"outer", b""])


def test_too_many_paths_are_refused():
    assert read_fields(b"<R/>", "R", [f"N{i}" for i in range(24)])[0] == OK
    assert read_fields(b"<R/>", "R", [f"N{i}" for i in range(25)])[0] == INVALID
    assert read_fields(b"<R/>", "R", [f"G{i}/N" for i in range(20)])[0] == INVALID


def test_a_field_over_the_ceiling_of_its_buffer_is_refused():
    assert read_fields(b"<R><A>" + b"x" * 300 + b"</A></R>", "R", ["A"], limit=300)[0] == OK
    code, _, error = read_fields(b"<R><A>" + b"x" * 301 + b"</A></R>", "R", ["A"], limit=300)
    assert (code, error["message"]) == (PROTOCOL, b"a text is too long")


def test_failures_of_a_bulk_delete():
    assert read_deleted(DELETED) == (
        OK,
        [(b"b\x01", b"AccessDenied", b"Access Denied"), (b"d", b"InternalError", b"")],
    )


def test_a_failure_of_a_bulk_delete_without_a_key_is_refused():
    assert read_deleted(b"<DeleteResult><Error><Code>X</Code></Error></DeleteResult>") == (PROTOCOL, [])


def test_more_failures_than_were_asked_for_are_refused():
    document = b"<DeleteResult>" + b"<Error><Key>k</Key></Error>" * 70 + b"</DeleteResult>"
    assert read_deleted(document, max_entries=70) == (OK, [(b"k", b"", b"")] * 70)
    assert read_deleted(document, max_entries=69) == (PROTOCOL, [])


def test_an_empty_page_and_a_page_of_empty_elements():
    assert read_page(page())[:2] == (OK, {"objects": [], "prefixes": [], "token": b"", "truncated": False})
    bare = page(b"<CommonPrefixes><Prefix/></CommonPrefixes>", b"<EncodingType>url</EncodingType>")
    assert read_page(bare)[1]["prefixes"] == [b""]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (page(entry(size=b"")), b"a size of the listing is no number"),
        (page(entry(size=b"-1")), b"a size of the listing is no number"),
        (page(entry(size=b"18446744073709551616")), b"a size of the listing is no number"),
        (page(entry(size=b"0" * 3000 + b"7")), b"a text is too long"),
        (page(entry(modified=b"yesterday")), b"a time of the listing is none"),
        (page(b"<Contents><Key>a</Key></Contents>"), b"an entry of the listing lacks its key, size or time"),
        (page(b"<Contents/>"), b"an entry of the listing lacks its key, size or time"),
        (page(b"<CommonPrefixes/>"), b"an entry of the listing lacks its key, size or time"),
        (page(entry(key=b"a<b/>c")), b"an element stands where only text may"),
        (page(b"<IsTruncated>yes</IsTruncated>"), b"IsTruncated is neither true nor false"),
        (page(b"<IsTruncated>true</IsTruncated>"), b"the listing goes on but has no continuation token"),
        (
            page(b"<IsTruncated>true</IsTruncated><NextContinuationToken/>"),
            b"the listing goes on but has no continuation token",
        ),
        (
            page(b"<NextContinuationToken>" + b"t" * 65537 + b"</NextContinuationToken>"),
            b"a text is too long",
        ),
        (b"<ListAllMyBucketsResult/>", b"the document is of another kind"),
        (b"<html/>", b"the document is of another kind"),
        (b"<!DOCTYPE html><html/>", b"the document has a DOCTYPE"),
        (page(b"\0"), b"the document is not UTF-8 text"),
        (page() + b"\0", b"the document is not UTF-8 text"),
        (page().decode().encode("utf-16"), b"the document is not UTF-8 text"),
        (page().decode().encode("utf-16-le"), b"the document is not UTF-8 text"),
        (page().decode().encode("utf-16-be"), b"the document is not UTF-8 text"),
        (page(entry(key=b"\xff")), b"the document is no well-formed XML"),
        (page(entry(key=b"\xed\xa0\x80")), b"the document is no well-formed XML"),
        (page(entry(key=b"&#0;")), b"the document is no well-formed XML"),
        (page(entry(key=b"&#x0;")), b"the document is no well-formed XML"),
        (page(entry(key=b"&#xD800;")), b"the document is no well-formed XML"),
        (page(entry(key=b"&#x110000;")), b"the document is no well-formed XML"),
        (page(entry(key=b"&#x100000001;")), b"the document is no well-formed XML"),
        (page(entry(key=b"&#;")), b"the document is no well-formed XML"),
        (page(entry(key=b"&#x;")), b"the document is no well-formed XML"),
        (page(entry(key=b"&#1")), b"the document is no well-formed XML"),
        (page(entry(key=b"&unknown;")), b"the document is no well-formed XML"),
        (page() + page(), b"the document is no well-formed XML"),
        (page() + b"x", b"the document is no well-formed XML"),
        (b"", b"the document is no well-formed XML"),
        (b" \n", b"the document is no well-formed XML"),
        (b"no xml", b"the document is no well-formed XML"),
        (b" " * (64 << 20) + page(), b"the document is too large"),
    ],
)
def test_bad_pages_are_refused_with_a_reason(document, reason):
    code, _, error = read_page(document)
    assert code == PROTOCOL
    assert error["message"] == reason


def test_a_page_without_a_flag_goes_on_if_it_has_a_token():
    code, read, _ = read_page(page(b"<NextContinuationToken>t</NextContinuationToken>"))
    assert (code, read["truncated"], read["token"]) == (OK, True, b"t")


def test_the_ceiling_counts_objects_and_prefixes_together():
    prefix = b"<CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>"
    document = page(entry(), prefix, entry())
    assert read_page(document, max_entries=3)[0] == OK
    assert read_page(document, max_entries=2)[0] == PROTOCOL
    assert read_page(page(), max_entries=0)[0] == OK


def test_a_page_is_emptied_and_reused():
    error, made = new_error(), ffi.new("struct s3_list_page *")
    lib.s3i_list_page_init(made)
    for document, objects in ((AWS_PAGE, 2), (MINIO_PAGE, 1), (b"<junk/>", 0), (AWS_PAGE, 2)):
        text, _kept = slice_of(document)
        lib.s3i_xml_list(text, 1000, made, error)
        assert made.object_count == objects
        assert made.truncated == (objects == 2)
        assert made.next_token.size == (24 if objects == 2 else 0)
    lib.s3i_list_page_clear(made)
    lib.s3i_list_page_clear(made)
    assert lib.s3i_alloc_live() == 0


BILLION_LAUGHS = (
    b'<!DOCTYPE l [<!ENTITY a "lol">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(12))
    + b"]>"
    + page(entry(b"&m;"))
)
EXTERNAL = b'<!DOCTYPE l [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + page(entry(b"&x;"))
PARAMETER = b'<!DOCTYPE l [<!ENTITY % p SYSTEM "http://127.0.0.1:9/x"> %p;]>' + page(entry())


@pytest.mark.parametrize(
    "document", [BILLION_LAUGHS, EXTERNAL, PARAMETER, b"<!DOCTYPE ListBucketResult>" + page()]
)
def test_every_doctype_ends_the_parse_before_its_entities_count(document):
    started = time.monotonic()
    code, _, error = read_page(document)
    assert (code, error["message"]) == (PROTOCOL, b"the document has a DOCTYPE")
    assert time.monotonic() - started < 10


def test_depth_bombs_end_at_the_ceiling():
    started = time.monotonic()
    for bomb in (b"<a>" * 1_000_000, b"<ListBucketResult>" + b"<a>" * 1_000_000):
        assert read_page(bomb)[0] == PROTOCOL
    nested = page(b"<a>" * 31, b"</a>" * 31)
    assert read_page(nested)[0] == OK
    code, _, error = read_page(page(b"<a>" * 32, b"</a>" * 32))
    assert (code, error["message"]) == (PROTOCOL, b"the document is nested too deeply")
    assert time.monotonic() - started < 10


def test_a_page_of_a_million_entries_stops_at_the_ceiling():
    document = page(b"<CommonPrefixes><Prefix>p</Prefix></CommonPrefixes>" * 1_000_000)
    code, _, error = read_page(document)
    assert (code, error["message"]) == (PROTOCOL, b"the document has more entries than were asked for")


def test_a_full_page_of_the_longest_keys_is_read():
    keys = [f"{i:04}" + "\x01" * 1020 for i in range(1000)]
    body = b"".join(entry(urllib.parse.quote(key).encode()) for key in keys)
    assert read_keys(page(b"<EncodingType>url</EncodingType>", body)) == [key.encode() for key in keys]
    raw = b"".join(entry(key.encode()) for key in keys)
    assert read_keys(page(raw)) == [key.encode() for key in keys]


@pytest.mark.parametrize(
    ("encoded", "key"),
    [
        (b"a+b", b"a b"),
        (b"a%2Bb", b"a+b"),
        (b"%e4%BD%a0", "\u4f60".encode()),
        (b"100%", b"100%"),
        (b"%4", b"%4"),
        (b"%zz%41", b"%zzA"),
        (b"%00", b"\0"),
        (b"%252F", b"%2F"),
    ],
)
def test_keys_and_prefixes_are_decoded_once_only_when_the_page_says_so(encoded, key):
    # The ETag follows the key in the page's text: no digit of it may be taken for one of the key's.
    parts = (
        entry(encoded, extra=b"<ETag>41</ETag>"),
        b"<CommonPrefixes><Prefix>" + encoded + b"</Prefix></CommonPrefixes>",
    )
    _, plain, _ = read_page(page(*parts))
    assert (plain["objects"][0][0], plain["prefixes"]) == (encoded, [encoded])
    for document in (
        page(*parts, b"<EncodingType>url</EncodingType>"),
        page(b"<EncodingType>url</EncodingType>", *parts),
    ):
        _, read, _ = read_page(document)
        assert (read["objects"][0][0], read["prefixes"]) == (key, [key])


NO_NUL = st.characters(exclude_characters="\0", codec="utf-8")
ODD = st.one_of(
    st.sampled_from(
        "\x01\x08\x0b\x1b\x1c\x1d\x1e\x1f\x7f\x85\ufdd0\ufffe\uffff\ufeff\uf000]>&<'\"a0126`\t\n\r"
    ),
    NO_NUL,
)


def written(character, how):
    """Write a character in one of the ways that stand for it."""
    code = ord(character)
    if how == 0 and character not in "<&\r>":
        return character
    if how in {0, 1}:
        return f"&#{code};"
    return [f"&#x{code:X};", f"&#x{code:x};", f"&#x{code:08X};", f"&#{code:012};"][how - 2]


@given(st.lists(st.tuples(ODD, st.integers(0, 5)), max_size=60), st.integers(0, 40))
def test_any_key_survives_in_any_spelling_of_its_characters(spelling, shift):
    key = "".join(character for character, _ in spelling)
    text = "".join(written(character, how) for character, how in spelling)
    # The shift moves the text against the blocks of the scan.
    document = page(b" " * shift, entry(text.encode(), extra=b"<ETag>e</ETag>"), entry(b"after"))
    assert read_keys(document, guard=GUARD) == [key.encode(), b"after"]


@pytest.mark.parametrize("letter", "012`abcxyz{|}~\x7f ")
def test_the_mark_of_a_placeholder_collides_with_no_text(letter):
    for mark in ("\ufdd0", "&#xFDD0;", "&#xfdd0;", "&#64976;", "&#x000fDd0;", "\ufdd0\ufdd0"):
        real = "\ufdd0" * (2 if len(mark) == 2 else 1) + letter
        assert read_keys(page(entry((mark + letter + "&#x1;").encode()))) == [(real + "\x01").encode()]


def test_forbidden_characters_in_markup_gain_nothing():
    inside = page(b"<K\x01/>"), page(b"<K &#x1;/>"), page(b"<\x01/>")
    for document in (*inside, b"\x01" + page(), page() + b"\x01"):
        assert read_page(document)[0] == PROTOCOL
    assert read_keys(page(b"<!-- \x01 &#x1; -->", b"<?p \x01?>", b"<A b='\x01&#x1;'/>", entry())) == [b"k"]


def test_a_document_of_nothing_but_control_characters_is_read_in_several_buffers():
    key = bytes(range(1, 9)) * 20_000
    assert read_keys(page(entry(key))) == [key]


@given(st.text(ODD, max_size=50))
def test_written_text_is_read_back(text):
    out = ffi.new("struct s3_buf *")
    lib.s3i_buf_init(out, 1 << 16)
    string, _kept = slice_of(text.encode(), GUARD)
    lib.s3i_xml_add_text(out, string)
    assert not out.failed
    escaped = bytes_of(out)
    lib.s3i_buf_clear(out)
    assert read_keys(page(entry(escaped))) == [text.encode()]
    if not set(text) & set("\ufffe\uffff") and all(c >= " " or c in "\t\n\r" for c in text):
        assert (ET.fromstring(b"<a>" + escaped + b"</a>").text or "") == text  # a judge of its own


def test_text_is_written_as_s3_wants_it():
    out = ffi.new("struct s3_buf *")
    lib.s3i_buf_init(out, 1 << 16)
    string, _kept = slice_of(b"a&b<c>d\"e'f\x01\x1f\n\r\t\x7f/\xc3\xa4")
    lib.s3i_xml_add_text(out, string)
    expected = b"a&amp;b&lt;c&gt;d&quot;e&apos;f&#x1;&#x1F;&#xA;&#xD;&#x9;\x7f/\xc3\xa4"
    assert bytes_of(out) == expected
    lib.s3i_buf_clear(out)


@pytest.mark.parametrize("document", [AWS_PAGE, MINIO_PAGE, DELETED, CREATED, page(entry(b"a\x01&#x2;"))])
def test_a_document_cut_anywhere_is_never_a_success(document):
    for size in range(len(document)):
        cut = document[:size]
        assert read_page(cut, guard=GUARD)[0] == PROTOCOL
        assert read_deleted(cut, guard=GUARD)[0] == PROTOCOL
        assert read_fields(cut, *UPLOAD, guard=GUARD)[0] == PROTOCOL
        assert read_error(cut, guard=GUARD) is None


def test_an_error_document_cut_anywhere_is_never_a_success():
    for size in range(len(ERROR)):
        assert read_page(ERROR[:size], guard=GUARD)[0] in {PROTOCOL, SERVER}


SEEDS = [
    AWS_PAGE,
    MINIO_PAGE,
    DELETED,
    CREATED,
    ERROR,
    BILLION_LAUGHS,
    EXTERNAL,
    page(entry(b"<![CDATA[x]]>")),
]
PIECES = st.sampled_from(
    [b"<", b">", b"/>", b"</", b"&", b"&#", b"&#x", b";", b"<!--", b"-->", b"<![CDATA[", b"]]>", b"<?", b"?>",
     b"\xef", b"\xef\xb7", b"\xef\xb7\x90", b"\xef\xbf\xbf", b"\0", b"\x01", b"<Contents>", b"</Contents>",
     b"<Key>", b"<Error>", b"<!DOCTYPE a>", b"&#1;", b"&#xFDD0;", b"'", b'"', b"=", b":", b"\xff\xfe"]
)  # fmt: skip
EDITS = st.lists(
    st.tuples(st.integers(0, 1500), st.integers(0, 40), st.one_of(PIECES, st.binary(max_size=6))), max_size=6
)


def is_well_formed(document):
    parser = expat.ParserCreate("UTF-8")
    try:
        parser.Parse(document, True)
    except expat.ExpatError:
        return False
    return True


@given(st.one_of(st.sampled_from(SEEDS), st.binary(max_size=300)), EDITS)
def test_no_bytes_break_the_readers_and_success_means_well_formed(seed, edits):
    document = bytearray(seed)
    for at, size, piece in edits:
        document[at : at + size] = piece
    document = bytes(document)
    codes = [
        read_page(document, max_entries=5, guard=GUARD)[0],
        read_deleted(document, max_entries=5, guard=GUARD)[0],
        read_fields(document, *UPLOAD, guard=GUARD)[0],
    ]
    assert set(codes) <= {OK, SERVER, PROTOCOL}
    assert codes.count(OK) <= 1
    assert (SERVER in codes) == (read_error(document, guard=GUARD) is not None)
    controls = any(byte < 32 and byte not in b"\t\n\r" for byte in document)
    lenient = controls or b"&#" in document or b"\xef" in document
    if OK in codes and not lenient:
        assert is_well_formed(document.lstrip())


@pytest.mark.parametrize("document", [AWS_PAGE, page(entry(b"a\x01") * 200), DELETED, CREATED, ERROR])
def test_when_any_allocation_fails_the_answer_is_no_memory_and_nothing_leaks(document):
    readers = [
        lambda: read_page(document),
        lambda: read_deleted(document),
        lambda: read_fields(document, *UPLOAD),
    ]
    for reader in readers:
        whole = reader()
        results = []
        while not results or results[-1][0] == NO_MEMORY:
            lib.s3i_alloc_fail_after(len(results))
            results.append(reader())
            lib.s3i_alloc_fail_after(-1)
        assert results[-1] == whole
        assert len(results) > 5


def test_when_memory_is_short_an_error_document_is_read_in_part_or_not_at_all():
    results = []
    for countdown in range(40):
        lib.s3i_alloc_fail_after(countdown)
        results.append(read_error(ERROR))
        lib.s3i_alloc_fail_after(-1)
        assert lib.s3i_alloc_live() == 0
    assert results[0] is None
    assert results[-1] == read_error(ERROR)


def test_the_times_of_a_page_are_microseconds():
    moment = dt.datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=dt.UTC)
    _, read, _ = read_page(page(entry(modified=moment.isoformat().encode())))
    assert read["objects"][0][3] == int(moment.timestamp()) * 1_000_000 + 123456


def test_the_fuzz_target_holds_over_the_seeds_and_what_grows_from_them(tmp_path):
    search(tmp_path, "fuzz_xml", XML_SOURCES, SEEDS)

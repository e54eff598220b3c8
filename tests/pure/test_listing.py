"""pure/listing: what the scanner reads it reads as expat does, it leaves all else alone, and it is quick."""

# ruff: noqa: E501 - documents are easier to compare with those of servers when they are not cut

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pure.fuzzing import search
from tests.pure.guard import Guard
from tests.pure.native import BASE_CDEF, CSRC, Native, load

CDEF = (
    BASE_CDEF
    + """
    bool s3i_buf_reserve(struct s3_buf *buf, size_t size);
    struct s3_xml_error {
        char code[64], message[256], request_id[64], host_id[128], region[64], endpoint[256], server_time[40];
    };
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
    int s3i_listing_scan(struct s3_buf *document, size_t max_entries, struct s3_list_page *page);
    int s3i_listing_read(struct s3_buf *document, size_t max_entries, struct s3_list_page *page,
                         struct s3_xml_error *error);
    """
)
XML = sorted(str(path.relative_to(CSRC)) for path in CSRC.glob("pure/xml*.c"))
HEADERS = ["pure/listing.h"]
MODULES = {
    "machine": load("listing", ["pure/listing.c", *XML, "pure/http.c"], CDEF, HEADERS),
    # The same file for a machine without SSE2.
    "portable": load(
        "listing_portable",
        [*XML, "pure/http.c"],
        CDEF,
        HEADERS,
        '#undef __SSE2__\n#include "pure/listing.c"',
    ),
}

DECLINED, READ, STARVED = 0, 1, 2
OK, NO_MEMORY, SERVER, PROTOCOL = 0, -2, -17, -24
GUARD = Guard()

DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
ROOT = '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
END = "</ListBucketResult>"
TAG = "&quot;9b2cf535f27731c974343645a3985328&quot;"


def entry(key="k", size="1", modified="2009-10-12T17:50:30.000Z", etag=TAG, more=""):
    return (
        f"<Contents><Key>{key}</Key><LastModified>{modified}</LastModified><ETag>{etag}</ETag><Size>{size}</Size>"
        f"{more}<StorageClass>STANDARD</StorageClass></Contents>"
    )


def page(*parts):
    return DECLARATION + ROOT + "<IsTruncated>false</IsTruncated>" + "".join(parts) + END


# The answers of servers, as each of them writes a page.
PLAIN = {
    "aws": DECLARATION
    + ROOT
    + "<Name>bucket</Name><Prefix>data/</Prefix><NextContinuationToken>1ueGcxLPRx1Tr/XYEx+nhQ==</NextContinuation"
    "Token><KeyCount>3</KeyCount><MaxKeys>3</MaxKeys><Delimiter>/</Delimiter><EncodingType>url</EncodingType>"
    "<IsTruncated>true</IsTruncated><Contents><Key>data/my+image%2B1.jpg</Key><LastModified>2009-10-12T17:50:30.000Z"
    "</LastModified><ETag>&quot;fba9dede5f27731c9771645a39863328&quot;</ETag><ChecksumAlgorithm>CRC64NVME"
    "</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType><Size>434234</Size><StorageClass>STANDARD"
    "</StorageClass></Contents><Contents><Key>data/%E4%BD%A0%01</Key><LastModified>2024-02-29T23:59:59.000Z"
    "</LastModified><ETag>&quot;d41d8cd98f00b204e9800998ecf8427e-12&quot;</ETag><Size>18446744073709551615</Size>"
    "<Owner><ID>75aa57f09aa0c8caeab4f8c24e99d10f8e7faeebf76c078efc7c6caea54ba06a</ID><DisplayName>m &amp; co"
    "</DisplayName></Owner><StorageClass>GLACIER</StorageClass><RestoreStatus><IsRestoreInProgress>false"
    "</IsRestoreInProgress></RestoreStatus></Contents><CommonPrefixes><Prefix>data/a%2Fb/</Prefix></CommonPrefixes>"
    "<CommonPrefixes><Prefix>data/c/</Prefix></CommonPrefixes>" + END,
    "radosgw": DECLARATION.rstrip()
    + ROOT
    + "<Name>b</Name><Prefix></Prefix><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated><KeyCount>2</KeyCount>"
    "<EncodingType>url</EncodingType><Contents><Key>a%20b%2f%c3%a9</Key><LastModified>2024-05-06T07:08:09.123Z"
    "</LastModified><ETag>&quot;9b2cf535f27731c974343645a3985328&quot;</ETag><Size>5</Size><StorageClass>STANDARD"
    "</StorageClass><Type>Normal</Type></Contents><Contents><Key>z</Key><LastModified>2024-05-06T07:08:10.456Z"
    "</LastModified><ETag>&quot;9b2cf535f27731c974343645a3985328&quot;</ETag><Size>6</Size><StorageClass>STANDARD"
    "</StorageClass><Type>Normal</Type></Contents>" + END,
    "minio": DECLARATION
    + ROOT
    + "<Name>b</Name><Prefix></Prefix><KeyCount>2</KeyCount><MaxKeys>1000</MaxKeys><Delimiter></Delimiter>"
    "<IsTruncated>false</IsTruncated><Contents><Key>a&#34;b&#39;c&amp;d&#xA;e&#x20;</Key><LastModified>"
    "2024-01-02T03:04:05.678Z</LastModified><ETag>&#34;d41d8cd98f00b204e9800998ecf8427e&#34;</ETag><Size>0</Size>"
    "<StorageClass>STANDARD</StorageClass></Contents><Contents><Key>f</Key><LastModified>2024-01-02T03:04:05Z"
    "</LastModified><ETag>&#34;d41d8cd98f00b204e9800998ecf8427e&#34;</ETag><Size>7</Size><StorageClass>STANDARD"
    "</StorageClass></Contents><EncodingType>url</EncodingType>" + END,
    "moto": '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">\n  <Name>b</Name>\n  <Prefix/>\n'
    "  <MaxKeys>1000</MaxKeys>\n  <KeyCount>1</KeyCount>\n  <IsTruncated>false</IsTruncated>\n  <Contents>\n"
    "    <Key>x</Key>\n    <LastModified>2024-01-02T03:04:05.000Z</LastModified>\n    <ETag>&quot;a&quot;</ETag>\n"
    "    <Size>9</Size>\n    <StorageClass>STANDARD</StorageClass>\n    <Owner>\n      <ID>1</ID>\n    </Owner>\n"
    "  </Contents>\n  <Contents>\n    <Key>y</Key>\n    <LastModified>2024-01-02T03:04:06.000Z</LastModified>\n"
    "    <ETag>&quot;a&quot;</ETag>\n    <Size>8</Size>\n    <StorageClass>STANDARD</StorageClass>\n    <Owner>\n"
    "      <ID>1</ID>\n    </Owner>\n  </Contents>\n</ListBucketResult>\n",
    "r2": DECLARATION.rstrip()
    + ROOT
    + "<Name>b</Name><Contents><Key>k</Key><Size>1</Size><LastModified>2024-01-02T03:04:05.678Z</LastModified><ETag>"
    "&quot;x&quot;</ETag><StorageClass>Standard</StorageClass></Contents><IsTruncated>true</IsTruncated>"
    "<NextContinuationToken>1Kzb&amp;x</NextContinuationToken><MaxKeys>1</MaxKeys><KeyCount>1</KeyCount>" + END,
    "no declaration": " \n" + ROOT + entry() + END + "\n \t",
    "apostrophes": "<?xml version='1.0' encoding='utf-8'?>" + ROOT + END,
    "no namespace": "<ListBucketResult>" + entry() + END,
    "no etag": page("<Contents><Key>k</Key><Size>1</Size><LastModified>2024-01-02T03:04:05Z</LastModified></Contents>"),
    "an empty etag": page(entry(etag=""), entry(), entry(etag="")),
    "offsets": page(entry(modified="2024-12-31T23:59:60Z"), entry(modified="2024-05-06T07:08:09+02:00")),
    "every entity": page(entry(key="&lt;&gt;&amp;&quot;&apos;&#65;&#x42;&#x0043;&#10;&#9;&#x2B;%41+")),
    "odd spaces": page(entry(key=" \t\na b\n ")),
    "an empty key": page(entry(key="")),
    "nested": page("<A><B><C><D>x</D>y<E/></C></B></A>", entry(more="<A><B>&amp;<C/></B>z</A>")),
    "different entries": page(
        *(entry(more=more) for more in ("", "<A>1</A>", "", "<A>2</A>", "<A></A>", "<A>3</A>", "<B/>", "<B></B>"))
    ),
    "many texts": page(*(entry(more="<A>1</A>" * count) for count in (10, 20, 20, 3, 3))),
}  # fmt: skip

# Valid or not, what the scanner does not judge.
ODD = {
    "nothing": "",
    "spaces": " \n ",
    "a comment": page("<!-- -->", entry()),
    "a comment in a key": page(entry(key="a<!-- -->b")),
    "cdata": page(entry(key="<![CDATA[a]]>")),
    "a processing instruction": page("<?a b?>", entry()),
    "a doctype": DECLARATION + "<!DOCTYPE x>" + ROOT + END,
    "an entity of its own": page(entry(key="&nbsp;")),
    "an unfinished entity": page(entry(key="&amp")),
    "an empty reference": page(entry(key="&#;")),
    "an empty hexadecimal reference": page(entry(key="&#x;")),
    "a reference to a control character": page(entry(key="&#1;")),
    "a reference to NUL": page(entry(key="&#0;")),
    "a reference beyond ASCII": page(entry(key="&#233;")),
    "a huge reference": page(entry(key="&#99999999999999999999999999;")),
    "a namespace prefix": page(entry(more="<x:a>1</x:a>")),
    "a prefixed key": page(entry().replace("Key>", "x:Key>")),
    "an attribute": page(entry().replace("<Key>", '<Key a="b">')),
    "two attributes of the root": page().replace(">\n<ListBucketResult", ">\n<ListBucketResult a='b'"),
    "a space in a tag": page(entry().replace("</Key>", "</Key >")),
    "tags that cross": page("<A><B></A></B>"),
    "an end without a beginning": page("</A>"),
    "text between elements": page("x", entry()),
    "text in an entry": page(entry().replace("<Key>", "x<Key>")),
    "text behind the root": page() + "x",
    "two roots": page() + page(),
    "a declaration in the midst": page("<?xml version='1.0'?>"),
    "another root": page().replace("ListBucketResult", "ListBucketResults"),
    "an error": DECLARATION + "<Error><Code>SlowDown</Code></Error>",
    "two keys": page(entry(more="<Key>b</Key>")),
    "no key": page(entry().replace("Key>", "Kei>")),
    "no size": page(entry().replace("Size>", "Sice>")),
    "no time": page(entry().replace("LastModified>", "LastModificated>")),
    "no number": page(entry(size="x")),
    "a negative number": page(entry(size="-1")),
    "an enormous number": page(entry(size="18446744073709551616")),
    "no date": page(entry(modified="yesterday")),
    "no such day": page(entry(modified="2023-02-29T00:00:00.000Z")),
    "no such hour": page(entry(modified="2023-02-28T24:00:00.000Z")),
    "a key in the key": page(entry(key="<Key>a</Key>")),
    "the end of a section": page(entry(key="a]]>b")),
    "a bracket": page(entry(key="a>b")),
    "a carriage return": page(entry(key="a\rb")),
    "a control character": page(entry(key="a\x01b")),
    "NUL": page(entry(key="a\0b")),
    "DEL": page(entry(key="a\x7fb")),
    "no ASCII": page(entry(key="\u00e9")),
    "a byte order mark": "\ufeff" + page(),
    "another encoding": page().replace("UTF-8", "ISO-8859-1"),
    "another version": page().replace('"1.0"', '"1.1"'),
    "a neither true nor false": page().replace(">false<", ">maybe<"),
    "goes on without a token": page().replace(">false<", ">true<"),
    "another key encoding": page("<EncodingType>base64</EncodingType>"),
    "two tokens": page("<NextContinuationToken>a</NextContinuationToken>" * 2),
    "a long token": page(f"<NextContinuationToken>{'a' * 65537}</NextContinuationToken>"),
    "an empty entry": page("<Contents/>"),
    "an empty prefix": page("<CommonPrefixes/>"),
    "a prefix without one": page("<CommonPrefixes></CommonPrefixes>"),
    "too deep": page("<A>" * 9 + "</A>" * 9),
    "text behind an empty tag": page(entry().replace(f"<ETag>{TAG}</ETag>", "<ETag/>") + entry().replace(
        f"<ETag>{TAG}</ETag>", "<ETag/>x")),
}  # fmt: skip


@pytest.fixture(params=MODULES)
def native(request):
    return Native(*MODULES[request.param])


def records(ffi, made):
    """Return what a page holds."""
    run = ffi.buffer(made.text.data, made.text.size)[:] if made.text.size else b""

    def cut(offset, size):
        assert offset + size <= len(run)
        return run[offset : offset + size]

    return {
        "objects": [
            (cut(o.key_offset, o.key_size), cut(o.etag_offset, o.etag_size), o.size, o.last_modified_us)
            for o in made.objects[0 : made.object_count]
        ],
        "prefixes": [cut(p.key_offset, p.key_size) for p in made.prefixes[0 : made.prefix_count]],
        "token": ffi.buffer(made.next_token.data, made.next_token.size)[:] if made.next_token.size else b"",
        "truncated": made.truncated,
    }


EMPTY = {"objects": [], "prefixes": [], "token": b"", "truncated": False}


def document_of(native, document):
    """Return a buffer with not a byte of room behind the document, so that sanitizers see an over-read."""
    ffi, lib = native.ffi, native.lib
    made = native.buffer(limit=1 << 28)
    if document:
        made.data = ffi.cast("char *", lib.s3i_malloc(len(document)))
        made.size = made.capacity = len(document)
        ffi.memmove(made.data, document, len(document))
    return made


def scan(native, document, most=1000):
    """Let the scanner try; checks that a document which it declines is untouched, and the page empty."""
    ffi, lib = native.ffi, native.lib
    live = lib.s3i_alloc_live()
    buffer, made = document_of(native, document), ffi.new("struct s3_list_page *")
    lib.s3i_list_page_init(made)
    outcome = lib.s3i_listing_scan(buffer, most, made)
    found = records(ffi, made)
    if outcome == READ:
        assert buffer.size == 0
    else:
        assert (native.content(buffer), found) == (document, EMPTY)
    lib.s3i_list_page_clear(made)
    lib.s3i_buf_clear(buffer)
    assert lib.s3i_alloc_live() == live
    return outcome, found


def read_by_expat(native, document, most=1000):
    ffi, lib = native.ffi, native.lib
    error, made = ffi.new("struct s3_xml_error *"), ffi.new("struct s3_list_page *")
    lib.s3i_list_page_init(made)
    code = lib.s3i_xml_list(native.text(document), most, made, error)
    found = records(ffi, made)
    lib.s3i_list_page_clear(made)
    return code, found


def agree(native, document, most=1000):
    """Compare the two readers; returns whether the scanner read the document."""
    outcome, found = scan(native, document, most)
    assert outcome in {DECLINED, READ}
    if outcome == READ:
        assert read_by_expat(native, document, most) == (OK, found)
    return outcome == READ


@pytest.mark.parametrize("name", PLAIN)
def test_pages_of_servers_are_read_as_expat_reads_them(native, name):
    assert agree(native, PLAIN[name].encode())


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_is_left_to_expat(native, name):
    assert not agree(native, ODD[name].encode("utf-8", "surrogatepass"))


def test_a_page_is_read_to_the_last_detail(native):
    assert scan(native, PLAIN["aws"].encode()) == (
        READ,
        {
            "objects": [
                (b"data/my image+1.jpg", b'"fba9dede5f27731c9771645a39863328"', 434234, 1255369830000000),
                (
                    "data/\u4f60\x01".encode(),
                    b'"d41d8cd98f00b204e9800998ecf8427e-12"',
                    2**64 - 1,
                    1709251199000000,
                ),
            ],
            "prefixes": [b"data/a/b/", b"data/c/"],
            "token": b"1ueGcxLPRx1Tr/XYEx+nhQ==",
            "truncated": True,
        },
    )


def test_the_number_of_entries_is_bounded(native):
    document = page(entry(), entry(), "<CommonPrefixes><Prefix>p</Prefix></CommonPrefixes>").encode()
    assert [agree(native, document, most) for most in (0, 1, 2, 3)] == [False, False, False, True]
    assert read_by_expat(native, document, 2)[0] == PROTOCOL


def test_a_page_has_many_entries(native):
    many = [
        entry(key=f"a/{number:09}", size=str(number), modified=f"20{number % 90 + 10}-0{number % 9 + 1}-1{number % 9}"
              f"T0{number % 9}:1{number % 9}:2{number % 9}.000Z")
        for number in range(5000)
    ]  # fmt: skip
    assert agree(native, page(*many).encode(), 5000)


@pytest.mark.parametrize("name", ["aws", "minio", "moto", "r2", "different entries", "nested"])
def test_a_page_cut_anywhere_is_declined_and_not_read_beyond(native, name):
    whole = PLAIN[name].rstrip().encode()
    ffi, lib = native.ffi, native.lib
    for size in range(len(whole)):
        buffer, made = ffi.new("struct s3_buf *"), ffi.new("struct s3_list_page *")
        buffer.data = ffi.cast("char *", GUARD.place(whole[:size])) if size else ffi.NULL
        buffer.size = buffer.capacity = size
        lib.s3i_list_page_init(made)
        assert lib.s3i_listing_scan(buffer, 1000, made) == DECLINED
        lib.s3i_list_page_clear(made)


def test_what_is_declined_goes_to_expat(native):
    ffi, lib = native.ffi, native.lib
    for document, code in (
        (PLAIN["aws"], OK),
        (ODD["cdata"], OK),
        (ODD["no ASCII"], OK),
        (ODD["no size"], PROTOCOL),
        (ODD["an error"], SERVER),
    ):
        error, made = ffi.new("struct s3_xml_error *"), ffi.new("struct s3_list_page *")
        ffi.memmove(error, b"\xa5" * ffi.sizeof("struct s3_xml_error"), ffi.sizeof("struct s3_xml_error"))
        lib.s3i_list_page_init(made)
        buffer = document_of(native, document.encode())
        assert lib.s3i_listing_read(buffer, 1000, made, error) == code
        assert records(ffi, made) == read_by_expat(native, document.encode())[1]
        assert ffi.string(error.code) == (b"SlowDown" if code == SERVER else b"")
        lib.s3i_list_page_clear(made)


def test_without_memory_there_is_no_page(native):
    document = page(*(entry(key=str(number)) for number in range(100))).encode()
    document = document.replace(
        b"</IsTruncated>", b"</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
    )
    ffi, lib = native.ffi, native.lib

    def attempt():
        buffer, made = native.buffer(), ffi.new("struct s3_list_page *")
        lib.s3i_list_page_init(made)
        enough = lib.s3i_buf_reserve(buffer, len(document))
        if enough:
            ffi.memmove(buffer.data, document, len(document))
            buffer.size = len(document)
            outcome = lib.s3i_listing_scan(buffer, 1000, made)
            assert outcome in {READ, STARVED}
            enough = outcome == READ
            assert made.object_count == (100 if enough else 0)
        lib.s3i_list_page_clear(made)
        lib.s3i_buf_clear(buffer)
        return enough

    assert native.torture(attempt) >= 3


TOKENS = [
    b"<", b">", b"/", b"&", b";", b"</", b"/>", b"<Key>", b"</Key>", b"<Key/>", b"<Contents>", b"</Contents>",
    b"<Size>7</Size>", b"<ETag/>", b"<A>", b"</A>", b"<A/>", b"<A>x</A>", b"<a b='c'>", b"<x:y/>", b"<!-- -->",
    b"<![CDATA[x]]>", b"]]>", b"<?p i?>", b"<!DOCTYPE x>", b"&amp;", b"&#65;", b"&#x41;", b"&#x1;", b"&#0;",
    b"&#1114112;", b"&lt;", b"&no;", b"&#xFDD0;", b"\r", b"\n", b"\t", b" ", b"\0", b"\x01", b"\x1f", b"\x7f", b"\x80",
    b"\xc3\xa9", b"\xef\xbf\xbe", b"\xff", b"%41", b"%", b"%2", b"+", b"x", b"0", b"-", b"<IsTruncated>true</IsTruncated>",
    b"<NextContinuationToken>t</NextContinuationToken>", b"<EncodingType>url</EncodingType>",
    b"<CommonPrefixes><Prefix>p</Prefix></CommonPrefixes>",
    b"<Contents><Key>k</Key><Size>1</Size><LastModified>2024-01-02T03:04:05Z</LastModified></Contents>",
]  # fmt: skip
SEEDS = [text.encode() for text in PLAIN.values()]


@st.composite
def changed_pages(draw):
    """Pages of servers with a few changes: something put in, taken out, replaced, or said twice."""
    document = draw(st.sampled_from(SEEDS))
    # Where the syntax is, changes tell more than within a text.
    places = [match.start() + offset for match in re.finditer(b"[<>&;]", document) for offset in (0, 1)]
    for _ in range(draw(st.integers(1, 4))):
        at = min(draw(st.one_of(st.sampled_from(places), st.integers(0, len(document)))), len(document))
        size = draw(st.one_of(st.integers(0, 3), st.integers(0, 200)))
        inserted = draw(st.one_of(st.just(b""), st.sampled_from(TOKENS), st.binary(max_size=3)))
        kind = draw(st.sampled_from(["replace", "insert", "repeat"]))
        if kind == "repeat":
            document = document[: at + size] + inserted + document[at:]
        else:
            document = document[:at] + inserted + document[at + (size if kind == "replace" else 0) :]
    return document


names = st.sampled_from(["Key", "Size", "LastModified", "ETag", "Contents", "Prefix", "CommonPrefixes", "IsTruncated",
                         "NextContinuationToken", "EncodingType", "Owner", "A", "ListBucketResult"])  # fmt: skip
texts = st.one_of(
    st.sampled_from(["", "k", "1", "true", "false", "url", "2024-01-02T03:04:05.000Z", "&quot;e&quot;", "a+%20", "\n  "]),
    st.text(st.characters(max_codepoint=0x82), max_size=8),
)  # fmt: skip
objects = st.builds(
    lambda fields, more, space: f"<Contents>{space}" + space.join([*fields, *more]) + f"{space}</Contents>",
    st.permutations([f"<{name}>{text}</{name}>" for name, text in (
        ("Key", "some/k"), ("Size", "12"), ("LastModified", "2024-01-02T03:04:05.000Z"), ("ETag", TAG))]),
    st.lists(st.builds(lambda name, text: f"<{name}>{text}</{name}>", names, texts), max_size=2),
    st.sampled_from(["", "\n  ", " "]),
)  # fmt: skip
elements = st.recursive(
    st.one_of(texts, objects),
    lambda inner: st.builds(
        lambda name, parts: f"<{name}>{''.join(parts)}</{name}>", names, st.lists(inner, max_size=4)
    ),
    max_leaves=12,
)


def agree_everywhere(document):
    assert len({agree(Native(*module), document, 20) for module in MODULES.values()}) == 1


@settings(max_examples=600)
@given(changed_pages())
def test_no_change_of_a_page_makes_the_readers_differ(document):
    agree_everywhere(document)


@settings(max_examples=600)
@given(st.lists(elements, max_size=4))
def test_no_mixture_of_elements_makes_the_readers_differ(parts):
    agree_everywhere(page(*parts).encode("utf-8", "surrogatepass"))


@settings(max_examples=300)
@given(st.text(st.characters(max_codepoint=0x7F), max_size=40), st.integers(0, 40))
def test_no_text_makes_the_readers_differ(text, place):
    # At any distance from the end of a block, and of the document.
    agree_everywhere(page(entry(key="x" * place + text)).encode())
    agree_everywhere((page(entry()) + " " * place + text).encode())


@settings(max_examples=300)
@given(
    st.one_of(
        st.datetimes().map(lambda moment: moment.isoformat(timespec="milliseconds") + "Z"),
        st.from_regex(r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.000)?Z\Z"),
        st.text(st.sampled_from("0129-:TZ. "), max_size=26),
    )
)
def test_no_time_makes_the_readers_differ(moment):
    agree_everywhere(page(entry(modified=moment), entry(modified="2024-01-02T03:04:05.000Z")).encode())


@pytest.mark.parametrize(
    "part",
    [
        "<Contents>",
        "<A>",
        "&",
        "&amp;",
        " ",
        "<",
        "</A>",
        "<A/>",
        "x",
        # Of alternating shapes, none is ever of use.
        entry() + entry(more="<A>1</A>"),
        entry(more="<A>1</A>" * 15) + entry(more="<A>1</A>" * 15 + "<B/>"),
    ],
)
def test_the_time_taken_is_linear(native, part):
    def best(size):
        document = (DECLARATION + ROOT + part * (size // len(part)) + END).encode()
        passed = []
        for _ in range(3):
            buffer, made = document_of(native, document), native.ffi.new("struct s3_list_page *")
            native.lib.s3i_list_page_init(made)
            start = time.process_time()
            native.lib.s3i_listing_scan(buffer, 1 << 20, made)
            passed.append(time.process_time() - start)
            native.lib.s3i_list_page_clear(made)
        return min(passed)

    # A quadratic reader would take 256 times as long for 16 times as much.
    assert best(1 << 22) < 64 * max(best(1 << 18), 0.0005)


def test_the_fuzz_target_holds_over_the_seeds_and_what_grows_from_them(tmp_path):
    seeds = [*SEEDS, *(text.encode("utf-8", "surrogatepass") for text in ODD.values())]
    search(tmp_path, "fuzz_listing", [*XML, "pure/listing.c", "pure/http.c"], seeds, TOKENS)

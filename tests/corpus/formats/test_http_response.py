"""HTTP responses as crawlers stored them."""

import contextlib
import gzip
import io
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.document import UnreadableError
from corpus.formats.http_response import (
    SkippedBodyError,
    charset,
    decoded,
    is_html,
    parse_head,
)

BODY = "<p>Straße</p>\r\n".encode() * 40
LIMIT = 1_000_000


def chunked(body: bytes, size: int) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x;x=y\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\nTrailer: x\r\n\r\n"


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


def packed_by(writer_name: str, body: bytes) -> bytes:
    from fastwarc import stream_io

    class KeptOpen(io.BytesIO):
        def close(self) -> None:
            pass

    target = KeptOpen()
    writer = getattr(stream_io, writer_name)(target)
    writer.write(body)
    writer.close()
    return target.getvalue()


@pytest.mark.parametrize("newline", ["\r\n", "\n"])
def test_a_head_ends_at_its_blank_line(newline: str) -> None:
    data = newline.join(["HTTP/1.1 200 OK", "Content-Type: text/html", "content-type: text/plain", "no colon", "", "x"])
    head = parse_head(data.encode(), complete=False)
    assert head is not None and data[head.size :] == "x"
    assert (head.status, head.headers) == (200, {"content-type": "text/html"})


def test_a_head_without_an_end_is_read_only_if_nothing_follows() -> None:
    head = parse_head(b"HTTP/1.0 404\r\nA: b\r\n", complete=True)
    assert head is not None and (head.status, head.headers, head.size) == (404, {"a": "b"}, 20)
    assert parse_head(b"HTTP/1.0 404\r\nA: b\r\n", complete=False) is None
    assert parse_head(b"HTTP/1.0 OK\r\n\r\n", complete=True) is None
    assert parse_head(b"HTTP/1.0 2000\r\n\r\n", complete=True) is None


@pytest.mark.parametrize(
    ("value", "html", "name"),
    [
        ("text/html; charset=UTF-8", True, "UTF-8"),
        ('Text/HTML;charset = "windows-1251"', True, "windows-1251"),
        ("application/xhtml+xml", True, None),
        ("text/html, text/html; charset='x'", True, "x"),
        ("application/xml; a=text/html", False, None),
        ("text/htmlx", False, None),
        ("", False, None),
    ],
)
def test_content_types(value: str, html: bool, name: str | None) -> None:
    assert (is_html(value), charset(value)) == (html, name)


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("", BODY),
        ("identity", BODY),
        ("gzip", gzip.compress(BODY)),
        ("X-GZIP", gzip.compress(BODY)),
        ("gzip", BODY),  # undone before, and the header left
        ("deflate", zlib.compress(BODY)),
        ("deflate", raw_deflate(BODY)),
        ("deflate", BODY),
        ("br", packed_by("BrotliWriter", BODY)),
        ("br", BODY),
        ("zstd", packed_by("ZstdWriter", BODY)),
        ("deflate, gzip", gzip.compress(zlib.compress(BODY))),
    ],
)
@pytest.mark.parametrize("in_chunks", [False, True])
def test_content_codings_are_decoded(coding: str, body: bytes, in_chunks: bool) -> None:
    headers = {"content-encoding": coding, "transfer-encoding": "Chunked" if in_chunks else ""}
    assert decoded(chunked(body, 7) if in_chunks else body, headers, LIMIT) == BODY


@pytest.mark.parametrize(
    "body", [BODY, b"", b"12 monkeys and a page", b"add\r\nthe salt", b"fade\r\n" + b"x" * 0xFADE + b"!"]
)
def test_a_body_without_its_stated_chunks_is_unchanged(body: bytes) -> None:
    assert decoded(body, {"transfer-encoding": "chunked"}, LIMIT) == (body if b"salt" not in body else b"the salt")


def test_truncated_chunks_give_the_bytes_present() -> None:
    cut = chunked(BODY, 50)[: 5 * 60 + 10]  # each chunk takes 60 bytes, its size 8 of them
    assert decoded(cut, {"transfer-encoding": "chunked"}, LIMIT) == BODY[: 5 * 50 + 2]


def test_unknown_and_bad_codings_raise_different_errors() -> None:
    with pytest.raises(SkippedBodyError, match="content_encoding"):
        decoded(BODY, {"content-encoding": "sdch"}, LIMIT)
    for coding, body in (("gzip", gzip.compress(BODY)[:-9]), ("deflate", b"\xff" * 9), ("br", b"\xff" * 9)):
        with pytest.raises(UnreadableError):
            decoded(body, {"content-encoding": coding}, LIMIT)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_body_may_grow_to_the_limit_and_no_further(coding: str) -> None:
    pack = {
        "gzip": gzip.compress,
        "deflate": zlib.compress,
        "br": lambda body: packed_by("BrotliWriter", body),
        "zstd": lambda body: packed_by("ZstdWriter", body),
    }[coding]
    headers = {"content-encoding": coding}
    assert len(decoded(pack(bytes(LIMIT)), headers, LIMIT)) == LIMIT
    with pytest.raises(SkippedBodyError, match="too_large"):
        decoded(pack(bytes(LIMIT + 1)), headers, LIMIT)


@given(st.binary(max_size=300), st.sampled_from(["gzip", "deflate", "br", "zstd", "", "x"]), st.booleans())
def test_any_bytes_decode_or_are_refused(body: bytes, coding: str, in_chunks: bool) -> None:
    headers = {"content-encoding": coding, "transfer-encoding": "chunked" if in_chunks else ""}
    with contextlib.suppress(UnreadableError, SkippedBodyError):
        assert len(decoded(body, headers, 1000)) <= 1000
    parse_head(body, complete=True)


@given(st.binary(min_size=1, max_size=500), st.integers(1, 100))
def test_chunks_of_any_size_join_again(body: bytes, size: int) -> None:
    assert decoded(chunked(body, size), {"transfer-encoding": "chunked"}, LIMIT) == body

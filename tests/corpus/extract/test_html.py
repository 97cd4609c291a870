"""HTML to text: main content, encodings, and refusal of pages that would hang the parser."""

import random
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.document import UnreadableError
from corpus.extract.charsets import decode
from corpus.extract.html import html_text
from corpus.extract.page_cost import MAX_ATTRIBUTES, MAX_DEPTH, too_complex

PAGE = """<!DOCTYPE html><html><head><title>The title</title><style>p {color: red}</style>
<script>var shown = "no";</script></head><body>
<nav><ul><li><a href="/">Home</a></li><li><a href="/about">About us</a></li></ul></nav>
<main><article><h1>On mills</h1>\r
<p>A mill grinds <b>grain</b> into flour &amp; meal.<br>It has two stones, of which one turns.</p>
<p>Windmills turned to the wind; watermills stood where the river fell, and ground all the year.</p></article></main>
<footer><p>Copyright &copy; 2024</p><!-- a comment --></footer></body></html>"""
RUSSIAN = "<p>Мельница мелет зерно в муку, и ветер вертит её крылья с утра до самого вечера.</p>"
TEXT = RUSSIAN[3:-4]


def test_main_content_drops_navigation_and_full_text_keeps_it() -> None:
    main = html_text(PAGE.encode(), None, main_content=True)
    assert main.split("\n\n")[:2] == [
        "On mills",
        "A mill grinds grain into flour & meal.\nIt has two stones, of which one turns.",
    ]
    assert "Copyright" not in main and "About us" not in main
    full = html_text(PAGE.encode(), None, main_content=False)
    assert "About us" in full and "Copyright © 2024" in full
    for text in (main, full):
        assert not re.search("The title|color|shown|comment|[\r<>]", text) and text == text.strip()


@pytest.mark.parametrize(
    ("content", "charset"),
    [
        (RUSSIAN.encode(), "utf-8"),
        (RUSSIAN.encode(), None),
        (RUSSIAN.encode("cp1251"), "Windows-1251"),
        (RUSSIAN.encode("koi8-r"), "koi8-r"),
        (RUSSIAN.encode("cp1251"), None),
        (RUSSIAN.encode("cp1251"), "not-a-charset"),
        (b'<meta charset="iso-8859-5">' + RUSSIAN.encode("iso-8859-5"), None),
        (b'<meta http-equiv="Content-Type" content="text/html; charset=ibm866">' + RUSSIAN.encode("cp866"), None),
        (b"\xef\xbb\xbf" + RUSSIAN.encode(), "windows-1251"),  # the mark decides
        (b"\xff\xfe" + RUSSIAN.encode("utf-16-le"), None),
        (b"\xfe\xff" + RUSSIAN.encode("utf-16-be"), "utf-8"),
        (b'<meta charset="koi8-r">' + RUSSIAN.encode(), "utf-8"),  # the header decides
    ],
)
def test_encoding_from_mark_header_or_detection(content: bytes, charset: str | None) -> None:
    assert html_text(content, charset, main_content=False) == TEXT


@pytest.mark.parametrize(
    "charset", ["zlib", "base64", "rot13", "idna", "unicode_escape", "undefined", "mbcs", "\0", "utf-7"]
)
def test_charset_that_is_no_web_encoding_is_ignored(charset: str) -> None:
    assert html_text(RUSSIAN.encode(), charset, main_content=False) == TEXT


def test_undecodable_bytes_are_replaced_and_control_characters_removed() -> None:
    content = b"<p>a\xffb\xed\xa0\x80c\x00d\x1be\rf&#xD800;&#0;&#x8;g\xe2\x80\xa8h\xef\xbb\xbfi</p><pre>x\r\ny</pre>"
    text = html_text(content, "utf-8", main_content=False)
    assert re.sub("\ufffd+", "?", text) == "a?b?cde f?g\nhi\n\nx\ny"
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\ufeff\u2028\ud800-\udfff]", text)


@pytest.mark.parametrize(
    "content", [b"", b" \r\n ", b"<html></html>", b"<script>x</script>", b"<!-- x -->", b"<p>\0</p>"]
)
def test_page_without_text_is_empty(content: bytes) -> None:
    for main_content in (True, False):
        assert html_text(content, None, main_content) == ""


MANY = 100_000
HOSTILE = {
    "blocks": "<div>" * MANY,
    "articles": "<article class=content>x" * MANY,
    "lists": "<ul><li>x" * MANY,
    "formatting": "<b>" * MANY,
    "option groups": "<optgroup>" * MANY,
    "ruby": "<ruby>" + "<rt>" * MANY,
    "tables": "<table><tr><td>" * MANY,
    "drawings": "<svg><g>" * MANY,
    "end tags in comments": "<div><!--</div>-->" * MANY,
    "end tags in attributes": '<div title="</div>">' * MANY,
    "end tags in raw text": "<div><textarea></div></textarea>" * MANY,
    "end tags that close nothing": "<b><div></b>" * MANY,
    "end tags across barriers": "<div><object></div></object>" * MANY,
    "attributes": "<p " + " ".join(f"a{number}" for number in range(MANY)) + ">",
    "attributes without spaces": "<p " + "".join(f'a{number}=""' for number in range(MANY)) + ">",
    "formatting left open": "".join(f"<div><b id={number}>x</div>" for number in range(MANY)),
    "formatting opened again": "<div>" + "".join(f"<b id={n}>" for n in range(200)) + "</div>" + "<div>x</div>" * MANY,
    "tags": "<br>" * 1_100_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_page_that_would_take_hours_is_refused(name: str) -> None:
    page = HOSTILE[name].encode()
    assert too_complex(page)  # without parsing it
    for main_content in (True, False):
        with pytest.raises(UnreadableError) as raised:
            html_text(page, None, main_content)
        assert raised.value.reason == "too_complex"


HARMLESS = {
    "nulls": "<p>a\0b</p>" * MANY,
    "one attribute": f'<p class="{"a " * 10 * MANY}">x</p>',
    "a data URI": f'<p>x<img src="data:image/png;base64,{"A" * 10 * MANY}">',
    "unclosed paragraphs": "<p>x" * MANY,
    "unclosed cells": "<table>" + "<tr><td>x" * MANY,
    "unclosed items": "<ul>" + "<li>x" * MANY,
    "unclosed fonts": "<div><font size=2>x</div>" * MANY,
    "unclosed links": "".join(f"<div><a href=/{number}>x</div>" for number in range(MANY)),
    "paths": "<svg>" + "<path d='M0 0'/>" * MANY + "</svg>x",
    "angles": "x" + "<" * MANY,
    "entities": "&amp;" * MANY,
    "tags in scripts": "<script>" + "'<div>'" * MANY + "</script>x",
    "tags in comments": "<!--" + "<div>" * MANY + "-->x",
    "deep but closed": ("<div>" * (MAX_DEPTH - 1) + "x" + "</div>" * (MAX_DEPTH - 1)) * 50,
}


@pytest.mark.parametrize("name", HARMLESS)
def test_large_but_cheap_page_is_read(name: str) -> None:
    assert html_text(HARMLESS[name].encode(), None, main_content=False)
    html_text(HARMLESS[name].encode(), None, main_content=True)  # of nothing but list items or links: perhaps empty


@pytest.mark.parametrize(
    ("page", "bound"),
    [
        ("<div>" * MAX_DEPTH, False),
        ("<div>" * (MAX_DEPTH + 1), True),
        ("<div></div>" * (MAX_DEPTH + 1), False),
        ("<span>" * MAX_DEPTH + "</div></p></table>" + "<span>", True),
        ("<div><span></div>" * (MAX_DEPTH + 1), False),
        ("<DIV></div >" * (MAX_DEPTH + 1), False),
        ("<p " + "a " * MAX_ATTRIBUTES + ">", False),
        ("<p " + "a " * (MAX_ATTRIBUTES + 1) + ">", True),
        ("<p " + "a = '> b' " * MAX_ATTRIBUTES + ">", False),
        ("<p " + "a/" * (MAX_ATTRIBUTES + 1), True),
    ],
)
def test_bounds_are_exact(page: str, bound: bool) -> None:
    assert too_complex(page.encode()) is bound


@pytest.mark.parametrize(
    "page",
    ["", "<", "<a", "</", "<!", "<!-", "<!--", "<!-->", "<!---", "<?", '<a b="', "<a b=", "<script></", "<svg><a/"],
)
def test_page_may_end_anywhere(page: str) -> None:
    assert too_complex(page.encode()) is False


@given(
    st.lists(st.sampled_from([*"<>/!-='\"& ax\0", "<b>", "</b>", "<svg>", "<div ", "<!--", "-->", "<table>", "\ud800"]))
)
def test_random_markup_is_decoded_and_scanned(parts: list[str]) -> None:
    content = "".join(parts).encode("utf-8", "surrogatepass")
    assert decode(content, None).encode() is not None
    assert too_complex(content) is False
    text = html_text(content, "utf-8", main_content=True)
    assert text == text.strip() and text.encode().decode() == text


def test_real_pages_intact_and_damaged(data: Path) -> None:
    source = random.Random(3)
    pages, empty = 0, 0
    with tarfile.open(data / "extraction/readability-pages.tar.xz") as archive:
        for member in archive:
            if not member.name.endswith("source.html"):
                continue
            content = bytearray(archive.extractfile(member).read())  # type: ignore[union-attr]
            pages += 1
            for damage in (0, 30):
                for _ in range(damage):
                    content[source.randrange(len(content))] = source.randrange(256)
                text = html_text(bytes(content), None, main_content=True)
                assert len(text.encode()) <= len(content) and text == text.strip()
                empty += not text
    assert pages == 130 and empty <= 4


def test_importing_the_source_loads_no_heavy_library() -> None:
    code = "import sys, corpus.sources.common_crawl\n"
    code += "print([each for each in ('numba', 'resiliparse', 'fastwarc') if each in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"

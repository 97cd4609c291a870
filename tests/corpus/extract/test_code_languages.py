"""Languages of source files, and encodings of text."""

import pytest

from corpus.extract.charsets import decodes, head, known_charset, marked_charset
from corpus.extract.code_languages import LANGUAGES, NAMED, language_of_name, language_of_script


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("a/mill.py", "python"),
        ("a/MILL.CPP", "c++"),
        ("a/Makefile", "makefile"),
        ("a/Dockerfile", "dockerfile"),
        ("CMakeLists.txt", "cmake"),
        ("mill.h", "c"),
        ("mill.md", "markdown"),
        ("bin/mill", ""),
        ("a.d/mill", ""),
        ("mill.txt", None),
        ("mill.ipynb", None),
        (".gitignore", None),
        ("mill.", None),
    ],
)
def test_language_of_name(name: str, language: str | None) -> None:
    assert language_of_name(name) == language


@pytest.mark.parametrize(
    ("content", "language"),
    [
        (b"#!/usr/bin/env python3\n", "python"),
        (b"#!/usr/bin/env -S node --flag\n", "javascript"),
        (b"#! /bin/sh -e\n", "shell"),
        (b"#!/usr/local/bin/perl5.36 -w", "perl"),
        (b"#!/opt/mill/grind\n", None),
        (b"#!", None),
        (b"# python\n", None),
    ],
)
def test_language_of_script(content: bytes, language: str | None) -> None:
    assert language_of_script(content) == language


def test_data_and_prose_are_read_only_if_named() -> None:
    assert {"json", "markdown", "yaml"} <= NAMED - LANGUAGES and len(LANGUAGES) > 60


def test_only_encodings_of_text_are_known() -> None:
    known = ("latin-1", "UTF8", "windows-1252", "koi8-r", "shift_jis", "gb2312", "macintosh")
    assert all(map(known_charset, known))
    assert not any(
        map(known_charset, ("zip", "rot13", "base64", "unicode_escape", "idna", "punycode", "x\0y", "", "no"))
    )


@pytest.mark.parametrize("charset", ["utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_mark_decides_the_charset(charset: str) -> None:
    content = "жито".encode(charset)
    assert marked_charset(content) == charset and decodes(content, charset) and head(content, charset, 99) == "жито"


def test_long_text_is_decoded_in_chunks() -> None:
    content = b"x" + "ж".encode() * 1_500_000  # characters lie across every border
    assert (
        decodes(content, "utf-8") and not decodes(content[:-1], "utf-8") and not decodes(content[1:] + b"\xff", "utf-8")
    )
    assert head(content, "utf-8", 4) == "xж"

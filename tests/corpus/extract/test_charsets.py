"""Encodings: the web's tables, claims checked against the bytes, detection, and bytes that are no text."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.extract.charsets import decode, is_binary, known_charset
from corpus.extract.html import html_text
from corpus.extract.web_codecs import web_encoding, web_text

RUSSIAN = "Мельница мелет зерно в муку, и ветер вертит её крылья с утра до вечера."
FRENCH = "L’été à Noël, près d’un vieux château, nous étions là."
CHINESE = "昨天村里的磨坊开了门，大家都来看风车。"


@pytest.mark.parametrize(
    ("label", "content", "text"),
    [
        ("Shift_JIS", b"\x87\x8a\xee\xe0\x93\x87\x87\x40", "㈱髙島①"),
        ("x-sjis", b"\xfa\x40\x81\x60", "ⅰ～"),
        ("euc-kr", b"\x8cc\xb9\xe6\xb0\xa2\xc7\xcf", "똠방각하"),
        ("ks_c_5601-1987", b"\xbc\x84", "펲"),
        ("big5", b"\x9d\xf6\xad\xbb\xb4\xe4\xbf\xec", "喺香港辦"),
        ("big5", b"\x87\x7a\x87\xa1\x92\x44\xa3\xe1\xfe\xdd", "㡵𥣞蔃€砉"),  # that no codec of Python has
        ("big5-hkscs", b"\xa1\x45\xa2\x44\xa1\xf2\x88\x62", "‧￥⊕Ê̄"),
        ("gb2312", b"\xd6\xec\xe9F\xbb\xf9", "朱镕基"),
        ("gbk", b"\x80\xa3\xa0\xa6\xd9\xfe\x59\x81\x39\xef\x31", "€\u3000︐龴㐂"),
        ("windows-874", "ก\u201cข\u201d…€".encode("cp874"), "ก“ข”…€"),
        ("tis-620", b"\xa1\x93\xa2\x94", "ก“ข”"),
        ("euc-jp", b"\xad\xa1\xa4\xa2\xf9\xa1\xfc\xe2\xa1\xc1", "①あ纊髙～"),
        ("iso-2022-jp", b"\x1b$B\x2d\x21\x24\x22\x79\x21\x1b(Ba", "①あ纊a"),
        ("koi8-u", b"\xae\xbe", "ўЎ"),
        ("latin1", b"\x80\x93\xe9", "€“é"),
        ("iso-8859-9", b"\x80\xfd", "€ı"),
        ("x-mac-cyrillic", b"\x80\xf5", "Ах"),
    ],
)
def test_labels_and_tables_are_those_of_the_web(label: str, content: bytes, text: str) -> None:
    encoding = web_encoding(f" {label.upper()}\n")
    assert encoding and web_text(b"abc " * 20 + content, encoding) == "abc " * 20 + text


@pytest.mark.parametrize("label", ["big5", "gbk", "euc-jp", "iso-2022-jp", "shift_jis", "euc-kr"])
def test_bytes_that_do_not_decode_are_replaced_alone(label: str) -> None:
    encoding = web_encoding(label)
    assert encoding
    text = web_text(b"mill " * 20 + b"\xff<p>\xfe", encoding)
    assert text.startswith("mill " * 20 + "\ufffd") and "<p>" in text


def test_a_page_of_bad_bytes_is_decoded_in_bounded_time() -> None:
    start = time.monotonic()
    for label in ("big5", "euc-jp", "gbk", "iso-2022-jp"):
        decode(b"<p>" + b"\xff\xa1\x87 " * 500_000, label)
    assert time.monotonic() - start < 60  # against hangs


def page(text: str, encoding: str, meta: str = "") -> bytes:
    head = f'<head><meta http-equiv="Content-Type" content="text/html; charset={meta}"></head>' if meta else ""
    return f"<!DOCTYPE html><html>{head}<body><p>{text}</p></body></html>".encode(encoding)


@pytest.mark.parametrize(
    ("text", "encoding", "header", "meta"),
    [
        # UTF-8 that says otherwise
        (FRENCH, "utf-8", "iso-8859-1", ""),
        (RUSSIAN, "utf-8", "iso-8859-1", "utf-8"),
        (CHINESE, "utf-8", "gb2312", "big5"),
        ("© The mill", "utf-8", "gbk", ""),
        # others that say UTF-8, with and without the right encoding in the page
        (RUSSIAN, "cp1251", "utf-8", "windows-1251"),
        (RUSSIAN, "cp1251", "utf-8", ""),
        (CHINESE, "gbk", "utf-8", "utf-8"),
        ("通知：媒体没有采访，每天的煤价路费另议。", "gbk", "utf-8", ""),  # two thirds as many pairs as errors in UTF-8
        (FRENCH, "cp1252", "utf-8", ""),
        ("サーバーの設定を見直したところ、うまくいきました。", "cp932", "utf-8", ""),
        # others that say Latin-1, as servers do of all their pages
        (RUSSIAN, "cp1251", "iso-8859-1", "windows-1251"),
        (RUSSIAN, "koi8-r", "iso-8859-1", ""),
        (CHINESE, "gbk", "windows-1252", ""),
        # a double-byte encoding whose few characters are valid UTF-8
        ("通知", "gbk", "gb2312", ""),
        ("通知", "gbk", "", "gbk"),
        # UTF-16 in an ASCII page
        ("The mill", "ascii", "", "utf-16"),
        (FRENCH, "utf-8", "", "utf-16le"),
        (FRENCH, "cp1252", "utf-16", "windows-1252"),
        # and claims that are right
        (FRENCH, "cp1252", "iso-8859-1", "utf-8"),
        ("Příliš žluťoučký kůň", "cp1250", "windows-1250", ""),
        ("漢字かな交じり文", "iso2022_jp", "iso-2022-jp", ""),
        ("漢字かな交じり文", "iso2022_jp", "", ""),
        ("Ωmega: ΑΒΓ ΔΕΖ ΗΘΙ", "cp1253", "windows-1253", "utf-8"),
    ],
)
def test_a_claim_is_checked_against_the_bytes(text: str, encoding: str, header: str, meta: str) -> None:
    assert html_text(page(text, encoding, meta), header or None, main_content=False) == text


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (CHINESE, "gbk"),
        ("东京", "gbk"),
        ("風車轉動，磨坊的主人在河邊等著大家。", "big5"),
        ("방앗간은 강가에 있고 물레방아가 돈다", "cp949"),
        ("水車は川のそばにあります", "cp932"),
        ("水車は川のそばにあります", "euc_jp"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        (FRENCH, "cp1252"),
        (f"{FRENCH} " * 15, "cp1252"),
        ("El molino del pequeño pueblo, mañana", "cp1252"),
        ("Příliš žluťoučký kůň úpěl ďábelské ódy", "cp1250"),
        ("โรงสีอยู่ริมแม่น้ำและกังหันหมุนตลอดวัน", "cp874"),
        ("טחנת הקמח עומדת ליד הנהר", "cp1255"),
    ],
)
def test_undeclared_encodings_are_detected(text: str, encoding: str) -> None:
    assert html_text(page(text, encoding), None, main_content=False) == text.strip()


def test_a_little_damage_leaves_a_page_utf8() -> None:
    content = page(RUSSIAN, "utf-8").replace(b"</p>", b"\xd0 caf\xe9</p>")
    for header in (None, "utf-8", "iso-8859-1", "windows-1251"):
        assert RUSSIAN in decode(content, header) and decode(content, header).count("\ufffd") == 2


@pytest.mark.parametrize("mark", ["\ufeff", "\ufeff\ufeff", "\r\n\ufeff"])
def test_a_mark_before_the_doctype_changes_nothing(mark: str) -> None:
    plain = f"<!DOCTYPE html><html><head><title>No text</title></head><body><div><p>{FRENCH} {FRENCH}</p></div></body>"
    for main_content in (True, False):
        text = html_text((mark + plain).encode(), None, main_content)
        assert text == html_text(plain.encode(), None, main_content) and "No text" not in text


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_shows_by_its_tags(encoding: str) -> None:
    for header in (None, "utf-16", "utf-8"):
        assert html_text(page(RUSSIAN, encoding), header, main_content=False) == RUSSIAN


def test_claims_in_comments_do_not_count() -> None:
    content = b"<!-- <meta charset=koi8-r> --><meta charset=windows-1251><p>" + RUSSIAN.encode("cp1251")
    assert html_text(content, None, main_content=False) == RUSSIAN


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        b"GIF89a\x01\0",
        b"%PDF-1.4\n1 0 obj",
        b"\x1f\x8b\x08\0abc",
        b"PK\x03\x04",
        bytes(range(256)) * 4,
    ],
)
def test_binary_content_is_no_page(content: bytes) -> None:
    assert is_binary(content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"plain text\r\n\twith tabs\x0c",
        b"<p>a\0b",
        page(RUSSIAN, "utf-16-le"),
        "漢字".encode("iso2022_jp"),
        page(CHINESE, "gbk"),
    ],
)
def test_text_is_not_binary(content: bytes) -> None:
    assert not is_binary(content)


def test_known_charsets_are_the_widest_of_their_kind() -> None:
    names = ("Shift_JIS", "EUC-KR", "GB2312", "Big5", "TIS-620", "latin-1", "utf-8", "zip")
    assert [known_charset(name) for name in names] == [
        *("cp932", "cp949", "gb18030", "big5hkscs", "cp874", "iso8859-1", "utf-8", None)
    ]


@given(
    st.binary(max_size=200),
    st.sampled_from([None, "big5", "gbk", "euc-jp", "iso-2022-jp", "utf-16", "x"]),
)
def test_any_bytes_decode_to_text_that_utf8_can_hold(content: bytes, charset: str | None) -> None:
    text = decode(content, charset)
    assert text.encode().decode() == text and "\0" not in text and "\ufeff" not in text
    is_binary(content)

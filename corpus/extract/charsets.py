"""Encodings of files: by byte order mark, by a name that the file states, checked against the bytes, or detected.

`decode` reads web pages; readers of other files, which refuse bytes that do not decode, use the functions below it.
"""

import codecs
import re
from collections.abc import Iterator

from corpus.extract.web_codecs import web_encoding, web_text, wider

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before the mark of UTF-16, which is its beginning
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Encodings of text, by Python's names. Its other codecs compress, escape or resolve names.
_TEXT = re.compile(r"(ascii|utf|iso8859|cp\d|koi8|mac|euc|shift|gb|big5|iso2022|johab|tis|ptcp|kz|hz).*")

_CHUNK_BYTES = 1 << 20
_HEAD_BYTES = 4096  # in which a page states its encoding, or shows that it is no text
_TAGS_BYTES = 64  # that hold tags or white space
_COMMENT = re.compile(rb"<!--.*?(?:-->|\Z)", re.DOTALL)
_STATED = re.compile(
    rb"<(?:meta[\s/][^>]{0,500}?charset|\?xml[^>]{0,200}?encoding)\s*=\s*[\"']?\s*([\w.:+-]{1,40})", re.IGNORECASE
)
_HIGH = bytes(range(128, 256))
_ASCII = bytes(range(128))
_CONTROLS = bytes({*range(9), 11, *range(14, 27), *range(28, 32)})
_BINARY_SHARE = 0.04  # of control bytes; random bytes have 0.11
# Of files that may hold few control bytes at first. Source: https://mimesniff.spec.whatwg.org
_SIGNATURES = (
    *(b"\x89PNG\r\n", b"GIF87a", b"GIF89a", b"\xff\xd8\xff", b"%PDF-", b"%!PS-Adobe-", b"{\\rtf", b"\xd0\xcf\x11\xe0"),
    *(
        b"\x1f\x8b\x08",
        b"PK\3\4",
        b"Rar!\x1a\7",
        b"7z\xbc\xaf",
        b"BZh91AY",
        b"\xfd7zXZ",
        b"\x28\xb5\x2f\xfd",
        b"\x7fELF",
    ),
)

_WESTERN = ("cp1252", "iso8859-15", "cp1254")
_LETTERS = re.compile(rb"[\xc0-\xff]+")  # of Western encodings
_FEW_CHARACTERS = 8  # of two bytes each, that a double-byte encoding may explain better than UTF-8
_LITTLE_DAMAGE = 10  # sound characters of UTF-8 to an error
_MOST_ERRORS = 0.05  # of the characters that are not ASCII


def decode(content: bytes, charset: str | None) -> str:
    """Decode a page by its byte order mark, else as UTF-8 if it is that, else by a claim that fits, else by detection.

    Claims are `charset` (of the HTTP header), then those of the page. Bytes that do not decode become U+FFFD. The text
    has no NULs and no byte order marks, which a parser would take for text before the doctype.
    The web has the same order of mark, header and page, without the check. Source:
    https://html.spec.whatwg.org/multipage/parsing.html#determining-the-character-encoding
    """
    page = _decoded(content, charset)
    if b"\0" in content:
        page = page.replace("\0", "")
    return page if page.isascii() else page.replace("\ufeff", "")


def _decoded(content: bytes, charset: str | None) -> str:
    if encoding := marked_charset(content) or _utf16(content):
        return content.decode(encoding, "replace")
    try:
        page = content.decode()
    except UnicodeDecodeError:
        return _not_utf8(content, charset)
    # Valid UTF-8 is nothing else, but for the escapes of ISO-2022-JP and a few characters of two bytes.
    if page.isascii():
        return web_text(content, "iso2022_jp") if b"\x1b$" in content else page
    if len(content) - len(page) < _FEW_CHARACTERS:
        for encoding in _claims(content, charset):
            if _is_double_byte(page, content, encoding):
                return web_text(content, encoding)
    return page


def _not_utf8(content: bytes, charset: str | None) -> str:
    """Decode as UTF-8 if not too much of it is damaged, else by the claim or the detected encoding that fits."""
    from corpus.extract.detection import detected_encoding, double_byte_encoding

    claims = list(_claims(content, charset))
    page = content.decode("utf-8", "replace")
    errors = page.count("\ufffd") - content.count(b"\xef\xbf\xbd")
    sound = len(page) - len(content.translate(None, _HIGH)) - page.count("\ufffd")
    # A third of the pairs of GBK are valid UTF-8.
    is_utf8 = sound * (2 if "utf-8" in claims else 1) >= errors
    if is_utf8 and (sound >= errors * _LITTLE_DAMAGE or double_byte_encoding(content) is None):
        return page
    best: tuple[float, str] | None = None
    for encoding in (*(claim for claim in claims if claim != "utf-8"), None):
        text = web_text(content, encoding or detected_encoding(content))
        doubt = _doubt(text, content, encoding)
        if doubt <= _MOST_ERRORS:
            return text
        if best is None or doubt < best[0]:
            best = doubt, text
    assert best
    return best[1]


def _claims(content: bytes, charset: str | None) -> Iterator[str]:
    """Yield the encodings that the header and the page claim, but not UTF-16, which shows by its NULs."""
    head = content[:_HEAD_BYTES]
    stated = [
        match[1].decode("latin-1") for match in _STATED.finditer(_COMMENT.sub(b"", head) if b"<!" in head else head)
    ]
    found = dict.fromkeys(web_encoding(label) for label in (charset or "", *stated[:2]))
    return (encoding for encoding in found if encoding and not encoding.startswith("utf-16"))


def _utf16(content: bytes) -> str | None:
    """Return the encoding of a page without a mark whose tags have a NUL beside each letter."""
    head = content[:_TAGS_BYTES]
    if b"\0" not in head:
        return None
    even, odd, half = head[::2].count(0), head[1::2].count(0), len(head) // 2
    if odd > 0.7 * half and even < 0.1 * half:
        return "utf-16-le"
    return "utf-16-be" if even > 0.7 * half and odd < 0.1 * half else None


def _is_double_byte(page: str, content: bytes, encoding: str) -> bool:
    """Return True if the few characters are no letters that a page would hold alone, and the claimed encoding has them.

    A quarter of the pairs of GBK are valid UTF-8: 通知 is a Hebrew point and a combining mark.
    """
    if encoding not in ("gb18030", "big5hkscs", "cp949", "cp932", "euc_jp"):
        return False
    return all("\u0250" <= each <= "\u07ff" for each in page if each > "\x7f") and decodes(content, encoding)


def _doubt(text: str, content: bytes, claim: str | None) -> float:
    """Return the share of the characters beyond ASCII that are damaged, or 1 if a Western claim is wrong.

    Western letters beyond ASCII stand among those of ASCII; other scripts, read as Western, are runs of them.
    """
    if claim in _WESTERN:
        letters = _LETTERS.findall(content)
        if sum(len(run) for run in letters if len(run) > 2) * 2 > sum(map(len, letters)):
            return 1.0
    beyond = len(text) - len(content.translate(None, _HIGH))
    return text.count("\ufffd") / max(beyond, 1)


def is_binary(content: bytes) -> bool:
    """Return True if the content of a page is that of an image, a PDF, an archive or another file that is no text."""
    if content.startswith(_SIGNATURES):
        return True
    head = content[:_HEAD_BYTES]
    if head.lstrip()[:1] == b"<" or marked_charset(head) or _utf16(head):
        return False
    return len(head) - len(head.translate(None, _CONTROLS)) > len(head) * _BINARY_SHARE


def marked_charset(content: bytes) -> str | None:
    """Return the encoding that a byte order mark states; its codec removes the mark."""
    return next((name for bom, name in _BOMS if content.startswith(bom)), None)


def known_charset(name: str) -> str | None:
    """Return Python's name of an encoding of text, the widest of its kind; None for any other name."""
    try:
        codec = codecs.lookup(name.strip().replace(" ", "-")).name
    except (LookupError, ValueError, UnicodeError):
        return None
    return wider(codec) if _TEXT.fullmatch(codec.replace("-", "").replace("_", "")) else None


def decodes(content: bytes, charset: str) -> bool:
    """Return True if all of the content is text in this encoding; it is decoded in small pieces to save memory."""
    decoder = codecs.getincrementaldecoder(charset)()
    try:
        for start in range(0, len(content), _CHUNK_BYTES):
            decoder.decode(content[start : start + _CHUNK_BYTES])
        decoder.decode(b"", final=True)
    except UnicodeError:
        return False
    return True


def head(content: bytes, charset: str, limit: int) -> str:
    """Decode the first `limit` bytes of text in this encoding, without a character that the limit cuts."""
    return codecs.getincrementaldecoder(charset)().decode(content[:limit])

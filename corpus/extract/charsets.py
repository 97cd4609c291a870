"""Encodings of text files, by byte order mark or by a name that the file states."""

import codecs
import re

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


def marked_charset(content: bytes) -> str | None:
    """Return the encoding that a byte order mark states; its codec removes the mark."""
    return next((name for bom, name in _BOMS if content.startswith(bom)), None)


def known_charset(name: str) -> str | None:
    """Return Python's name of an encoding of text; None for any other name."""
    try:
        codec = codecs.lookup(name.strip().replace(" ", "-")).name
    except (LookupError, ValueError, UnicodeError):
        return None
    return codec if _TEXT.fullmatch(codec.replace("-", "").replace("_", "")) else None


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

"""How a file's text is encoded: by its byte order mark, or by what it says of itself."""

import codecs
import re

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16's, with which it begins
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Encodings of text, by Python's names: others of its codecs unpack, escape or look things up.
_TEXT = re.compile(r"(ascii|utf|iso8859|cp\d|koi8|mac|euc|shift|gb|big5|iso2022|johab|tis|ptcp|kz|hz).*")

_CHUNK_BYTES = 1 << 20


def marked_charset(content: bytes) -> str | None:
    """What a byte order mark says; the codec takes it off."""
    return next((name for bom, name in _BOMS if content.startswith(bom)), None)


def known_charset(name: str) -> str | None:
    """Python's name of an encoding of text; None if it is none."""
    try:
        found = codecs.lookup(name.strip().replace(" ", "-")).name
    except (LookupError, ValueError, UnicodeError):
        return None
    return found if _TEXT.fullmatch(found.replace("-", "").replace("_", "")) else None


def decodes(content: bytes, charset: str) -> bool:
    """Whether all of the content is text in this encoding; little of it is decoded at a time."""
    decoder = codecs.getincrementaldecoder(charset)()
    try:
        for start in range(0, len(content), _CHUNK_BYTES):
            decoder.decode(content[start : start + _CHUNK_BYTES])
        decoder.decode(b"", final=True)
    except UnicodeError:
        return False
    return True


def head(content: bytes, charset: str, limit: int) -> str:
    """The text of the first `limit` bytes, less a character that they cut; of text in this encoding."""
    return codecs.getincrementaldecoder(charset)().decode(content[:limit])

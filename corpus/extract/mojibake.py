"""Mojibake: UTF-8 that was once read as Latin-1 or windows-1252, as in `Itâ€™s`, mended where it is certain."""

import re
from typing import NamedTuple

# Characters that a byte from 0x80 to 0xBF became: those of windows-1252, and controls where it has none or in Latin-1.
_WINDOWS = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
_NEXT = f"[\x80-\xbf{_WINDOWS}]"
SEQUENCE = re.compile(f"[\xc2-\xdf]{_NEXT}|[\xe0-\xef]{_NEXT}{{2}}|[\xf0-\xf4]{_NEXT}{{3}}")
_LIKELY = re.compile(f"[\xc2-\xf4]{_NEXT}")  # searched for at several times the speed of SEQUENCE
# Sequences that no text has by itself. É… and voilà » are text. Quotes, dashes and dots may follow any letter.
_CERTAIN = re.compile(
    f"\xc2[\xa0-\xba\xbc-\xbf]|\xc3[\x80-\x9f\xa1-\xaa\xac-\xba\xbc-\xbf€‚ƒ„†‡ˆ‰ŠŒŽ˜šœžŸ]|\xe2[€‚„†ˆ\x80\x82\x84\x86\x88]{_NEXT}|\xef\xbb\xbf"
    f"|\xf0[\u0178\x9f]{_NEXT}{{2}}"
)
# Whole lines are certain if they have so many sequences, two of them different, and nothing else beyond ASCII.
_LEAST_IN_LINE = 3
_AFTER_LETTERS = re.compile("[\xa0\xab\xbb‘’“”–—…™‹›]+")  # in text; a line needs sequences that do not end so
_BYTES = {ord(bytes([byte]).decode("cp1252", "ignore") or chr(byte)): byte for byte in range(0x80, 0x100)}
_BYTES |= {byte: byte for byte in range(0x80, 0xA0)}


class Mended(NamedTuple):
    """A text, and the number of characters that were mended in it."""

    text: str
    mended: int


def mend(text: str) -> Mended:
    """Return the text with each character that was certainly UTF-8 read as Latin-1 or windows-1252."""
    if text.isascii() or not _LIKELY.search(text):
        return Mended(text, 0)
    lines, mended = text.split("\n"), 0
    for number, line in enumerate(lines):
        if _LIKELY.search(line):
            lines[number], count = _mended_line(line)
            mended += count
    return Mended("\n".join(lines), mended)


def _mended_line(line: str) -> Mended:
    sequences = SEQUENCE.findall(line)
    unusual = {each for each in sequences if not _AFTER_LETTERS.fullmatch(each, 1)}
    whole = len(sequences) >= _LEAST_IN_LINE and len(unusual) > 1 and SEQUENCE.sub("", line).isascii()
    mended = 0

    def character(match: re.Match[str]) -> str:
        nonlocal mended
        read = _read(match[0])
        if read is None:
            return match[0]
        mended += 1
        return read

    return Mended((SEQUENCE if whole else _CERTAIN).sub(character, line), mended)


def _read(sequence: str) -> str | None:
    """Return the character whose UTF-8 the sequence shows; None if they are not UTF-8, "" for a mark."""
    try:
        return bytes(_BYTES[ord(character)] for character in sequence).decode().replace("\ufeff", "")
    except UnicodeDecodeError:
        return None

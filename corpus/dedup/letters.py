"""What each code point is to a word, and its lower case: one table, made once a process."""

import unicodedata
from functools import cache

import numpy as np
from numpy.typing import NDArray

SEPARATOR, RUN, ALONE, MARK, IGNORED = range(5)
CLASS_SHIFT = 24  # an entry: class << 24 | lower case
POINTS = 0x110000
_PLANES = 0x40000  # letters, digits and marks are assigned in planes 0 to 3 …
_TAGS = range(0xE0000, 0xE0200)  # … and here: tags (ignored) and variation selectors (marks)

# Letters of scripts written without spaces between words. Hangul, Tibetan and Ethiopic divide theirs: not here.
_ALONE = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # ideographic marks and zero
    (0x3040, 0x312F),  # kana, Bopomofo
    (0x31A0, 0x31BF),  # Bopomofo extended
    (0x31F0, 0x31FF),  # Katakana phonetic extensions
    (0x3400, 0x4DBF),  # ideographs, extension A
    (0x4E00, 0x9FFF),  # ideographs
    (0xA9E0, 0xA9FF),  # Myanmar extended B
    (0xAA60, 0xAA7F),  # Myanmar extended A
    (0xF900, 0xFAFF),  # compatibility ideographs
    (0xFF66, 0xFF9F),  # halfwidth Katakana
    (0x1AFF0, 0x1B16F),  # kana extensions
    (0x20000, 0x3FFFF),  # ideographs, extensions B and on
)
_LETTERS = frozenset(("Lu", "Ll", "Lt", "Lm", "Lo", "Nl"))
_CLASS = dict.fromkeys(("Nd", "No", *_LETTERS), RUN) | dict.fromkeys(("Mn", "Mc", "Me"), MARK) | {"Cf": IGNORED}


@cache
def table() -> NDArray[np.uint32]:
    """One entry a code point, by the running Python's Unicode data (`unicodedata.unidata_version`).

    A soft hyphen or joiner (Cf) is ignored; a zero width space divides words, for which it is there.
    """
    entries = np.zeros(POINTS, dtype=np.uint32)
    for point in (*range(_PLANES), *_TAGS):
        kind = _CLASS.get(unicodedata.category(chr(point)), SEPARATOR)
        if kind != SEPARATOR:
            entries[point] = kind << CLASS_SHIFT | ord(chr(point).lower()[0])
    for first, last in _ALONE:
        block = entries[first : last + 1]  # a view
        for offset in np.flatnonzero(block >> CLASS_SHIFT == RUN):
            if unicodedata.category(chr(first + int(offset))) in _LETTERS:
                block[offset] = ALONE << CLASS_SHIFT | first + int(offset)
    entries[0x200B] = SEPARATOR
    entries.setflags(write=False)
    return entries

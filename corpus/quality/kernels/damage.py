"""Count the characters that a wrong encoding left in a text."""

import numpy as np

from corpus.compiled import as_int64, jit_no_alloc
from corpus.quality.kernels.line_counts import SignalRecord
from corpus.quality.kernels.spans import Codes

_REPLACEMENT = 0xFFFD
# True for the characters that the bytes 0x80 to 0xBF become in Latin-1 and in windows-1252.
_NEXT = np.zeros(0x2123, np.bool_)
_NEXT[[*range(0x80, 0xC0), *(ord(each) for each in bytes(range(0x80, 0xA0)).decode("cp1252", "ignore"))]] = True


@jit_no_alloc
def count_damage(codes: Codes, signals: SignalRecord) -> None:
    """Count U+FFFD, and sequences that are one character of UTF-8 if windows-1252 or Latin-1 made them."""
    replacements = mojibake = as_int64(0)
    position, end = as_int64(0), as_int64(len(codes))
    while position < end:
        code = codes[position]
        position += 1
        if code == _REPLACEMENT:
            replacements += 1
        elif 0xC2 <= code <= 0xF4:
            # A lead byte says how many bytes follow it.
            following = 1 if code < 0xE0 else 2 if code < 0xF0 else 3
            last = position
            while last < end and last - position < following and codes[last] < len(_NEXT) and _NEXT[codes[last]]:
                last += 1
            if last - position == following:
                mojibake += 1
                position = last
    signals.replacement_characters, signals.mojibake = replacements, mojibake

"""Character classes for the kernels: bit flags of each code point."""

import unicodedata
from functools import cache

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.uint16]  # the bit flags of each code point

SPACE = 1 << 0  # str.isspace
BREAK = 1 << 1  # ends a line for str.splitlines
ALPHA = 1 << 2  # str.isalpha
ALNUM = 1 << 3  # str.isalnum
LOWER = 1 << 4  # lower case, or a letter of a script without case
UPPER = 1 << 5  # upper case, or a letter of a script without case
DIGIT = 1 << 6  # 0-9
PREFIX = 1 << 7  # a word of its own at the start of a run of non-spaces
SUFFIX = 1 << 8  # a word of its own at the end of a run
ICON = 1 << 9  # a word of its own anywhere in a run
QUOTE = 1 << 10
BEFORE_DOT = 1 << 11  # a full stop after it is a word of its own
HOST = 1 << 12  # allowed in a host name
SYMBOL = 1 << 13  # a word of nothing but symbols is not counted by Gopher's rules
CUT = 1 << 14  # a run of non-spaces may be split next to it

_LAST_LETTER = 0x323B0  # no letter, digit or symbol is assigned between here and the private planes
# Source: spaCy 3.8 (MIT), spacy/lang/char_classes.py and punctuation.py
_PUNCTUATION = "…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪"
_QUOTES = "'\"”“`‘´’‚,„»«「」『』（）〔〕【】《》〈〉〈〉⟦⟧\u2329\u232a"
CURRENCY = "$£€¥฿₽﷼₴₠₡₢₣₤₥₦₧₨₩₪₫₭₮₯₰₱₲₳₵₶₷₸₹₺₻₼₾₿"
# Source: datatrove 0.10 (Apache-2.0), datatrove/utils/text.py, PUNCTUATION_SET
_SYMBOLS = "!/—”:％１〈&(、━\\【#%「」，】；+^]~“《„';’{|∶´[=-`*．（–？！：$～«〉,><》)?）。…@_.\"}►»"
_SYMBOL_CONTROLS = ((0, 9), (11, 13), (13, 32), (127, 160))
_SENTENCE_ENDS = """21 2E 3F 589 61D-61F 6D4 700-702 7F9 837 839 83D-83E 964-965 104A-104B 1362 1367-1368 166E
    1735-1736 17D4-17D6 17D9-17DA 1803 1809 1944-1945 1AA8-1AAB 1B5A-1B5B 1B5E-1B5F 1B7D-1B7E 1C3B-1C3C 1C7E-1C7F
    203C-203D 2047-2049 2E2E 2E3C 2E53-2E54 3002 A4FF A60E-A60F A6F3 A6F7 A876-A877 A8CE-A8CF A92F A9C8-A9C9 AA5D-AA5F
    AAF0-AAF1 ABEB FE52 FE56-FE57 FF01 FF0E FF1F FF61 10A56-10A57 10F55-10F59 10F86-10F89 11047-11048 110BE-110C1
    11141-11143 111C5-111C6 111CD 111DE-111DF 11238-11239 1123B-1123C 112A9 1144B-1144C 115C2-115C3 115C9-115D7
    11641-11642 1173C-1173E 11944 11946 11A42-11A43 11A9B-11A9C 11C41-11C42 11EF7-11EF8 11F43-11F44 16A6E-16A6F 16AF5
    16B37-16B38 16B44 16E98 1BC9F 1DA88"""


@cache
def character_flags() -> Flags:
    """Return the flags of all code points, from unicodedata and spaCy's lists of punctuation."""
    table = np.zeros(0x110000, np.uint16)
    for code in range(_LAST_LETTER):
        table[code] = _unicode_flags(chr(code))
    table[ord("0") : ord("9") + 1] |= DIGIT | BEFORE_DOT
    table[0xA1:0x10000] |= HOST
    for bits, characters in (
        (BREAK, "\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029"),
        (PREFIX | SUFFIX | BEFORE_DOT, _PUNCTUATION),
        (PREFIX | SUFFIX | BEFORE_DOT | QUOTE, _QUOTES),
        (PREFIX | SUFFIX, "—–"),
        (PREFIX, "§%="),
        (PREFIX, CURRENCY),
        (BEFORE_DOT, "%²-+|"),
        (SYMBOL, _SYMBOLS),
    ):
        for character in set(characters):
            table[ord(character)] |= bits
    for start, end in _SYMBOL_CONTROLS:
        table[start:end] |= SYMBOL
    for span in _SENTENCE_ENDS.split():
        first, _, last = span.partition("-")
        table[int(first, 16) : int(last or first, 16) + 1] |= SYMBOL
    # Derived last: most runs of letters carry no CUT and are one word without a further look.
    table[(table & (DIGIT | PREFIX | SUFFIX | ICON | QUOTE)) != 0] |= CUT
    table[:128][(table[:128] & (ALNUM | SPACE)) == 0] |= CUT
    table.flags.writeable = False
    return table


def _unicode_flags(character: str) -> int:
    category = unicodedata.category(character)
    flags = SPACE if character.isspace() else 0
    flags |= ALNUM if character.isalnum() else 0
    if category[0] == "L":
        flags |= ALPHA
        flags |= 0 if category in ("Lu", "Lt") else LOWER | BEFORE_DOT
        flags |= 0 if category == "Ll" else UPPER
        flags |= HOST if character.isascii() else 0
    if category == "So":
        flags |= ICON | PREFIX | SUFFIX
    return flags | (HOST if "0" <= character <= "9" else 0)

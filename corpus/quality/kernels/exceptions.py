"""Tokenizer exceptions of English: strings whose words are listed, e.g. don't = do + n't, Mr. = one word, 5km = 5 + km.

Source: spaCy 3.8 (MIT), spacy/lang/en/tokenizer_exceptions.py, tokenizer_exceptions.py and char_classes.py; without
its list of emoticons.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from corpus.compiled import as_int64, jit_no_alloc
from corpus.quality.kernels.character_flags import CURRENCY
from corpus.quality.kernels.spans import Codes, Numbers, hash_in_python, hash_span, same

_WHOLE = """Adm. Ak. Ala. Apr. Ariz. Ark. Aug. Bros. Calif. Co. Colo. Conn. Corp. D.C. Dec. Del. Dr. E.G. E.g. Feb. Fla.
    Ga. Gen. Gov. I.E. I.e. Ia. Id. Ill. Inc. Ind. Jan. Jr. Jul. Jun. Kan. Kans. Ky. La. Ltd. Mar. Mass. Md. Messrs.
    Mich. Minn. Miss. Mo. Mont. Mr. Mrs. Ms. Mt. N.C. N.D. N.H. N.J. N.M. N.Y. Neb. Nebr. Nev. Nov. Oct. Okla. Ore. Pa.
    Ph.D. Prof. Rep. Rev. S.C. Sen. Sep. Sept. St. Tenn. Va. Wash. Wis. a.m. co. e.g. i.e. p.m. v.s. vs. ä. ö. ü. C++
    and/or w/o 'S 's 'd 'em 'll 'nuff 're 'Cause 'cause 'cos 'Cos 'coz 'Coz 'cuz 'Cuz 'bout ma'am Ma'am o'clock O'clock
    doin' goin' nothin' nuthin' ol' somethin' lovin' havin' Doin' Goin' Nothin' Nuthin' Ol' Somethin' Lovin' Havin'
    ' '' ‘S ‘s —"""
_SPLIT = """y' all|y all|not 've|not ve|Not 've|Not ve|can not|Can not|gon na|Gon na|got ta|Got ta|let 's|Let 's|c'm on|
    C'm on|how 'd 'y|How 'd 'y|° C .|° F .|° K .|° c .|° f .|° k ."""
_NOT = "Ill ill Its its Hell hell Shell shell Shed shed were Were Well well Whore whore"
_UNITS = """km km² km³ m m² m³ dm dm² dm³ cm cm² cm³ mm mm² mm³ ha µm nm yd in ft kg g mg µg t lb oz m/s km/h kmh mph
    hPa Pa mbar mb MB kb KB gb GB tb TB T G M K % км км² км³ м м² м³ дм дм² дм³ см см² см³ мм мм² мм³ нм кг г мг м/с
    км/ч кПа Па мбар Кб КБ кб Мб МБ мб Гб ГБ гб Тб ТБ тб US$ C$ A$ +"""

_PRONOUNS, _QUESTION_WORDS = "i you he she it we they", "who what when where why how there"
_DEMONSTRATIVES = "that this these those"
_CONTRACTIONS = (  # words, and the endings that each of them takes
    (f"{_PRONOUNS} {_QUESTION_WORDS} {_DEMONSTRATIVES}", ("'ll", "'ll 've", "'d", "'d 've")),
    (f"i you we they these those {_QUESTION_WORDS}", ("'ve",)),
    (f"you we they these those {_QUESTION_WORDS}", ("'re",)),
    (f"he she it {_QUESTION_WORDS} that this", ("'s",)),
    ("i", ("'m", "'m a")),
    ("ca could do does did had may might must need ought sha should wo would", ("n't", "n't 've")),
    ("could might must should would", ("'ve",)),
    ("ai are is was were have has dare", ("n't",)),
)
UNIT = 255  # in SPLITS: a unit of measure or currency, a word of its own after a digit
_NO_SALT, _SLOTS_MASK = np.uint64(0), 8191  # the strings are fixed


def _exception_table() -> tuple[Numbers, Numbers, Codes, NDArray[np.uint16], NDArray[np.uint8]]:
    # Strings and their splits. Of a string listed twice, the later split counts.
    letters = (f"{letter}." for letter in "abcdefghijklmnopqrstuvwxyz")
    splits = dict.fromkeys((*_WHOLE.split(), *letters), (0, 0))
    for words in _split_strings():
        first, both = len(words[0]), len("".join(words[:2]))
        splits["".join(words)] = (first, both if len(words) > 2 else 0)
    splits = {text: split for text, split in splits.items() if text not in _NOT.split()}
    splits |= {text.replace("'", "’"): split for text, split in splits.items()}
    splits |= dict.fromkeys([*_UNITS.split(), *CURRENCY], (UNIT, 0))
    # The hash table, with linear probing.
    texts = sorted(splits)
    codes = np.array([ord(character) for text in texts for character in text], np.uint32)
    starts = np.cumsum([0, *map(len, texts)]).astype(np.int32)
    slots, lengths = np.full(_SLOTS_MASK + 1, -1, np.int32), np.zeros(4096, np.uint16)
    for number, text in enumerate(texts):
        lengths[_ends(np.uint32(ord(text[0])), np.uint32(ord(text[-1])))] |= 1 << len(text)
        slot = int(hash_in_python(codes, starts[number], starts[number + 1], _NO_SALT)) & _SLOTS_MASK
        while slots[slot] >= 0:
            slot = (slot + 1) & _SLOTS_MASK
        slots[slot] = number
    return slots, starts, codes, lengths, np.array([splits[text] for text in texts], np.uint8)


def _split_strings() -> Iterator[tuple[str, ...]]:
    """Yield each string of several words as the tuple of them."""
    for line in _SPLIT.split("|"):
        yield tuple(line.split())
    for hour in range(1, 13):
        for half in ("a.m.", "am", "p.m.", "pm"):
            yield str(hour), half
    for words, endings in _CONTRACTIONS:
        for word in words.split():
            for ending in endings:
                bare = ending.replace("'", "")  # dont, youre
                for first in (word, word.title()):
                    yield first, *ending.split()
                    yield first, *bare.split()


def _ends(first: np.uint32, last: np.uint32) -> int:
    return int(np.int64((first ^ last << np.uint32(5)) & np.uint32(4095)))


_ends_jit = jit_no_alloc(_ends)
# A hash table of strings, compiled into the kernels as constants.
# _SLOTS     number of a string; -1 is empty
# STARTS     index in CODES of each string's first code point; one more than there are strings
# _LENGTHS   [_ends(first, last)]: bit n is set if a string of n code points has these ends
# SPLITS     [string, 2]: index of its second and third words, 0 for none; or UNIT
with np.errstate(over="ignore"):
    _SLOTS, STARTS, CODES, _LENGTHS, SPLITS = _exception_table()


@jit_no_alloc
def may_be(first: np.uint32, last: np.uint32, length: int) -> bool:
    """True if some exception has these first and last characters and this length; a cheap test before `find`."""
    return length < 16 and (_LENGTHS[_ends_jit(first, last)] >> length) & 1 != 0


@jit_no_alloc
def find(codes: Codes, start: int, end: int) -> int:
    """Return the number of the exception equal to codes[start:end], or -1."""
    length, match = end - start, -1
    if length > 0 and may_be(codes[start], codes[end - 1], length):
        slot = as_int64(int(hash_span(codes, start, end, _NO_SALT))) & _SLOTS_MASK
        while match < 0 and _SLOTS[slot] >= 0:
            number = as_int64(int(_SLOTS[slot]))
            if STARTS[number + 1] - STARTS[number] == length and same(codes, start, CODES, STARTS[number], length):
                match = number
            slot = (slot + 1) & _SLOTS_MASK
    return match

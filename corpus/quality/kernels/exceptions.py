"""English words that are cut otherwise than their letters say: don't is do + n't, Mr. is one word, 5km is 5 + km.

Source: spaCy 3.8 (MIT), spacy/lang/en/tokenizer_exceptions.py, tokenizer_exceptions.py and char_classes.py; without
its list of emoticons.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpus.compiled import as_int64, jit_no_alloc
from corpus.quality.kernels.characters import Codes

_WHOLE = """Adm. Ak. Ala. Apr. Ariz. Ark. Aug. Bros. Calif. Co. Colo. Conn. Corp. D.C. Dec. Del. Dr. E.G. E.g. Feb. Fla.
    Ga. Gen. Gov. I.E. I.e. Ia. Id. Ill. Inc. Ind. Jan. Jr. Jul. Jun. Kan. Kans. Ky. La. Ltd. Mar. Mass. Md. Messrs.
    Mich. Minn. Miss. Mo. Mont. Mr. Mrs. Ms. Mt. N.C. N.D. N.H. N.J. N.M. N.Y. Neb. Nebr. Nev. Nov. Oct. Okla. Ore. Pa.
    Ph.D. Prof. Rep. Rev. S.C. Sen. Sep. Sept. St. Tenn. Va. Wash. Wis. a.m. co. e.g. i.e. p.m. v.s. vs. ä. ö. ü. C++
    and/or w/o 'S 's 'd 'em 'll 'nuff 're 'Cause 'cause 'cos 'Cos 'coz 'Coz 'cuz 'Cuz 'bout ma'am Ma'am o'clock O'clock
    doin' goin' nothin' nuthin' ol' somethin' lovin' havin' Doin' Goin' Nothin' Nuthin' Ol' Somethin' Lovin' Havin'
    ' '' ‘S ‘s —"""
_CUT = """y' all|y all|not 've|not ve|Not 've|Not ve|can not|Can not|gon na|Gon na|got ta|Got ta|let 's|Let 's|c'm on|
    C'm on|how 'd 'y|How 'd 'y|° C .|° F .|° K .|° c .|° f .|° k ."""
_NOT = "Ill ill Its its Hell hell Shell shell Shed shed were Were Well well Whore whore"
_UNITS = """km km² km³ m m² m³ dm dm² dm³ cm cm² cm³ mm mm² mm³ ha µm nm yd in ft kg g mg µg t lb oz m/s km/h kmh mph
    hPa Pa mbar mb MB kb KB gb GB tb TB T G M K % км км² км³ м м² м³ дм дм² дм³ см см² см³ мм мм² мм³ нм кг г мг м/с
    км/ч кПа Па мбар Кб КБ кб Мб МБ мб Гб ГБ гб Тб ТБ тб"""

UNIT = 255  # in `Exceptions.cuts`: a unit of measure, a word of its own after a digit


class Exceptions(NamedTuple):
    """A hash table of strings."""

    slots: NDArray[np.int32]  # the number of a string plus 1; 0 is empty
    starts: NDArray[np.int32]  # where each string begins in `codes`; one more than there are strings
    codes: Codes
    lengths: NDArray[np.uint16]  # [_ends(first, last)]: bit n is set if n code points long ones begin and end so
    cuts: NDArray[np.uint8]  # [string, 2]: where its second and third words begin, 0 for none; or UNIT


def _exceptions() -> Exceptions:
    letters = (f"{letter}." for letter in "abcdefghijklmnopqrstuvwxyz")
    cuts = dict.fromkeys((*_WHOLE.split(), *letters), (0, 0))
    for words in _cut():
        first, both = len(words[0]), len("".join(words[:2]))
        cuts["".join(words)] = (first, both if len(words) > 2 else 0)
    cuts = {word: cut for word, cut in cuts.items() if word not in _NOT.split()}
    cuts |= {word.replace("'", "’"): cut for word, cut in cuts.items()}
    cuts |= dict.fromkeys(_UNITS.split(), (UNIT, 0))
    texts = sorted(cuts)
    codes = np.array([ord(character) for text in texts for character in text], np.uint32)
    starts = np.cumsum([0, *map(len, texts)]).astype(np.int32)
    slots, lengths = np.zeros(8192, np.int32), np.zeros(4096, np.uint16)
    for number, text in enumerate(texts):
        lengths[_ends(np.uint32(ord(text[0])), np.uint32(ord(text[-1])))] |= 1 << len(text)
        slot = int(_slot(codes, starts[number], starts[number + 1]))
        while slots[slot]:
            slot = (slot + 1) % len(slots)
        slots[slot] = number + 1
    return Exceptions(slots, starts, codes, lengths, np.array([cuts[text] for text in texts], np.uint8))


def _cut() -> Iterator[tuple[str, ...]]:
    for line in _CUT.split("|"):
        yield tuple(line.split())
    for hour in range(1, 13):
        for half in ("a.m.", "am", "p.m.", "pm"):
            yield str(hour), half
    for first, *rest in _contractions():
        yield first, *rest
        yield first.title(), *rest
        bare = [word.replace("'", "") for word in rest]
        yield first, *bare
        yield first.title(), *bare


_PRONOUNS, _ASKING, _POINTING = "i you he she it we they", "who what when where why how there", "that this these those"
_CONTRACTED = (
    (f"{_PRONOUNS} {_ASKING} {_POINTING}", ("'ll", "'ll 've", "'d", "'d 've")),
    (f"i you we they these those {_ASKING}", ("'ve",)),
    (f"you we they these those {_ASKING}", ("'re",)),
    (f"he she it {_ASKING} that this", ("'s",)),
    ("i", ("'m", "'m a")),
    ("ca could do does did had may might must need ought sha should wo would", ("n't", "n't 've")),
    ("could might must should would", ("'ve",)),
    ("ai are is was were have has dare", ("n't",)),
)


def _contractions() -> Iterator[tuple[str, ...]]:
    for words, endings in _CONTRACTED:
        for word in words.split():
            for ending in endings:
                yield word, *ending.split()


def _ends(first: np.uint32, last: np.uint32) -> int:
    return int(np.int64((first ^ last << np.uint32(5)) & np.uint32(4095)))


def _slot(codes: Codes, start: int, end: int) -> int:
    mixed = np.uint64(end - start)
    for here in range(start, end):
        mixed = (mixed ^ np.uint64(codes[here])) * np.uint64(0x9E3779B97F4A7C15)
    return int(np.int64(mixed >> np.uint64(51)))  # 13 bits: 8192 slots


_ends_of, _slot_of = jit_no_alloc(_ends), jit_no_alloc(_slot)
with np.errstate(over="ignore"):
    _TABLE = _exceptions()
_SLOTS, _STARTS, _CODES, _LENGTHS, CUTS = _TABLE  # constants of the kernels: nothing is passed at a call


@jit_no_alloc
def may_be(first: np.uint32, last: np.uint32, length: int) -> bool:
    """Whether a string of these ends and this length is worth a `find`."""
    return length < 16 and (_LENGTHS[_ends_of(first, last)] >> length) & 1 != 0


@jit_no_alloc
def find(codes: Codes, start: int, end: int) -> int:
    """The number of the string that codes[start:end] equals, or -1."""
    length, found = end - start, -1
    if length > 0 and may_be(codes[start], codes[end - 1], length):
        slot = _slot_of(codes, start, end)
        while found < 0 and _SLOTS[slot]:
            number = as_int64(int(_SLOTS[slot])) - 1
            first = as_int64(int(_STARTS[number]))
            offset = 0 if _STARTS[number + 1] - first == length else length + 1
            while offset < length and _CODES[first + offset] == codes[start + offset]:
                offset += 1
            if offset == length:
                found = number
            slot = (slot + 1) & 8191
    return found

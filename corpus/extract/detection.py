"""Encoding of pages that are not UTF-8 and declare nothing that fits."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from corpus.extract.web_codecs import web_encoding, web_text

_SAMPLE_BYTES = 1 << 15
_HIGH_BYTE = re.compile(rb"[\x80-\xff]")
_TAG = re.compile(rb"<[^>]*>")
_LEAST_USUAL = 0.85  # of the characters that are not ASCII, in the usual zones of an encoding
_MOST_ERRORS = 0.05


class _Zone(NamedTuple):
    """Characters of an encoding whose lead byte is in a range, and the share of text that they make up."""

    first: int
    last: int
    size: int
    share: float


class _DoubleByte(NamedTuple):
    encoding: str
    prior: float  # share of the pages that declare nothing
    frequent: str  # the most frequent characters of its language, without order
    frequent_share: float
    least_trail: int
    zones: Sequence[_Zone]  # what the standard put first: punctuation, kana, the characters of level 1


# Shares are rounded, of running text. Sizes of zones follow from GB 2312, Big5, KS X 1001 and JIS X 0208.
_KANJI, _LEVEL_1 = 2965, 3755
_DOUBLE_BYTES = (
    _DoubleByte(
        "gb18030",
        0.50,
        "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里"
        "用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实",
        0.40,
        0xA1,
        (_Zone(0xA1, 0xA3, 282, 0.12), _Zone(0xB0, 0xD7, _LEVEL_1, 0.45)),
    ),
    _DoubleByte(
        "big5hkscs",
        0.15,
        "的一是不了在人有我他這個們中來上大為和國地到以說時要就出會可也你對生能而子那得於著下自之年過發後作裡"
        "用道行所然家種事成方多經麼去法學如都同現當沒動面起看定天分還進好小部其些主樣理心她本前開但因只從想實",
        0.40,
        0x40,
        (_Zone(0xA1, 0xA3, 408, 0.12), _Zone(0xA4, 0xC6, 5401, 0.45)),
    ),
    _DoubleByte(
        "cp949",
        0.10,
        "이다는에을의가고하한를로지사기은도리서인어시자대나있아해부들정수그으일과전제장라스상만보여었주게오구"
        "연지성공요원비국조소동세계유면야",
        0.55,
        0xA1,
        (_Zone(0xA1, 0xA3, 282, 0.05), _Zone(0xB0, 0xC8, 2350, 0.38)),
    ),
    _DoubleByte(
        "euc_jp",
        0.05,
        "のにはをたがでとしてれさいるなからもこうっあくりすんまきよどそ、。",
        0.45,
        0xA1,
        (_Zone(0xA1, 0xA1, 94, 0.08), _Zone(0xA4, 0xA5, 169, 0.20), _Zone(0xB0, 0xCF, _KANJI, 0.25)),
    ),
    _DoubleByte(
        "cp932",
        0.20,
        "のにはをたがでとしてれさいるなからもこうっあくりすんまきよどそ、。",
        0.45,
        0x40,
        (_Zone(0x81, 0x81, 147, 0.08), _Zone(0x82, 0x83, 169, 0.20), _Zone(0x88, 0x98, _KANJI, 0.25)),
    ),
)
_RARE_SHARE, _RARE_SIZE = 0.02, 18_000

# Answers that are errors on pages. Source: none of them is guessed by browsers either.
_NEVER_UNDECLARED = ("utf-8", *(f"iso8859-{part}" for part in (3, 4, 10, 14, 15, 16)))
# Bytes that are letters of Central Europe in cp1250 and iso8859-2, but in Western text symbols or rare letters.
_CENTRAL_EUROPEAN = re.compile(
    rb"(?<=[A-Za-z])[\x8a\x8d-\x8f\x9a\x9d-\x9f\xa3\xa5\xaa\xaf\xb1\xb3\xb6\xb9-\xbc\xbe\xbf\xe3\xec\xf2\xf5\xf8\xf9\xfe]"
)


def detected_encoding(content: bytes) -> str:
    """Return the likeliest encoding by the first 32 kB of text; windows-1252 if nothing tells."""
    from resiliparse.parse.encoding import detect_encoding

    if double_byte := double_byte_encoding(content):
        return double_byte
    sample = _sample(content)
    found = web_encoding(detect_encoding(_TAG.sub(b" ", sample), html5_compatible=False) or "")
    if found in ("cp1250", "iso8859-2") and not _CENTRAL_EUROPEAN.search(sample):
        return "cp1252"
    return "cp1252" if found is None or found in _NEVER_UNDECLARED else found


def double_byte_encoding(content: bytes) -> str | None:
    """Return the likeliest encoding of Chinese, Japanese and Korean, but for UTF-8; None if the text is in none."""
    sample = _sample(content)
    likelihoods = {model.encoding: _likelihood(sample, model) for model in _DOUBLE_BYTES}
    fitting = {name: value for name, value in likelihoods.items() if value is not None}
    return max(fitting, key=lambda name: fitting[name]) if fitting else None


def _sample(content: bytes) -> bytes:
    """Return the text from the first byte that is not ASCII on, so that a character begins it."""
    first = _HIGH_BYTE.search(content)
    start = first.start() if first else 0
    return content[start : start + _SAMPLE_BYTES]


def _likelihood(sample: bytes, model: _DoubleByte) -> float | None:
    """Return the log-likelihood of the characters that are not ASCII; None if the sample is not in this encoding."""
    text = web_text(sample, model.encoding)
    counts = Counter(text)
    errors = counts.pop("\ufffd", 0)
    total, usual, likelihood = 0, 0, 0.0
    for character, count in counts.items():
        if character <= "\x7f":
            continue
        total += count
        code = character.encode(model.encoding, "replace")
        size, share = _RARE_SIZE, _RARE_SHARE
        if character in model.frequent:
            size, share = len(model.frequent), model.frequent_share
        elif len(code) == 2 and code[1] >= model.least_trail:
            size, share = next(
                ((zone.size, zone.share) for zone in model.zones if zone.first <= code[0] <= zone.last), (size, share)
            )
        usual += count * (size != _RARE_SIZE)
        likelihood += count * math.log(share / size)
    if not total or errors > max(1, total * _MOST_ERRORS) or usual < total * _LEAST_USUAL:
        return None
    return math.log(model.prior) + likelihood

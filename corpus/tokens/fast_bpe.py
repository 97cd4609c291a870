"""Byte-level BPE by gigatoken, which gives the ids of the library `tokenizers` many times as fast.

gigatoken ignores the parts of a tokenizer.json that it does not know. It is therefore given files of one known shape,
and used only if it agrees with `tokenizers` on a text of difficult characters.
"""

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from corpus.tokens.pretokenizers import PATTERNS

if TYPE_CHECKING:
    from gigatoken.gigatoken_rs import BPETokenizer, SentencePieceTokenizer

Ids = NDArray[np.uint32]

Reference = Callable[[Sequence[str]], list[Ids]]  # the ids of texts, by `tokenizers`

# gigatoken 0.10 remembers the ids of each word that it met, without limit. After so many bytes of text it is loaded
# again and forgets them, which changes no id.
REMEMBERED_BYTES = 32_000_000

# gigatoken 0.10 knows the letters of Unicode 17, and tokenizers 0.23 those of Unicode 16. These are the new ones and
# what lies near them, in UTF-8: Arabic Extended-B, U+0C5C, U+0CDC, the end of Latin Extended-D, and all beyond U+FFFF
# except mathematical letters, emoji and the first ideographs. One pattern for each leading byte is 30 times as fast as
# one pattern for all.
_UNSETTLED = (
    re.compile(rb"\xe0(?:\xa1[\xb0-\xbf]|\xa2[\x80-\x9f]|\xb1\x9c|\xb3\x9c)"),
    re.compile(rb"\xea\x9f[\x80-\xbf]"),
    re.compile(rb"\xf0[\x90-\x9c\x9e\xab-\xb3]"),
)

# The characters that stand for the 256 bytes in a vocabulary. Source: bytes_to_unicode in GPT-2's src/encoder.py.
_PRINTED = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
BYTES = frozenset(map(chr, [*_PRINTED, *range(0x100, 0x100 + 256 - len(_PRINTED))]))

PROBE = (
    "The miller's 1234567 sacks, THEY'LL  say;\n\n\tit ſaid: we'ſ K'S\r\n \r\nend...\n",
    "\u00a0x\u0085y\u2028z\u3000w \u200b\ufeff e\u0301 क्षि ﷺ ²³ ½ ٣٤٥٦ Ⅷ 中文字符 ひらがな 한국어 ไทย 😀👩‍🌾\0\x1b\x7f",
    "<|endoftext|></s><s>[INST] <|im_start|>" + "x" * 300 + "=" * 300 + " " * 300 + "1" * 300 + "水" * 100,
)


class _Part(BaseModel):
    """A part of a tokenizer.json. A field that is missing or has another value makes it a file of another shape."""

    model_config = ConfigDict(extra="ignore", strict=True)


class _Model(_Part):
    type: Literal["BPE"]
    vocab: dict[str, int]
    merges: list[tuple[str, str]]
    dropout: None = None
    continuing_subword_prefix: Literal[""] | None = None
    end_of_word_suffix: Literal[""] | None = None
    byte_fallback: Literal[False] = False
    ignore_merges: bool = False


class _Regex(_Part):
    Regex: str


class _Split(_Part):
    type: Literal["Split"]
    pattern: _Regex
    behavior: Literal["Isolated"]
    invert: Literal[False]


class _ByteLevel(_Part):
    type: Literal["ByteLevel"]
    add_prefix_space: Literal[False]
    use_regex: bool


class _Sequence(_Part):
    type: Literal["Sequence"]
    pretokenizers: tuple[_Split, _ByteLevel]


class _AddedToken(_Part):
    special: Literal[True]  # another one would be found in ordinary text


class _Stored(_Part):
    normalizer: None
    added_tokens: list[_AddedToken]
    pre_tokenizer: _ByteLevel | _Sequence
    model: _Model


class FastBpe:
    """A byte-level BPE that encodes the names of special tokens as ordinary text."""

    def __init__(self, stored: str, reference: Reference) -> None:
        """Keep the tokenizer.json; it is loaded with the first text."""
        self._stored, self._reference, self._bytes = stored, reference, 0
        self._bpe: BPETokenizer | SentencePieceTokenizer | None = None

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        """Return the ids of each text."""
        return [self._reference([text])[0] if is_unsettled(text) else self._ids(text.encode()) for text in texts]

    def _ids(self, utf8: bytes) -> Ids:
        if self._bpe is None or self._bytes > REMEMBERED_BYTES:
            from gigatoken.gigatoken_rs import load_hf_json

            self._bpe = None  # so that two are never in memory
            self._bpe, self._bytes = load_hf_json(self._stored), 0
        self._bytes += len(utf8)
        ids: Ids = self._bpe.encode(utf8)
        return ids


def fast_bpe(raw: bytes, reference: Reference) -> FastBpe | None:
    """Return the fast encoder of a tokenizer.json, or None if it might give other ids than `reference`."""
    stored = _checked(raw)
    if stored is None:
        return None
    fast = FastBpe(stored, reference)
    try:
        found = fast.encode(PROBE)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # it refuses this file, or panics
        return None
    return fast if all(map(np.array_equal, found, reference(PROBE))) else None


def is_unsettled(text: str) -> bool:
    """True if the text may have letters or digits that are new in Unicode, on which the libraries may disagree."""
    if text.isascii():
        return False
    utf8 = text.encode()
    return any(pattern.search(utf8) for pattern in _UNSETTLED)


def _checked(raw: bytes) -> str | None:
    """Return what gigatoken has to know of a tokenizer.json, or None if the file has another shape."""
    try:
        stored = _Stored.model_validate_json(raw)
    except ValidationError:
        return None
    # The words that it splits a text into.
    split = stored.pre_tokenizer
    if isinstance(split, _ByteLevel):
        known = split.use_regex
    else:
        pattern, as_bytes = split.pretokenizers
        known = pattern.pattern.Regex in PATTERNS and not as_bytes.use_regex
    # A token that is not spelled in bytes cannot occur. gigatoken would take its characters for their UTF-8 bytes.
    model = stored.model
    vocabulary = {token: number for token, number in model.vocab.items() if BYTES.issuperset(token)}
    merged = [vocabulary.get(left + right) for left, right in model.merges]
    if not (
        known
        and vocabulary.keys() >= BYTES
        and len(set(vocabulary.values())) == len(vocabulary)
        and all(left in vocabulary and right in vocabulary for left, right in model.merges)
        and None not in merged
        # Of equal pairs, one library takes the first and the other the last. Of two pairs in a row that make the same
        # token, gigatoken does not know the order.
        and len(set(model.merges)) == len(model.merges)
        and all(one != other for one, other in pairwise(merged))
    ):
        return None
    model = model.model_copy(update={"vocab": vocabulary})
    return stored.model_copy(update={"model": model, "added_tokens": []}).model_dump_json()

"""The fast encoder gives the ids of the library `tokenizers`, or is not used."""

import json
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from corpus.tokens import fast_bpe as fast
from corpus.tokens.fast_bpe import BYTES, FastBpe, Ids, Reference, is_unsettled
from corpus.tokens.fast_bpe import fast_bpe as checked
from corpus.tokens.pretokenizers import GPT2, PATTERNS
from corpus.tokens.train_bpe import Train, train

LETTERS = [*map(chr, range(0x21, 0x7F)), *map(chr, range(0xA1, 0xAD)), *map(chr, range(0xAE, 0x100))]
OTHERS = iter(map(chr, range(0x100, 0x144)))
SPELLED = [chr(byte) if chr(byte) in LETTERS else next(OTHERS) for byte in range(256)]
AS_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}


def split(pattern: str, **changes: object) -> dict[str, object]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False, **changes}


def stored(merges: Sequence[tuple[str, str]], **changes: Any) -> dict[str, Any]:
    """Return a tokenizer.json of the bytes and of these merges."""
    vocabulary = {character: byte for byte, character in enumerate(SPELLED)}
    for left, right in merges:
        vocabulary.setdefault(left + right, len(vocabulary))
    model = {"type": "BPE", "dropout": None, "unk_token": None, "byte_fallback": False, "ignore_merges": False}
    return {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split(GPT2), AS_BYTES]},
        "post_processor": None,
        "decoder": AS_BYTES,
        "model": {**model, "vocab": vocabulary, "merges": [list(merge) for merge in merges]},
        **changes,
    }


def reference(made: dict[str, Any]) -> Reference:
    tokenizer = Tokenizer.from_str(json.dumps(made))
    tokenizer.encode_special_tokens = True

    def ids(texts: Sequence[str]) -> list[Ids]:
        found = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(each.ids, np.uint32) for each in found]

    return ids


def both(made: dict[str, Any]) -> tuple[FastBpe | None, Reference]:
    slow = reference(made)
    return checked(json.dumps(made).encode(), slow), slow


def trained(name: str) -> dict[str, Any]:
    """Return a BPE trained on words of a few letters of several scripts."""
    rng = random.Random(name)
    latin, others = ("abcdeft'ſsK", "éüñ"), ("αβγδ", "бвгд", "אבג", "هنه", "कखिी", "水车慢", "ひらカ", "한국", "😀👩‍")
    scripts = (*latin, *others, "0123", "=+<|>", "  \n\t\r")
    words = ["".join(rng.choices(rng.choice(scripts), k=rng.randint(1, 9))) for _ in range(4000)]
    return json.loads(train(["".join(words[at : at + 40]) for at in range(0, 4000, 40)], Train(vocabulary=1500)))  # type: ignore[no-any-return]


@pytest.mark.parametrize("pattern", [*PATTERNS, None])
def test_all_characters_begin_and_end_words_at_the_same_places(pattern: str | None) -> None:
    """A token of two bytes shows that no word begins between them. All letters and digits are below U+34000."""
    around = [SPELLED[byte] for byte in b"a1 "]
    leading, following = SPELLED[0xC2:0xF5], SPELLED[0x80:0xC0]
    merges = [(one, lead) for one in around for lead in leading] + [(last, one) for one in around for last in following]
    merges += [pair for one in around for other in SPELLED[:128] for pair in ((one, other), (other, one))]
    whole = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    cut = whole if pattern is None else {"type": "Sequence", "pretokenizers": [split(pattern), AS_BYTES]}
    quick, slow = both(stored(list(dict.fromkeys(merges)), pre_tokenizer=cut))
    assert quick
    settled = [chr(code) for code in range(0x34000) if not 0xD800 <= code < 0xE000 and not is_unsettled(chr(code))]
    assert len(settled) > 110_000
    for context in ("a{}a", " {}", "1{}1"):
        texts = ["".join(map(context.format, settled[at : at + 500])) for at in range(0, len(settled), 500)]
        for text, ids, other in zip(texts, quick.encode(texts), slow(texts), strict=True):
            assert np.array_equal(ids, other), text


MADE = trained("all")
QUICK, SLOW = both(MADE)
PARTS = (
    "he",
    "'s",
    "'ſ",
    "'LL",
    " the",
    "  ",
    "\n",
    "\r\n",
    "1234",
    "²",
    "é",
    "e\u0301",
    "水车",
    "कि",
    "😀",
    "\0",
    "</s>",
)


@given(st.text(st.characters(exclude_categories=["Cs"])) | st.lists(st.sampled_from(PARTS)).map("".join))
def test_any_text_has_the_same_ids(text: str) -> None:
    assert QUICK
    assert np.array_equal(QUICK.encode([text])[0], SLOW([text])[0])


@pytest.mark.parametrize("ignore_merges", [False, True])
def test_words_of_all_lengths_have_the_same_ids(ignore_merges: bool) -> None:
    """Words of up to 15 bytes, up to 64 and longer ones are merged by different code."""
    quick, slow = both({**MADE, "model": {**MADE["model"], "ignore_merges": ignore_merges}})
    assert quick
    rng = random.Random(5)
    letters = [token for token in MADE["model"]["vocab"] if token.isascii() and token.isalpha()]
    words = ["".join(rng.choices(letters, k=rng.randint(1, 60))) for _ in range(3000)]
    runs = [character * length for character in "x= 1水\n" for length in (15, 16, 17, 63, 64, 65, 5000)]
    texts = [*words, *runs, *(words[at] + run for at, run in enumerate(runs))]
    for text, ids, other in zip(texts, quick.encode(texts), slow(texts), strict=True):
        assert np.array_equal(ids, other), text


def test_words_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    quick, slow = both(MADE)
    assert quick
    monkeypatch.setattr(fast, "REMEMBERED_BYTES", 1000)
    loaded = set()
    texts = [f"word{number} " * 20 for number in range(60)]
    for text in texts:
        assert np.array_equal(quick.encode([text])[0], slow([text])[0])
        loaded.add(quick._bpe)
    assert len(loaded) > 5


def test_new_letters_are_left_to_the_reference() -> None:
    asked: list[str] = []

    def ids(texts: Sequence[str]) -> list[Ids]:
        asked.extend(texts)
        return SLOW(texts)

    quick = checked(json.dumps(MADE).encode(), ids)
    assert quick
    asked.clear()
    new = ["a\u088fa", "\u0c5c", "x\u0cdc", "\ua7ce", "\U00010940", "\U0001e6c0", "\U0002b73a", "\U000323b0\U00033479"]
    quick.encode([*new, "plain", "é", "क्षि", "ꝏ", "😀", "𝑎", "𠀀"])
    assert asked == new


def test_a_file_on_which_the_libraries_differ_is_left_to_the_reference() -> None:
    def shifted(texts: Sequence[str]) -> list[Ids]:
        return [ids + 1 for ids in SLOW(texts)]

    assert checked(json.dumps(MADE).encode(), SLOW)
    assert checked(json.dumps(MADE).encode(), shifted) is None


A, B, C = "abc"
TWO = [(A, B), (B, C)]


@pytest.mark.parametrize(
    "made",
    [
        stored(TWO, normalizer={"type": "NFC"}),
        stored(TWO, pre_tokenizer=None),
        stored(TWO, pre_tokenizer={**AS_BYTES, "use_regex": True, "add_prefix_space": True}),
        stored(TWO, pre_tokenizer={"type": "Sequence", "pretokenizers": [split(r"\p{L}+"), AS_BYTES]}),
        stored(TWO, pre_tokenizer={"type": "Sequence", "pretokenizers": [split(GPT2, invert=True), AS_BYTES]}),
        stored(TWO, pre_tokenizer={"type": "Sequence", "pretokenizers": [split(GPT2, behavior="Removed"), AS_BYTES]}),
        stored(
            TWO,
            pre_tokenizer={
                "type": "Sequence",
                "pretokenizers": [split(GPT2), {"type": "Digits", "individual_digits": True}, AS_BYTES],
            },
        ),
        stored([*TWO, (A, B)]),  # a pair twice
        stored([*TWO, ("ab", C), (A, "bc")]),  # two pairs in a row that make the same token
        {**(whole := stored(TWO)), "model": {**whole["model"], "dropout": 0.1}},
        {**whole, "model": {**whole["model"], "end_of_word_suffix": "</w>"}},
        {**whole, "model": {**whole["model"], "byte_fallback": True}},
        {**whole, "model": {**whole["model"], "vocab": {k: v for k, v in whole["model"]["vocab"].items() if k != "é"}}},
        {**whole, "added_tokens": [{"id": 300, "content": "<a>", "special": False}]},
    ],
)
def test_files_of_another_shape_are_left_to_the_reference(made: dict[str, Any]) -> None:
    assert checked(json.dumps(whole).encode(), reference(whole))
    assert fast._checked(json.dumps(made).encode()) is None


def test_tokens_that_are_not_spelled_in_bytes_cannot_occur() -> None:
    """gigatoken would read "中" in the vocabulary as its three bytes."""
    made = stored([("ä", "¸"), ("ä¸", "Ń")])
    made["model"]["vocab"]["中"] = len(made["model"]["vocab"])
    made["model"]["ignore_merges"] = True
    quick, slow = both(made)
    assert quick and quick.encode(["中中 中"])[0].tolist() == slow(["中中 中"])[0].tolist()
    assert made["model"]["vocab"]["中"] not in quick.encode(["中"])[0]


def test_bytes_are_spelled_as_in_the_library() -> None:
    from tokenizers.pre_tokenizers import ByteLevel

    assert frozenset(ByteLevel.alphabet()) == BYTES

"""Shingles compared with a plain Python implementation that shares no table and no hash with them."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.dedup.shingles import jaccard, shingles, shingles_in_order

ALONE = (
    *("CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "HALFWIDTH KATAKANA", "HENTAIGANA", "BOPOMOFO"),
    *("THAI", "LAO", "KHMER", "MYANMAR"),
)


def words_of(text: str) -> list[str]:
    """The rules in the docstring of shingles.py, letter by letter."""
    words: list[str] = []
    open_kind = ""
    for letter in text:
        category, name = unicodedata.category(letter), unicodedata.name(letter, "")
        if letter == "\u200b":
            kind = ""
        elif category == "Cf":
            continue
        elif category in ("Mn", "Mc", "Me"):
            if open_kind:
                words[-1] += letter
            continue
        elif (category[0] == "L" or letter == "〇") and name.startswith(ALONE):
            kind = "alone"
        else:
            kind = "run" if category[0] == "L" or category in ("Nd", "Nl", "No") else ""
        if kind == "run" == open_kind:
            words[-1] += letter.lower()[0]
        elif kind:
            words.append(letter.lower()[0])
        open_kind = kind
    return words


def ngrams_of(text: str, size: int) -> list[tuple[str, ...]]:
    words = words_of(text)
    if len(words) < size:
        return [tuple(words)] if words else []
    return [tuple(words[at : at + size]) for at in range(len(words) - size + 1)]


LETTERS = st.sampled_from("aAbÉéßΣ1७ \n.,'_-’한字、かガไทยក่\u0301\u00ad\u200b\u200d😀\x00\u0130")
TEXTS = st.text(LETTERS, max_size=60)


@given(TEXTS, st.integers(1, 6))
def test_hashes_are_equal_only_for_equal_ngrams(text: str, size: int) -> None:
    expected = ngrams_of(text, size)
    found = shingles_in_order(text.encode(), size).tolist()
    assert len(found) == len(expected)
    assert len(set(found)) == len(set(expected)) == len(set(zip(expected, found, strict=True)))


@given(TEXTS, TEXTS)
def test_jaccard_equals_that_of_the_ngram_sets(one: str, other: str) -> None:
    a, b = set(ngrams_of(one, 2)), set(ngrams_of(other, 2))
    assert jaccard(shingles(one, 2), shingles(other, 2)) == (len(a & b), len(a | b))


def test_every_letter_has_the_class_of_its_unicode_properties() -> None:
    for point in (*range(0xD800), *range(0xE000, 0x33500), *range(0xE0000, 0xE0200)):
        letter = chr(point)
        text = f"a{letter}b {letter}{letter} c"
        assert len(shingles_in_order(text.encode(), 1)) == len(words_of(text)), f"U+{point:04X}"


@given(st.binary(max_size=200), st.integers(1, 7))
def test_any_bytes_are_read_to_the_end(data: bytes, size: int) -> None:
    found = shingles_in_order(data, size)
    text = data.decode("utf-8", "replace").replace("\ufffd", " ")
    assert len(found) == len(ngrams_of(text, size))


@given(st.lists(st.sampled_from([b"a", b"\xff", b"\xe4\xb8\x80", b" ", b"\xf0\x9f", b"\xc3"]), max_size=40))
def test_the_largest_number_of_words_fits(parts: list[bytes]) -> None:
    data = b"".join(parts)
    assert len(shingles_in_order(data, 1)) <= (len(data) + 1) // 2


NOT_UTF_8 = ("ed a0 80", "f4 90 80 80", "c1 81", "e0 81 81", "f0 80 81 81", "e4 b8", "f0 9f 98", "80", "f8", "ff")


@pytest.mark.parametrize("data", [bytes.fromhex(text) for text in NOT_UTF_8])
def test_invalid_utf_8_separates_words(data: bytes) -> None:
    assert np.array_equal(shingles_in_order(b"left" + data + b"right", 2), shingles_in_order(b"left right", 2))
    assert np.array_equal(shingles_in_order(b"left" + data, 2), shingles_in_order(b"left", 2))


def test_a_short_text_has_one_shingle_and_one_without_words_none() -> None:
    assert len(shingles("one two three four")) == 1
    assert len(shingles("one two three four five")) == 1
    assert len(shingles("one two three four five six")) == 2
    assert shingles("one two")[0] != shingles("two one")[0]
    assert len(shingles("")) == len(shingles("… — !?")) == 0


def test_case_punctuation_and_soft_hyphens_make_no_difference() -> None:
    assert np.array_equal(shingles("“The QUICK brown—fox, jumps!”"), shingles("the qu\u00adick brown fox jumps"))


def test_a_set_is_ascending_without_repetitions() -> None:
    found = shingles("to be or not to be " * 10)
    assert len(found) == 6 and (np.diff(found.astype(object)) > 0).all()
    assert len(shingles_in_order(b"to be or not to be " * 10, 5)) == 56


def test_text_and_its_utf_8_are_the_same() -> None:
    text = "naïve café — Ελλάδα 東京 ประเทศไทย" * 3
    assert np.array_equal(shingles(text), shingles(text.encode()))

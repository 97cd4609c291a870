"""Synthetic documents with planted copies, chains and templates for `dedup_growth.py`, equal in every run.

They are drawn with `RandomState`, whose stream numpy keeps fixed, and use no code of this project.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

VOCABULARY, POOL, SENTENCES = 20_000, 240_000, 13  # words, sentences to draw from, sentences of a document
# Shares of the documents in clusters; the rest is unlike any other.
EXACT_TRIPLES, PAIRS, TENS, THOUSANDS, CHAINS, TEMPLATES = 0.03, 0.04, 0.05, 0.025, 0.05, 0.03
TEMPLATE_SENTENCES, TEMPLATE_OWN, TEMPLATE_PAGES = 14, 3, 200  # similarity of two pages: about 14 / (14 + 2 * 3)
Words = list[str]


class Text(NamedTuple):
    """A document: 32 hex digits and its text."""

    id: str
    text: str


class Writer:
    """Draws texts as lists of words."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.RandomState(seed)
        lengths = self.random.randint(2, 11, VOCABULARY)
        letters = self.random.randint(ord("a"), ord("z") + 1, (VOCABULARY, 10)).astype(np.uint8)
        self._vocabulary = [bytes(row[:length]).decode() for row, length in zip(letters, lengths, strict=True)]
        ends = np.cumsum(self.random.randint(8, 21, POOL))
        words = self.random.randint(0, VOCABULARY, ends[-1]).tolist()
        starts = [0, *ends[:-1].tolist()]
        self._pool = [words[start:end] for start, end in zip(starts, ends.tolist(), strict=True)]

    def text(self, sentences: int = SENTENCES) -> Words:
        """Draw an unrelated text."""
        picked = self.random.randint(0, POOL, sentences).tolist()
        return [self._vocabulary[word] for sentence in picked for word in self._pool[sentence]]

    def changed(self, text: Words, words: int) -> Words:
        """Replace a few words."""
        copy = list(text)
        for place in self.random.randint(0, len(text), words).tolist():
            copy[place] = self._vocabulary[self.random.randint(0, VOCABULARY)]
        return copy


def documents(count: int, seed: int = 1) -> Sequence[Text]:
    """Return the documents, shuffled."""
    writer = Writer(seed)
    texts = [" ".join(words) for words in _clusters(writer, count)]
    texts += [" ".join(writer.text()) for _ in range(count - len(texts))]
    order = writer.random.permutation(count).tolist()
    return [Text(_identity(seed, number), texts[place]) for number, place in enumerate(order)]


def template_pages(count: int, seed: int = 1) -> Sequence[Text]:
    """Return pages of one template. They share bands, and no two are near duplicates."""
    pages = _template(Writer(seed), count)
    return [Text(_identity(seed, number), " ".join(words)) for number, words in enumerate(pages)]


def _clusters(writer: Writer, count: int) -> Iterator[Words]:
    for _ in range(round(count * EXACT_TRIPLES / 3)):
        yield from [writer.text()] * 3
    for _ in range(round(count * PAIRS / 2)):
        yield from _copies(writer, 2)
    for _ in range(round(count * TENS / 10)):
        yield from _copies(writer, 10)
    size = max(1, min(1000, round(count * THOUSANDS)))
    for _ in range(round(count * THOUSANDS / size)):
        yield from _copies(writer, size)
    for _ in range(round(count * CHAINS / 100)):
        text = writer.text()
        for _ in range(100):
            yield text
            text = writer.changed(text, 2)
    for _ in range(round(count * TEMPLATES / TEMPLATE_PAGES)):
        yield from _template(writer, TEMPLATE_PAGES)


def _copies(writer: Writer, size: int) -> Iterator[Words]:
    text = writer.text()
    yield text
    for _ in range(size - 1):
        yield writer.changed(text, 2)


def _template(writer: Writer, pages: int) -> Iterator[Words]:
    template = writer.text(TEMPLATE_SENTENCES)
    for _ in range(pages):
        yield template + writer.text(TEMPLATE_OWN)


def _identity(seed: int, number: int) -> str:
    return hashlib.blake2b(f"{seed} {number}".encode(), digest_size=16).hexdigest()

"""Deduplication of real texts: two editions of one book, and many different books."""

import io
import json
from pathlib import Path

import numpy as np
import zstandard
from numpy.typing import NDArray

from corpus.dedup.decide import DedupColumns, Removals, decide
from corpus.dedup.settings import Dedup, Near
from corpus.dedup.shingles import ShingleSets, shingles
from corpus.dedup.signature import text_signature


def dedup(texts: list[str], near: Near) -> Removals:
    signatures = [text_signature(text, near) for text in texts]
    nothing = np.zeros(near.bands, dtype=np.uint64)
    documents = DedupColumns(
        np.arange(len(texts)),
        np.frombuffer(b"".join(each.content_hash for each in signatures), dtype=np.uint8).reshape(-1, 16),
        np.array([nothing if each.bands is None else each.bands for each in signatures]),
        np.array([each.bands is not None for each in signatures]),
    )

    def load(ranks: NDArray[np.int64]) -> ShingleSets:
        found = [shingles(texts[rank], near.ngram_words) for rank in ranks]
        size = np.array([len(each) for each in found])
        return ShingleSets(np.concatenate(found), np.cumsum(size) - size, size)

    return decide(documents, load, Dedup(near=near))


def test_two_editions_of_a_book_are_near_duplicates(data: Path) -> None:
    """1994 in Latin-1 with straight quotes, later in UTF-8 with curly ones; each with its own legal text."""
    folder = data / "gutenberg"
    new, old = (folder / "11-0.txt").read_text(), (folder / "old" / "alice30.txt").read_text("latin-1")
    other = (folder / "1342-0.txt").read_text()
    found = dedup([new, other, old, new], Near())
    assert found.removed.tolist() == [2, 3] and found.survivor.tolist() == [0, 0]
    assert found.near.tolist() == [True, False]
    assert 0.85 < found.intersection[0] / found.union[0] < 0.87


def test_books_differ_from_their_revisions(data: Path) -> None:
    """Openings of 88 books, again with a line added (near duplicates), and with a tenth of the words changed."""
    raw = zstandard.ZstdDecompressor().stream_reader((data / "books" / "classic-books.jsonl.zst").read_bytes())
    texts = [json.loads(line)["text"][:20_000] for line in io.TextIOWrapper(raw, encoding="utf-8")]
    assert dedup(texts, Near()).removed.size == 0
    longer = [f"{text}\nScanned by hand.\n" for text in texts]
    changed = [" ".join(w if at % 10 else "changed" for at, w in enumerate(text.split())) for text in texts]
    found = dedup([*texts, *longer, *changed], Near())
    assert found.removed.tolist() == list(range(len(texts), 2 * len(texts)))
    assert found.survivor.tolist() == list(range(len(texts)))
    assert found.counts.hot_buckets == found.counts.not_compared == 0

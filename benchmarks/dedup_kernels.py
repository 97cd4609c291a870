"""Shingles, signatures and bands: UTF-8 MB/s on one core, compared with datatrove's MinHash on the same texts.

    python benchmarks/dedup_kernels.py [TEXTS.jsonl.zst] [--megabytes 3] [--rounds 3]

TEXTS holds one `{"text": …}` per line; the default is `books/classic-books.jsonl.zst` in the folder CORPUS_TEST_DATA.
The texts are split into pages of 4,000 characters, the size of crawled pages. Both process the same pages alternately
in one process, and neither writes to disk. Rates are by CPU time. Compilation, which numba caches between processes, is
timed separately with the first page. datatrove needs `spacy` and `xxhash`.
"""

import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import xxhash
from common import Step, arguments, described, on_one_core, pages, record, seconds
from datatrove.pipeline.dedup.minhash import MinhashDedupSignature
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from corpus.dedup.settings import Near
from corpus.dedup.shingles import shingles, shingles_in_order
from corpus.dedup.signature import permutations, signature, text_signature

PACKAGES = ("numba", "numpy", "datasketch", "datatrove", "spacy", "xxhash")


def ours() -> dict[str, Step]:
    """Return the steps of this project. Each includes the steps before it."""
    near = Near()
    permutation = permutations(near.permutations, near.seed)
    return {
        "shingles": lambda text: shingles_in_order(text.encode(), near.ngram_words),
        "shingles, signature": lambda text: signature(shingles_in_order(text.encode(), near.ngram_words), permutation),
        "shingles, signature, bands, content hash": lambda text: text_signature(text, near),
        "shingles as a set, to verify": lambda text: shingles(text, near.ngram_words),
    }


def theirs() -> dict[str, Step]:
    """Return datatrove's steps with its defaults: English spaCy words, xxhash64, 112 permutations."""
    step = MinhashDedupSignature(tempfile.mkdtemp())
    # datatrove 0.10 passes a str to xxhash, which version 4 refuses; earlier versions encoded it themselves.
    step._hash_func = lambda ngram: xxhash.xxh64_intdigest(ngram.encode())

    def signature_or_none(text: str) -> object:
        found_shingles = step.get_shingles(text)
        return step.get_signature(found_shingles) if found_shingles.size else None

    return {"shingles": step.get_shingles, "shingles, signature": signature_or_none}


def measure(texts: Sequence[str], rounds: int) -> list[dict[str, str | float]]:
    """Return the median rate of each step over rounds that run every step once."""
    size = sum(len(text.encode()) for text in texts)
    steps = [("gristmill", name, step) for name, step in ours().items()]
    steps += [("datatrove", name, step) for name, step in theirs().items()]
    first = [seconds(step, texts[:1]) for _, _, step in steps]
    taken = [[seconds(step, texts) for _, _, step in steps] for _ in range(rounds)]
    return [
        {
            "who": who,
            "step": name,
            "mb_per_s": round(size / statistics.median(times[at] for times in taken) / 1e6, 2),
            "first_page_s": round(first[at], 2),
        }
        for at, (who, name, _) in enumerate(steps)
    ]


def main() -> None:
    options = arguments(__doc__, megabytes=3.0)
    on_one_core()
    texts = pages(options.texts, options.megabytes)
    steps = measure(texts, options.rounds)
    rate = {(step["who"], step["step"]): float(step["mb_per_s"]) for step in steps}
    ratio = rate["gristmill", "shingles, signature"] / rate["datatrove", "shingles, signature"]
    figures = {
        "texts": described(options.texts, texts),
        "rounds": options.rounds,
        "steps": steps,
        "ratio": round(ratio, 1),
    }
    claim = "word 5-grams to 112-hash MinHash signatures, UTF-8 MB/s of one core's CPU time"
    record("dedup_kernels", claim, PACKAGES, figures)
    table = Table("", "step", "MB/s", "first page, s", title=f"{len(texts)} pages, {options.rounds} rounds, one core")
    for step in steps:
        table.add_row(*(str(value) for value in step.values()))
    console = Console()
    console.print(table)
    console.print(f"shingles and signature: {ratio:.0f} times datatrove's rate")


if __name__ == "__main__":
    main()

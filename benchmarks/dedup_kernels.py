"""Shingles, signatures and bands: MB of UTF-8 a second on one core, beside datatrove's MinHash on the same texts.

    python benchmarks/dedup_kernels.py [TEXTS.jsonl.zst] [--megabytes 3] [--rounds 3]

TEXTS holds one `{"text": …}` a line; left out, it is `books/classic-books.jsonl.zst` in the folder that
CORPUS_TEST_DATA names. The texts are cut into pages of 4,000 characters, since a crawl is made of pages, not books.
Both sides work on the same pages in the same process and in turn; neither writes to disk. Rates are by CPU time.
Compiling (kept by numba between processes) is timed apart, with the first page. datatrove needs `spacy` and `xxhash`.
"""

import argparse
import hashlib
import importlib.metadata
import io
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import xxhash
import zstandard
from datatrove.pipeline.dedup.minhash import MinhashDedupSignature
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from corpus.dedup.minhash import permutations, signature
from corpus.dedup.settings import Near
from corpus.dedup.shingles import shingles, shingles_in_order
from corpus.dedup.sketch import sketch

RESULT = Path(__file__).parent / "results" / "dedup_kernels.json"
PAGE_CHARACTERS = 4000
PACKAGES = ("numba", "numpy", "datasketch", "datatrove", "spacy", "xxhash")

Step = Callable[[str], object]


def pages(path: Path, megabytes: float) -> list[str]:
    """Pages taken evenly from all texts, about `megabytes` in all."""
    raw = zstandard.ZstdDecompressor().stream_reader(path.read_bytes())
    texts = [json.loads(line)["text"] for line in io.TextIOWrapper(raw, encoding="utf-8")]
    cut = [text[at : at + PAGE_CHARACTERS] for text in texts for at in range(0, len(text), PAGE_CHARACTERS)]
    every = max(1, round(sum(len(page) for page in cut) / (megabytes * 1e6)))
    return cut[::every]


def ours() -> dict[str, Step]:
    """The steps of this project, each with all before it."""
    near = Near()
    permutation = permutations(near.permutations, near.seed)
    return {
        "shingles": lambda text: shingles_in_order(text.encode(), near.ngram_words),
        "shingles, signature": lambda text: signature(shingles_in_order(text.encode(), near.ngram_words), permutation),
        "shingles, signature, bands, content hash": lambda text: sketch(text, near),
        "shingles as a set, to verify": lambda text: shingles(text, near.ngram_words),
    }


def theirs() -> dict[str, Step]:
    """datatrove's defaults: English spaCy words, xxhash64, 112 permutations."""
    step = MinhashDedupSignature(tempfile.mkdtemp())
    # datatrove 0.10 hands xxhash a str, which xxhash 4 refuses; until 4 it encoded the str itself.
    step._hash_func = lambda ngram: xxhash.xxh64_intdigest(ngram.encode())

    def signed(text: str) -> object:
        found = step.get_shingles(text)
        return step.get_signature(found) if found.size else None

    return {"shingles": step.get_shingles, "shingles, signature": signed}


def seconds(step: Step, texts: Sequence[str]) -> float:
    """CPU time of one pass: what else runs on the machine counts less than by the clock."""
    start = time.process_time()
    for text in texts:
        step(text)
    return time.process_time() - start


def measure(texts: Sequence[str], rounds: int) -> list[dict[str, str | float]]:
    """The median rate of each step; each round runs every step once."""
    size = sum(len(text.encode()) for text in texts)
    steps = [("gristmill", name, step) for name, step in ours().items()]
    steps += [("datatrove", name, step) for name, step in theirs().items()]
    first = [seconds(step, texts[:1]) for _, _, step in steps]
    taken = [[seconds(step, texts) for _, _, step in steps] for _ in range(rounds)]
    return [
        {
            "who": who,
            "step": name,
            "mb_per_s": round(size / statistics.median(each[at] for each in taken) / 1e6, 2),
            "first_page_s": round(first[at], 2),
        }
        for at, (who, name, _) in enumerate(steps)
    ]


def cpu() -> str:
    """The processor's name, as Linux or else Python tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(os.environ.get("CORPUS_TEST_DATA", ".")) / "books" / "classic-books.jsonl.zst"
    parser.add_argument("texts", type=Path, nargs="?", default=default)
    parser.add_argument("--megabytes", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    if not asked.texts.is_file():
        parser.error(f"{asked.texts}: no such file; name a .jsonl.zst of texts, or set CORPUS_TEST_DATA")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # one core, whatever libraries would use
    texts = pages(asked.texts, asked.megabytes)
    steps = measure(texts, asked.rounds)
    rate = {(step["who"], step["step"]): float(step["mb_per_s"]) for step in steps}
    ratio = rate["gristmill", "shingles, signature"] / rate["datatrove", "shingles, signature"]
    result = {
        "claim": "word 5-grams to 112-hash MinHash signatures, UTF-8 MB/s of one core's CPU time",
        "command": " ".join(["python benchmarks/dedup_kernels.py", *(Path(word).name for word in sys.argv[1:])]),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {"cpu": cpu(), "cores": os.cpu_count(), "system": f"{platform.system()} {platform.machine()}"},
        "versions": {"python": platform.python_version()} | {n: importlib.metadata.version(n) for n in PACKAGES},
        "texts": {
            "file": asked.texts.name,
            "sha256": hashlib.sha256(asked.texts.read_bytes()).hexdigest(),
            "pages": len(texts),
            "bytes": sum(len(text.encode()) for text in texts),
        },
        "rounds": asked.rounds,
        "steps": steps,
        "ratio": round(ratio, 1),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    table = Table("", "step", "MB/s", "first page, s", title=f"{len(texts)} pages, {asked.rounds} rounds, one core")
    for step in steps:
        table.add_row(*(str(value) for value in step.values()))
    console = Console()
    console.print(table)
    console.print(f"shingles and signature: {ratio:.0f} times datatrove's rate")


if __name__ == "__main__":
    main()

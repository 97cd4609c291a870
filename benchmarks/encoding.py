"""Encoding of text: UTF-8 MB/s of one core, compared with Hugging Face's tokenizers with the same tokenizer.json.

    python benchmarks/encoding.py [FOLDER] [--megabytes 12] [--rounds 5] [--new-words 10GB]

FOLDER, by default CORPUS_TEST_DATA, is searched for files, which are decompressed and read as UTF-8. A BPE of 32,768
tokens is trained on 20 MB of them. Every text, and hostile texts, is encoded by both, and the ids are compared. Then an
even sample is encoded alternately by both, in one process on one core: cold is the first pass of a tokenizer that was
just loaded, warm a later one. Rates are by CPU time. At last, text in which no word occurs twice is encoded, and the
resident memory is recorded after each twentieth of it.
"""

import argparse
import bz2
import gzip
import lzma
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import zstandard
from common import PAGE_CHARACTERS, on_one_core, record
from rich.console import Console

os.environ["TOKENIZERS_PARALLELISM"] = "false"
sys.path.insert(0, str(Path(__file__).parents[1]))

from corpus import units
from corpus.tokens.encode import Encoder, cut
from corpus.tokens.train_bpe import Train, train

BATCH = 64  # documents in a call, as in the stage `tokenize`
TEXT_BYTES = 1_000_000  # a file is read as texts of this size
Encode = Callable[[Sequence[str]], object]


def read(path: Path) -> bytes:
    """Return the bytes of a file, decompressed."""
    raw = path.read_bytes()
    try:
        if path.suffix == ".zst":
            return zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True).read()
        openers = {".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress}
        return openers[path.suffix](raw) if path.suffix in openers else raw
    except (OSError, EOFError, lzma.LZMAError, zstandard.ZstdError):
        return raw  # damaged: its bytes are text too


def texts(folder: Path) -> Iterator[str]:
    """Yield all text of the files in a folder."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        raw = read(path)
        for at in range(0, len(raw), TEXT_BYTES):
            yield raw[at : at + TEXT_BYTES].decode(errors="replace")


def hostile() -> Iterator[str]:
    """Yield long runs, all characters, the names of special tokens, and random characters of all kinds."""
    for run in ("x", " ", "\n", "=", "1", "水", "\u0301", "a b", "\r\n", "'s", "\ud7ff", "<|endoftext|>", "</s><s>"):
        yield run * (240_000 // len(run))
    codes = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    for context in ("{}", "a{}a", " {}", "1{}1"):
        for at in range(0, len(codes), 20_000):
            yield "".join(map(context.format, codes[at : at + 20_000]))
    rng = random.Random(1)
    for _ in range(200):
        yield "".join(map(chr, rng.choices((*range(0xD800), *range(0xE000, 0x34000)), k=5000)))
        yield "".join(rng.choices("ab1 '\n\r\t.ſéक水😀\u0301\0", k=5000))


def new_words(size: int) -> Iterator[str]:
    """Yield about `size` bytes of texts in which no word occurs twice: numbers in 16 letters, and their reverse."""
    table = bytes.maketrans(b"0123456789abcdef", b"etaoinshrdlucmfw")
    for start in range(0, size // 26, 4000):
        words = [
            f"{number * 0x9E3779B97F4A7C15 % 2**64:x}".encode().translate(table)
            for number in range(start, start + 4000)
        ]
        yield b" ".join(word + b" " + word[::-2] for word in words).decode()


def resident_mb() -> float:
    """Return the resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def by_tokenizers(encoder: Encoder) -> Encode:
    """Return the calls that Hugging Face's library needs: pieces that it can hold, in batches."""
    return lambda batch: encoder._reference_ids([piece for text in batch for piece, _ in cut(text)])


def passed(encode: Encode, pages: Sequence[str]) -> float:
    """Return the CPU time of one pass."""
    start = time.process_time()
    for at in range(0, len(pages), BATCH):
        encode(pages[at : at + BATCH])
    return time.process_time() - start


def compared(encoder: Encoder, all_texts: Iterator[str]) -> dict[str, int]:
    """Return numbers of texts, bytes and tokens, and of texts whose ids differ."""
    counts = {"texts": 0, "bytes": 0, "tokens": 0, "different": 0}
    for text in all_texts:
        (ids,) = encoder.encode([text])
        others = np.concatenate(encoder._reference_ids([piece for piece, _ in cut(text)]))
        counts["texts"] += 1
        counts["bytes"] += len(text.encode())
        counts["tokens"] += len(others)
        counts["different"] += not np.array_equal(ids[:-1], others)
    return counts


def rates(path: Path, pages: Sequence[str], rounds: int) -> dict[str, float]:
    """Return median MB/s, cold and warm, of both."""
    size = sum(len(page.encode()) for page in pages) / 1e6
    taken: dict[str, list[float]] = {}
    for _ in range(rounds):
        for who in ("gristmill", "tokenizers"):
            encoder = Encoder(path)
            encode = encoder.encode if who == "gristmill" else by_tokenizers(encoder)
            for state in ("cold", "warm"):
                taken.setdefault(f"{who}_{state}_mb_per_s", []).append(size / passed(encode, pages))
    return {name: round(statistics.median(values), 2) for name, values in taken.items()}


def memory(encoder: Encoder, size: int) -> dict[str, object]:
    """Encode new words, and return the resident memory after each twentieth, and the rate."""
    encoded, found, start = 0, [resident_mb()], time.process_time()
    for text in new_words(size):
        encoder.encode([text])
        encoded += len(text)
        if encoded >= size * len(found) / 20:
            found.append(resident_mb())
    taken = time.process_time() - start
    return {
        "bytes": encoded,
        "resident_mb": [round(each) for each in found],
        "mb_per_s": round(encoded / taken / 1e6, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path(os.environ.get("CORPUS_TEST_DATA", ".")))
    parser.add_argument("--megabytes", type=float, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--new-words", type=units.quantity, default=10_000_000_000)
    options = parser.parse_args()
    on_one_core()
    console = Console()
    found = list(texts(options.folder))
    path = Path(tempfile.mkdtemp()) / "tokenizer.json"
    path.write_bytes(train(found[:: max(1, len(found) // 20)], Train()))
    encoder = Encoder(path)
    counts = {"files": compared(encoder, iter(found)), "hostile": compared(encoder, hostile())}
    console.print(counts)
    chunks = [text[at : at + PAGE_CHARACTERS] for text in found for at in range(0, len(text), PAGE_CHARACTERS)]
    pages = chunks[:: max(1, round(sum(map(len, chunks)) / (options.megabytes * 1e6)))]
    speed = rates(path, pages, options.rounds)
    ratios = {
        state: round(speed[f"gristmill_{state}_mb_per_s"] / speed[f"tokenizers_{state}_mb_per_s"], 1)
        for state in ("cold", "warm")
    }
    console.print(speed, ratios)
    grown = memory(Encoder(path), options.new_words)
    console.print(grown)
    same = not any(count["different"] for count in counts.values())
    figures = {
        "ids": counts,
        "pages": len(pages),
        "rounds": options.rounds,
        **speed,
        "ratio": ratios,
        "new_words": grown,
    }
    claim = "encoding with a BPE of 32,768 tokens: the ids of tokenizers at 15 times its rate"
    met = {"same_ids": same, "ratio": min(ratios.values()) >= 15}
    record("encoding", claim, ("gigatoken", "tokenizers", "numpy"), figures, met)


if __name__ == "__main__":
    main()

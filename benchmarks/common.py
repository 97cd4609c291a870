"""Shared by all benchmarks: texts, command line, timing, machine and recording of results."""

import argparse
import hashlib
import importlib.metadata
import io
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
PAGE_CHARACTERS = 4000
Step = Callable[[str], object]


def books() -> Path:
    """Return the path of the default texts: whole books, in the folder of real files."""
    return Path(os.environ.get("CORPUS_TEST_DATA", ".")) / "books" / "classic-books.jsonl.zst"


def arguments(about: str | None, megabytes: float) -> argparse.Namespace:
    """Parse the command line of a benchmark over texts: `texts`, `megabytes` and `rounds`."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path, nargs="?", default=books())
    parser.add_argument("--megabytes", type=float, default=megabytes)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if not options.texts.is_file():
        parser.error(f"{options.texts}: no such file; name a .jsonl.zst of texts, or set CORPUS_TEST_DATA")
    return options


def pages(path: Path, megabytes: float) -> list[str]:
    """Split the texts into pages of 4,000 characters, as in a crawl, and return an even sample of about `megabytes`."""
    import zstandard

    raw = zstandard.ZstdDecompressor().stream_reader(path.read_bytes())
    texts = [json.loads(line)["text"] for line in io.TextIOWrapper(raw, encoding="utf-8")]
    chunks = [text[at : at + PAGE_CHARACTERS] for text in texts for at in range(0, len(text), PAGE_CHARACTERS)]
    every = max(1, round(sum(len(page) for page in chunks) / (megabytes * 1e6)))
    return chunks[::every]


def described(path: Path, texts: Sequence[str]) -> dict[str, str | int]:
    """Return name, hash and size of the measured texts."""
    size = sum(len(text.encode()) for text in texts)
    return {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "pages": len(texts),
        "bytes": size,
    }


def seconds(step: Step, texts: Sequence[str]) -> float:
    """Return the CPU time of one pass. Other processes disturb it less than wall time."""
    start = time.process_time()
    for text in texts:
        step(text)
    return time.process_time() - start


def on_one_core() -> None:
    """Pin this process to one core, so that libraries cannot use more."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def cpu() -> str:
    """Return the name of the processor from Linux, or else from Python."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def record(
    name: str,
    claim: str,
    packages: Sequence[str],
    figures: Mapping[str, object],
    met: bool | Mapping[str, bool] | None = None,
) -> None:
    """Write benchmarks/results/<name>.json: the figures with command, machine, versions and date.

    `claim` is the measured quantity or a statement. `met` is True if these figures confirm the statement, or maps each
    part of it to a boolean.
    """
    result = {
        "claim": claim,
        **({} if met is None else {"met": met}),
        "command": " ".join([f"python benchmarks/{Path(sys.argv[0]).name}", *(Path(a).name for a in sys.argv[1:])]),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {"cpu": cpu(), "cores": os.cpu_count(), "system": f"{platform.system()} {platform.machine()}"},
        "versions": {"python": platform.python_version()}
        | {each: importlib.metadata.version(each) for each in packages},
        **figures,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")

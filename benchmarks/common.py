"""What all benchmarks share: the texts, the machine, and how a result is recorded."""

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
    """The default texts: whole books, in the folder of real files."""
    return Path(os.environ.get("CORPUS_TEST_DATA", ".")) / "books" / "classic-books.jsonl.zst"


def arguments(about: str | None, megabytes: float) -> argparse.Namespace:
    """What a benchmark over texts is asked on its command line: `texts`, `megabytes`, `rounds`."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path, nargs="?", default=books())
    parser.add_argument("--megabytes", type=float, default=megabytes)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    if not asked.texts.is_file():
        parser.error(f"{asked.texts}: no such file; name a .jsonl.zst of texts, or set CORPUS_TEST_DATA")
    return asked


def pages(path: Path, megabytes: float) -> list[str]:
    """Pages of 4,000 characters taken evenly from all texts, about `megabytes` in all: a crawl is pages, not books."""
    import zstandard

    raw = zstandard.ZstdDecompressor().stream_reader(path.read_bytes())
    texts = [json.loads(line)["text"] for line in io.TextIOWrapper(raw, encoding="utf-8")]
    cut = [text[at : at + PAGE_CHARACTERS] for text in texts for at in range(0, len(text), PAGE_CHARACTERS)]
    every = max(1, round(sum(len(page) for page in cut) / (megabytes * 1e6)))
    return cut[::every]


def described(path: Path, texts: Sequence[str]) -> dict[str, str | int]:
    """What was measured on."""
    size = sum(len(text.encode()) for text in texts)
    return {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "pages": len(texts),
        "bytes": size,
    }


def seconds(step: Step, texts: Sequence[str]) -> float:
    """CPU time of one pass: what else runs on the machine counts less than by the clock."""
    start = time.process_time()
    for text in texts:
        step(text)
    return time.process_time() - start


def on_one_core() -> None:
    """Keeps this process on one core, whatever libraries would use."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def cpu() -> str:
    """The processor's name, as Linux or else Python tells it."""
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
    """Writes benchmarks/results/<name>.json: the figures, with command, machine, versions and date beside them.

    `claim` says what is measured, or a statement; `met` is whether that held, or each part of it, by these figures.
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

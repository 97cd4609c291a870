"""The quickstart corpus: wall time and peak memory of a build from nothing, downloads apart, and of doing it again.

    python benchmarks/quickstart.py [--workers 2]

The first build fetches what is not in the cache yet, and compiles; it is not counted. The second starts with an empty
output folder and everything in the caches. Memory is the proportional set size of all the build's processes together.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from common import record

ROOT = Path(__file__).parents[1]


def build(out: Path, workers: int) -> tuple[float, int]:
    """Seconds, and bytes at the highest moment."""
    command = [
        sys.executable,
        "-m",
        "corpus",
        "build",
        "recipes/quickstart.yaml",
        "--out",
        str(out),
        "--workers",
        str(workers),
    ]
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL)
    peak, done = [0], threading.Event()
    watcher = threading.Thread(target=_watch, args=(process.pid, peak, done))
    watcher.start()
    code = process.wait()
    taken = time.perf_counter() - start
    done.set()
    watcher.join()
    if code:
        raise SystemExit(f"the build failed with exit code {code}")
    return taken, peak[0]


def _watch(group: int, peak: list[int], done: threading.Event) -> None:
    while not done.wait(0.1):
        peak[0] = max(peak[0], sum(_memory(entry) for entry in Path("/proc").glob("[0-9]*") if _group(entry) == group))


def _group(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[2])
    except (OSError, ValueError, IndexError):
        return -1


def _memory(entry: Path) -> int:
    try:
        lines = (entry / "smaps_rollup").read_text().splitlines()
        return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    except (OSError, ValueError):
        return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    workers = parser.parse_args().workers
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder) / "first", workers)
        wall_s, memory = build(Path(folder) / "second", workers)
        again_s, _ = build(Path(folder) / "second", workers)
    figures = {
        "workers": workers,
        "wall_s": round(wall_s, 1),
        "peak_memory_bytes": memory,
        "again_s": round(again_s, 1),
    }
    record(
        "quickstart",
        "wall time and peak memory of `corpus build recipes/quickstart.yaml`",
        ("pyarrow", "numba"),
        figures,
    )
    print(f"built in {wall_s:.1f} s with {workers} workers, at most {memory / 1e6:.0f} MB; again in {again_s:.1f} s")


if __name__ == "__main__":
    main()

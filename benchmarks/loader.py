"""Batches from token shards: tokens/s, first batch, seek and memory on one core, beside dataset libraries and a memmap.

    python benchmarks/loader.py [--megatokens 100] [--repeats 3] [--folder build/benchmarks/loader]

All read the same made-up uint16 tokens of three sources, written in each loader's own format into --folder (and kept
there), and hand out batches of 8 sequences of 2,048 as int64 torch tensors. Each loader runs in processes of its own,
without worker processes, all in turn on the same core, --repeats times; the files are in the page cache. The libraries
are installed into build/benchmarks/loader-venv on first use. Imports are not counted; `first batch` (of a fresh start)
and `seek` (resuming after 95 % of the tokens, as the library offers) count opening. Memory is what the loader adds to
the process after its imports, at most: resident, and of it not mapped from files. Linux only.
"""

import argparse
import ast
import hashlib
import importlib.metadata
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import on_one_core, record
from loader_ours import OURS, PLAIN, ROOT, make_tokens
from loader_peers import BATCH, LIBRARIES, PEERS, SEQUENCE, SHARES, VOCABULARY, Pair

PYTHON = ROOT / "build/benchmarks/loader-venv/bin/python"
PACKAGES = ("numpy", "torch", "pyarrow")
CLAIM = "batches of 8 x 2,048 int64 tokens from uint16 files in the page cache, tokens/s on one core"
ROUNDS = 5
READ = 0.95  # of all tokens, in all rounds: a random mixture uses one source up before the others
ALL = {**OURS, **PLAIN, **PEERS}
BASELINES, HELD = ("memmap loop", "memmap loop, tuned"), "Gristmill, prefetch on"
Figures = dict[str, Any]  # of JSON
Memory = dict[str, int]


def memory() -> Memory:
    """Bytes: resident now, of them not mapped from files, and resident at most."""
    lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    found = {key: 1024 * int(lines[key].split()[0]) for key in ("VmRSS", "RssAnon", "RssShmem", "VmHWM")}
    return {"now": found["VmRSS"], "own": found["RssAnon"] + found["RssShmem"], "peak": found["VmHWM"]}


def checked(batch: Pair) -> str:
    """A hash of the inputs, of a batch that is what it should be."""
    inputs, targets = batch[0].numpy(), batch[1].numpy()
    assert inputs.shape == targets.shape == (BATCH, SEQUENCE), inputs.shape
    assert inputs.dtype == targets.dtype == np.int64
    assert inputs.flags.c_contiguous and targets.flags.c_contiguous
    assert ((targets[:, :-1] == inputs[:, 1:]) | (targets[:, :-1] < 0)).all(), "a target is the next input, or ignored"
    assert inputs.min() >= 0 and inputs.max() < VOCABULARY
    return hashlib.sha256(inputs.tobytes()).hexdigest()


def write(name: str, folder: Path, steps: int) -> Figures:
    """The tokens in the loader's own format."""
    way = ALL[name]
    way.load()
    way.write(folder / "tokens", folder / way.format)
    return {}


def rates(name: str, folder: Path, steps: int) -> Figures:
    """The first batch of a fresh start, then all rounds; keeps the state from which `seek` goes on."""
    way = ALL[name]
    way.load()
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak of the imports
    imported = memory()
    start = time.perf_counter()
    opened = way.open(folder / way.format, None)
    first = next(opened.batches)
    first_batch_s = time.perf_counter() - start
    checked(first)
    found, cpu, own = [], [], memory()["own"]
    for _ in range(ROUNDS):
        start, used = time.perf_counter(), time.process_time()
        for _ in range(steps):
            next(opened.batches)
        found.append(steps * BATCH * SEQUENCE / (time.perf_counter() - start))
        cpu.append(steps * BATCH * SEQUENCE / (time.process_time() - used))
        own = max(own, memory()["own"])
    peak = memory()["peak"]
    kept = {"state": repr(opened.state(1 + ROUNDS * steps)), "next": checked(next(opened.batches))}
    (folder / f"{name}.state.json").write_text(json.dumps(kept))
    return {
        "tokens_per_s": found,
        "tokens_per_cpu_s": cpu,
        "first_batch_s": first_batch_s,
        "imported_bytes": imported["now"],
        "added_bytes": peak - imported["now"],
        "own_bytes": own - imported["own"],
        "version": importlib.metadata.version(way.package) if way.package else None,
    }


def seek(name: str, folder: Path, steps: int) -> Figures:
    """The first batch of a process that resumes where `rates` stopped, and whether it is the one that came there."""
    way, kept = ALL[name], json.loads((folder / f"{name}.state.json").read_text())
    way.load()
    start = time.perf_counter()
    opened = way.open(folder / way.format, ast.literal_eval(kept["state"]))
    first = next(opened.batches)
    return {"seek_s": time.perf_counter() - start, "exact": checked(first) == kept["next"]}


TASKS = {"write": write, "rates": rates, "seek": seek}


def child(task: str, name: str, folder: Path, steps: int = 0) -> Figures:
    """What a process of its own finds."""
    python = PYTHON if ALL[name].package else Path(sys.executable)
    words = ["--task", task, "--only", name, "--folder", str(folder), "--steps", str(steps)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [str(python), str(Path(__file__).resolve()), *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name}: {task} failed\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}")
    found: Figures = json.loads(done.stdout.splitlines()[-1])
    return found


def install() -> None:
    """The libraries, in an environment of their own."""
    done = PYTHON.parents[1] / "done"
    if done.exists():
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(PYTHON.parents[1])], check=True)
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--upgrade", "pip"], check=True)
    subprocess.run([*pip, "--constraint", str(ROOT / "constraints.txt"), *LIBRARIES], check=True)
    done.touch()


def prepare(names: Sequence[str], folder: Path, tokens: int) -> None:
    """Writes what is not there yet, and reads all of it once."""
    if not (folder / "tokens/done").exists():
        make_tokens(folder / "tokens", tokens)
        (folder / "tokens/done").touch()
    for name in names:
        own = folder / ALL[name].format
        if not (own / "done").exists():
            shutil.rmtree(own, ignore_errors=True)
            own.mkdir()
            child("write", name, folder)
            (own / "done").touch()
        for file in own.rglob("*"):  # into the page cache
            if file.is_file():
                file.read_bytes()


def summed_up(name: str, runs: Sequence[Figures]) -> Figures:
    """Medians over all rounds and repeats; of memory the most. In its first round a process meets a map's pages."""
    firsts = [run["tokens_per_s"][0] for run in runs]
    rounds = sorted(rate for run in runs for rate in run["tokens_per_s"])
    return {
        "told": ALL[name].told,
        "version": runs[0]["version"],
        "tokens_per_s": round(statistics.median(rounds)),
        "tokens_per_cpu_s": round(statistics.median(rate for run in runs for rate in run["tokens_per_cpu_s"])),
        "first_round_tokens_per_s": round(statistics.median(firsts)),
        "slowest_and_fastest_round": [round(rounds[0]), round(rounds[-1])],
        **{key: round(statistics.median(run[key] for run in runs), 4) for key in ("first_batch_s", "seek_s")},
        "same_batch_after_resume": all(run["exact"] for run in runs) if name in {**OURS, **PEERS} else None,
        **{key: max(run[key] for run in runs) for key in ("added_bytes", "own_bytes", "imported_bytes")},
    }


def show(told: dict[str, Figures]) -> None:
    """The table, and beneath it what each does."""
    from rich.console import Console  # not in the libraries' environment
    from rich.table import Table

    table = Table(
        "",
        "Mtok/s",
        "by CPU time",
        "first round",
        "first batch, s",
        "seek, s",
        "resumes exactly",
        "memory, MB",
        "of it own",
    )
    for name, found in told.items():
        exact = {True: "yes", False: "NO", None: "-"}[found["same_batch_after_resume"]]
        counts = ("tokens_per_s", "tokens_per_cpu_s", "first_round_tokens_per_s", "added_bytes", "own_bytes")
        rate, cpu, early, added, own = (f"{found[key] / 1e6:.0f}" for key in counts)
        spent = (f"{found[key]:.3f}" for key in ("first_batch_s", "seek_s"))
        table.add_row(name, rate, cpu, early, *spent, exact, added, own)
    console = Console()
    console.print(table)
    for name, found in told.items():
        console.print(f"{name}: {found['told']}", highlight=False)


def verdict(told: dict[str, Figures]) -> Figures:
    """The target: ahead of each library, and within 1.5 times the plain loop's time. The tuned loop is beside it."""
    rate = {name: found["tokens_per_s"] for name, found in told.items()}
    quickest = max(PEERS, key=lambda name: rate[name])
    plain, tuned = (round(rate[name] / rate[HELD], 2) for name in BASELINES)
    return {
        "of": HELD,
        "quickest_library": quickest,
        "times_quickest_library": round(rate[HELD] / rate[quickest], 2),
        "memmap_loop_over_ours": plain,
        "tuned_memmap_loop_over_ours": tuned,
        "target": "times_quickest_library > 1, memmap_loop_over_ours <= 1.5",
        "met": rate[HELD] > rate[quickest] and plain <= 1.5,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megatokens", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=ROOT / "build/benchmarks/loader")
    parser.add_argument("--only", action="append", choices=list(ALL), help="measure this one; the result is not kept")
    parser.add_argument("--task", choices=list(TASKS), help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    on_one_core()
    if asked.task:
        print(json.dumps(TASKS[asked.task](asked.only[0], asked.folder, asked.steps)))
        return
    names, folder = asked.only or list(ALL), asked.folder.resolve() / f"{asked.megatokens}M"
    if any(ALL[name].package for name in names):
        install()
    prepare(names, folder, asked.megatokens * 10**6)
    steps = int(asked.megatokens * 1e6 * READ) // (BATCH * SEQUENCE * ROUNDS)
    runs: dict[str, list[Figures]] = {name: [] for name in names}
    for _ in range(asked.repeats):
        for name in names:  # in turn: what else the machine does meets all
            runs[name].append(child("rates", name, folder, steps) | child("seek", name, folder))
    told = {name: summed_up(name, found) for name, found in runs.items()}
    show(told)
    if asked.only:
        return
    held = verdict(told)
    print(held)
    data = {"tokens": asked.megatokens * 10**6, "shares": SHARES, "sequence_tokens": SEQUENCE, "batch": BATCH}
    asked_for = {"rounds": ROUNDS, "steps_of_a_round": steps, "repeats": asked.repeats}
    record("loader", CLAIM, PACKAGES, {"data": data, **asked_for, "loaders": told, "verdict": held})


if __name__ == "__main__":
    main()

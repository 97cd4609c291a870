"""Batches from token shards: tokens/s, first batch, seek and memory on one core, compared with libraries and a memmap.

    python benchmarks/loader.py [--megatokens 100] [--repeats 3] [--folder build/benchmarks/loader]

All loaders read the same synthetic uint16 tokens of three sources, written to --folder in the format of each loader and
kept there. Batches are 8 sequences of 2,048 tokens as int64 torch tensors. Each loader runs in its own process without
worker processes, all in turn on the same core, --repeats times, with the files in the page cache. The libraries are
installed into build/benchmarks/loader-venv on first use. Imports are not counted. `first batch` (a fresh start) and
`seek` (resuming after 95 % of the tokens, as the library supports it) include opening. Memory is the peak added to the
process after its imports: resident, and the part not mapped from files. Linux only.

Shuffling differs. Ours permutes chunks, then sequences within windows of 128 chunks. MosaicML and LitData shuffle
samples of one sequence within a range of shards or chunks. Megatron and HF datasets permute single sequences. The plain
loops draw each sequence from a random offset. Only ours also returns document segments. A separate row includes the
digest that `trainer fit` takes of each batch.

The comparison is by CPU time per token, summed over all threads of the process. The wall-clock rate is shown too.
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
CLAIM = "batches of 8 x 2,048 int64 tokens from uint16 files in the page cache, tokens/s of one core's CPU time"
ROUNDS = 5
READ = 0.95  # fraction of all tokens read in all rounds: a random mixture exhausts one source before the others
ALL = {**OURS, **PLAIN, **PEERS}
PLAIN_LOOP, TUNED_LOOP, COMPARED = "memmap loop", "memmap loop, tuned", "Gristmill, prefetch on"
WITHIN = 1.5  # times ours: the loops
AHEAD, PASSED = 1.5, ("LitData", "MosaicML Streaming", "Megatron")  # ours is so many times as fast as these
MIXED, ONE_SOURCE = KINDS = (", mixed", ", one source")  # suffixes of the library rows
APART = 0.1  # relative difference of wall-clock and CPU rates above which a warning is printed
Figures = dict[str, Any]  # JSON object
Memory = dict[str, int]


def memory() -> Memory:
    """Return bytes of this process: resident now, not mapped from files, and resident at the peak."""
    lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    sizes = {key: 1024 * int(lines[key].split()[0]) for key in ("VmRSS", "RssAnon", "RssShmem", "VmHWM")}
    return {"now": sizes["VmRSS"], "own": sizes["RssAnon"] + sizes["RssShmem"], "peak": sizes["VmHWM"]}


def checked_hash(batch: Pair) -> str:
    """Check shape, type and values of a batch, and return a hash of its inputs."""
    inputs, targets = batch[0].numpy(), batch[1].numpy()
    assert inputs.shape == targets.shape == (BATCH, SEQUENCE), inputs.shape
    assert inputs.dtype == targets.dtype == np.int64
    assert inputs.flags.c_contiguous and targets.flags.c_contiguous
    assert ((targets[:, :-1] == inputs[:, 1:]) | (targets[:, :-1] < 0)).all(), (
        "each target is the next input, or negative if ignored"
    )
    assert inputs.min() >= 0 and inputs.max() < VOCABULARY
    return hashlib.sha256(inputs.tobytes()).hexdigest()


def write(name: str, folder: Path, steps: int) -> Figures:
    """Write the tokens in the format of the loader."""
    loader = ALL[name]
    loader.load()
    loader.write(folder / "tokens", folder / loader.format)
    return {}


def rates(name: str, folder: Path, steps: int) -> Figures:
    """Measure the first batch of a fresh start and all rounds; save the state from which `seek` resumes."""
    loader = ALL[name]
    loader.load()
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak after the imports
    imported = memory()
    start = time.perf_counter()
    opened = loader.open(folder / loader.format, None)
    first = next(opened.batches)
    first_batch_s = time.perf_counter() - start
    checked_hash(first)
    wall, cpu, own = [], [], memory()["own"]
    for _ in range(ROUNDS):
        start, used = time.perf_counter(), time.process_time()
        for _ in range(steps):
            next(opened.batches)
        wall.append(steps * BATCH * SEQUENCE / (time.perf_counter() - start))
        cpu.append(steps * BATCH * SEQUENCE / (time.process_time() - used))
        own = max(own, memory()["own"])
    peak = memory()["peak"]
    saved = {"state": repr(opened.state(1 + ROUNDS * steps)), "next": checked_hash(next(opened.batches))}
    (folder / f"{name}.state.json").write_text(json.dumps(saved))
    return {
        "tokens_per_s": wall,
        "tokens_per_cpu_s": cpu,
        "first_batch_s": first_batch_s,
        "imported_bytes": imported["now"],
        "added_bytes": peak - imported["now"],
        "own_bytes": own - imported["own"],
        "versions": {each: importlib.metadata.version(each) for each in (loader.package, "numpy", "torch") if each},
    }


def seek(name: str, folder: Path, steps: int) -> Figures:
    """Measure the first batch of a process that resumes after `rates`; `exact` is True if it is the same batch."""
    loader, saved = ALL[name], json.loads((folder / f"{name}.state.json").read_text())
    loader.load()
    start = time.perf_counter()
    opened = loader.open(folder / loader.format, ast.literal_eval(saved["state"]))
    first = next(opened.batches)
    return {"seek_s": time.perf_counter() - start, "exact": checked_hash(first) == saved["next"]}


TASKS = {"write": write, "rates": rates, "seek": seek}


def run_child(task: str, name: str, folder: Path, steps: int = 0) -> Figures:
    """Run a task in its own process, and return its figures."""
    python = PYTHON if ALL[name].package else Path(sys.executable)
    words = ["--task", task, "--only", name, "--folder", str(folder), "--steps", str(steps)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [str(python), str(Path(__file__).resolve()), *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name}: {task} failed\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}")
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def install() -> None:
    """Install the libraries into their own environment."""
    done = PYTHON.parents[1] / "done"
    if done.exists():
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(PYTHON.parents[1])], check=True)
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--upgrade", "pip"], check=True)
    subprocess.run([*pip, "--constraint", str(ROOT / "constraints.txt"), *LIBRARIES], check=True)
    done.touch()


def prepare(names: Sequence[str], folder: Path, tokens: int) -> None:
    """Write the missing files, and read all files once."""
    if not (folder / "tokens/done").exists():
        make_tokens(folder / "tokens", tokens)
        (folder / "tokens/done").touch()
    for name in names:
        own = folder / ALL[name].format
        if not (own / "done").exists():
            shutil.rmtree(own, ignore_errors=True)
            own.mkdir()
            run_child("write", name, folder)
            (own / "done").touch()
        for file in own.rglob("*"):  # into the page cache
            if file.is_file():
                file.read_bytes()


def summarize(name: str, runs: Sequence[Figures]) -> Figures:
    """Return medians over all rounds and repeats, and peak memory. The first round includes page faults of the map."""
    first_rounds = [run["tokens_per_s"][0] for run in runs]
    rounds = sorted(rate for run in runs for rate in run["tokens_per_s"])
    return {
        "told": ALL[name].description,
        "versions": runs[0]["versions"],
        "tokens_per_s": round(statistics.median(rounds)),
        "tokens_per_cpu_s": round(statistics.median(rate for run in runs for rate in run["tokens_per_cpu_s"])),
        "first_round_tokens_per_s": round(statistics.median(first_rounds)),
        "slowest_and_fastest_round": [round(rounds[0]), round(rounds[-1])],
        **{key: round(statistics.median(run[key] for run in runs), 4) for key in ("first_batch_s", "seek_s")},
        "same_batch_after_resume": all(run["exact"] for run in runs) if name in {**OURS, **PEERS} else None,
        **{key: max(run[key] for run in runs) for key in ("added_bytes", "own_bytes", "imported_bytes")},
    }


def show(results: dict[str, Figures]) -> None:
    """Print the table, and a description of each loader."""
    from rich.console import Console  # not installed in the libraries' environment
    from rich.table import Column, Table

    heads = ("Mtok/s of CPU time", "wall clock", "first round", "first batch, s", "seek, s", "resumes exactly")
    table = Table(Column("", no_wrap=True), *heads, "memory, MB", "not mapped")
    for name, figures in results.items():
        exact = {True: "yes", False: "NO", None: "-"}[figures["same_batch_after_resume"]]
        counts = ("tokens_per_cpu_s", "tokens_per_s", "first_round_tokens_per_s", "added_bytes", "own_bytes")
        cpu, rate, early, added, own = (f"{figures[key] / 1e6:.0f}" for key in counts)
        spent = (f"{figures[key]:.3f}" for key in ("first_batch_s", "seek_s"))
        table.add_row(name, cpu, rate, early, *spent, exact, added, own)
    console = Console(width=140)
    console.print(table)
    for name, figures in results.items():
        versions = ", ".join(f"{package} {version}" for package, version in figures["versions"].items())
        console.print(f"{name}: {figures['told']} ({versions})", highlight=False, markup=False)
    for name, figures in results.items():
        times = figures["tokens_per_s"] / figures["tokens_per_cpu_s"]
        if abs(times - 1) > APART:
            console.print(f"warning: {name}: by the clock {times:.2f} times its rate by CPU time", highlight=False)


def ratios(results: dict[str, Figures]) -> dict[str, dict[str, float]]:
    """Return the rate of each other loader as a multiple of ours with prefetch, by CPU time and by wall clock."""
    kinds = {"by_cpu_time": "tokens_per_cpu_s", "by_the_clock": "tokens_per_s"}
    return {
        name: {kind: round(figures[key] / results[COMPARED][key], 3) for kind, key in kinds.items()}
        for name, figures in results.items()
        if name != COMPARED
    }


def confirmed(results: dict[str, Figures]) -> dict[str, bool]:
    """Return True for each statement that holds by CPU time. Ours mixes sources, as the rows `mixed` do."""
    rate = {name: figures["tokens_per_cpu_s"] for name, figures in results.items()}
    ahead = {kind: all(rate[COMPARED] > rate[name] for name in PEERS if name.endswith(kind)) for kind in KINDS}
    passed = {each: [rate[each + kind] for kind in KINDS] for each in PASSED}
    within = {name: rate[name] <= WITHIN * rate[COMPARED] for name in (PLAIN_LOOP, TUNED_LOOP)}
    return {
        **{f"at least {AHEAD}x {each}": rate[COMPARED] >= AHEAD * max(rates) for each, rates in passed.items()},
        "ahead of each library, mixed": ahead[MIXED],
        "ahead of each library reading one source": ahead[ONE_SOURCE],
        f"within {WITHIN}x of the plain memmap loop": within[PLAIN_LOOP],
        f"within {WITHIN}x of the tuned memmap loop": within[TUNED_LOOP],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megatokens", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=ROOT / "build/benchmarks/loader")
    parser.add_argument(
        "--only", action="append", choices=list(ALL), help="measure this one; the result is not recorded"
    )
    parser.add_argument("--task", choices=list(TASKS), help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    on_one_core()
    if options.task:
        print(json.dumps(TASKS[options.task](options.only[0], options.folder, options.steps)))
        return
    names, folder = options.only or list(ALL), options.folder.resolve() / f"{options.megatokens}M"
    if any(ALL[name].package for name in names):
        install()
    prepare(names, folder, options.megatokens * 10**6)
    steps = int(options.megatokens * 1e6 * READ) // (BATCH * SEQUENCE * ROUNDS)
    runs: dict[str, list[Figures]] = {name: [] for name in names}
    for _ in range(options.repeats):
        for name in names:  # in turn, so that other load on the machine affects all alike
            runs[name].append(run_child("rates", name, folder, steps) | run_child("seek", name, folder))
    results = {name: summarize(name, measured_runs) for name, measured_runs in runs.items()}
    show(results)
    if options.only:
        return
    others, met = ratios(results), confirmed(results)
    print(f"Times the rate of `{COMPARED}`, by CPU time and by the clock:")
    for name, times in others.items():
        print(f"  {name}: {times['by_cpu_time']:.2f}, {times['by_the_clock']:.2f}")
    for statement, holds in met.items():
        print(f"{'met' if holds else 'NOT met'}: {statement}")
    data = {"tokens": options.megatokens * 10**6, "shares": SHARES, "sequence_tokens": SEQUENCE, "batch": BATCH}
    settings = {"rounds": ROUNDS, "steps_of_a_round": steps, "repeats": options.repeats}
    figures = {"data": data, **settings, "loaders": results, "judged": COMPARED, "times_the_rate_of_the_judged": others}
    record("loader", CLAIM, PACKAGES, figures, met)


if __name__ == "__main__":
    main()

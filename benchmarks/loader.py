"""Batches from token shards: tokens/s, first batch, seek and memory on one core, beside dataset libraries and a memmap.

    python benchmarks/loader.py [--megatokens 100] [--repeats 3] [--folder build/benchmarks/loader]

All read the same made-up uint16 tokens of three sources, written in each loader's own format into --folder (and kept
there), and hand out batches of 8 sequences of 2,048 as int64 torch tensors. Each loader runs in processes of its own,
without worker processes, all in turn on the same core, --repeats times; the files are in the page cache. The libraries
are installed into build/benchmarks/loader-venv on first use. Imports are not counted; `first batch` (of a fresh start)
and `seek` (resuming after 95 % of the tokens, as the library offers) count opening. Memory is what the loader adds to
the process after its imports, at most: resident, and of it not mapped from files. Linux only.

Not all shuffle alike, nor alike finely. Ours permutes chunks of 8,192 tokens, of which sequences are then cut in turn;
MosaicML and LitData shuffle samples of a sequence each, near their place in shards or chunks; Megatron and HF datasets
permute single sequences; the plain loops draw each from a random place. Ours gives segments of documents besides, which
nobody else does here; with the digest that `trainer fit` takes of each batch, it is measured in a row of its own.

Judged is the CPU time a token takes, all threads of the process together; the clock's rate stands beside it.
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
READ = 0.95  # of all tokens, in all rounds: a random mixture uses one source up before the others
ALL = {**OURS, **PLAIN, **PEERS}
PLAIN_LOOP, TUNED_LOOP, HELD = "memmap loop", "memmap loop, tuned", "Gristmill, prefetch on"
WITHIN = 1.5
MIXED, ONE_SOURCE = KINDS = (", mixed", ", one source")  # of libraries, by the ends of their names
APART = 0.1  # of which the rates by the clock and by CPU time may differ without a warning
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
        "versions": {each: importlib.metadata.version(each) for each in (way.package, "numpy", "torch") if each},
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
        "versions": runs[0]["versions"],
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
    from rich.table import Column, Table

    heads = ("Mtok/s of CPU time", "by the clock", "first round", "first batch, s", "seek, s", "resumes exactly")
    table = Table(Column("", no_wrap=True), *heads, "memory, MB", "of it own")
    for name, found in told.items():
        exact = {True: "yes", False: "NO", None: "-"}[found["same_batch_after_resume"]]
        counts = ("tokens_per_cpu_s", "tokens_per_s", "first_round_tokens_per_s", "added_bytes", "own_bytes")
        cpu, rate, early, added, own = (f"{found[key] / 1e6:.0f}" for key in counts)
        spent = (f"{found[key]:.3f}" for key in ("first_batch_s", "seek_s"))
        table.add_row(name, cpu, rate, early, *spent, exact, added, own)
    console = Console(width=140)
    console.print(table)
    for name, found in told.items():
        versions = ", ".join(f"{package} {version}" for package, version in found["versions"].items())
        console.print(f"{name}: {found['told']} ({versions})", highlight=False, markup=False)
    for name, found in told.items():
        times = found["tokens_per_s"] / found["tokens_per_cpu_s"]
        if abs(times - 1) > APART:
            console.print(f"warning: {name}: by the clock {times:.2f} times its rate by CPU time", highlight=False)


def ratios(told: dict[str, Figures]) -> dict[str, dict[str, float]]:
    """How many times the rate of ours that is judged each of the others has, by CPU time and by the clock."""
    kinds = {"by_cpu_time": "tokens_per_cpu_s", "by_the_clock": "tokens_per_s"}
    return {
        name: {kind: round(found[key] / told[HELD][key], 3) for kind, key in kinds.items()}
        for name, found in told.items()
        if name != HELD
    }


def judged(told: dict[str, Figures]) -> dict[str, bool]:
    """Whether each statement holds by CPU time. Ours mixes: the libraries that mix too are its like."""
    rate = {name: found["tokens_per_cpu_s"] for name, found in told.items()}
    ahead = {kind: all(rate[HELD] > rate[name] for name in PEERS if name.endswith(kind)) for kind in KINDS}
    within = {name: rate[name] <= WITHIN * rate[HELD] for name in (PLAIN_LOOP, TUNED_LOOP)}
    return {
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
    others, met = ratios(told), judged(told)
    print(f"Times the rate of `{HELD}`, by CPU time and by the clock:")
    for name, times in others.items():
        print(f"  {name}: {times['by_cpu_time']:.2f}, {times['by_the_clock']:.2f}")
    for statement, holds in met.items():
        print(f"{'met' if holds else 'NOT met'}: {statement}")
    data = {"tokens": asked.megatokens * 10**6, "shares": SHARES, "sequence_tokens": SEQUENCE, "batch": BATCH}
    asked_for = {"rounds": ROUNDS, "steps_of_a_round": steps, "repeats": asked.repeats}
    figures = {"data": data, **asked_for, "loaders": told, "judged": HELD, "times_the_rate_of_the_judged": others}
    record("loader", CLAIM, PACKAGES, figures, met)


if __name__ == "__main__":
    main()

"""Plans of many files, and the files that the tasks of `clean` and `mix` open.

    python benchmarks/plan.py [--files 90000] [--parts 100] [--before FOLDER]

`corpus plan` for a folder of small files and for an S3 listing of files of 1 GB, each planned twice; the server is on
loopback. Then all tasks of two builds, the second of twice as many files, each file a part: strace counts the files
below the benchmark's folder that `clean` and `mix` open, in one process and with a process for each task. `--before`
measures a checkout of an earlier commit instead, once each; its figures are kept beside those of this one.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import Process, Queue
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from common import RESULTS, record

ROOT = Path(__file__).parents[1]
LIMIT_S = 1500  # of one command; an earlier commit may take longer
PLAN_S, PLAN_BYTES, OPENS_FACTOR = 20, 500_000_000, 2.2
DOCUMENTS = 20  # of a file in the builds
CLAIM = (
    "a plan of 90,000 files, in a folder or as a listing, takes less than 20 s and 500 MB; with twice the parts, the "
    "tasks of clean and of mix open at most 2.2 times as many files"
)
CUT = """
import sys, time
from pipelines.split_points import parts_of
start = time.process_time()
parts_of([1_000_000_000] * int(sys.argv[1]), 4 * int(sys.argv[1]))
print(time.process_time() - start)
"""


TASKS = """
import os, sys
from pathlib import Path
from corpus.fetch.access import Access
from corpus.recipe import read_recipe
from pipelines.plan import make_plan
recipe, out, cache, stage, alone = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4], sys.argv[5]
plan = make_plan(read_recipe(recipe), recipe.parent, Access(cache))
out.mkdir(exist_ok=True)
for number in range(len(plan.jobs)):
    plan = plan.settled(out)
    job = plan.jobs[number]
    if stage not in ("all", job.kind):
        continue
    for task in range(job.tasks):
        if alone == "alone" and (child := os.fork()):
            os.waitpid(child, 0)
            continue
        job.run_task(out, task)
        if alone == "alone":
            os._exit(0)
    job.close(out)
"""


class Listing(BaseHTTPRequestHandler):
    """As much of S3 as a plan asks for: pages of 1,000 keys, and HEAD of an object."""

    protocol_version = "HTTP/1.1"
    count: ClassVar[int] = 0

    def do_HEAD(self) -> None:
        self._answer(b"", {"ETag": f'"{self.path[-40:]}"', "Content-Length": "1000000000"})

    def do_GET(self) -> None:
        asked = parse_qs(urlsplit(self.path).query)
        start = int(asked.get("continuation-token", ["0"])[0])
        end = min(start + 1000, self.count)
        keys = "".join(
            f"<Contents><Key>warc/CC-MAIN-20240101-{n:05d}.warc.gz</Key><LastModified>2024-01-01T00:00:00.000Z"
            f"</LastModified><ETag>&quot;{n:032x}&quot;</ETag><Size>1000000000</Size></Contents>"
            for n in range(start, end)
        )
        more = end < self.count
        after = f"<NextContinuationToken>{end}</NextContinuationToken>" if more else ""
        body = '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>crawl</Name>'
        body += f"<IsTruncated>{str(more).lower()}</IsTruncated>{after}{keys}</ListBucketResult>"
        self._answer(body.encode(), {"Content-Type": "application/xml", "Content-Length": str(len(body))})

    def _answer(self, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


def _serve(count: int, ports: "Queue[int]") -> None:
    Listing.count = count
    server = ThreadingHTTPServer(("127.0.0.1", 0), Listing)
    ports.put(server.server_port)
    server.serve_forever()


@contextmanager
def listing(count: int) -> Iterator[str]:
    """Serve a bucket of so many objects; yield its endpoint."""
    ports: Queue[int] = Queue()
    server = Process(target=_serve, args=(count, ports), daemon=True)
    server.start()
    try:
        yield f"http://127.0.0.1:{ports.get(timeout=60)}"
    finally:
        server.kill()


def corpus(tree: Path, *command: str) -> dict[str, float]:
    """Run a `corpus` command of a checkout; see `measure`."""
    return measure(tree, [sys.executable, "-m", "corpus", *command])


def measure(tree: Path, arguments: list[str], trace: Path | None = None) -> dict[str, float]:
    """Run a command in a checkout; return its seconds, CPU seconds and largest process."""
    tracer = ["strace", "-f", "--seccomp-bpf", "-e", "trace=open,openat", "-o", str(trace)] if trace else []
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    start = time.perf_counter()
    process = subprocess.Popen([*tracer, *arguments], cwd=tree, env=environment, stdout=subprocess.DEVNULL)
    deadline = start + LIMIT_S
    while (done := os.wait4(process.pid, os.WNOHANG))[0] == 0:
        if time.perf_counter() > deadline:
            process.kill()
            process.wait()
            return {"seconds_over": LIMIT_S}
        time.sleep(0.02)
    if done[1]:
        raise SystemExit(f"{' '.join(arguments)[:300]} failed")
    usage = done[2]
    return {
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_bytes": usage.ru_maxrss * 1024,
    }


def write_recipe(folder: Path, path: str, task_bytes: int, reader: str = "records") -> Path:
    """Write a recipe over these files."""
    source = {"name": "web", "reader": reader, "paths": [path], "share": 1, "license": "unknown"}
    recipe = {
        "format_version": 1,
        "name": "many",
        "task_bytes": task_bytes,
        "sources": [{**source, "identify_language": False}],
        "tokenizer": {"train": {"vocabulary": 300, "sample_bytes": "1MB"}},
    }
    file = folder / f"{reader}-{task_bytes}.yaml"
    file.write_text(json.dumps(recipe))
    return file


def write_profile(folder: Path, tree: Path, endpoint: str | None = None) -> Path:
    """Write a profile whose cache is used by one checkout alone."""
    cache = folder / f"cache-{tree.name}"
    s3 = {"s3": {"endpoint": endpoint, "sign": "never"}} if endpoint else {}
    file = folder / "profile.yaml"
    file.write_text(json.dumps({"executor": "local", "workers": 2, "cache": str(cache), **s3}))
    return file


def plans(tree: Path, folder: Path, count: int, times: Sequence[str]) -> dict[str, object]:
    """Plan a folder and a listing of so many files; cut so many files into four times as many parts."""
    files = folder / "files"
    if not files.is_dir():
        files.mkdir()
        line = json.dumps({"text": "The mill stands by the river. " * 33})
        for number in range(count):
            (files / f"CC-MAIN-20240101-{number:05d}.jsonl").write_text(f"{line} {number:05d}\n")
    out = ["--out", str(folder / f"out-{tree.name}"), "--on"]
    local = [str(write_recipe(folder, f"{files}/*.jsonl", 1000)), *out, str(write_profile(folder, tree))]
    figures: dict[str, object] = {f"folder{name}": corpus(tree, "plan", *local) for name in times}
    with listing(count) as endpoint:
        recipe = write_recipe(folder, "s3://crawl/warc/*.warc.gz", 256_000_000, "common_crawl")
        remote = [str(recipe), *out, str(write_profile(folder, tree, endpoint))]
        figures |= {f"listing{name}": corpus(tree, "plan", *remote) for name in times}
    command = [sys.executable, "-c", CUT, str(count)]
    try:
        answer = subprocess.run(command, cwd=tree, check=True, capture_output=True, text=True, timeout=LIMIT_S)
        return {**figures, "cut_into_parts_cpu_seconds": round(float(answer.stdout), 3)}
    except subprocess.TimeoutExpired:
        return {**figures, "cut_into_parts_cpu_seconds_over": LIMIT_S}


def opens(tree: Path, folder: Path, parts: int) -> dict[str, Any]:
    """Build a corpus of so many parts; count the files that the tasks of `clean` and `mix` open."""
    files = folder / f"parts-{parts}"
    if not files.is_dir():
        files.mkdir()
        for number in range(parts):
            texts = (f"Page {number}-{n}: " + f"the mill {n * number} ground grain {n}. " * 9 for n in range(DOCUMENTS))
            lines = [json.dumps({"text": text}) for text in texts]
            (files / f"{number:05d}.jsonl").write_text("".join(f"{line:<600}\n" for line in lines))
    size = (files / "00000.jsonl").stat().st_size
    recipe, out = write_recipe(folder, f"{files}/*.jsonl", size), folder / f"built-{tree.name}-{parts}"
    cache, trace = folder / f"cache-{tree.name}", folder / "trace"
    command = [sys.executable, "-c", TASKS, str(recipe), str(out), str(cache)]
    measure(tree, [*command, "all", "together"])
    profile = str(write_profile(folder, tree))
    corpus(tree, "build", str(recipe), "--out", str(out), "--on", profile)  # publishes the manifest
    figures: dict[str, Any] = {
        "build_again": corpus(tree, "build", str(recipe), "--out", str(out), "--on", profile),
        "tasks_of_clean": len(list(out.glob("jobs/clean.web-*/tasks/*.json"))),
        "tasks_of_mix": len(list(out.glob("jobs/mix.web-*/tasks/*.json"))),
    }
    for stage in ("clean", "mix"):
        for alone in ("together", "alone"):
            for job in out.glob(f"jobs/{stage}.web-*"):
                shutil.rmtree(job)
            measure(tree, [*command, stage, alone], trace)
            figures[f"{stage}_{alone}"] = _opened(trace, folder)
    return figures


def _opened(trace: Path, folder: Path) -> int:
    """Return the number of times that files below the folder were opened."""
    with trace.open(errors="replace") as lines:
        return sum(f'"{folder}/' in line and re.search(r"\bopen(at)?\(", line) is not None for line in lines)


def main() -> None:
    """Measure, and record what holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=90_000)
    parser.add_argument("--parts", type=int, default=100)
    parser.add_argument("--before", type=Path)
    options = parser.parse_args()
    if shutil.which("strace") is None:
        parser.error("strace is not installed: apt-get install strace")
    result = RESULTS / "plan.json"
    tree = options.before.resolve() if options.before else ROOT
    with tempfile.TemporaryDirectory() as temporary:
        figures = measured(
            tree, Path(temporary), options.files, options.parts, [""] if options.before else ["", "_again"]
        )
    kept = json.loads(result.read_text()) if result.is_file() else {}
    now, before = kept.get("now", {}), kept.get("before", {})
    if options.before:
        commit = ["git", "-C", str(tree), "rev-parse", "--short", "HEAD"]
        name = subprocess.run(commit, check=True, capture_output=True, text=True).stdout.strip()
        before = {"commit": name, **figures}
    else:
        now = figures
    runs = [run for name, run in now.items() if name.startswith(("folder", "listing"))]
    ratios = [now.get("opens_at_twice_the_parts", {}).get(f"{stage}_together", 9) for stage in ("clean", "mix")]
    met = {
        "plan_seconds": bool(runs) and all(run.get("seconds", LIMIT_S) < PLAN_S for run in runs),
        "plan_bytes": bool(runs) and all(run.get("peak_bytes", PLAN_BYTES) < PLAN_BYTES for run in runs),
        "opens": max(ratios) <= OPENS_FACTOR,
    }
    record("plan", CLAIM, ["pydantic", "s3fs", "pyarrow"], {"now": now, "before": before}, met)


def measured(tree: Path, folder: Path, files: int, parts: int, times: Sequence[str]) -> dict[str, Any]:
    """Return the figures of a checkout."""
    planned = plans(tree, folder, files, times)
    few, many = (opens(tree, folder, count) for count in (parts, 2 * parts))
    ratios = {
        f"{stage}_{alone}": round(many[f"{stage}_{alone}"] / few[f"{stage}_{alone}"], 2)
        for stage in ("clean", "mix")
        for alone in ("together", "alone")
    }
    opened = {f"parts_{parts}": few, f"parts_{2 * parts}": many, "opens_at_twice_the_parts": ratios}
    return {"files": files, **planned, **opened}


if __name__ == "__main__":
    main()

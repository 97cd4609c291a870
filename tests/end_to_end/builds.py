"""A small real build for the tests that kill, restart and compare."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

TASK_BYTES = 150_000  # so that every parallel job has three tasks or more, and one file is cut across tasks
NOT_PRODUCTS = ("logs", "run.json", ".lock")


def write_recipe(folder: Path, data: Path, *, name: str = "small", reverse: bool = False, **changes: object) -> Path:
    """A recipe over real WARC and JSON lines files; JSON is YAML."""
    web = ["warc-edge-cases/dolma-sample-0000.warc.gz", "warc-edge-cases/dolma-sample-0001.warc.gz"]
    web += ["warc-edge-cases/resiliparse-warcfile.warc.gz", "commoncrawl/whirlwind.warc.gz"]
    records = [
        "stack_exchange.jsonl",
        "arxiv.jsonl",
        "redpajama-cc-2023-06-refined.jsonl",
        "demo-dataset-deduplication.jsonl",
    ]
    sources: list[dict[str, object]] = [
        {"name": "web", "reader": "common_crawl", "paths": [str(data / each) for each in web], "share": 0.5,
         "license": "unknown", "identify_language": False, "max_failed": "50%"},
        {"name": "records", "reader": "records", "paths": [str(data / "records" / each) for each in records],
         "share": 0.5, "license": "unknown", "identify_language": False, "rules": ["gopher_quality"]},
    ]  # fmt: skip
    if reverse:
        sources.reverse()
        for source in sources:
            source["paths"].reverse()  # type: ignore[attr-defined]
    recipe = {
        "format_version": 1,
        "name": name,
        "sources": sources,
        "holdout": {"share": "10%"},
        "tokenizer": {"train": {"vocabulary": 500, "sample_bytes": "200kB"}},
        "mix": {"partitions": 3, "tokens": "150k"},
        "task_bytes": TASK_BYTES,
        **changes,
    }
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(recipe, indent=1))
    return path


def start(recipe: Path, out: Path, *, workers: int = 2) -> subprocess.Popen[bytes]:
    """`corpus build` in a process group of its own."""
    command = [sys.executable, "-m", "corpus", "build", str(recipe), "--out", str(out), "--workers", str(workers)]
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(process: subprocess.Popen[bytes]) -> str:
    """Waits for a build that must succeed; its output."""
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output.decode()
    return output.decode()


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to all of a build's processes, which must still be running."""
    assert process.poll() is None, "the build had ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def kill_inside(process: subprocess.Popen[bytes], out: Path, job: str) -> bool:
    """Kills the build as soon as a temporary folder of this job appears; whether the job was still unfinished."""
    while process.poll() is None:
        if any(out.glob(f"jobs/{job}-*/tmp/*")):
            kill_group(process)
            return not any(out.glob(f"jobs/{job}-*/job.json"))
        time.sleep(0.001)
    return False


def wait_for_a_task(process: subprocess.Popen[bytes], out: Path) -> None:
    """Returns when a task is at work, or the build has ended."""
    while process.poll() is None and not any(out.glob("jobs/*/tmp/*")):
        time.sleep(0.001)


def products(out: Path) -> dict[str, str]:
    """Every file that a build leaves but its logs, with its SHA-256."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out)
        if path.is_file() and name.parts[0] not in NOT_PRODUCTS:
            found[name.as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found

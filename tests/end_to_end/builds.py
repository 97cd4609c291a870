"""Small build over real files, for tests that kill, restart and compare builds."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

TASK_BYTES = 150_000  # every parallel job gets three tasks or more, and one file is split across tasks
NOT_PRODUCTS = ("logs", "run.json", ".lock")


def write_recipe(folder: Path, data: Path, *, name: str = "small", reverse: bool = False, **changes: object) -> Path:
    """Write a recipe over real WARC and JSON Lines files. It is JSON, which YAML 1.2 includes."""
    web = ["warc-edge-cases/dolma-sample-0000.warc.gz", "warc-edge-cases/dolma-sample-0001.warc.gz"]
    web += ["warc-edge-cases/resiliparse-warcfile.warc.gz", "commoncrawl/whirlwind.warc.gz"]
    records = [
        "stack_exchange.jsonl",
        "arxiv.jsonl",
        "redpajama-cc-2023-06-refined.jsonl",
        "demo-dataset-deduplication.jsonl",
    ]
    sources: list[dict[str, object]] = [
        {"name": "web", "reader": "common_crawl", "paths": [str(data / file) for file in web], "share": 0.5,
         "license": "unknown", "identify_language": False, "max_failed": "50%"},
        {"name": "records", "reader": "records", "paths": [str(data / "records" / file) for file in records],
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
    """Start `corpus build` in its own process group, so that all its processes can be killed together."""
    command = [sys.executable, "-m", "corpus", "build", str(recipe), "--out", str(out), "--workers", str(workers)]
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(process: subprocess.Popen[bytes]) -> str:
    """Wait for a build, assert that it succeeds, and return its output."""
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output.decode()
    return output.decode()


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Send SIGKILL to all processes of a running build."""
    assert process.poll() is None, "the build ended before the kill"
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def kill_inside(process: subprocess.Popen[bytes], out: Path, job: str) -> bool:
    """Kill the build when a task of this job starts; return True if the job was still unfinished."""
    while process.poll() is None:
        if any(out.glob(f"jobs/{job}-*/tmp/*")):
            kill_group(process)
            return not any(out.glob(f"jobs/{job}-*/job.json"))
        time.sleep(0.001)
    return False


def wait_for_a_task(process: subprocess.Popen[bytes], out: Path) -> None:
    """Wait until a task runs or the build ends."""
    while process.poll() is None and not any(out.glob("jobs/*/tmp/*")):
        time.sleep(0.001)


def products(out: Path) -> dict[str, str]:
    """Return the SHA-256 of every output file by name, except logs and the record of the run."""
    digests = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out)
        if path.is_file() and name.parts[0] not in NOT_PRODUCTS:
            digests[name.as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return digests

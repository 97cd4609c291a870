"""Cost of the limits on CPU time and memory around each parse, for healthy documents.

    CORPUS_TEST_DATA=FOLDER python benchmarks/guard.py [--repeats 5]

Runs the task of `clean` over web pages and over JSON lines of 2 kB with the limits, and without them. The two alternate
in one process, and the shortest CPU time of each counts. Lines of JSON are the cheapest documents to parse.
"""

import argparse
import json
import os
import random
import shutil
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

from common import record

from corpus.fetch.access import Access
from corpus.recipe import read_recipe
from pipelines.engine.exhausted import ParseGuard
from pipelines.engine.job import Job
from pipelines.engine.job_output import JobOutput
from pipelines.plan import make_plan

BOUND_PERCENT = 3
CLAIM = f"the limits around each parse add less than {BOUND_PERCENT} % to the time of clean"
PAGES = "web/pages-00000.warc.gz"
LINES, WORDS = 5_000, 350


def clean_jobs(folder: Path, data: Path) -> list[Job]:
    """Make a plan over the files, do its `fetch` jobs in `folder`, and return its `clean` jobs."""
    draw, words = random.Random(1), [f"w{number:x}" for number in range(10_000)]
    lines = [json.dumps({"text": " ".join(draw.choices(words, k=WORDS))}) for _ in range(LINES)]
    (folder / "lines.jsonl").write_text("\n".join(lines))
    sources = [
        {"name": name, "reader": name, "paths": [str(path)], "share": 0.5, "license": "unknown",
         "identify_language": False, "rules": ["gopher_quality"], "max_failed": "100%"}
        for name, path in {"common_crawl": data / PAGES, "records": folder / "lines.jsonl"}.items()
    ]  # fmt: skip
    recipe = folder / "recipe.yaml"
    recipe.write_text(json.dumps({"format_version": 1, "name": "guard", "sources": sources, "task_bytes": "1GB"}))
    plan = make_plan(read_recipe(recipe), folder, Access(folder / "cache"))
    for number in range(len(plan.jobs)):
        plan = plan.settled(folder)
        if plan.jobs[number].kind == "fetch":
            for index in range(plan.jobs[number].tasks):
                plan.jobs[number].run_task(folder, index)
            plan.jobs[number].close(folder)
    return [job for job in plan.settled(folder).jobs if job.kind == "clean"]


def seconds(job: Job, folder: Path, *, limits: bool) -> float:
    """Return the CPU time of the job's tasks."""
    shutil.rmtree(folder / job.folder, ignore_errors=True)
    with nullcontext() if limits else patch.object(ParseGuard, "at", lambda *_: nullcontext()):
        start = time.process_time()
        for index in range(job.tasks):
            job.run_task(folder, index)
        return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for job in clean_jobs(folder, Path(os.environ["CORPUS_TEST_DATA"])):
            seconds(job, folder, limits=True)  # imports and caches
            runs = [(seconds(job, folder, limits=True), seconds(job, folder, limits=False)) for _ in range(repeats)]
            with_limits, without = (min(way) for way in zip(*runs, strict=True))
            records = JobOutput(folder, job).ledger().total("records")
            figures[job.source_name] = {
                "records": records,
                "ms_per_record_with": round(1000 * with_limits / records, 4),
                "ms_per_record_without": round(1000 * without / records, 4),
                "percent_added": round(100 * (with_limits / without - 1), 2),
            }
    met = all(source["percent_added"] < BOUND_PERCENT for source in figures.values())
    record("guard", CLAIM, ["resiliparse", "pyarrow"], figures, met)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()

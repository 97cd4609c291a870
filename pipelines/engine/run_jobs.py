"""Runs jobs that do not wait for each other, shows their progress, and closes them."""

import hashlib
import shutil
from functools import partial
from pathlib import Path

from rich.console import Console

from corpus.errors import CorpusError
from corpus.settings import Json
from corpus.units import human_bytes, human_count, human_seconds
from pipelines.engine.job import Job
from pipelines.engine.job_output import JobOutput
from pipelines.engine.profile import Profile
from pipelines.engine.progress import Stopwatch, Watch, counts, peak_memory_bytes
from pipelines.engine.run_wave import run_wave
from pipelines.engine.wave import Wave


def run_jobs(jobs: list[Job], folder: Path, profile: Profile, console: Console) -> dict[str, Json]:
    """Run the unfinished tasks of these jobs and close the jobs; return an entry for run.json. Raises CorpusError."""
    work = []
    for job in jobs:
        output = JobOutput(folder, job)
        shutil.rmtree(output.folder / "tmp", ignore_errors=True)  # left by killed tasks: we hold the folder's lock
        work += [(job, index) for index in output.missing()]
    stopwatch = Stopwatch()
    if work:
        say = partial(console.print, highlight=False, markup=False, soft_wrap=True)
        name = hashlib.sha256("".join(sorted(job.fingerprint for job in jobs)).encode()).hexdigest()[:12]
        watch = Watch(folder, jobs, console, here=profile.on_this_host)
        try:
            with watch:
                run_wave(profile, Wave(folder, folder / "logs" / f"wave-{name}", work, say))
        except KeyboardInterrupt:
            if watch.problem:
                raise CorpusError(watch.problem) from None
            raise
    for job in jobs:
        job.close(folder)
        if notice := job.notice():
            console.print(f"              {notice}", highlight=False)
        if warning := job.warning(JobOutput(folder, job)):
            console.print(f"    warning: {warning}", highlight=False, markup=False, soft_wrap=True)
        shutil.rmtree(folder / job.folder / "tmp", ignore_errors=True)
    seconds = stopwatch.seconds()
    _print_summary(jobs, folder, seconds, console)
    return {
        "jobs": [job.name for job in jobs],
        "tasks": len(work),
        "seconds": seconds,
        "peak_memory_bytes": peak_memory_bytes(),
    }


def _print_summary(jobs: list[Job], folder: Path, seconds: float, console: Console) -> None:
    """Print one line for the jobs, on a terminal as in a log."""
    progress = [counts(folder, job) for job in jobs]
    documents, size = sum(done for done, _ in progress), sum(done for _, done in progress)
    if len({job.kind for job in jobs}) > 1:
        names = ", ".join(job.name for job in jobs)
    elif len(jobs) > 1:
        names = f"{jobs[0].kind} ({', '.join(job.source_name for job in jobs)})"
    else:
        names = jobs[0].kind
    amount = f" {human_count(documents)} {jobs[0].unit}, {human_bytes(size)}" if documents and size else ""
    console.print(f"  {human_seconds(seconds):>10}  {names}{amount}", highlight=False, markup=False, soft_wrap=True)

"""Runs jobs that do not wait for each other on an executor, and closes them; finished jobs stay finished."""

import hashlib
import resource
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from corpus.errors import CorpusError
from corpus.units import human_bytes, human_count, human_seconds
from pipelines.engine.job import Job
from pipelines.engine.job_output import JobOutput
from pipelines.engine.profile import Profile
from pipelines.engine.progress import Watch, counts
from pipelines.engine.wave import Failure, Wave

SHOWN_FAILURES = 3


class WaveEntry(NamedTuple):
    """Entry of a wave in run.json."""

    jobs: list[str]
    tasks: int
    seconds: float
    peak_memory_bytes: int


def run_jobs(jobs: Sequence[Job], folder: Path, profile: Profile, console: Console) -> WaveEntry | None:
    """Run the unfinished tasks of these jobs and close the jobs; None if all were finished. Raises CorpusError."""
    # find the tasks to run
    unfinished, work = [], []
    for job in jobs:
        output = JobOutput(folder, job)
        output.forget_damaged()
        if output.is_finished:
            job.check(output)
            continue
        shutil.rmtree(output.temporary, ignore_errors=True)  # left by killed tasks: we hold the folder's lock
        unfinished.append(job)
        work += [(job, index) for index in output.missing()]
    if not unfinished:
        return None
    # run them
    began = time.perf_counter()
    say = partial(console.print, highlight=False, markup=False, soft_wrap=True)
    if work:
        name = hashlib.sha256("".join(sorted(job.fingerprint for job in unfinished)).encode()).hexdigest()[:12]
        with Watch(folder, unfinished, console, here=profile.on_this_host):
            run_wave(profile, Wave(folder, folder / "logs" / f"wave-{name}", work, say))
    # close the jobs
    for job in unfinished:
        job.close(folder)
        output = JobOutput(folder, job)
        if notice := job.notice(output):
            say(f"              {notice}")
        if warning := job.warning(output):
            say(f"    warning: {warning}")
        shutil.rmtree(output.temporary, ignore_errors=True)
    seconds = round(time.perf_counter() - began, 3)
    _print_summary(unfinished, folder, seconds, say)
    return WaveEntry([job.name for job in unfinished], len(work), seconds, peak_memory_bytes())


def _print_summary(jobs: Sequence[Job], folder: Path, seconds: float, say: Callable[[str], None]) -> None:
    """Print one line for the jobs, on a terminal as in a log."""
    names = ", ".join(job.name for job in jobs)
    if len({job.kind for job in jobs}) == 1:
        names = jobs[0].kind
        names += f" ({', '.join(job.source_name for job in jobs)})" if len(jobs) > 1 else ""
    documents, size = map(sum, zip(*(counts(JobOutput(folder, job)) for job in jobs), strict=True))
    amount = f" {human_count(documents)} {jobs[0].unit}, {human_bytes(size)}" if documents and size else ""
    say(f"  {human_seconds(seconds):>10}  {names}{amount}")


def peak_memory_bytes() -> int:
    """Largest resident set of this process or of any single child that has ended."""
    kilobytes = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return kilobytes * 1024


def run_wave(profile: Profile, wave: Wave) -> None:
    """Run a wave's tasks; run those again that were killed from outside. Raises CorpusError with the failures."""
    for attempt in range(profile.attempts):
        wave.prepare()
        problem: CorpusError | None = None
        try:
            profile.run(wave)
        except CorpusError as error:
            problem = error
        unfinished = wave.unfinished()
        failed = [rank for rank in unfinished if wave.failure(rank)]
        if failed:
            raise CorpusError(_failure_message(profile, wave, failed, len(unfinished)))
        if problem:
            raise problem
        if not unfinished:
            return
        if attempt + 1 < profile.attempts:
            wave.say(f"{len(unfinished)} of {len(wave.work)} tasks were killed from outside; running them again")
            wave = replace(wave, logs=wave.logs / "again", work=[wave.work[rank] for rank in unfinished])
    raise CorpusError(_failure_message(profile, wave, unfinished, len(unfinished)))


def _failure_message(profile: Profile, wave: Wave, ranks: Sequence[int], unfinished: int) -> str:
    lines = []
    killed = Failure(error="its process was killed from outside, or its machine was lost")
    for rank in ranks[:SHOWN_FAILURES]:
        job, index = wave.work[rank]
        failure = wave.failure(rank) or killed
        lines.append(f"{job.name}, task {index}: {failure.error}")
        if failure.traceback:
            lines.append(f"  traceback: {failure.traceback}")
        lines += [f"  {line}" for line in profile.diagnostics(wave, rank)]
    if unfinished > len(ranks[:SHOWN_FAILURES]):
        lines.append(f"of {len(wave.work)} tasks, {unfinished} are not done")
    return "\n".join([*lines, f"finished tasks are kept; {same_command()} runs the rest"])


def same_command() -> str:
    """Return the command that the user typed, quoted for a shell; callers of `build` see "the same call"."""
    program = Path(sys.argv[0])
    is_command = program.stem == "corpus" or program.parent.name == "corpus"  # the script, or `python -m corpus`
    return f"`{shlex.join(['corpus', *sys.argv[1:]])}`" if is_command else "the same call"

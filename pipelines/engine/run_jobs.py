"""Runs jobs that do not wait for each other on an executor, and closes them; finished jobs stay finished."""

import hashlib
import shlex
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console

from corpus.errors import CorpusError
from corpus.units import human_bytes, human_count, human_seconds
from pipelines.engine.exhausted import FOLDER, deaths
from pipelines.engine.job import Job
from pipelines.engine.job_output import JobOutput
from pipelines.engine.profile import Profile
from pipelines.engine.progress import Watch
from pipelines.engine.run_record import RunRecord, StageCost, WaveEntry
from pipelines.engine.task_counts import read_counts, sum_counts
from pipelines.engine.wave import Failure, Wave

SHOWN_FAILURES = 3


def run_jobs(
    jobs: Sequence[Job], folder: Path, profile: Profile, console: Console, record: RunRecord | None = None
) -> None:
    """Run the unfinished tasks of these jobs, close the jobs, and record the wave. Raises CorpusError."""
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
        return
    # run them
    if record:
        record.start()
    began = time.perf_counter()
    say = partial(console.print, highlight=False, markup=False, soft_wrap=True)
    if work:
        name = hashlib.sha256("".join(sorted(job.fingerprint for job in unfinished)).encode()).hexdigest()[:12]
        with Watch(folder, unfinished, console):
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
    if record:
        record.add(WaveEntry([job.name for job in unfinished], len(work), seconds, _stage_costs(folder, work)))


def _stage_costs(folder: Path, work: Sequence[tuple[Job, int]]) -> dict[str, StageCost]:
    """Return the costs of these tasks by stage, as the tasks measured them."""
    indexes: dict[str, list[int]] = {}
    for job, index in work:
        indexes.setdefault(job.name, []).append(index)
    jobs = {job.name: job for job, _ in work}
    costs = {}
    for kind in dict.fromkeys(job.kind for job in jobs.values()):
        names = [name for name, job in jobs.items() if job.kind == kind]
        folders = {name: JobOutput(folder, jobs[name]).progress_folder for name in names}
        total = sum_counts(read_counts(folders[name], indexes[name]) for name in names)
        tasks = sum(len(indexes[name]) for name in names)
        costs[kind] = StageCost(tasks, total.cpu_ms / 1000, total.peak_memory_bytes)
    return costs


def _print_summary(jobs: Sequence[Job], folder: Path, seconds: float, say: Callable[[str], None]) -> None:
    """Print one line for the jobs, on a terminal as in a log."""
    names = ", ".join(job.name for job in jobs)
    if len({job.kind for job in jobs}) == 1:
        names = jobs[0].kind
        names += f" ({', '.join(job.source_name for job in jobs)})" if len(jobs) > 1 else ""
    counts = sum_counts(read_counts(JobOutput(folder, job).progress_folder) for job in jobs)
    some = counts.documents and counts.bytes
    amount = f" {human_count(counts.documents)} {jobs[0].unit}, {human_bytes(counts.bytes)}" if some else ""
    say(f"  {human_seconds(seconds):>10}  {names}{amount}")


def run_wave(profile: Profile, wave: Wave) -> None:
    """Run a wave's tasks; run those again whose process ended first. Raises CorpusError with the failures."""
    starts: Counter[tuple[str, int]] = Counter()
    earlier = _earlier_deaths(wave)  # deaths in a parse by task, before this run
    parses = earlier
    part, rounds = wave, 0
    while True:
        part.prepare()
        problem: CorpusError | None = None
        try:
            profile.run(part)
        except CorpusError as error:
            problem = error
        unfinished = part.unfinished()
        if failed := [rank for rank in unfinished if part.failure(rank)]:
            raise CorpusError(_failure_message(profile, part, failed, len(unfinished)))
        if problem:
            raise problem
        if not unfinished:
            return
        # only killed tasks are left: run them again by themselves, when others no longer need the memory
        names = {rank: part.task_name(rank) for rank in unfinished}
        found = Counter({name: _parse_deaths(part, rank) for rank, name in names.items()})
        starts.update(names.values())
        # a start that ended in a parse does not count: the next one leaves that parse out
        counted = {rank: starts[name] - (found[name] - earlier[name]) for rank, name in names.items()}
        if given_up := [rank for rank in unfinished if counted[rank] >= profile.starts]:
            raise CorpusError(_failure_message(profile, part, given_up, len(unfinished)))
        in_parse = sum(found[name] > parses[name] for name in names.values())
        parses = parses | found
        wave.say(_killed_message(len(unfinished), in_parse, len(part.work)))
        rounds += 1
        part = replace(wave, logs=wave.logs / f"again-{rounds}", work=[part.work[rank] for rank in unfinished])


def _earlier_deaths(wave: Wave) -> Counter[tuple[str, int]]:
    jobs = {job.name: job for job, _ in wave.work}
    touched = {name for name, job in jobs.items() if (JobOutput(wave.out, job).folder / FOLDER).is_dir()}
    ranks = [rank for rank, (job, _) in enumerate(wave.work) if job.name in touched]
    return Counter({wave.task_name(rank): _parse_deaths(wave, rank) for rank in ranks})


def _parse_deaths(wave: Wave, rank: int) -> int:
    job, index = wave.work[rank]
    return deaths(JobOutput(wave.out, job), index)


def _killed_message(killed: int, in_parse: int, tasks: int) -> str:
    outside = [f"{killed - in_parse} of {tasks} tasks were killed from outside"] if killed > in_parse else []
    parse = [f"{in_parse} of {tasks} tasks exhausted or crashed a parser"] if in_parse else []
    return f"{', '.join(outside + parse)}; running them again"


def _failure_message(profile: Profile, wave: Wave, ranks: Sequence[int], unfinished: int) -> str:
    lines = []
    times = "once" if profile.starts == 1 else f"{profile.starts} times"
    killed = Failure(error=f"its process was killed from outside, or its machine was lost, {times}")
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

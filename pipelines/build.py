"""Runs a plan: wave by wave, whatever was finished before staying finished."""

import hashlib
import json
import os
import platform
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from rich.console import Console

from corpus.errors import CorpusError, InputError, StoppedError
from corpus.fetch.output import open_output, working_copy
from corpus.quality import language
from corpus.recipe import Recipe, read_recipe
from corpus.store.lock import locked
from corpus.store.products import canonical, write_text
from corpus.units import human_bytes, human_count, human_seconds
from pipelines.engine.job import Done, Job
from pipelines.engine.profile import Place, read_place
from pipelines.engine.progress import Stopwatch, Watch, counts, peak_memory_bytes
from pipelines.engine.run_wave import Wave, run_wave
from pipelines.inputs import size_of
from pipelines.plan import Plan, make_plan

PUBLISHED = {"manifest": ("manifest.json", "recipe.json"), "report": ("report.html", "summary.json")}


def build(
    recipe: Path,
    *,
    out: Path | str | None = None,
    place: Place | None = None,
    assignments: Sequence[str] = (),
    console: Console | None = None,
) -> Path:
    """Builds the corpus of a recipe file, or what is left of it; returns the output folder.

    Raises InputError (nothing was written) or CorpusError (what was finished is kept; the same call goes on).
    """
    place, console = place or read_place(None), console or Console(stderr=True)
    checked = read_recipe(recipe, assignments)
    folder = out_folder(checked, out, place)
    place.check(folder)
    plan = make_plan(checked, recipe.parent, place.access(checked.contact))
    with held(folder), stoppable(), place.opened(folder):
        _check_disk(plan, folder)
        return run_plan(plan, folder, place, console)


def out_folder(recipe: Recipe, out: Path | str | None, place: Place | None = None) -> Path:
    """Where a recipe's corpus is built: as asked, as the recipe says, or build/<name>; `~` is one's home.

    Of an address on object storage, its working copy in the cache. Raises InputError if no folder can have that name.
    """
    asked = str(out or recipe.out or f"build/{recipe.name}")
    if asked.startswith("s3://"):
        place = place or read_place(None)
        return working_copy(asked, place.cache_folder, place.s3)
    if "://" in asked:
        raise InputError(f"--out {asked[:300]}: a corpus is built into a folder, or at s3://BUCKET/FOLDER")
    try:
        return Path(os.path.expanduser(asked)).resolve()  # noqa: PTH111  (an unknown user's is left as it is)
    except (ValueError, RuntimeError) as error:  # a NUL or what is not text in it; links in a circle
        raise InputError(f"the output folder {asked[:300]!a}: {error}; choose another with --out") from None


def shown(folder: Path) -> str:
    """An output folder as its user knows it."""
    return open_output(folder).name


def run_plan(plan: Plan, folder: Path, place: Place, console: Console) -> Path:
    """Runs what is not whole yet, and publishes the manifest and the report at the top of the folder."""
    watch, ran = Stopwatch(), 0
    waves: list[dict[str, object]] = []
    for number in range(len(plan.waves)):
        wave = plan.waves[number]
        for job in wave:
            Done(folder, job).forget_damaged()
        jobs = [job for job in wave if not Done(folder, job).whole]
        for job in wave:
            if job not in jobs:
                job.check(Done(folder, job))
        if jobs:
            waves.append(run_jobs(jobs, folder, place, console))
            ran += len(jobs)
        if number == 0:
            plan = plan.settled(folder)  # all acquire jobs are in the first wave
    _publish(plan, folder)
    if not waves:
        console.print(f"All {len(plan.jobs)} jobs are up to date in {shown(folder)}", highlight=False, soft_wrap=True)
        return folder
    seconds = watch.seconds()
    console.print(
        f"Built {ran} of {len(plan.jobs)} jobs in {human_seconds(seconds)}: {shown(folder)}",
        highlight=False,
        soft_wrap=True,
    )
    _note_run(folder, place, waves, seconds)
    return folder


def run_jobs(jobs: list[Job], folder: Path, place: Place, console: Console) -> dict[str, object]:
    """Runs jobs that do not wait for each other, and closes them; returns what run.json says of them."""
    work = []
    for job in jobs:
        done = Done(folder, job)
        shutil.rmtree(done.folder / "tmp", ignore_errors=True)  # of tasks that were killed; we hold the lock
        work += [(job, index) for index in done.missing()]
    stopwatch = Stopwatch()
    if work:
        say = partial(console.print, highlight=False, markup=False, soft_wrap=True)
        name = hashlib.sha256("".join(sorted(job.fingerprint for job in jobs)).encode()).hexdigest()[:12]
        watch = Watch(folder, jobs, console, here=place.here)
        try:
            with watch:
                run_wave(place, Wave(folder, folder / "logs" / f"wave-{name}", work, say))
        except KeyboardInterrupt:
            if watch.problem:
                raise CorpusError(watch.problem) from None
            raise
    for job in jobs:
        Done(folder, job).close()
        if job.name == "acquire.models":
            console.print(f"              {language.MODEL_LICENSE}", highlight=False)
        if warning := job.warning(Done(folder, job)):
            console.print(f"    warning: {warning}", highlight=False, markup=False, soft_wrap=True)
        shutil.rmtree(folder / job.folder / "tmp", ignore_errors=True)
    seconds = stopwatch.seconds()
    _tell(jobs, folder, seconds, console)
    return {
        "jobs": [job.name for job in jobs],
        "tasks": len(work),
        "seconds": seconds,
        "peak_memory_bytes": peak_memory_bytes(),
    }


def _tell(jobs: list[Job], folder: Path, seconds: float, console: Console) -> None:
    """A line a wave, on a terminal as in a log."""
    passed = [counts(folder, job) for job in jobs]
    documents, size = sum(each[0] for each in passed), sum(each[1] for each in passed)
    names = jobs[0].kind if len(jobs) == 1 else f"{jobs[0].kind} ({', '.join(job.of_source for job in jobs)})"
    if len({job.kind for job in jobs}) > 1:
        names = ", ".join(job.name for job in jobs)
    what = "files" if jobs[0].kind == "acquire" else "records"
    shown = f" {human_count(documents)} {what}, {human_bytes(size)}" if documents and size else ""
    console.print(f"  {human_seconds(seconds):>10}  {names}{shown}", highlight=False, markup=False, soft_wrap=True)


def _publish(plan: Plan, folder: Path) -> None:
    """Copies what people and the trainer open to the top of the folder, each file whole or not at all."""
    index = canonical({"format_version": 1, "jobs": [job.folder for job in plan.jobs]})
    texts: dict[str, str] = {}
    for job_name, files in PUBLISHED.items():
        done = Done(folder, plan.job(job_name))
        texts |= {file: done.path(file).read_text(encoding="utf-8") for file in files}
    texts["build.json"] = index  # last: it names what the others are of
    output = open_output(folder)
    for name, text in texts.items():
        output.write(folder / name, text, folder / "logs")


def _note_run(folder: Path, place: Place, waves: list[dict[str, object]], seconds: float) -> None:
    """run.json: all that may differ from run to run, and so stands in no product."""
    machine = {"python": sys.version.split()[0], "system": platform.platform(), "cores": os.cpu_count()}
    body = {
        "ended": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seconds": seconds,
        "peak_memory_bytes": peak_memory_bytes(),
        "executor": place.executor,
        "workers": place.worker_count,
        "machine": machine,
        "waves": waves,
    }
    write_text(folder / "run.json", json.dumps(body, indent=1) + "\n", folder / "logs")


def held(folder: Path) -> AbstractContextManager[None]:
    """Holds an output folder for one build. Raises CorpusError if another is at work in it."""
    return locked(folder, "another build", "choose another folder with --out")


@contextmanager
def stoppable() -> Iterator[None]:
    """Within it SIGTERM ends a build as Ctrl-C does: workers are ended, and what was finished is kept."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt as stopped:
        told = "; ".join(["stopped", *map(str, stopped.args)])
        raise StoppedError(f"{told}; what was finished is kept: build again to go on") from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _check_disk(plan: Plan, folder: Path) -> None:
    """A build writes about as much as it reads, three times over: text twice, tokens twice, a little beside."""
    unread = [job for job in plan.acquires if not Done(folder, job).whole]
    size = sum(size_of(item) or 0 for job in unread for item in job.items)
    free = shutil.disk_usage(folder).free
    if free < 3 * size:
        raise CorpusError(
            f"{folder}: {human_bytes(free)} free, but {human_bytes(3 * size)} may be needed; choose another --out"
        )

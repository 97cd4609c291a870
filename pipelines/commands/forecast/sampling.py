"""The forecast's sample: the jobs of a build up to `text`, of a part of each source, in a folder of their own.

A source of which files are sampled is read as `corpus build --sample` reads it. Of any other all records are read (the
census: their sizes and ids, nothing of them is extracted), and those are built that `estimate.systematic` chooses.
"""

import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from rich.console import Console

from corpus.recipe import Recipe, Sample
from corpus.settings import Json
from corpus.store.products import canonical
from pipelines.build import run_jobs
from pipelines.commands.forecast import estimate
from pipelines.engine.job import Done, Job
from pipelines.engine.profile import Place
from pipelines.engine.task import Task
from pipelines.plan import Plan, make_plan
from pipelines.stages.clean import Clean
from pipelines.stages.dedup import DedupJob
from pipelines.stages.fetch import Acquire
from pipelines.stages.minhash import Sketch
from pipelines.stages.text import TextJob

if TYPE_CHECKING:
    import pyarrow as pa

# Of a source that keeps 70 % of its documents so many show that share to within 15 %, nine times in ten:
# 1.645 * sqrt(0.3 / 0.7 / 50) = 0.15.
LEAST_DOCUMENTS = 50
REMOTE_FILES_TO_SAMPLE = 20  # a source with fewer is fetched whole, and a share is taken of its records


AnyJob = TypeVar("AnyJob", bound=Job)
Place_ = tuple[str, int]  # of a record: its file and where it starts


@cache
def _compile() -> None:
    """Makes the kernels ready, which costs every process the same, however much it then reads."""
    from corpus.dedup.settings import Near
    from corpus.dedup.signature import text_signature
    from corpus.quality.signals import measure

    text = "some words of which there are enough"
    measure(text)
    text_signature(text, Near())


class _Timed:
    """Notes beside the build's logs which processor time a task took: no product may hold that."""

    def work(self, task: Task) -> None:
        _compile()
        begun = time.process_time()
        super().work(task)  # type: ignore[misc]  # of the job that this is mixed into
        note = _seconds_path(task.out, task.job, task.index)
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(f"{time.process_time() - begun:.6f}")


class TimedAcquire(_Timed, Acquire):
    """acquire."""


class TimedClean(_Timed, Clean):
    """clean, of a source of which files are sampled."""


class Census(_Timed, Clean):
    """clean that reads all and takes nothing."""

    def takes(self, identity: str) -> bool:
        return False

    def settings(self) -> Json:
        return {"census": super().settings()}


@dataclass(frozen=True)
class Chosen(_Timed, Clean):
    """clean of the records with these ids."""

    ids: frozenset[str] = frozenset()

    def takes(self, identity: str) -> bool:
        return identity in self.ids

    def settings(self) -> Json:
        digest = hashlib.sha256("".join(sorted(self.ids)).encode()).hexdigest()
        return {"chosen": digest, "clean": super().settings()}


class TimedSketch(_Timed, Sketch):
    """sketch."""


class TimedDedup(_Timed, DedupJob):
    """dedup."""


class TimedText(_Timed, TextJob):
    """text."""


def _seconds_path(out: Path, job: Job, index: int) -> Path:
    return out / "logs" / "seconds" / job.folder.removeprefix("jobs/") / f"{index:05d}"


def seconds(out: Path, job: Job) -> float:
    """Processor time of a job's tasks."""
    notes = [_seconds_path(out, job, index) for index in range(job.tasks)]
    return sum(float(note.read_text()) for note in notes if note.is_file())


@dataclass(frozen=True)
class Sampled:
    """A sample that was built: its jobs by source."""

    folder: Path
    acquires: dict[str, Acquire]
    censuses: dict[str, Census]  # of the sources all of whose records were read
    cleans: dict[str, Clean]
    sketches: dict[str, Sketch]
    dedup: DedupJob
    texts: dict[str, TextJob]
    chances: dict[str, dict[Place_, float]]  # of sampled records by (file, start); of others 1

    def done(self, job: Job) -> Done:
        """What a job wrote."""
        return Done(self.folder, job)


def plan_sample(recipe: Recipe, recipe_folder: Path, share: float, place: Place) -> Plan:
    """What a sample reads: of a source with many remote files only some, so that a plan does not fetch them all."""
    asked = Sample(parts_per_million=max(1, round(share * 1_000_000)))
    sampling = recipe.model_copy(update={"sample": asked})
    plan = make_plan(sampling, recipe_folder, place.access(recipe.contact), REMOTE_FILES_TO_SAMPLE)
    return replace(plan, acquires=tuple(_as(TimedAcquire, job) for job in plan.acquires))


def build_sample(plan: Plan, share: float, place: Place, folder: Path, console: Console) -> Sampled:
    """Builds what is not there yet of the sample."""
    recipe = plan.recipe
    _run(plan.acquires, folder, place, console)
    plan = plan.settled(folder)
    built = {job.of_source: job for job in plan.jobs if isinstance(job, Clean)}
    shared = {"keep_dropped": "signals", "sample_per_million": None}
    censuses = {name: _as(Census, built[name], **shared) for name in sorted(plan.sampled_by_record)}
    cleans: dict[str, Clean] = {
        name: _as(TimedClean, job, **shared) for name, job in built.items() if name not in censuses
    }
    _run([*censuses.values(), *cleans.values()], folder, place, console)
    chances = {}
    for name, census in censuses.items():
        chances[name], ids = _choose(Done(folder, census), share, recipe.seed)
        cleans[name] = _as(Chosen, built[name], **shared, ids=ids)
    cleans = dict(sorted(cleans.items()))
    _run(cleans.values(), folder, place, console)
    sketches: dict[str, Sketch] = {
        name: TimedSketch(f"sketch.{name}", (job,), job.tasks, recipe.dedup) for name, job in cleans.items()
    }
    _run(sketches.values(), folder, place, console)
    inputs = (*cleans.values(), *sketches.values())
    dedup = TimedDedup("dedup", inputs, 1, recipe.dedup, recipe.holdout, recipe.seed, recipe.sources)
    _run([dedup], folder, place, console)
    texts: dict[str, TextJob] = {
        name: TimedText(f"text.{name}", (job, dedup), job.tasks) for name, job in cleans.items()
    }
    _run(texts.values(), folder, place, console)
    acquires = {job.of_source: job for job in plan.acquires if job.source is not None}
    return Sampled(folder, acquires, censuses, cleans, sketches, dedup, texts, chances)


def _as(kind: type[AnyJob], job: Job, **changes: object) -> AnyJob:
    known = {each.name: getattr(job, each.name) for each in fields(job)}
    return kind(**{**known, **changes})


def _run(jobs: Iterable[Job], folder: Path, place: Place, console: Console) -> None:
    for job in (jobs := list(jobs)):
        Done(folder, job).forget_damaged()
    if left := [job for job in jobs if not Done(folder, job).whole]:
        run_jobs(left, folder, place, console)


def _choose(census: Done, share: float, seed: int) -> tuple[dict[Place_, float], frozenset[str]]:
    """The chances of the chosen records, and their ids."""
    found = units(census)
    if not found.num_rows:
        return {}, frozenset()
    starts_U, ends_U = found["start"].to_numpy(), found["end"].to_numpy()
    sizes_U = (ends_U - starts_U).astype(np.float64)
    count = min(len(sizes_U), max(LEAST_DOCUMENTS, round(share * len(sizes_U))))
    chances_U = estimate.chances(sizes_U, count)
    start = draws_of(seed, f"start:{census.job.of_source}").random()
    rows = estimate.systematic(sizes_U, chances_U, start)
    chosen = found.take(rows).to_pylist()
    places = [(str(row["file"]), int(row["start"])) for row in chosen]
    return dict(zip(places, chances_U[rows].tolist(), strict=True)), frozenset(str(row["id"]) for row in chosen)


def draws_of(seed: int, purpose: str) -> np.random.Generator:
    """Draws that depend on the recipe's seed and what they are for."""
    digest = hashlib.sha256(canonical([seed, purpose]).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def units(census: Done) -> "pa.Table":
    """The records of a census that may become documents, in the order of its files."""
    import pyarrow.compute as pc

    found = records(census)
    return found.filter(pc.equal(found["reason"], "not_sampled"))


def records(clean: Done) -> "pa.Table":
    """The record ledger of a clean job, in the order of its files."""
    import pyarrow as pa

    from corpus.store.parquet_tables import columns

    return pa.concat_tables([columns(clean.path(f"records-{n:05d}.parquet")) for n in range(clean.job.tasks)])

"""The sample for a forecast: run the real jobs on a part of each source, and read the result back."""

import hashlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich.console import Console

from corpus.dedup.decision import held_out
from corpus.quality.kernels.measure import measure
from corpus.recipe import Recipe
from corpus.settings import Json
from corpus.sources.base import SourceSettings
from corpus.store.parquet_tables import columns
from corpus.tokens.runs import KEYS, TokenRun, order_key
from pipelines.commands.forecast.ratios import GROUPS, SourceSample, choose
from pipelines.engine.job import Job, Task
from pipelines.engine.job_output import JobOutput, Table
from pipelines.engine.profile import Profile
from pipelines.engine.run_jobs import run_jobs
from pipelines.plan import Plan
from pipelines.stages.clean import CleanStage
from pipelines.stages.tokenize import TokenizeStage

MIN_DOCUMENTS = 125  # of each source: small sources are read almost whole
MAX_RECORDS = 200_000  # of a source with more, evenly spaced records stand for all


@dataclass(frozen=True)
class SampledClean(CleanStage):
    """Clean for some records only, which notes the processor time of each task."""

    seconds = Table("seconds", ".txt")
    ids: frozenset[str] | None = None  # None: all records

    def takes(self, identity: str) -> bool:
        return self.ids is None or identity in self.ids

    def settings(self) -> Json:
        ids = None if self.ids is None else hashlib.sha256("".join(sorted(self.ids)).encode()).hexdigest()
        return {"ids": ids, "clean": super().settings()}

    def work(self, task: Task) -> None:
        measure("Each process loads the kernels first, which takes the same time however much it reads.")
        start_s = time.process_time()
        super().work(task)
        task.new_table(self.seconds).write_text(f"{time.process_time() - start_s:.3f}")

    def warning(self, output: JobOutput) -> str | None:
        return None  # that nothing was kept


@dataclass(frozen=True)
class BuiltSample:
    """Finished jobs of a sample, by name."""

    folder: Path
    jobs: Mapping[str, Job]
    censuses: Mapping[str, SampledClean]  # of sources sampled by record: all records read, none extracted

    def costs(self, jobs: Iterable[Job]) -> tuple[int, float]:
        """Total bytes of the jobs' products, and processor seconds of clean."""
        size, seconds = 0, 0.0
        for output in (JobOutput(self.folder, job) for job in jobs):
            size += sum(product.bytes for index in range(output.job.tasks) for product in output.products(index))
            if isinstance(output.job, SampledClean):
                seconds += sum(float(path.read_text()) for path in output.seconds)
        return size, seconds


def build_sample(plan: Plan, share: float, profile: Profile, folder: Path, console: Console) -> BuiltSample:
    """Build what does not exist yet of a sample, as far as tokens are counted."""
    run = partial(run_jobs, folder=folder, profile=profile, console=console)
    run(plan.fetches)
    plan = plan.settled(folder)
    planned = [job for job in plan.jobs if isinstance(job, CleanStage)]
    cleans = [SampledClean(*(getattr(job, field.name) for field in fields(job))) for job in planned]
    # Of sources sampled by record, read all records first: their sizes and ids decide which to extract.
    by_record = [job for job in cleans if job.sample_per_million]
    censuses = {job.source_name: replace(job, ids=frozenset()) for job in by_record}
    run(list(censuses.values()))
    jobs: dict[str, Job] = {job.name: job for job in cleans}
    for census in censuses.values():
        records = _Records(JobOutput(folder, census))
        rows, start = records.candidates, order_key(census.recipe.seed, census.fingerprint[:32]) / KEYS
        chosen = rows[choose(records.sizes[rows], max(MIN_DOCUMENTS, round(share * len(rows))), start)]
        jobs[census.name] = replace(census, ids=frozenset(records.ids[chosen].tolist()))
    # Run the jobs of the plan on these documents.
    for wave in plan.waves:
        for job in wave:
            jobs.setdefault(job.name, replace(job, inputs=tuple(jobs[needed.name] for needed in job.inputs)))
        run([jobs[job.name] for job in wave])
        if isinstance(wave[-1], TokenizeStage):
            break
    return BuiltSample(folder, jobs, censuses)


class _Records:
    """Ledger of a clean job's records as columns, thinned evenly if it is long."""

    def __init__(self, clean: JobOutput) -> None:
        table = pa.concat_tables([columns(path) for path in clean.records])
        self.count = table.num_rows
        table = table.take(np.arange(0, self.count, -(-self.count // MAX_RECORDS) or 1))
        self.sizes = (table["end"].to_numpy() - table["start"].to_numpy()).astype(np.float64)
        lists = (table[name].to_pylist() for name in ("file", "outcome", "reason", "id"))
        self.files, self.outcomes, self.reasons, self.ids = (np.array(values, object) for values in lists)
        self.candidates = np.flatnonzero(np.isin(self.outcomes, ["kept", "dropped"]) | (self.reasons == "not_sampled"))


def read_source(built: BuiltSample, source: SourceSettings, recipe: Recipe, file_share: float) -> SourceSample:
    """Read what the sample shows of a source, of whose bytes this share lies in the files that were read."""
    clean, tokenize = (built.jobs[f"{stage.kind}.{source.name}"] for stage in (CleanStage, TokenizeStage))
    census, records = built.censuses.get(source.name), _Records(JobOutput(built.folder, clean))
    kept, sampled = records.outcomes == "kept", records.reasons != "not_sampled"
    # Tokens and text bytes by id: duplicates have none, and of copies of one record (one id) the first has them.
    counts: dict[str, tuple[int, int, int]] = {}
    for path in JobOutput(built.folder, tokenize).run:
        for part in TokenRun(path).rows(0, KEYS):
            numbers = zip(part.ids_D16, np.diff(part.offsets_D1), part.bytes_D, strict=True)
            counts |= {identity.tobytes().hex(): (1, int(tokens), int(size)) for identity, tokens, size in numbers}
    results = np.array([counts.pop(identity, (0, 0, 0)) for identity in records.ids], np.float64).reshape(-1, 3)
    results[kept, 0] = 1
    # The jackknife leaves out records, or files if several were sampled.
    files, number_of_file = np.unique(records.files.astype(str), return_inverse=True)
    groups = np.cumsum(sampled) if census or len(files) == 1 else number_of_file
    # Sort the records that may become documents as the shuffle does.
    rows = (_Records(JobOutput(built.folder, census)) if census else records).candidates
    rows = np.array(sorted(rows, key=lambda row: order_key(recipe.seed, str(records.ids[row]))), np.int64)
    holdout = recipe.holdout.share if source.holdout else 0.0
    return SourceSample(
        sizes_U=records.sizes[rows],
        train_U=np.array([not held_out(identity, recipe.seed, holdout) for identity in records.ids[rows]], bool),
        sampled_U=sampled[rows],
        results_U3=results[rows],
        merged_U=kept[rows] & (results[rows, 1] == 0),
        groups_U=groups[rows] % GROUPS,
        records=records.count / file_share,
        weight=records.count / max(1, len(kept)) / file_share,
        whole_files=census is None,
    )

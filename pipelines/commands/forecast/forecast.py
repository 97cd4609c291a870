"""`corpus plan --forecast`: what a build will hold and take, from a sample of it, each figure with its error."""

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict
from rich.console import Console

from corpus.errors import CorpusError, InputError
from corpus.recipe import Recipe
from corpus.settings import Json
from corpus.store.products import canonical, write_text
from corpus.store.token_shards import token_dtype
from corpus.tokens.encode import Encoder
from corpus.tokens.token_quotas import quotas
from corpus.tokens.train_bpe import Train
from corpus.units import human_bytes
from pipelines.build import held, stoppable
from pipelines.commands.forecast import costs
from pipelines.commands.forecast.costs import Totals
from pipelines.commands.forecast.estimate import Drawn
from pipelines.commands.forecast.sample_read import Known, Reader, published_size
from pipelines.commands.forecast.sampling import build_sample, draws_of, plan_sample, seconds
from pipelines.engine.profile import Place, read_place
from pipelines.inputs import Item, Package, RemoteFile, Selection
from pipelines.plan import KEEP_ALL_BELOW_BYTES, Plan

REVISION = 2  # raised whenever the same sample gives another forecast
DRAWS = 200
INTERVAL = 0.9
USUAL_SHARE, USUAL_BYTES = 0.05, 2_000_000_000  # a sample that nobody asked for: 5 %, and no more than so many bytes
USUAL_FETCH_BYTES = 5_000_000_000
QUANTITIES = ("records", "kept", "merged", "available", "documents", "tokens", "text_bytes")


class Range(BaseModel):
    """A figure that is as likely too high as too low, and the interval in which it lies nine times in ten."""

    model_config = ConfigDict(frozen=True)

    value: float
    low: float
    high: float


class SourceForecast(BaseModel):
    """Of one source, or of all."""

    model_config = ConfigDict(frozen=True)

    name: str
    sampled: int  # documents
    of: int | None  # documents there are to sample; None: files were sampled, and only these were read
    sampled_bytes_share: float
    records: Range
    kept: Range  # by the rules
    merged: Range  # of these, duplicates; what may hide behind the sample is in `high`, and in no other figure
    available: Range  # tokens for training
    documents: Range  # of the training shards, as `tokens` and `text_bytes`
    tokens: Range
    text_bytes: Range


class Forecast(BaseModel):
    """What a build will hold and take."""

    model_config = ConfigDict(frozen=True)

    sample: float
    interval: float
    sources: tuple[SourceForecast, ...]
    total: SourceForecast
    out_bytes: Range  # of the output folder: nothing in it is deleted, so that it is never larger before the end
    cache_bytes: int
    fetch_bytes: int  # of these, what is not there yet
    seconds: Range  # after fetching
    workers: int
    stops: float  # how likely the build stops because a source is too small for its share


class _Corpus(NamedTuple):
    """One draw: quantities by source, and what is computed of all."""

    rows: dict[str, dict[str, float]]
    out_bytes: float
    seconds: float
    stops: bool


def forecast(
    recipe: Recipe, recipe_folder: Path, plan: Plan, place: Place, share: float | None, console: Console
) -> Forecast:
    """The forecast of a plan; the sample lies below the cache, so that asking again is quick.

    Raises InputError if the recipe itself asks for a sample, CorpusError if the sample cannot be built.
    """
    if recipe.sample is not None:
        raise InputError("the recipe asks for a `sample` itself; leave that away: a forecast is of the whole")
    acquires = [job for job in plan.acquires if job.source is not None]
    whole = {job.of_source: float(sum(map(published_size, job.items))) for job in acquires}
    asked, share = share is not None, share or min(USUAL_SHARE, USUAL_BYTES / max(1.0, sum(whole.values())))
    here = _here(place)
    folder = _scratch(plan, share, place)
    answer = folder / f"forecast-{_key(plan, share, here.worker_count or 1)}.json"
    with contextlib.suppress(OSError, ValueError):  # not asked before, or not whole
        return Forecast.model_validate_json(answer.read_bytes())
    sample = plan_sample(recipe, recipe_folder, share, here)
    _tell_fetching(sample, place, console, bounded=not asked)
    with held(folder), stoppable():
        sampled = build_sample(sample, share, here, folder, console)
        console.print("counting tokens, and forecasting", highlight=False)
        given = Path(plan.tokenizer_file[0]) if plan.tokenizer_file else None
        known = Reader(sampled, recipe, given, whole).known()
        keep_all = recipe.keep_dropped == "all" or sum(whole.values()) <= KEEP_ALL_BELOW_BYTES
        part = {name: each.part for name, each in known.items()}
        dropped = {name: each.dropped_text_bytes for name, each in known.items()}
        rates = costs.rates(sampled, part, dropped, keep_all)
        dedup_s = seconds(folder, sampled.dedup)
        sample_kept = sum(
            sampled.done(job).ledger().total("records", outcome="kept") for job in sampled.cleans.values()
        )
        simulated = _Simulation(recipe, known, rates, dedup_s / max(1, sample_kept), given, here.worker_count or 1)
        draws = [simulated.draw(draws_of(recipe.seed, f"draw:{number}")) for number in range(DRAWS)]
        access = place.access(recipe.contact)
        items = [
            item for job in plan.acquires for item in (*job.items, *job.lists) if not (job.source and job.source.stream)
        ]
        found = Forecast(
            sample=share,
            interval=INTERVAL,
            sources=tuple(_summed(name, [each], draws, [name]) for name, each in known.items()),
            total=_summed("all", list(known.values()), draws, list(known)),
            out_bytes=_wide(_range([each.out_bytes for each in draws]), costs.DISK_FACTOR),
            cache_bytes=sum(_cached(item) for item in items),
            fetch_bytes=sum(_cached(item) for item in items if not in_cache(item, access.cache)),
            seconds=_wide(_range([each.seconds for each in draws]), costs.TIME_FACTOR),
            workers=here.worker_count or 1,
            stops=sum(each.stops for each in draws) / DRAWS,
        )
        write_text(answer, found.model_dump_json(indent=1) + "\n", folder / "logs")
    return found


class _Simulation:
    """Draws corpora and fills their quotas."""

    def __init__(
        self, recipe: Recipe, known: Mapping[str, Known], rates: Mapping[str, costs.SourceRates], dedup_s: float,
        given: Path | None, workers: int,
    ) -> None:  # fmt: skip
        self._recipe, self._known, self._rates = recipe, known, rates
        self._dedup_s, self._workers = dedup_s, workers
        train = recipe.tokenizer.train or Train()
        vocabulary = Encoder(given, recipe.tokenizer.eos).vocabulary if given else train.vocabulary
        self._token_bytes = token_dtype(vocabulary).itemsize
        self._shares = {source.name: source.share for source in recipe.sources}

    def draw(self, draw: np.random.Generator) -> _Corpus:
        """One corpus."""
        sources: dict[str, Drawn] = {}
        off = draw.uniform(-1, 1)  # one tokenizer cuts all sources
        for name, known in self._known.items():
            found = known.source.draw(draw)
            sources[name] = found._replace(tokens_U=found.tokens_U * (1 + off * known.spread))
        available = {name: round(each.available()) for name, each in sources.items()}
        mix, stops = self._recipe.mix, False
        try:
            quota = quotas(self._shares, available, mix.tokens, mix.shortfall)
        except CorpusError:
            stops, quota = True, quotas(self._shares, available, mix.tokens, "accept")
        rows, totals = {}, {}
        for name, each in sources.items():
            kept, merged = each.total(each.kept_U), each.total(each.merged_U)
            unseen = self._known[name].source.sample.unseen(kept, draw)
            documents, tokens, text = each.filled(quota[name])
            left_U, held_U = each.kept_U & ~each.merged_U, each.kept_U & ~each.merged_U & each.held_out_U
            rows[name] = {
                "records": each.records, "kept": kept, "merged": merged, "most_merged": min(kept, merged + unseen),
                "available": each.available(), "documents": documents, "tokens": tokens, "text_bytes": text,
            }  # fmt: skip
            totals[name] = Totals(
                each.total(each.kept_U), each.total(each.text_bytes_U[each.kept_U]), each.total(left_U),
                each.total(each.text_bytes_U[left_U]), each.total(each.tokens_U[left_U]),
                tokens + each.total(each.tokens_U[held_U]), documents + each.total(held_U),
            )  # fmt: skip
        disk = costs.REPORT_BYTES + sum(self._rates[name].disk(totals[name], self._token_bytes) for name in totals)
        dedup_s = self._dedup_s * sum(each.kept for each in totals.values())
        return _Corpus(rows, disk, costs.time(self._rates, totals, self._recipe, dedup_s, self._workers), stops)


def _summed(name: str, known: Sequence[Known], draws: Sequence[_Corpus], names: Sequence[str]) -> SourceForecast:
    """The draws of one source, or of several together."""
    ranges = {what: _range([sum(each.rows[name][what] for name in names) for each in draws]) for what in QUANTITIES}
    most = _range([sum(each.rows[name]["most_merged"] for name in names) for each in draws])
    ranges["merged"] = ranges["merged"].model_copy(update={"high": most.high})
    of = [each.of for each in known]
    part = sum(each.part * each.input_bytes for each in known) / max(1.0, sum(each.input_bytes for each in known))
    counted = sum(each for each in of if each is not None) if None not in of else None
    return SourceForecast(
        name=name, sampled=sum(each.sampled for each in known), of=counted, sampled_bytes_share=part, **ranges
    )


def _range(values: Sequence[float]) -> Range:
    low, middle, high = np.quantile(values, ((1 - INTERVAL) / 2, 0.5, (1 + INTERVAL) / 2)).tolist()
    return Range(value=middle, low=low, high=high)


def _wide(found: Range, factor: float) -> Range:
    """An interval that is wider by what no draw shows: how far the rates themselves may be off."""
    return Range(value=found.value, low=found.low / factor, high=found.high * factor)


def _tell_fetching(sample: Plan, place: Place, console: Console, *, bounded: bool) -> None:
    """What comes over the network for a sample; raises InputError if it is much, and nobody named a share."""
    sizes = {
        job.name: sum(_cached(item) for item in (*job.items, *job.lists) if not in_cache(item, place.cache_folder))
        for job in sample.acquires
    }
    told = ", ".join(f"{name.partition('.')[2]} {human_bytes(size)}" for name, size in sizes.items() if size)
    if bounded and sum(sizes.values()) > USUAL_FETCH_BYTES:
        raise InputError(
            f"a sample has to fetch {human_bytes(sum(sizes.values()))} first ({told}): files of which a source has few "
            f"are fetched whole. The build needs them too: to fetch them now, name the share, such as --sample 1%"
        )
    fetched = f", after fetching {told}" if told else ""
    console.print(f"building a sample{fetched}", highlight=False, soft_wrap=True)


def _here(place: Place) -> Place:
    """This machine with the place's cache and connections: a sample is too small to be sent anywhere."""
    shared = {"workers": place.workers, "cache": place.cache, "connections": place.connections, "s3": place.s3}
    return place if place.here else read_place(None).model_copy(update=shared)


def _scratch(plan: Plan, share: float, place: Place) -> Path:
    """The sample's folder: one for all recipes that read the same files."""
    read = [[job.name, job.fingerprint] for job in plan.acquires]
    digest = hashlib.sha256(canonical({"read": json.dumps(read), "share": share}).encode()).hexdigest()
    return place.cache_folder / "forecasts" / digest[:16]


def _key(plan: Plan, share: float, workers: int) -> str:
    about: dict[str, Json] = {
        "plan": plan.job("report").fingerprint,
        "share": share,
        "workers": workers,
        "revision": REVISION,
    }
    return hashlib.sha256(canonical(about).encode()).hexdigest()[:12]


def _cached(item: Item) -> int:
    """Bytes that the cache will hold of it."""
    return published_size(item) if isinstance(item, Package | RemoteFile | Selection) else 0


def in_cache(item: Item, cache: Path) -> bool:
    """Whether it was fetched before."""
    from corpus.fetch.cache import cache_path

    match item:
        case Package(remote=remote) | RemoteFile(remote=remote):
            return cache_path(remote, cache).is_file()
        case Selection(listed=listed):
            return in_cache(listed, cache)
    return True

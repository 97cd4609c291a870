"""`corpus plan --forecast`: what a build will hold, and the disk and time it takes, from a sample of each source."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from corpus.errors import InputError
from corpus.recipe import Recipe, Sample
from corpus.stopping import stoppable
from corpus.tokens.token_quotas import quotas
from corpus.units import human_bytes
from pipelines.build import build_lock
from pipelines.commands.forecast.ratios import GROUPS, Interval, SourceSample, jackknife
from pipelines.commands.forecast.sample import BuiltSample, build_sample, read_source
from pipelines.disk_check import save_forecast
from pipelines.engine.profile import Profile, read_profile
from pipelines.plan import Plan, make_plan
from pipelines.stages.clean import CleanStage
from pipelines.stages.fetch import FetchStage

# Without a share: 5 %, but no more than 2 GB, and not if more than 5 GB must be fetched first.
DEFAULT_SHARE, DEFAULT_BYTES, DEFAULT_FETCH_BYTES = 0.05, 2_000_000_000, 5_000_000_000
REMOTE_FILES_TO_SAMPLE = 20  # a source with fewer is fetched whole, and a share is taken of its records
# Costs that a sample does not show, as measured on the quickstart.
TOKENS_PER_S = 300_000  # of minhash, text, tokenize and mix; one core
FIXED_S, DOCUMENT_S = 15.0, 3e-4  # start of workers, tokenizer, dedup, report
REPORT_BYTES, REPORT_SOURCE_BYTES, SHARD_BYTES_PER_TOKEN = 220_000, 83_000, 2.2  # the report is written twice
DISK_MARGIN, TIME_MARGIN = 0.1, 0.5  # either way
Figures = dict[str, list[float]]  # of each source and of "all": the fields of SourceForecast that are intervals


class SourceForecast(NamedTuple):
    """Forecast of one source, or of all."""

    sampled: int  # documents
    sampled_bytes_share: float
    records: float
    merged: float  # duplicates; a rough figure, because a sample shows few of them
    kept: Interval  # documents that pass the rules, duplicates included
    available: Interval  # tokens for training, before the mix
    documents: Interval  # in the training shards, as are the next two
    tokens: Interval
    text_bytes: Interval


class Forecast(NamedTuple):
    """Forecast of a build, by source and for "all"."""

    sample: float  # share asked for
    sources: dict[str, SourceForecast]
    out_bytes: Interval  # nothing is deleted during a build, so this is also the peak
    fetch_bytes: int  # still to download
    seconds: Interval  # after downloading
    workers: int


def make_forecast(recipe: Recipe, parent: Path, plan: Plan, profile: Profile, share: float | None) -> Forecast:
    """Forecast a plan of a recipe in folder `parent`. The sample stays in the cache, so the next forecast is quick."""
    whole = {job.source_name: max(1, sum(item.info.size for item in job.items)) for job in plan.fetches if job.source}
    used = min(DEFAULT_SHARE, DEFAULT_BYTES / sum(whole.values())) if share is None else share
    # The sample is built on this machine, with the cache and the connections of the profile.
    settings = {name: getattr(profile, name) for name in ("workers", "cache", "connections", "s3")}
    here = profile if profile.on_this_host else read_profile(None).model_copy(update=settings)
    workers, cache, console = here.worker_count or 1, here.cache_folder, Console(stderr=True, highlight=False)
    sample = Sample(parts_per_million=max(1, round(used * 1_000_000)))
    sampled = recipe.model_copy(update={"sample": sample, "keep_dropped": plan.job(CleanStage).keep_dropped})
    sample_plan = make_plan(sampled, parent, here.access(recipe.contact), REMOTE_FILES_TO_SAMPLE)
    fetch_bytes = sum(item.bytes_to_fetch(cache) for job in sample_plan.fetches for item in job.items)
    if share is None and fetch_bytes > DEFAULT_FETCH_BYTES:
        raise InputError(f"--forecast must download {human_bytes(fetch_bytes)} first; to accept, use --forecast 1%")
    console.print(f"Building a sample; to download: {human_bytes(fetch_bytes)}")
    # Recipes that read the same files share a folder.
    files = str((used, [(job.name, job.fingerprint) for job in plan.fetches]))
    folder = cache / "forecasts" / hashlib.sha256(files.encode()).hexdigest()[:16]
    with build_lock(folder), stoppable(), here.opened(folder):
        built = build_sample(sample_plan, used, here, folder, console)
        samples = {}
        for source, job in zip(recipe.sources, sample_plan.fetches, strict=False):
            part = max(1, sum(item.info.size for item in job.items)) / whole[source.name]
            samples[source.name] = read_source(built, source, recipe, part)
    figures = _figures(recipe, samples)
    out_bytes, processor_s = _costs(built, samples, figures)
    disk = Interval(out_bytes, out_bytes * (1 - DISK_MARGIN), out_bytes * (1 + DISK_MARGIN))
    save_forecast(plan, profile.cache_folder, disk.high)
    seconds = FIXED_S + DOCUMENT_S * figures["all"][0] + processor_s / workers
    return Forecast(
        sample=used,
        sources=_intervals(recipe, samples, figures),
        out_bytes=disk,
        fetch_bytes=sum(item.bytes_to_fetch(cache) for job in plan.fetches for item in (*job.items, *job.lists)),
        seconds=Interval(seconds, seconds * (1 - TIME_MARGIN), seconds * (1 + TIME_MARGIN)),
        workers=workers,
    )


def _figures(recipe: Recipe, samples: Mapping[str, SourceSample], without: int | None = None) -> Figures:
    """Estimate all sources, leaving one jackknife group out of every sample."""
    estimates = {name: sample.estimate(without) for name, sample in samples.items()}
    available = {name: round(estimate.take(float("inf"))[1]) for name, estimate in estimates.items()}
    shares = {source.name: source.share for source in recipe.sources}
    quota = quotas(shares, available, recipe.mix.tokens, "scale" if recipe.mix.shortfall == "scale" else "accept")
    rows = {name: [each.kept, float(available[name]), *each.take(quota[name])] for name, each in estimates.items()}
    return {**rows, "all": [sum(column) for column in zip(*rows.values(), strict=True)]}


def _intervals(recipe: Recipe, samples: Mapping[str, SourceSample], figures: Figures) -> dict[str, SourceForecast]:
    others = [_figures(recipe, samples, group) for group in range(GROUPS)]
    sources = {}
    for name, values in figures.items():
        parts = [sample for source, sample in samples.items() if name in (source, "all")]
        whole, sampled = map(sum, zip(*(sample.input_bytes() for sample in parts), strict=True))
        sources[name] = SourceForecast(
            sum(int(sample.sampled_U.sum()) for sample in parts),
            sampled / whole,
            sum(sample.records for sample in parts),
            sum(sample.estimate().merged for sample in parts),
            *map(jackknife, values, zip(*(other[name] for other in others), strict=True)),
        )
    return sources


def _costs(built: BuiltSample, samples: Mapping[str, SourceSample], figures: Figures) -> tuple[float, float]:
    """Bytes in the output folder, and processor seconds of all tasks."""
    out_bytes = REPORT_BYTES + REPORT_SOURCE_BYTES * len(samples) + SHARD_BYTES_PER_TOKEN * figures["all"][3]
    out_bytes += built.costs(job for job in built.jobs.values() if job.source_name not in samples)[0]
    seconds = figures["all"][1] / TOKENS_PER_S
    for name, sample in samples.items():
        whole, sampled = sample.input_bytes()
        jobs = [job for job in built.jobs.values() if job.source_name == name]
        fetches = [job for job in jobs if isinstance(job, FetchStage)]  # a census reads all files: its costs stay
        fixed = [*fetches, built.censuses[name]] if name in built.censuses else []
        (size, time_s), (fixed_bytes, fixed_s) = built.costs(jobs), built.costs(fixed)
        out_bytes += fixed_bytes + (size - fixed_bytes) * whole / max(1.0, sampled)
        seconds += fixed_s + (time_s - fixed_s) * whole / max(1.0, sampled)
    return out_bytes, seconds

"""Check, before a build, that the disks of the output and of the cache have room for what is left to do.

Downloads have published sizes. The size of the output is that of the last `corpus plan --forecast` of the same recipe
and files. Without one, only what no build can do without is asked for.
"""

import hashlib
import shutil
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from corpus.errors import CorpusError
from corpus.fetch.output import open_output
from corpus.settings import Strict
from corpus.store.products import canonical, write_text
from corpus.units import human_bytes
from pipelines.engine.job_output import JobOutput
from pipelines.inputs import Item
from pipelines.plan import Plan
from pipelines.stages.clean import CleanStage
from pipelines.stages.fetch import FetchStage

LEAST_OUTPUT_PER_INPUT = 0.05  # of web pages, which lose most: markup, other languages, rules
NOT_IN_FORECAST = {"name", "out", "contact"}


class Need(NamedTuple):
    """Bytes that a build will add in a folder."""

    folder: Path
    name: str
    size: int


class _SavedForecast(Strict):
    out_bytes: int  # upper end of the interval


def check_disks(plan: Plan, folder: Path, cache: Path) -> None:
    """Raise CorpusError if a disk has less room than the build needs."""
    plan = plan.settled(folder)
    needs = [
        Need(folder, "output", output_bytes(plan, folder, cache)),
        Need(cache, "downloads", sum(item.bytes_to_fetch(cache) for item in to_download(plan, folder))),
    ]
    by_disk: dict[int, list[Need]] = {}
    for need in needs:
        by_disk.setdefault(_device(need.folder), []).append(need)
    for of_disk in by_disk.values():
        free, needed = shutil.disk_usage(of_disk[0].folder).free, sum(need.size for need in of_disk)
        if needed > free:
            parts = " and ".join(f"{human_bytes(need.size)} of {need.name}" for need in of_disk if need.size)
            folders = " and ".join(dict.fromkeys(str(need.folder) for need in of_disk if need.size))
            raise CorpusError(
                f"{folders}: {human_bytes(free)} free, but {parts} are left to write; make room, choose another --out, "
                "set `cache` in a profile, or add --ignore-disk-check"
            )


def to_download(plan: Plan, folder: Path) -> list[Item]:
    """Return the items that the build keeps in the cache: not those that it streams or has read."""
    fetches = [fetch for fetch in plan.fetches if fetch.source is None or not _is_read(plan, fetch, folder)]
    return [
        item
        for fetch in fetches
        for item in (*fetch.lists, *fetch.items)
        if item in fetch.lists or not (fetch.source and fetch.source.stream and item.kind == "file")
    ]


def output_bytes(plan: Plan, folder: Path, cache: Path) -> int:
    """Return the bytes that are left to write to the output."""
    with suppress(OSError, ValueError):
        saved = _SavedForecast.model_validate_json(_saved_at(plan, cache).read_bytes())
        storage = open_output(folder)
        written = sum(sum(storage.sizes(folder / job.folder).values()) for job in plan.jobs)
        return max(0, saved.out_bytes - written)
    unread = [fetch for fetch in plan.fetches if fetch.source and not _is_read(plan, fetch, folder)]
    return round(LEAST_OUTPUT_PER_INPUT * sum(item.size for fetch in unread for item in fetch.items))


def save_forecast(plan: Plan, cache: Path, out_bytes: float) -> None:
    """Save a forecast for the check of later builds of the same recipe and files."""
    path = _saved_at(plan, cache)
    write_text(path, canonical(_SavedForecast(out_bytes=round(out_bytes)).model_dump()), path.parent)


def _device(folder: Path) -> int:
    return folder.stat().st_dev


def _saved_at(plan: Plan, cache: Path) -> Path:
    recipe = plan.recipe.model_dump(mode="json", exclude=NOT_IN_FORECAST)
    key = canonical({"recipe": recipe, "files": {job.name: job.fingerprint for job in plan.fetches}})
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    return cache / "forecasts" / f"{digest[:16]}.json"


def _is_read(plan: Plan, fetch: FetchStage, folder: Path) -> bool:
    """True if `clean` has read all files of a source."""
    return fetch.content is not None and JobOutput(folder, plan.job(CleanStage, fetch.source_name)).is_finished

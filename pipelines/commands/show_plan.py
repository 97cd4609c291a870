"""`corpus plan`: the jobs of a recipe, which are done, and what the build will hold and take."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from rich import box
from rich.console import Console
from rich.table import Table

from corpus import units
from corpus.errors import InputError
from corpus.fetch.output import open_output
from corpus.recipe import read_recipe
from corpus.settings import Json
from corpus.units import human_bytes, human_count, human_seconds
from pipelines.build import out_folder
from pipelines.engine.job import Job
from pipelines.engine.job_output import JobOutput
from pipelines.engine.read_profile import read_profile
from pipelines.plan import Plan, make_plan

if TYPE_CHECKING:
    from pipelines.commands.forecast.forecast import Forecast, Range


def show_plan(
    recipe: Path, out: str | None, on: str | None, assignments: Sequence[str], *,
    forecast: bool = False, sample: str | None = None, as_json: bool = False,
) -> None:  # fmt: skip
    """Prints the jobs and, if asked for, the forecast; the output folder is left alone."""
    share = _share(sample)
    checked = read_recipe(recipe, assignments)
    profile = read_profile(on)
    folder = out_folder(checked, out, profile)
    plan = make_plan(checked, recipe.parent, profile.access(checked.contact))
    settled = plan.settled(folder)
    told: dict[str, Json] = {"name": checked.name, "out": open_output(folder).name, "jobs": _jobs(settled, folder)}
    if not as_json:
        _print_jobs(settled, folder, checked.name)
    if forecast or sample is not None:
        if not to_do(settled, folder):
            from pipelines.commands.forecast.truth import show_truth, truth

            held = truth(settled, folder)
            told["built"] = cast(Json, held)
            if not as_json:
                show_truth(held)
        else:
            from pipelines.commands.forecast.forecast import forecast as make_forecast

            found = make_forecast(checked, recipe.parent, plan, profile, share, Console(stderr=True))
            told["forecast"] = found.model_dump(mode="json")
            if not as_json:
                _print_forecast(found)
    if as_json:
        print(json.dumps(told, indent=1))


def _share(sample: str | None) -> float | None:
    try:
        share = units.share(sample) if sample is not None else None
    except InputError:
        share = 0.0
    if share == 0:
        raise InputError(f"--sample {sample}: a forecast is made from a share of each source, such as 5%")
    return share


def _jobs(plan: Plan, folder: Path) -> list[Json]:
    """A job's fingerprint is null as long as it follows from files that were not looked at."""
    known = {job.name for job in plan.fetches} if plan.unsettled else {job.name for job in plan.jobs}
    return [
        {"job": job.name, "tasks": job.tasks, "fingerprint": job.fingerprint if job.name in known else None,
         "state": state(folder, job)}
        for job in plan.jobs
    ]  # fmt: skip


def _print_jobs(plan: Plan, folder: Path, name: str) -> None:
    table = Table(
        "job", "tasks", "fingerprint", "state", title=f"{name} in {open_output(folder).name}", title_justify="left"
    )
    for job in plan.jobs:
        known = job in plan.fetches or not plan.unsettled
        table.add_row(job.name, str(job.tasks), job.fingerprint[:12] if known else "by content", state(folder, job))
    console = Console()
    console.print(table)
    left = to_do(plan, folder)
    console.print(
        f"{len(plan.jobs) - len(left)} of {len(plan.jobs)} jobs are done; {len(left)} to do.", highlight=False
    )


def to_do(plan: Plan, folder: Path) -> list[Job]:
    """The jobs that a build would run."""
    return [job for job in plan.jobs if not JobOutput(folder, job).is_finished]


def state(folder: Path, job: Job) -> str:
    """`done`, `to do`, or how far a build came that was stopped."""
    done = JobOutput(folder, job)
    if done.is_finished:
        return "done"
    finished = job.tasks - len(done.missing())
    return f"{finished} of {job.tasks} tasks done" if finished else "to do"


def _print_forecast(found: "Forecast") -> None:
    console = Console()
    rows = (*found.sources, found.total)
    title = f"Forecast from a sample ({100 * found.sample:.3g} % asked for), with 90 % intervals"
    table = _table(title, "sampled", "of bytes", "records", "kept", "duplicates")
    for source in rows:
        of = f"{source.sampled} of {human_count(source.of)}" if source.of is not None else str(source.sampled)
        counts = [_line(each, human_count) for each in (source.records, source.kept, source.merged)]
        table.add_row(source.name, of, f"{100 * source.sampled_bytes_share:.3g} %", *counts)
    console.print(table)
    table = _table("Of the training shards", "documents", "tokens", "text")
    for source in rows:
        counts = [_line(each, human_count) for each in (source.documents, source.tokens)]
        table.add_row(source.name, *counts, _line(source.text_bytes, human_bytes))
    console.print(table)
    fetch = f"{human_bytes(found.fetch_bytes)} are still to fetch" if found.fetch_bytes else "all there"
    lines = [
        f"output folder: {_line(found.out_bytes, human_bytes)}; it only grows until the end, so that is its peak",
        f"cache: {human_bytes(found.cache_bytes)}, {fetch}",
        f"time after fetching, {found.workers} workers: {_line(found.seconds, human_seconds)}",
        "duplicates show in a sample only in pairs: the other figures reckon with those that it shows",
    ]
    if found.stops:
        lines.append(f"{100 * found.stops:.0f} % of forecasts: the build stops, as a source is too small for its share")
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def _table(title: str, *heads: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for head in ("source", *heads):
        table.add_column(head, no_wrap=True)
    return table


def _line(found: "Range", human: Callable[[float], str]) -> str:
    """`726 k (720–742 k)`."""
    value, low, high = human(found.value), human(found.low), human(found.high)
    number, space, unit = low.partition(" ")
    short = number if unit == high.partition(" ")[2] and not {" ", ":"} & set(unit) else f"{number}{space}{unit}"
    return value if low == high == value else f"{value} ({short}–{high})"

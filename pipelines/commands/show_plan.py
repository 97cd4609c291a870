"""`corpus plan`: list the jobs of a recipe with their states, and print a forecast if asked for."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, cast

from rich.console import Console

from corpus import units
from corpus.display.terminal import Cells, plain_console, print_line, table
from corpus.errors import InputError
from corpus.fetch.output import open_output
from corpus.inspect.report.summary import read_summary
from corpus.inspect.stats import show_build
from corpus.recipe import Recipe, read_recipe
from corpus.settings import Json
from corpus.units import human_bytes, human_count, human_seconds
from pipelines.build import out_folder
from pipelines.commands.forecast.forecast import Forecast, make_forecast
from pipelines.commands.forecast.ratios import Interval
from pipelines.engine.job_output import JobOutput
from pipelines.engine.profile import read_profile
from pipelines.plan import Plan, make_plan


def show_plan(
    recipe: Path, out: str | None, on: str | None, assignments: Sequence[str], forecast: str | None, as_json: bool
) -> None:
    """Print the jobs and, if asked for, the forecast. Nothing is written to the output folder."""
    # refuse what cannot be forecast
    share = units.share(forecast) if forecast else None
    if share == 0:
        raise InputError("--forecast 0%: expected a share of the input to read, such as 5%")
    checked, profile = read_recipe(recipe, assignments), read_profile(on)
    if forecast is not None and checked.sample is not None:
        raise InputError("--forecast estimates the full build; leave out --sample, and `sample` in the recipe or --set")
    # list the jobs
    folder = out_folder(checked, out, profile)
    plan = make_plan(checked, recipe.parent, profile.access(checked.contact))
    jobs = _jobs(plan.settled(folder), folder)
    address = open_output(folder).name
    printed: dict[str, Json] = {"name": checked.name, "out": address, "jobs": [dict(job._asdict()) for job in jobs]}
    console = plain_console()
    console.quiet = as_json
    _print_jobs(console, jobs, checked.name, address)
    # a finished build has real numbers
    if forecast is not None and all(job.state == "done" for job in jobs):
        printed["built"] = json.loads(read_summary(folder).text())
        if not as_json:
            print("The build is finished, so these are its real numbers:\n")
            show_build(folder)
    elif forecast is not None:
        estimate = make_forecast(checked, recipe.parent, plan, profile, share)
        printed["forecast"] = _plain(estimate)
        _print_forecast(console, estimate, checked)
    if as_json:
        print(json.dumps(printed, indent=1))


class PlannedJob(NamedTuple):
    """A row of the table of jobs."""

    job: str
    tasks: int
    fingerprint: str | None  # None while it depends on files that have not been fetched
    state: str  # `done`, `to do`, or the number of finished tasks of a build that was stopped


def _jobs(plan: Plan, folder: Path) -> list[PlannedJob]:
    rows = []
    for job in plan.jobs:
        output, known = JobOutput(folder, job), job in plan.fetches or not plan.unsettled
        finished = job.tasks - len(output.missing())
        state = f"{finished} of {job.tasks} tasks done" if finished else "to do"
        state = "done" if output.is_finished else state
        rows.append(PlannedJob(job.name, job.tasks, job.fingerprint if known else None, state))
    return rows


def _print_jobs(console: Console, jobs: Sequence[PlannedJob], name: str, out: str) -> None:
    done = sum(job.state == "done" for job in jobs)
    rows = [(job.job, job.tasks, (job.fingerprint or "by content")[:12], job.state) for job in jobs]
    console.print(table(["job", "tasks", "fingerprint", "state"], rows, text=(0, 2, 3)))
    print_line(console, f"{name}: {done} of {len(jobs)} jobs done, {len(jobs) - done} to do; output: {out}")


def _plain(value: object) -> Json:
    """Named tuples as JSON objects."""
    value = value._asdict() if isinstance(value, tuple) and hasattr(value, "_asdict") else value
    return {name: _plain(inner) for name, inner in value.items()} if isinstance(value, dict) else cast(Json, value)


def _print_forecast(console: Console, forecast: Forecast, recipe: Recipe) -> None:
    title = f"Forecast from a sample of {100 * forecast.sample:.3g} % or more, with 90 % intervals"
    rows: list[Cells] = []
    training: list[Cells] = []
    for name, source in forecast.sources.items():
        counts = (human_count(source.records), _interval(source.kept, human_count), human_count(source.merged))
        rows.append([name, source.sampled, f"{100 * source.sampled_bytes_share:.3g} %", *counts])
        figures = (_interval(source.documents, human_count), _interval(source.tokens, human_count))
        training.append([name, *figures, _interval(source.text_bytes, human_bytes)])
    console.print(table(["source", "sampled", "of bytes", "records", "kept", "duplicates"], rows, title=title))
    console.print(table(["source", "documents", "tokens", "text"], training, title="Training shards"))
    print_line(console, f"Output folder: {_interval(forecast.out_bytes, human_bytes)}")
    print_line(console, f"Still to download: {human_bytes(forecast.fetch_bytes)}")
    print_line(console, f"Time after that, {forecast.workers} workers: {_interval(forecast.seconds, human_seconds)}")
    print_line(console, "Duplicates are rough: a sample shows few of them, because it must hold both copies.")
    asked = {source.name: source.share * (recipe.mix.tokens or 0) for source in recipe.sources}
    if short := [name for name, tokens in asked.items() if forecast.sources[name].tokens.value < tokens - 1]:
        print_line(console, f"Too small for their share (mix.shortfall: {recipe.mix.shortfall}): {', '.join(short)}")


def _interval(interval: Interval, human: Callable[[float], str]) -> str:
    """Format an interval, such as `726 k (720–742 k)`."""
    value, low, high = human(interval.value), human(interval.low), human(interval.high)
    number, space, unit = low.partition(" ")
    same_unit = unit == high.partition(" ")[2] and " " not in unit
    return value if low == high == value else f"{value} ({number if same_unit else f'{number}{space}{unit}'}–{high})"

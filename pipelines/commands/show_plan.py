"""`corpus plan`: list the jobs of a recipe with their states, and print a forecast if asked for."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from corpus import units
from corpus.display.terminal import Cells, plain_console, print_line, table
from corpus.errors import InputError
from corpus.fetch.output import open_output
from corpus.recipe import Recipe, read_recipe
from corpus.settings import Json
from corpus.units import human_bytes, human_count, human_seconds
from pipelines.build import out_folder
from pipelines.engine.job import Job
from pipelines.engine.job_output import JobOutput
from pipelines.engine.read_profile import read_profile
from pipelines.plan import Plan, make_plan

if TYPE_CHECKING:
    from pipelines.commands.forecast.forecast import Forecast
    from pipelines.commands.forecast.ratios import Interval


def show_plan(
    recipe: Path, out: str | None, on: str | None, assignments: Sequence[str], *,
    forecast: str | None = None, as_json: bool = False,
) -> None:  # fmt: skip
    """Print the jobs and, if asked for, the forecast. Nothing is written to the output folder."""
    share = _share(forecast)
    checked = read_recipe(recipe, assignments)
    if forecast is not None and checked.sample is not None:
        raise InputError("--forecast estimates the full build; leave out --sample, and `sample` in the recipe or --set")
    profile = read_profile(on)
    folder = out_folder(checked, out, profile)
    plan = make_plan(checked, recipe.parent, profile.access(checked.contact))
    settled = plan.settled(folder)
    printed: dict[str, Json] = {"name": checked.name, "out": open_output(folder).name, "jobs": _jobs(settled, folder)}
    if not as_json:
        _print_jobs(settled, folder, checked.name)
    if forecast is not None and not _unfinished(settled, folder):
        printed["built"] = _show_built(folder, as_json=as_json)
    elif forecast is not None:
        from pipelines.commands.forecast.forecast import make_forecast

        estimate = make_forecast(checked, recipe.parent, plan, profile, share)
        printed["forecast"] = _forecast_json(estimate)
        if not as_json:
            _print_forecast(estimate, checked)
    if as_json:
        print(json.dumps(printed, indent=1))


def _share(forecast: str | None) -> float | None:
    """Share of the input to read; None for the default, as without a value."""
    if not forecast:
        return None
    try:
        share = units.share(forecast)
    except InputError:
        share = 0.0
    if not share:
        raise InputError(f"--forecast {forecast}: expected a share of the input to read, such as 5%")
    return share


def _jobs(plan: Plan, folder: Path) -> list[Json]:
    """Jobs as JSON. A fingerprint is null while it depends on files that have not been fetched."""
    known = {job.name for job in (plan.fetches if plan.unsettled else plan.jobs)}
    return [
        {"job": job.name, "tasks": job.tasks, "fingerprint": job.fingerprint if job.name in known else None,
         "state": job_state(folder, job)}
        for job in plan.jobs
    ]  # fmt: skip


def _print_jobs(plan: Plan, folder: Path, name: str) -> None:
    console = plain_console()
    rows: list[Cells] = []
    for job in plan.jobs:
        known = job in plan.fetches or not plan.unsettled
        rows.append([job.name, job.tasks, job.fingerprint[:12] if known else "by content", job_state(folder, job)])
    console.print(table(["job", "tasks", "fingerprint", "state"], rows, text=(0, 2, 3)))
    unfinished = len(_unfinished(plan, folder))
    print_line(console, f"{name}: {len(plan.jobs) - unfinished} of {len(plan.jobs)} jobs done, {unfinished} to do")
    print_line(console, f"Output: {open_output(folder).name}")


def _unfinished(plan: Plan, folder: Path) -> list[Job]:
    return [job for job in plan.jobs if not JobOutput(folder, job).is_finished]


def job_state(folder: Path, job: Job) -> str:
    """Return `done`, `to do`, or the number of finished tasks of a build that was stopped."""
    output = JobOutput(folder, job)
    if output.is_finished:
        return "done"
    finished = job.tasks - len(output.missing())
    return f"{finished} of {job.tasks} tasks done" if finished else "to do"


def _show_built(folder: Path, *, as_json: bool) -> Json:
    """Print or return the numbers of a finished build, in place of a forecast."""
    from corpus.inspect.report.summary import read_summary
    from corpus.inspect.stats import show_build

    if not as_json:
        print("The build is finished, so these are its real numbers:\n")
        show_build(folder)
    return {
        source.name: {
            "records": source.records_read, "kept": source.count("clean", "kept"), "merged": source.ends()["duplicate"],
            "documents": source.train.documents, "tokens": source.train.tokens, "text_bytes": source.train.bytes,
        }
        for source in read_summary(folder).sources
    }  # fmt: skip


def _forecast_json(forecast: "Forecast") -> Json:
    """The forecast as JSON; an interval is an object with `value`, `low` and `high`."""

    def plain(value: object) -> Json:
        if isinstance(value, tuple) and hasattr(value, "_asdict"):
            return {name: plain(field) for name, field in value._asdict().items()}
        if isinstance(value, dict):
            return {str(name): plain(field) for name, field in value.items()}
        if isinstance(value, list):
            return [plain(item) for item in value]
        assert isinstance(value, str | int | float)
        return value

    return plain(forecast)


def _print_forecast(forecast: "Forecast", recipe: Recipe) -> None:
    console = plain_console()
    title = f"Forecast from {100 * forecast.sample:.3g} % of the input, with 90 % intervals"
    rows: list[Cells] = []
    training: list[Cells] = []
    for name, source in forecast.sources.items():
        counts = [human_count(source.records), _interval(source.kept, human_count), human_count(source.merged)]
        rows.append([name, source.sampled, f"{100 * source.sampled_bytes_share:.3g} %", *counts])
        figures = [_interval(source.documents, human_count), _interval(source.tokens, human_count)]
        training.append([name, *figures, _interval(source.text_bytes, human_bytes)])
    console.print(table(["source", "sampled", "of bytes", "records", "kept", "duplicates"], rows, title=title))
    console.print(table(["source", "documents", "tokens", "text"], training, title="Training shards"))
    lines = [
        f"Output folder: {_interval(forecast.out_bytes, human_bytes)}",
        f"Still to download: {human_bytes(forecast.fetch_bytes)}",
        f"Time after downloading, {forecast.workers} workers: {_interval(forecast.seconds, human_seconds)}",
        "Duplicates are a rough figure: a sample shows few of them, because it must hold both copies.",
    ]
    asked = {source.name: source.share * (recipe.mix.tokens or 0) for source in recipe.sources}
    if short := [name for name, tokens in asked.items() if forecast.sources[name].tokens.value < tokens - 1]:
        lines.append(f"Too small for their share (mix.shortfall: {recipe.mix.shortfall}): {', '.join(short)}")
    for line in lines:
        print_line(console, line)


def _interval(interval: "Interval", human: Callable[[float], str]) -> str:
    """Format an interval, such as `726 k (720–742 k)`."""
    value, low, high = human(interval.value), human(interval.low), human(interval.high)
    number, space, unit = low.partition(" ")
    same_unit = unit == high.partition(" ")[2] and " " not in unit
    return value if low == high == value else f"{value} ({number if same_unit else f'{number}{space}{unit}'}–{high})"

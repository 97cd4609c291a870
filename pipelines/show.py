"""`corpus plan`: the jobs of a recipe, and which are done."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from corpus.recipe import read_recipe
from pipelines.executors import read_place
from pipelines.job import Done, Job
from pipelines.plan import Plan, make_plan
from pipelines.run import out_folder


def show_plan(recipe: Path, out: Path | None, on: str | None, assignments: Sequence[str]) -> None:
    """Prints the table; nothing is written but the cache of what addresses stand for."""
    checked = read_recipe(recipe, assignments)
    folder = out_folder(checked, out)
    plan = make_plan(checked, recipe.parent, read_place(on).access(checked.contact)).settled(folder)
    table = Table("job", "tasks", "fingerprint", "state", title=f"{checked.name} in {folder}", title_justify="left")
    for job in plan.jobs:
        known = job in plan.acquires or not plan.unsettled
        table.add_row(job.name, str(job.tasks), job.fingerprint[:12] if known else "by content", state(folder, job))
    console = Console()
    console.print(table)
    left = to_do(plan, folder)
    console.print(
        f"{len(plan.jobs) - len(left)} of {len(plan.jobs)} jobs are done; {len(left)} to do.", highlight=False
    )


def to_do(plan: Plan, folder: Path) -> list[Job]:
    """The jobs that a build would run."""
    return [job for job in plan.jobs if not Done(folder, job).whole]


def state(folder: Path, job: Job) -> str:
    """`done`, `to do`, or how far a build came that was stopped."""
    done = Done(folder, job)
    if done.whole:
        return "done"
    finished = job.tasks - len(done.missing())
    return f"{finished} of {job.tasks} tasks done" if finished else "to do"

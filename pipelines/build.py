"""Builds the corpus of a recipe: makes the plan and runs it wave by wave; finished jobs stay finished."""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from rich.console import Console

from corpus.errors import InputError
from corpus.fetch.output import open_output, working_copy
from corpus.recipe import Recipe, read_recipe
from corpus.stopping import stoppable
from corpus.store.lock import locked
from corpus.store.products import canonical
from corpus.units import human_seconds
from pipelines.disk_check import check_disks
from pipelines.engine.job_output import JobOutput
from pipelines.engine.profile import Profile, read_profile
from pipelines.engine.run_jobs import run_jobs
from pipelines.engine.run_record import RunRecord
from pipelines.plan import Plan, make_plan


def build(
    recipe: Path,
    *,
    out: Path | str | None = None,
    profile: Profile | None = None,
    assignments: Sequence[str] = (),
    console: Console | None = None,
    ignore_disk_check: bool = False,
) -> Path:
    """Build a corpus; resume if interrupted. Return the output folder.

    Raises InputError (nothing was written) or CorpusError (finished work is kept; the same call resumes).
    """
    profile, console = profile or read_profile(None), console or Console(stderr=True)
    checked = read_recipe(recipe, assignments)
    folder = out_folder(checked, out, profile)
    profile.check(folder)
    plan = make_plan(checked, recipe.parent, profile.access(checked.contact))
    with build_lock(folder), stoppable(), profile.opened(folder):
        if not ignore_disk_check:
            check_disks(plan, folder, profile.cache_folder)
        run_plan(plan, folder, profile, console)
    return folder


def out_folder(recipe: Recipe, out: Path | str | None, profile: Profile | None = None) -> Path:
    """Return the output folder: the one given, the recipe's, or build/<name>; `~` is the user's home.

    For s3:// it is the local working copy. Raises InputError for a name that no folder can have.
    """
    name = str(out or recipe.out or f"build/{recipe.name}")
    if name.startswith("s3://"):
        profile = profile or read_profile(None)
        return working_copy(name, profile.cache_folder, profile.s3)
    if "://" in name:
        raise InputError(f"--out {name[:300]}: expected a folder or s3://BUCKET/FOLDER")
    try:
        return Path(os.path.expanduser(name)).resolve()  # noqa: PTH111  (keeps the `~` of an unknown user)
    except (ValueError, RuntimeError) as error:  # a NUL, bytes that are not text, or a circle of links
        raise InputError(f"the output folder {name[:300]!a}: {error}; choose another with --out") from None


def run_plan(plan: Plan, folder: Path, profile: Profile, console: Console) -> None:
    """Run the jobs that are not finished, and publish the manifest and the report at the top of the folder."""
    record = RunRecord(folder, profile)
    with record.outcome():
        run_jobs(plan.waves[0], folder, profile, console, record)  # all fetch jobs
        plan = plan.settled(folder)  # later folders depend on the content of the files
        for wave in plan.waves[1:]:
            run_jobs(wave, folder, profile, console, record)
        _publish(plan, folder)
    name = open_output(folder).name
    message = f"All {len(plan.jobs)} jobs are up to date in {name}"
    if record.waves:
        count = sum(len(wave.jobs) for wave in record.waves)
        message = f"Built {count} of {len(plan.jobs)} jobs in {human_seconds(record.seconds)}: {name}"
    console.print(message, highlight=False, soft_wrap=True)


def _publish(plan: Plan, folder: Path) -> None:
    """Copy the files that people and the trainer open to the top of the folder, each whole or not at all."""
    texts: dict[str, str] = {}
    for job in plan.jobs:
        output = JobOutput(folder, job)
        texts |= {name: output.path(name).read_text(encoding="utf-8") for name in job.published}
    # build.json comes last, because it names the jobs that the other files belong to
    texts["build.json"] = canonical({"format_version": 1, "jobs": [job.folder for job in plan.jobs]})
    output_folder = open_output(folder)
    for name, text in texts.items():
        output_folder.write(folder / name, text, folder / "logs")


def build_lock(folder: Path) -> AbstractContextManager[None]:
    """Hold an output folder for one build. Raises CorpusError if another build holds it."""
    return locked(folder, "another build", "choose another folder with --out")

"""`corpus prune`: removes the job folders that no plan needs, after saying which and how much.

Needed are the jobs of build.json, and those of each recipe that is named. What has not the name of a job's folder is
left where it is, and no link is followed.
"""

import contextlib
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from corpus.errors import CorpusError, InputError
from corpus.fetch.output import open_output
from corpus.inspect.find_build import build_folder
from corpus.recipe import read_recipe
from corpus.store.finished_build import BuildFile, read_file
from corpus.units import human_bytes
from pipelines.build import build_lock
from pipelines.engine.profile import Profile
from pipelines.engine.read_profile import read_profile
from pipelines.plan import make_plan

_JOB = re.compile(r"[a-z][a-z0-9_.]*-[0-9a-f]{12}")  # as Job.folder
TEMPORARY = "tmp"  # in a job's folder: of tasks that are at work, or were killed


class Stale(NamedTuple):
    """A folder that goes, and what it takes up."""

    path: Path
    bytes: int
    why: str


def show_prune(out: str | None, recipes: Sequence[Path], on: str | None, assignments: Sequence[str], yes: bool) -> None:
    """Prints what no plan needs, asks, and removes it. Raises InputError or CorpusError; nothing was removed then."""
    if out is not None and out.startswith("s3://"):
        raise InputError(f"{out}: prune works on folders of this machine; remove there what `jobs/` holds in vain")
    folder, console = build_folder(out).resolve(), Console(highlight=False, markup=False, soft_wrap=True)
    open_output(folder).require_local("prune")
    with build_lock(folder):
        found = stale(folder, needed(folder, recipes, read_profile(on), assignments))
        for each in found:
            console.print(f"{human_bytes(each.bytes):>10}  {each.path.relative_to(folder)}  {each.why}")
        if not found:
            console.print(f"Nothing to remove: every job in {folder} is needed")
            return
        total = human_bytes(sum(each.bytes for each in found))
        console.print(f"{total:>10}  in {len(found)} folders of {folder}")
        if not yes and not _agreed(console):
            return
        for each in found:
            remove(folder, each.path)
        console.print(f"Removed {len(found)} folders, {total}")


def needed(folder: Path, recipes: Sequence[Path], profile: Profile, assignments: Sequence[str] = ()) -> set[str]:
    """The names of the job folders of the last finished build, and of the recipes' plans."""
    names: set[str] = set()
    if (folder / "build.json").is_file():
        names |= {each.removeprefix("jobs/") for each in read_file(BuildFile, folder / "build.json").jobs}
    elif not recipes:
        raise InputError(f"{folder}: no build was finished here (no build.json); name what is needed with --recipe")
    for path in recipes:
        recipe = read_recipe(path, assignments)
        plan = make_plan(recipe, path.parent, profile.access(recipe.contact)).settled(folder)
        if plan.unsettled:
            raise InputError(
                f"{path}: not all of its sources were fetched in {folder}, so the jobs that it needs cannot be known; "
                "build it first, or leave it away"
            )
        names |= {job.folder.removeprefix("jobs/") for job in plan.jobs}
    return names


def stale(folder: Path, keep: set[str]) -> list[Stale]:
    """The folders of jobs that are not to be kept, and what killed tasks left in the others."""
    found = []
    for path in _folders(folder / "jobs"):
        if _JOB.fullmatch(path.name) and path.name not in keep:
            found.append(Stale(path, _size(path), ""))
        elif _JOB.fullmatch(path.name):
            found += [
                Stale(each, _size(each), "left by a killed task") for each in _folders(path) if each.name == TEMPORARY
            ]
    return found


def remove(folder: Path, path: Path) -> None:
    """Removes a job's folder and its progress, its manifest first: what is half removed must not pass for whole."""
    try:
        if path.name != TEMPORARY:
            (path / "job.json").unlink(missing_ok=True)
            for progress in _folders(folder / "logs" / "progress"):
                if progress.name == path.name:
                    shutil.rmtree(progress)
        shutil.rmtree(path)
    except OSError as error:
        raise CorpusError(f"{path}: could not be removed: {error.strerror}; what was listed above it is gone") from None


def _agreed(console: Console) -> bool:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        console.print("Nothing was removed: add --yes to remove them")
        return False
    import typer

    return typer.confirm("Remove them?")


def _folders(parent: Path) -> Iterator[Path]:
    """The folders in a folder, by name; a link is none, and has none."""
    if parent.is_symlink() or parent.parent.is_symlink() or not parent.is_dir():
        return
    with os.scandir(parent) as entries:
        yield from sorted(Path(each.path) for each in entries if each.is_dir(follow_symlinks=False))


def _size(path: Path) -> int:
    """The bytes of the files in it."""
    size = 0
    for parent, _, files in os.walk(path, followlinks=False):
        for name in files:
            with contextlib.suppress(FileNotFoundError):  # of a task that is still at work elsewhere
                found = os.lstat(os.path.join(parent, name))  # noqa: PTH118
                size += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return size

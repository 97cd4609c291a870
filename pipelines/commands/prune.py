"""`corpus prune`: list the job folders that no plan needs with their sizes, and remove them after asking.

The last finished build needs the jobs in build.json; each recipe given needs those of its plan. A folder whose name is
not a job's is left alone, and no symbolic link is followed.
"""

import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import typer

from corpus.display.terminal import plain_console, print_line
from corpus.errors import CorpusError, InputError
from corpus.fetch.output import open_output
from corpus.inspect.find_build import find_build
from corpus.recipe import read_recipe
from corpus.store.finished_build import BuildFile, read_file
from corpus.units import human_bytes
from pipelines.build import build_lock
from pipelines.engine.job_output import TEMPORARY
from pipelines.engine.profile import Profile, read_profile
from pipelines.plan import make_plan

_JOB = re.compile(r"[a-z][a-z0-9_.]*-[0-9a-f]{12}")  # see Job.folder


class UnusedFolder(NamedTuple):
    """A folder to remove."""

    path: Path
    bytes: int
    reason: str


def show_prune(out: str | None, recipes: Sequence[Path], on: str | None, assignments: Sequence[str], yes: bool) -> None:
    """Print the unused folders, ask, and remove them. Raises InputError or CorpusError before anything is removed."""
    if out is not None and out.startswith("s3://"):
        raise InputError(f"{out}: prune works on local folders only; delete unused folders under jobs/ in the bucket")
    folder, console = find_build(out).resolve(), plain_console()
    open_output(folder).require_local("prune")
    with build_lock(folder):
        unused = unused_folders(folder, needed(folder, recipes, read_profile(on), assignments))
        for entry in unused:
            print_line(console, f"{human_bytes(entry.bytes):>10}  {entry.path.relative_to(folder)}  {entry.reason}")
        if not unused:
            print_line(console, f"Nothing to remove: every job in {folder} is needed")
            return
        total = human_bytes(sum(entry.bytes for entry in unused))
        print_line(console, f"{total:>10}  in {len(unused)} folders of {folder}")
        if not yes and not _confirmed():
            return
        for entry in unused:
            remove(folder, entry.path)
        print_line(console, f"Removed {len(unused)} folders, {total}")


def needed(folder: Path, recipes: Sequence[Path], profile: Profile, assignments: Sequence[str] = ()) -> set[str]:
    """Return the names of the job folders that the last finished build and the recipes' plans need."""
    names: set[str] = set()
    if (folder / "build.json").is_file():
        names |= {job.removeprefix("jobs/") for job in read_file(BuildFile, folder / "build.json").jobs}
    elif not recipes:
        raise InputError(f"{folder}: no finished build (no build.json); name the recipes to keep with --recipe")
    for path in recipes:
        recipe = read_recipe(path, assignments)
        plan = make_plan(recipe, path.parent, profile.access(recipe.contact)).settled(folder)
        if plan.unsettled:
            raise InputError(f"{path}: its jobs are unknown until its sources are fetched; build it in {folder} first")
        names |= {job.folder.removeprefix("jobs/") for job in plan.jobs}
    return names


def unused_folders(folder: Path, keep: set[str]) -> list[UnusedFolder]:
    """Return the job folders not to be kept, and the temporary folders that killed tasks left in the others."""
    unused = []
    for path in _folders(folder / "jobs"):
        if _JOB.fullmatch(path.name) and path.name not in keep:
            unused.append(UnusedFolder(path, _size(path), ""))
        elif _JOB.fullmatch(path.name):
            left_over = [inner for inner in _folders(path) if inner.name == TEMPORARY]
            unused += [UnusedFolder(inner, _size(inner), "left by a killed task") for inner in left_over]
    return unused


def remove(folder: Path, path: Path) -> None:
    """Remove a job's folder and progress files. The manifest goes first, so that no partial job looks finished."""
    try:
        if path.name != TEMPORARY:
            (path / "job.json").unlink(missing_ok=True)
            for progress in _folders(folder / "logs" / "progress"):
                if progress.name == path.name:
                    shutil.rmtree(progress)
        shutil.rmtree(path)
    except OSError as error:
        raise CorpusError(f"{path}: cannot remove: {error.strerror}; those listed before it are gone") from None


def _confirmed() -> bool:
    if sys.stdin.isatty() and sys.stdout.isatty():
        return typer.confirm("Remove these folders?")
    print("Nothing removed: add --yes to remove these folders")
    return False


def _folders(parent: Path) -> Iterator[Path]:
    """Folders in a folder, by name; symbolic links are neither listed nor followed."""
    if parent.is_symlink() or parent.parent.is_symlink() or not parent.is_dir():
        return
    with os.scandir(parent) as entries:
        yield from sorted(Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))


def _size(path: Path) -> int:
    """Bytes of the files in a folder."""
    files = (Path(parent, name) for parent, _, names in os.walk(path, followlinks=False) for name in names)
    return sum(file.lstat().st_size for file in files if file.is_file() and not file.is_symlink())

"""The build that a command means."""

from pathlib import Path

from corpus.errors import InputError
from corpus.fetch.access import Access, default_cache

DEFAULT = Path("build")


def find_build(out: str | Path | None, access: Access | None = None) -> Path:
    """Return the folder given, or the only build below ./build. Raises InputError if there is none, or several.

    For a build at `s3://…` this is the working copy, after downloading what differs from the bucket with `access`.
    """
    if out is not None and str(out).startswith("s3://"):
        return _downloaded(str(out), access or Access(default_cache()))
    builds = sorted(path for path in DEFAULT.glob("*") if is_build(path))
    listed = "".join(["; builds here:", *(f"\n  {path}" for path in builds)]) if builds else ""
    if out is not None:
        path = Path(out)
        if is_build(path):
            return path
        problem = "not a build's folder" if path.exists() else "no such folder"
        problem = "holds no build (no build.json, no jobs/)" if path.is_dir() else problem
        raise InputError(f"{path}: {problem}; expected the output folder of `corpus build`{listed}")
    if not builds:
        raise InputError("no build below ./build; name a build's folder, or make one with `corpus build RECIPE`")
    if len(builds) > 1:
        raise InputError(f"{len(builds)} builds below ./build; name one{listed}")
    return builds[0]


def _downloaded(url: str, access: Access) -> Path:
    from corpus.fetch.output import open_output, working_copy  # loads s3fs
    from corpus.store.lock import locked

    folder = working_copy(url, access.cache, access.s3)
    output = open_output(folder)
    if not any(name.startswith(("build.json", "jobs/")) for name in output.sizes(folder)):
        raise InputError(f"{url}: holds no build (no build.json, no jobs/)")
    # A build under way may have files that it has not uploaded yet; they would be lost.
    with locked(folder, "a build", "ask on another machine"):
        output.pull_all()
    return folder


def is_build(path: Path) -> bool:
    """True if a build wrote to this folder, finished or not."""
    return (path / "build.json").is_file() or (path / "jobs").is_dir()

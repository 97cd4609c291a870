"""Which build a command means."""

from pathlib import Path

from corpus.errors import InputError
from corpus.fetch.access import Access, default_cache

DEFAULT = Path("build")


def build_folder(written: str | Path | None, access: Access | None = None) -> Path:
    """The folder given, or the only build below ./build. Raises InputError if it is none, or not the only one.

    Of a build at `s3://…` the working copy is the folder, made the same as what lies there; `access` says how to ask.
    """
    if written is not None and str(written).startswith("s3://"):
        return _brought(str(written), access or Access(default_cache()))
    path = Path(written) if written is not None else None
    if path is not None:
        if is_build(path):
            return path
        why = "is not a build's folder" if path.exists() else "no such folder"
        why = "holds no build (no build.json, no jobs/)" if path.is_dir() else why
        raise InputError(f"{path}: {why}; expected the output folder of `corpus build`{_listed(_candidates())}")
    found = _candidates()
    if len(found) == 1:
        return found[0]
    if not found:
        raise InputError("no build below ./build; name a build's folder, or make one with `corpus build RECIPE`")
    raise InputError(f"{len(found)} builds below ./build; name one{_listed(found)}")


def _brought(url: str, access: Access) -> Path:
    from corpus.fetch.output import open_output, working_copy
    from corpus.store.lock import locked

    folder = working_copy(url, access.cache, access.s3)
    output = open_output(folder)
    if not any(name.startswith(("build.json", "jobs/")) for name in output.sizes(folder)):
        raise InputError(f"{url}: holds no build (no build.json, no jobs/)")
    with locked(folder, "a build", "ask on another machine"):  # what it has made and not pushed yet would be gone
        output.pull_all()
    return folder


def is_build(path: Path) -> bool:
    """Whether a build wrote here, finished or not."""
    return (path / "build.json").is_file() or (path / "jobs").is_dir()


def _candidates() -> list[Path]:
    return sorted(path for path in DEFAULT.glob("*") if is_build(path))


def _listed(found: list[Path]) -> str:
    return "".join(["; builds here:", *(f"\n  {path}" for path in found)]) if found else ""

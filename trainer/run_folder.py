"""The run folder: one `trainer fit` at a time works in it, and leaves word of when, where and with what.

What lies in it: docs/formats.md.
"""

import fcntl
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from corpus.errors import InputError
from corpus.store.products import write_text
from trainer.config import Training


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Makes the folder and holds it, in the first of the run's processes. Raises InputError if another run does."""
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("w")
    except OSError as error:
        raise InputError(f"{folder}: cannot write a run here: {error.strerror}; name another with `out`") from None
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock's, no child that outlives us holds it
        except (BlockingIOError, PermissionError):
            raise InputError(f"{folder}: another `trainer fit` is at work here; wait for it, or stop it") from None
        except OSError as error:
            raise InputError(
                f"{folder}: this disk cannot lock files ({error.strerror}); name another with `out`"
            ) from None
        yield


def record_start(folder: Path, training: Training, step: int, world: int, precision: str) -> list[str]:
    """Writes the settings, and a line that says who begins where. Tells which settings are not those of last time."""
    told = training.model_dump(mode="json")
    before = _settings(folder)
    changed = sorted(name for name, value in told.items() if name in before and before[name] != value)
    write_text(folder / "train.json", json.dumps(told, indent=1) + "\n", folder)
    line = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "step": step,
        "processes": world,
        "precision": precision,
        "host": platform.node(),
        "versions": {name: _version(name) for name in ("gristmill", "torch", "numpy", "pyarrow")}
        | {"python": platform.python_version()},
    }
    with (folder / "starts.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    return changed


def _settings(folder: Path) -> dict[str, object]:
    try:
        found = json.loads((folder / "train.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _version(name: str) -> str | None:
    """None where a package is used from its source without being installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None

"""The run folder: one `trainer fit` at a time works in it, and leaves word of when, where and with what.

train.json          the settings of the last start
starts.jsonl        each start: time, machine, versions, from which step
metrics.jsonl       a row a step          evaluations.jsonl   held-out bits per byte
checkpoints/        step-00001234/ …      report.html         the curves
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
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"{folder}: another `trainer fit` is at work here; wait for it, or stop it") from None
        yield


def record_start(folder: Path, training: Training, step: int, world: int, precision: str) -> None:
    """Writes the settings, and a line that says who begins where."""
    told = training.model_dump(mode="json")
    (folder / "train.json").write_text(json.dumps(told, indent=1) + "\n")
    line = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "step": step,
        "processes": world,
        "precision": precision,
        "host": platform.node(),
        "settings_digest": training.digest,
        "versions": {name: _version(name) for name in ("gristmill", "torch", "numpy", "pyarrow")}
        | {"python": platform.python_version()},
    }
    with (folder / "starts.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def _version(name: str) -> str | None:
    """None where a package is used from its source without being installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None

"""The run folder: one `trainer fit` at a time works in it, and leaves word of when, where and with what.

What lies in it: docs/formats.md.
"""

import json
import os
import platform
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from corpus.store.lock import locked
from corpus.store.products import write_text
from trainer.config import Training


def held(folder: Path) -> AbstractContextManager[None]:
    """Makes the folder and holds it, in the first of the run's processes. Raises CorpusError if another run does."""
    if os.environ.get("RANK", "0") != "0":
        return nullcontext()
    return locked(folder, "another `trainer fit`", "name another with `out`")


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

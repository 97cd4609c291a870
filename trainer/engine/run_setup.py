"""Setup of a run: its settings, corpora, curriculum and folder. `fit`, `eval`, `generate` and `trace` begin here.

Nothing here imports torch. docs/formats.md describes the files of a run folder.
"""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path

from corpus.settings import Json
from corpus.store.lock import locked
from corpus.store.products import write_text
from trainer.config import Training, find_config, read_training
from trainer.data.corpora import Corpora, open_corpora
from trainer.data.curriculum import Curriculum, resolve
from trainer.engine.checkpoint_state import BranchOrigin
from trainer.model.family import ModelConfig

SETTINGS, STARTS, ENDS = "train.json", "starts.jsonl", "ends.jsonl"
PACKAGES = ("gristmill", "torch", "numpy", "pyarrow")


@dataclass(frozen=True, slots=True)
class RunSetup:
    """A train.yaml with its corpora and resolved curriculum."""

    training: Training
    corpora: Corpora
    curriculum: Curriculum

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.training.folder

    @property
    def model_config(self) -> ModelConfig:
        """Model settings with the vocabulary size of the corpora's tokenizer."""
        return self.training.model.resolve(self.corpora.tokenizer.vocabulary)


def read_setup(config: Path | None, assignments: Sequence[str] = ()) -> RunSetup:
    """Read and check the settings, the corpora and the curriculum. Raises InputError."""
    training = read_training(find_config(config), assignments)
    corpora = open_corpora(training.corpora)
    return RunSetup(training, corpora, resolve(training, corpora))


def lock_run_folder(folder: Path) -> AbstractContextManager[None]:
    """Make the folder and lock it in the run's first process. Raises CorpusError if another run holds the lock."""
    if os.environ.get("RANK", "0") != "0":
        return nullcontext()
    return locked(folder, "another `trainer fit`", "name another with `out`")


def record_start(
    setup: RunSetup, step: int, previous_end: int | None, world: int, precision: str, origin: BranchOrigin | None
) -> list[str]:
    """Write the settings, and append a line to `starts.jsonl`. Returns what differs from the last settings.

    `previous_end` is the last step that the start before has recorded.
    """
    folder, settings = setup.folder, setup.training.model_dump(mode="json")
    try:
        previous = json.loads((folder / SETTINGS).read_text())
    except (OSError, ValueError):
        previous = {}
    changed = _changes(previous, settings) if previous else []
    write_text(folder / SETTINGS, json.dumps(settings, indent=1) + "\n", folder)
    line = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "step": step,
        "previous_end": previous_end,
        **({"from": f"{origin.run}@{origin.step}", "fresh_optimizer": origin.fresh_optimizer} if origin else {}),
        "processes": world,
        "precision": precision,
        "host": platform.node(),
        "versions": {name: _version(name) for name in PACKAGES} | {"python": platform.python_version()},
    }
    append_line(folder / STARTS, line)
    return changed


def append_line(path: Path, line: Mapping[str, object]) -> None:
    """Append a line of JSON. A line that a kill left incomplete stays a line of its own."""
    with path.open("ab+") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(end - 1, 0))
        begin = b"" if file.read(1) in (b"", b"\n") else b"\n"
        file.write(begin + json.dumps(line).encode() + b"\n")


def recorded_lines(path: Path) -> Sequence[dict[str, Json]]:
    """Return the objects of a file of JSON lines; none without it. A line that a kill left incomplete is skipped."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def setting_lines(settings: Mapping[str, Json]) -> dict[str, str]:
    """Return the settings by their path, such as `curriculum.broad.tokens`."""
    lines = dict[str, str]()

    def add(path: str, value: Json) -> None:
        if isinstance(value, list) and value and all(isinstance(each, dict) and "name" in each for each in value):
            value = {str(each["name"]): each for each in value if isinstance(each, dict)}
        if isinstance(value, dict) and value:
            for key, each in value.items():
                add(f"{path}.{key}" if path else key, each)
        else:
            lines[path] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    add("", dict(settings))
    return lines


def _changes(previous: Mapping[str, Json], settings: Mapping[str, Json]) -> list[str]:
    """Return the settings with another value than before, such as `seed: 1 -> 2`, and phases that came or went.

    Other paths that only one of them has are settings of another release.
    """
    before, now = setting_lines(previous), setting_lines(settings)
    phases_before, phases_now = (
        {".".join(path.split(".")[:2]) for path in lines if path.startswith("curriculum.")} for lines in (before, now)
    )
    values = (path for path in sorted(now) if before.get(path, now[path]) != now[path])
    return [
        *(f"{path}: {before[path]} -> {now[path]}" for path in values),
        *(f"{phase}: added" for phase in sorted(phases_now - phases_before)),
        *(f"{phase}: removed" for phase in sorted(phases_before - phases_now)),
    ]


def _version(package: str) -> str | None:
    """Return the version of an installed package; None for our own, if used from its source folder."""
    return next((installed.version for installed in distributions(name=package)), None)

"""Setup of a run: its settings, corpora, curriculum, folder and model. `fit`, `eval` and `generate` begin here.

docs/formats.md describes the files of a run folder.
"""

import json
import os
import platform
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from corpus.store.lock import locked
from corpus.store.products import write_text
from trainer.config import Training, find_config, read_training
from trainer.data.corpora import Corpora, open_corpora
from trainer.data.curriculum import Curriculum, resolve
from trainer.model.family import ModelConfig

if TYPE_CHECKING:
    from trainer.engine.distributed import Distributed, Precision
    from trainer.model.transformer import Transformer

SETTINGS, STARTS = "train.json", "starts.jsonl"
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


def build_model(setup: RunSetup, distributed: "Distributed", precision: "Precision", initial: bool) -> "Transformer":
    """Build the model, sharded over the devices and compiled as the settings say; initialise it if `initial`."""
    import torch  # `trainer trace` does without

    from trainer.engine.distributed import compile_blocks, shard
    from trainer.model.transformer import build_transformer, initialize

    parallel = setup.training.parallel
    with torch.device("meta"):  # no memory until the parameters are sharded
        model = build_transformer(setup.model_config)
    if parallel.compile is True or (parallel.compile == "auto" and distributed.device.type == "cuda"):
        compile_blocks(model)
    shard(model, distributed, precision, parallel.reshard_after_forward)
    model.to_empty(device=distributed.device)
    if initial:
        initialize(model, setup.training.seed, setup.training.model.initializer_range)
    return model


def lock_run_folder(folder: Path) -> AbstractContextManager[None]:
    """Make the folder and lock it in the run's first process. Raises CorpusError if another run holds the lock."""
    if os.environ.get("RANK", "0") != "0":
        return nullcontext()
    return locked(folder, "another `trainer fit`", "name another with `out`")


def record_start(folder: Path, training: Training, step: int, world: int, precision: str) -> list[str]:
    """Write the settings, and append a line to `starts.jsonl`. Returns the settings that differ from the last start."""
    settings = training.model_dump(mode="json")
    try:
        previous = json.loads((folder / SETTINGS).read_text())
    except (OSError, ValueError):
        previous = {}
    changed = sorted(name for name, value in settings.items() if name in previous and previous[name] != value)
    write_text(folder / SETTINGS, json.dumps(settings, indent=1) + "\n", folder)
    line = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "step": step,
        "processes": world,
        "precision": precision,
        "host": platform.node(),
        "versions": {name: _version(name) for name in PACKAGES} | {"python": platform.python_version()},
    }
    with (folder / STARTS).open("a") as file:
        file.write(json.dumps(line) + "\n")
    return changed


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # used from its source folder
        return None

"""state.json of a checkpoint: the position of the run. Strictly validated, and read without torch."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from corpus.errors import InputError
from corpus.settings import Strict, read_versioned
from trainer.data.cursor import Cursor

FORMAT_VERSION = 1
STATE_FILE = "state.json"
STEP_OF_NAME = re.compile(r"step-([0-9]{8,15})(?:-[0-9]{1,9})?", re.ASCII)  # of a checkpoint's folder
MAX_STATE_BYTES = 64_000_000
REMEDY = "remove it to continue from the one before it"

Count = Annotated[int, Field(ge=0, lt=2**62)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
TensorFile = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,200}\.safetensors$")]


class CorpusState(Strict):
    """Identity of a corpus that was trained on."""

    content_sha256: Sha256  # of everything that batches depend on
    layout_sha256: Sha256  # of the position of tokens; a takedown does not change it
    revision: Count


class FileState(Strict):
    """Size and hash of a tensor file."""

    bytes: Count
    sha256: Sha256


class BranchOrigin(Strict):
    """Checkpoint of another run that a run began with."""

    run: str  # its folder, as given
    step: Count
    fresh_optimizer: bool  # True if the moments were not taken over


class CheckpointState(Strict):
    """Contents of state.json. `Checkpoints.save` fills in `files`."""

    format_version: Literal[1] = 1
    step: Count  # steps done, over the whole curriculum
    phase: Count  # index, from 0
    phase_name: str
    phase_done: bool = False
    step_in_phase: Count
    start: dict[str, Count] = Field(default={})  # in place of cursors, by a release that read in another order
    cursors: dict[str, Cursor] | None = None  # of the sources that were read, at the phase's start
    skip: tuple[tuple[Count, Count], ...] = ()  # first and last of each range of skipped steps
    corpora: dict[str, CorpusState]
    tokenizer_sha256: Sha256
    model: dict[str, JsonValue]  # a ModelConfig, perhaps with earlier names
    seed: int
    settings_digest: str
    phase_settings: dict[str, JsonValue]  # settings that determine the phase's batches
    precision: Literal["bf16", "fp32"]
    world: Annotated[int, Field(ge=1)]
    torch: str  # version
    tokens_seen: Count
    micro_batch_tokens: Count | None = None  # chosen by memory; None if the settings stated the size
    origin: BranchOrigin | None = None  # of a branch
    files: dict[TensorFile, FileState] = Field(default={})

    @property
    def is_of_this_order(self) -> bool:
        """True if batches go on as they were; earlier releases cut the same tokens into other sequences."""
        return self.cursors is not None and "whole_documents" in self.phase_settings


def read_state(path: Path) -> CheckpointState:
    """Read the state of the checkpoint at `path`, and check that its files exist in full size.

    Raises InputError if the state is missing, malformed or of a newer format, or if a file is missing or incomplete.
    """
    state = parse_state(path)
    for name, expected in state.files.items():
        file = path / name
        size = file.stat().st_size if file.is_file() else None
        if size != expected.bytes:
            problem = f"it is missing {name}" if size is None else f"{name} has {size} bytes, not {expected.bytes}"
            raise InputError(f"{path}: damaged checkpoint: {problem}; {REMEDY}")
    return state


def parse_state(path: Path) -> CheckpointState:
    """Read the state of the checkpoint at `path` without checking its files. Raises InputError as `read_state` does."""
    file, what = path / STATE_FILE, "a checkpoint's state"
    state = read_versioned(CheckpointState, file, what, REMEDY, version=FORMAT_VERSION, max_bytes=MAX_STATE_BYTES)
    named = STEP_OF_NAME.fullmatch(path.name)
    if named and int(named[1]) != state.step:
        raise InputError(f"{path}: damaged checkpoint: its state is of step {state.step}; {REMEDY}")
    return state

"""state.json: where a run stood when its checkpoint was saved. Strict; loads no torch."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from corpus.errors import InputError

FORMAT_VERSION = 1
STATE_FILE = "state.json"
MAX_STATE_BYTES = 64_000_000

Count = Annotated[int, Field(ge=0, lt=2**62)]
Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]  # SHA-256
TensorFile = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,200}\.safetensors$")]


REMEDY = "remove it to go on from the one before it"


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class CorpusState(_Model):
    """Which corpus was trained on."""

    content_sha256: Hex  # of all that batches are made of
    layout_sha256: Hex  # of what decides which tokens stand where; a takedown leaves it
    revision: Count


class FileState(_Model):
    """What a file of tensors must be."""

    bytes: Count
    sha256: Hex


class State(_Model):
    """state.json: where the run stands, beside its tensors. `phase_done` and `files` are filled in by `save`."""

    format_version: Literal[1] = 1
    step: Count  # steps done, over the whole curriculum
    phase: Count  # counted from 0
    phase_name: str
    phase_done: bool = False  # nothing of the phase is left
    step_in_phase: Count
    start: dict[str, Count]  # each source's cursor at the phase's start, in tokens
    skip: tuple[tuple[Count, Count], ...] = ()  # first and last step passed over
    corpora: dict[str, CorpusState]
    tokenizer_sha256: Hex
    model: dict[str, JsonValue]  # its ModelConfig
    seed: int
    settings_digest: str
    phase_settings: dict[str, JsonValue]  # what decides its batches
    precision: Literal["bf16", "fp32"]
    world: Annotated[int, Field(ge=1)]
    torch: str  # version
    tokens_seen: Count
    files: dict[TensorFile, FileState] = {}


class _Version(BaseModel):
    format_version: int


def read_state(path: Path) -> State:
    """The state of the checkpoint at `path`, whose files are there in their sizes.

    Raises InputError that says what is wrong: missing, of a newer format, malformed, or its files cut short.
    """
    state = parse_state(path)
    for name, told in state.files.items():
        file = path / name
        found = file.stat().st_size if file.is_file() else None
        if found != told.bytes:
            what = f"it is missing {name}" if found is None else f"{name} has {found} bytes, not {told.bytes}"
            raise InputError(f"{path}: damaged checkpoint: {what}; {REMEDY}")
    return state


def parse_state(path: Path) -> State:
    """The state of the checkpoint at `path`, whatever else is there. Raises InputError as `read_state` does."""
    file = path / STATE_FILE
    try:
        raw = file.read_bytes() if file.stat().st_size <= MAX_STATE_BYTES else None
    except OSError as error:
        raise InputError(f"{file}: cannot read it: {error.strerror}; {REMEDY}") from None
    if raw is None:
        raise InputError(f"{file}: over {MAX_STATE_BYTES} bytes; not a checkpoint's state")
    try:
        version = _Version.model_validate_json(raw).format_version
        if version > FORMAT_VERSION:
            told = f"format_version {version}; this release reads up to {FORMAT_VERSION}"
            raise InputError(f"{file}: {told}: install a newer one")
        return State.model_validate_json(raw)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)[:20]
        told = "\n".join(f"  {'.'.join(map(str, each['loc'])) or 'the file'}: {each['msg']}" for each in faults)
        raise InputError(
            f"{file}: not a checkpoint's state of format_version {FORMAT_VERSION}; {REMEDY}\n{told}"
        ) from None

"""Measurements of a run: `metrics.jsonl` (one row per step) and `evaluations.jsonl` (bits per byte by source).

Both files are append-only, and `trainer eval` may append while `trainer fit` runs. A resumed run first drops the rows
after its checkpoint, and a last line that a kill left incomplete, so each step has exactly one row.
"""

import os
import shutil
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Annotated, Generic, TypeVar

from pydantic import Field, ValidationError

from corpus.errors import InputError
from corpus.settings import Strict
from corpus.store.products import publish
from trainer.errors import TrainerError

TAIL_BYTES = 1 << 16  # read first for the last rows of a file

Count = Annotated[int, Field(ge=0)]
Real = Annotated[float, Field(ge=0)]


class SourceScore(Strict):
    """Score of a model on one source's holdout."""

    documents: Count  # scored
    holdout_documents: Count  # in the holdout; more than `documents` if `tokens_per_source` left some out
    overwritten: Count  # removed by a takedown: their tokens and bytes do not count
    tokens: Count  # including the EOS of each document
    bytes: Annotated[int, Field(ge=1)]  # of UTF-8 text
    bits: Real  # sum of −log₂ p over all tokens
    bits_per_byte: Real
    bits_per_token: Real
    thin: bool  # True if the holdout is too small for a reliable score


class RunRow(Strict):
    """Base of all rows."""

    step: Count  # steps done, over the whole curriculum


class StepRow(RunRow):
    """Measurements of one step. Losses are in nats per target token, before the step's update."""

    phase: str
    step_in_phase: Count  # steps done in the phase, including this one
    tokens: Count  # seen so far, over all phases
    targets: Count  # tokens predicted in this step
    loss: float  # over the whole batch
    grad_norm: Real  # before clipping
    learning_rate: Real
    step_s: Real
    tokens_per_s: Real
    mfu: Real | None = None  # from 6N FLOPs per token; null if the device's peak is unknown
    mfu_attention: Real | None = None  # including attention's FLOPs
    device_memory_bytes: Count | None = None  # most that was allocated on the device since the last step; null on a CPU
    losses: dict[str, float]  # by source, for the sources in the batch
    epochs: dict[str, Real]  # read so far of each source
    batch: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]  # digest of inputs, targets and segments


class EvaluationRow(RunRow):
    """Scores of all sources with a holdout, and the settings they were computed with."""

    sequence_tokens: Count  # targets per window
    stride_tokens: Count
    tokens_per_source: Count | None  # limit per source, counted from the holdout's start; None: no limit
    sources: dict[str, SourceScore]
    after: str  # "before", "after broad", …
    tokens: Count  # seen in training so far
    seconds: Real

    @property
    def bits_per_byte(self) -> float | None:
        """Total bits divided by total bytes; None without a holdout."""
        scores = self.sources.values()
        return sum(score.bits for score in scores) / sum(score.bytes for score in scores) if scores else None


AnyRow = TypeVar("AnyRow", bound=RunRow)


class RowFile(Generic[AnyRow]):
    """Rows as lines of JSON. A row is on its way to the disk when `write` returns, so a killed process loses none.

    The file is opened for each row, because another process may replace it with `resume`.
    """

    def __init__(self, path: Path, row_type: type[AnyRow]) -> None:
        self.path, self._row_type = path, row_type

    def resume(self, step: int) -> list[int]:
        """Drop the rows after `step`; later writes append to the rest. Return the steps of the rows that stay.

        Raises InputError if a line other than the last is not a row.
        """
        steps = []
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        with temporary.open("wb") as file:
            for line, row in self._lines():
                if row.step <= step:
                    file.write(line + b"\n")
                    steps.append(row.step)
        publish(temporary, self.path)
        return steps

    def write(self, row: AnyRow) -> None:
        """Append a row. Raises TrainerError if the disk is full or the file is not writable."""
        rest = row.model_dump_json().encode() + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered append mode: a line is one write call, so lines of two processes do not mix.
            with self.path.open("a+b", buffering=0) as file:
                self._repair_last_line(file)
                while rest:  # a disk that fills up takes a part of the line; the next write repairs that
                    rest = rest[file.write(rest) :]
        except OSError as error:
            raise TrainerError(
                f"{self.path}: cannot be written: {error.strerror}; make room or fix the permissions, then resume from "
                "the last checkpoint"
            ) from None

    def rows(self) -> Iterator[AnyRow]:
        """Yield the rows written so far, none without a file. Raises InputError as `resume` does."""
        return (row for _, row in self._lines())

    def tail(self, count: int) -> list[AnyRow]:
        """Return the last rows, at most `count`, in a time that does not grow with the file. Raises as `rows` does."""
        try:
            return list(deque((row for _, row in self._lines(self._tail_start(count))), maxlen=count))
        except InputError:
            return list(deque(self.rows(), maxlen=count))  # raises it with the number of the line

    def _tail_start(self, count: int) -> int:
        """Return the start of a line before which the last `count` rows do not begin."""
        try:
            with self.path.open("rb") as file:
                end, size = file.seek(0, os.SEEK_END), TAIL_BYTES
                while size < end:
                    file.seek(end - size)
                    text = file.read(size)
                    if text.count(b"\n") > count + 1:  # a last line may be incomplete, the first one here is
                        return end - size + text.index(b"\n") + 1
                    size *= 2
        except FileNotFoundError:
            pass
        return 0

    def _repair_last_line(self, file: FileIO) -> None:
        """Add a missing line end, or cut off an incomplete row. In place: other processes may have the file open."""
        end = file.seek(0, os.SEEK_END)
        file.seek(max(end - 1, 0))
        if file.read(1) in (b"", b"\n"):
            return
        file.seek(0)
        last = file.read().rpartition(b"\n")[2]
        try:
            self._row_type.model_validate_json(last)
        except ValidationError:
            file.truncate(end - len(last))
        else:
            file.write(b"\n")

    def _lines(self, start: int = 0) -> Iterator[tuple[bytes, AnyRow]]:
        """Yield each line from byte `start` on, and its row.

        An invalid last line without a line end is incomplete, and skipped.
        """
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return
        with file:
            file.seek(start)
            for number, line in enumerate(file, 1):
                try:
                    yield line.rstrip(b"\n"), self._row_type.model_validate_json(line)
                except ValidationError as error:
                    if not line.endswith(b"\n"):
                        return
                    problem = error.errors(include_url=False, include_input=False)[0]
                    message = ": ".join(filter(None, [".".join(map(str, problem["loc"])), problem["msg"]]))
                    raise InputError(
                        f"{self.path}: line {number} is not a row of {self.path.stem}: {message}; delete that line or "
                        "the file: no checkpoint needs it"
                    ) from None


def metrics_file(folder: Path) -> RowFile[StepRow]:
    """Return `metrics.jsonl` in a run folder."""
    return RowFile(folder / "metrics.jsonl", StepRow)


def evaluations_file(folder: Path) -> RowFile[EvaluationRow]:
    """Return `evaluations.jsonl` in a run folder."""
    return RowFile(folder / "evaluations.jsonl", EvaluationRow)


def copy_rows(run: Path, branch: Path) -> None:
    """Copy the rows of a run to a branch; `RowFile.resume` then drops those after the branch's first step."""
    for file in (metrics_file(run), evaluations_file(run)):
        with suppress(FileNotFoundError):
            shutil.copyfile(file.path, branch / file.path.name)


class TensorBoard:
    """The same numbers as TensorBoard event files, in `tensorboard/` of a run folder.

    `step` is the step the run resumes from: TensorBoard then hides later points of an earlier attempt. Raises
    InputError if TensorBoard is not installed.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter  # optional dependency
        except ImportError:
            raise InputError(
                "`tensorboard: true` needs TensorBoard, which is not installed: pip install 'gristmill[tensorboard]', "
                "or set it to false"
            ) from None
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def step(self, row: StepRow) -> None:
        """Write the numbers of a step."""
        numbers = {
            "loss": row.loss,
            "gradient norm": row.grad_norm,
            "learning rate": row.learning_rate,
            "tokens per second": row.tokens_per_s,
            "tokens": float(row.tokens),
            "mfu": row.mfu,
            "mfu with attention": row.mfu_attention,
            "device memory": row.device_memory_bytes,
        }
        self._add(row.step, numbers)
        self._add(row.step, row.losses, "loss by source/")
        self._add(row.step, row.epochs, "epochs/")

    def evaluation(self, row: EvaluationRow) -> None:
        """Write bits per byte, overall and by source."""
        self._add(row.step, {"bits per byte": row.bits_per_byte})
        self._add(row.step, {name: score.bits_per_byte for name, score in row.sources.items()}, "bits per byte/")
        self._writer.flush()

    def close(self) -> None:
        """Flush and close the event file."""
        self._writer.close()

    def _add(self, step: int, numbers: Mapping[str, float | None], prefix: str = "") -> None:
        for name, value in numbers.items():
            if value is not None:
                self._writer.add_scalar(f"{prefix}{name}", value, step)

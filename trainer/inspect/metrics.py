"""What a run measured: `metrics.jsonl`, a row a step, and `evaluations.jsonl`, bits per byte by source.

Both are only ever appended to; `trainer eval` may do so beside a running `trainer fit`. A run that resumes drops the
rows after the checkpoint, so that each step stands there once, and with them the last line, if a kill tore it.
"""

import os
from collections.abc import Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import Annotated, Generic, TypeVar

from pydantic import Field, ValidationError

from corpus.errors import InputError
from corpus.store.products import publish
from trainer.errors import TrainerError
from trainer.inspect.scores import Count, Evaluation, Real, Record

METRICS, EVALUATIONS, TENSORBOARD = "metrics.jsonl", "evaluations.jsonl", "tensorboard"


class Row(Record):
    """What every row has: the number of steps done, in all."""

    step: Count


class StepRow(Row):
    """One step. Losses are in nats per target token, before the step's update."""

    phase: str
    step_in_phase: Count  # steps done in the phase, this one with them
    tokens: Count  # seen so far, over all phases
    targets: Count  # tokens predicted in this step
    loss: float  # over the whole batch
    grad_norm: Real  # before clipping
    learning_rate: Real
    step_s: Real
    tokens_per_s: Real
    mfu: Real | None = None  # by 6N FLOPs a token; null where the peak is not known
    mfu_attention: Real | None = None  # with attention's FLOPs
    losses: dict[str, float]  # by source, of those in the batch
    epochs: dict[str, Real]  # how often each source has been read so far
    batch: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]  # digest of the tokens


class EvaluationRow(Evaluation, Row):
    """One evaluation of all holdouts."""

    after: str  # "before", "after broad", …
    tokens: Count  # seen in training so far
    seconds: Real


AnyRow = TypeVar("AnyRow", bound=Row)


class _RowFile(Generic[AnyRow]):
    """Rows as lines of JSON. A line is on its way to the disk when `write` returns, so a killed process loses none."""

    def __init__(self, path: Path, model: type[AnyRow]) -> None:
        self.path, self._model = path, model
        self._file: FileIO | None = None

    def resume(self, step: int) -> None:
        """Keeps the rows of steps up to `step`, and goes on behind them.

        Raises InputError if a line before the last is no row.
        """
        self.close()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        with temporary.open("wb") as file:
            for line, row in self._lines():
                if row.step <= step:
                    file.write(line + b"\n")
        publish(temporary, self.path)

    def write(self, row: AnyRow) -> None:
        """Appends a row to the file there is. Raises TrainerError if the disk does not take it."""
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self.path.open("a+b", buffering=0)  # a line is one write, which no other cuts in two
                self._end_last_line(self._file)
            left = row.model_dump_json().encode() + b"\n"
            while left:  # once, but for a disk that fills up
                left = left[self._file.write(left) :]
        except OSError as error:
            self.close()  # the line may be torn, which opening mends
            told = f"{self.path}: cannot be written: {error.strerror}; mend that and resume from the last checkpoint"
            raise TrainerError(told) from None

    def rows(self) -> Iterator[AnyRow]:
        """The rows written so far; none if there is no file. Raises InputError if a line before the last is no row."""
        return (row for _, row in self._lines())

    def close(self) -> None:
        """Lets go of the file; writing opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _end_last_line(self, file: FileIO) -> None:
        """Ends the last line; cuts it off if a kill tore it. In place: others may have the file open."""
        end = file.seek(0, os.SEEK_END)
        file.seek(max(end - 1, 0))
        if file.read(1) in (b"", b"\n"):
            return
        file.seek(0)
        last = file.read().rpartition(b"\n")[2]
        try:
            self._model.model_validate_json(last)
        except ValidationError:
            file.truncate(end - len(last))
        else:
            file.write(b"\n")

    def _lines(self) -> Iterator[tuple[bytes, AnyRow]]:
        """Each whole line and its row. Only a line without its end can be torn, and only the last can lack it."""
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return
        with file:
            for number, line in enumerate(file, 1):
                try:
                    yield line.rstrip(b"\n"), self._model.model_validate_json(line)
                except ValidationError as error:
                    if not line.endswith(b"\n"):
                        return
                    fault = error.errors(include_url=False, include_input=False)[0]
                    where = ".".join(map(str, fault["loc"]))
                    said = f"{where}: {fault['msg']}" if where else fault["msg"]
                    told = f"{self.path}: line {number} is not a row of {self.path.stem}: {said}"
                    raise InputError(f"{told}; delete that line or the file: no checkpoint needs it") from None


class MetricsFile(_RowFile[StepRow]):
    """`metrics.jsonl` of a run's folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / METRICS, StepRow)


class EvaluationsFile(_RowFile[EvaluationRow]):
    """`evaluations.jsonl` of a run's folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / EVALUATIONS, EvaluationRow)

    def write(self, row: EvaluationRow) -> None:
        """As ever, but the file is opened each time: rows are rare, and another process may have put it anew."""
        super().write(row)
        self.close()


class TensorBoard:
    """The same numbers for TensorBoard, in `tensorboard/` of a run's folder.

    `step` is what the run resumes from: later points of a run that was killed are hidden. Raises InputError if
    TensorBoard is not installed.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            told = "`tensorboard: true` needs TensorBoard, which is not installed"
            raise InputError(f"{told}: pip install 'gristmill[tensorboard]', or set it to false") from None
        self._writer = SummaryWriter(str(folder / TENSORBOARD), purge_step=step + 1)

    def step(self, row: StepRow) -> None:
        """A step's numbers."""
        numbers = {
            "loss": row.loss,
            "gradient norm": row.grad_norm,
            "learning rate": row.learning_rate,
            "tokens per second": row.tokens_per_s,
            "tokens": float(row.tokens),
        }
        measured = {"mfu": row.mfu, "mfu with attention": row.mfu_attention}
        numbers |= {name: value for name, value in measured.items() if value is not None}
        self._add(numbers | _named("loss by source", row.losses) | _named("epochs", row.epochs), row.step)

    def evaluation(self, row: EvaluationRow) -> None:
        """Bits per byte, overall and by source."""
        numbers = _named("bits per byte", {name: score.bits_per_byte for name, score in row.sources.items()})
        if row.bits_per_byte is not None:
            numbers["bits per byte"] = row.bits_per_byte
        self._add(numbers, row.step)
        self._writer.flush()

    def close(self) -> None:
        """Writes what is still held."""
        self._writer.close()

    def _add(self, numbers: Mapping[str, float], step: int) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)


def _named(group: str, numbers: Mapping[str, float]) -> dict[str, float]:
    return {f"{group}/{name}": value for name, value in numbers.items()}

"""A run as its folder records it: settings, phases, starts and ends. It is read without its corpora."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from corpus.errors import CorpusError, InputError
from corpus.settings import Json
from corpus.store.lock import FileLock
from trainer.config import Training, find_config, read_training
from trainer.data.curriculum import Curriculum, PhasePlan
from trainer.data.learning_rate import rate_schedule
from trainer.engine.run_setup import ENDS, SETTINGS, STARTS, append_line, recorded_lines
from trainer.inspect.metrics import metrics_file

End = Literal["done", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class RecordedStart:
    """A start of `trainer fit`, and how it ended."""

    time: str  # ISO 8601, UTC
    step: int  # resumed from
    last_step: int | None  # recorded before it ended; None if unknown
    origin: str | None  # checkpoint of another run, of a branch
    host: str
    processes: int
    precision: str
    end: str  # "done", "stopped", "failed", "running", or "killed"
    end_time: str | None


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """Contents of a run folder."""

    folder: Path
    training: Training
    starts: tuple[RecordedStart, ...]

    @property
    def curriculum(self) -> Curriculum:
        """The phases, without sources and orders."""
        return curriculum_of(self.training)

    @property
    def is_running(self) -> bool:
        """True while `trainer fit` is at work in the folder."""
        return bool(self.starts) and self.starts[-1].end == "running"

    @property
    def kills(self) -> int:
        """Starts that ended without a word: killed, or with their machine."""
        return sum(start.end == "killed" for start in self.starts)


def find_run(run: Path | None) -> Path:
    """Return the run folder of an argument: a folder, a training file, or None for the usual training file.

    Raises InputError if nothing was trained there.
    """
    folder = run if run is not None and run.is_dir() else read_training(find_config(run)).folder
    if not (folder / SETTINGS).is_file() or not (folder / STARTS).is_file():
        raise InputError(f"{folder}: no run was started here; name a run folder, or a training file with its `out`")
    return folder


def read_record(folder: Path) -> RecordedRun:
    """Read a run folder. Raises InputError if its settings are missing or not valid, or no start is recorded."""
    try:
        training = Training.model_validate_json((folder / SETTINGS).read_bytes())
    except (OSError, ValidationError) as error:
        problem = str(error).splitlines()[0]
        raise InputError(f"{folder / SETTINGS}: cannot be read: {problem}; name a folder of `trainer fit`") from None
    if not (starts := _starts(folder)):
        raise InputError(f"{folder / STARTS}: no start is recorded here; name a folder of `trainer fit`")
    return RecordedRun(folder, training, starts)


def curriculum_of(training: Training) -> Curriculum:
    """Return the phases of settings, without sources and orders."""
    phases, rate, first_step = list[PhasePlan](), None, 1
    for index, phase in enumerate(training.curriculum):
        steps = phase.tokens // phase.batch_tokens
        schedule = rate_schedule(phase.learning_rate, steps, rate, phase.batch_tokens)
        rate = schedule.rate(steps - 1)
        sequences = phase.batch_tokens // phase.sequence_tokens
        sizes = (index, phase.name, first_step, steps, phase.sequence_tokens, sequences)
        phases.append(PhasePlan(*sizes, {}, {}, {}, training.seed, (), schedule, phase.whole_documents))
        first_step += steps
    return Curriculum(tuple(phases))


def record_end(folder: Path, end: End) -> None:
    """Append a line to `ends.jsonl`: how the last start ended. A start without a line was killed."""
    line = {
        "start": len(recorded_lines(folder / STARTS)),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "end": end,
    }
    append_line(folder / ENDS, line)


def is_locked(folder: Path) -> bool:
    """Return True while `trainer fit` holds the folder."""
    if not (folder / ".lock").exists():
        return False
    lock = FileLock(folder / ".lock", "check its permissions")
    try:
        if not lock.acquire():
            return True
    except CorpusError:  # a folder of somebody else: nothing can be said
        return False
    lock.release()
    return False


def _starts(folder: Path) -> tuple[RecordedStart, ...]:
    ends = {line.get("start"): line for line in recorded_lines(folder / ENDS)}
    lines, running = recorded_lines(folder / STARTS), is_locked(folder)
    last = next((row.step for row in metrics_file(folder).tail(1)), None)
    # Rows after a checkpoint are dropped on resuming, so each start tells where the one before ended.
    last_steps = [line.get("previous_end") for line in lines[1:]] + [last]
    found = []
    for number, (line, last_step) in enumerate(zip(lines, last_steps, strict=False), 1):
        end = ends.get(number, {})
        unknown = "running" if running and number == len(lines) else "killed"
        found.append(
            RecordedStart(
                time=str(line.get("time", "")),
                step=_whole(line.get("step"), 0),
                last_step=last_step if isinstance(last_step, int) else None,
                origin=str(line["from"]) if "from" in line else None,
                host=str(line.get("host", "")),
                processes=_whole(line.get("processes"), 1),
                precision=str(line.get("precision", "")),
                end=unknown if running and number == len(lines) else str(end.get("end", unknown)),
                end_time=str(end["time"]) if "time" in end else None,
            )
        )
    return tuple(found)


def _whole(value: Json, default: int) -> int:
    return value if isinstance(value, int) else default

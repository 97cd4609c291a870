"""A wave: tasks that do not wait for each other, and the notes that failed ones leave."""

import contextlib
import pickle
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from corpus.errors import CorpusError, os_error_text
from corpus.settings import Strict
from corpus.store.products import canonical, write_text
from pipelines.engine.job import Job
from pipelines.engine.job_output import JobOutput


class Failure(Strict):
    """The error of a failed task."""

    error: str
    traceback: str | None = None  # path of the traceback; None for an error that the user can act on


@dataclass(frozen=True)
class Wave:
    """(job, task) pairs to run; the rank of a task is its index in `work`."""

    out: Path
    logs: Path  # of this wave alone: files in it are named by rank
    work: Sequence[tuple[Job, int]]
    say: Callable[[str], None]  # prints a line for the user

    @property
    def file(self) -> Path:
        """The file that workers read `work` from."""
        return self.logs / "work.pickle"

    def prepare(self) -> None:
        """Write the file for the workers, and remove notes of earlier failures."""
        self.logs.mkdir(parents=True, exist_ok=True)
        self.file.unlink(missing_ok=True)
        self.file.touch(mode=0o600, exist_ok=False)
        self.file.write_bytes(pickle.dumps(list(self.work)))
        _read_work.cache_clear()
        for job, index in self.work:
            _note_path(self.out, job, index).unlink(missing_ok=True)

    def task_name(self, rank: int) -> tuple[str, int]:
        """Return the name of the job and the number of its task."""
        job, index = self.work[rank]
        return job.name, index

    def unfinished(self) -> list[int]:
        """Return the ranks of tasks without a manifest."""
        missing = {}
        for job in {job.name: job for job, _ in self.work}.values():
            output = JobOutput(self.out, job)
            list((output.folder / "tasks").glob("*"))  # makes a network disk look for new files
            missing[job.name] = set(output.missing())
        return [rank for rank, (job, index) in enumerate(self.work) if index in missing[job.name]]

    def failure(self, rank: int) -> Failure | None:
        """Return the error that a task left; None if it left none."""
        note = _note_path(self.out, *self.work[rank])
        return Failure.model_validate_json(note.read_bytes()) if note.is_file() else None


class RunTasks:
    """A datatrove pipeline step: rank n does the n-th (job, task) pair of the wave's file, or those of a batch."""

    def __init__(self, wave: Wave, batches: Sequence[Sequence[int]] | None = None) -> None:
        """With `batches`, datatrove's rank n does the wave's ranks `batches[n]` in sequence."""
        silence_datatrove()
        self.work, self.out, self.batches = wave.file, wave.out, batches

    def __setstate__(self, state: dict[str, object]) -> None:
        silence_datatrove()
        self.__dict__.update(state)

    def __call__(self, data: object, rank: int, world_size: int) -> None:
        failed: CorpusError | None = None
        for each in self.batches[rank] if self.batches is not None else [rank]:
            try:
                self._run(each)
            except CorpusError as error:  # does not stop the rest
                failed = failed or error
        if failed:
            raise failed

    def _run(self, rank: int) -> None:
        job, index = _read_work(self.work)[rank]
        try:
            job.run_task(self.out, index)
        except Exception as error:
            with contextlib.suppress(OSError):  # on a full disk, for example; some executors return the exception
                _write_note(_note_path(self.out, job, index), error)
            # not InputError, because files were written
            raise CorpusError(f"{job.name}, task {index}: {_message(error)}") from None


def silence_datatrove() -> None:
    """Turn off datatrove's log on stderr; the build shows its own progress, and failures leave notes."""
    from loguru import logger

    logger.disable("datatrove")


def last_line(path: Path) -> str | None:
    """Return the last non-empty line of a log, safe for a terminal; None if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 4096))
            lines = [line for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
    except OSError:
        return None
    return "".join(char if char.isprintable() else "?" for char in lines[-1].strip())[:300] if lines else None


@lru_cache(maxsize=1)
def _read_work(path: Path) -> Sequence[tuple[Job, int]]:
    return pickle.loads(path.read_bytes())  # type: ignore[no-any-return]  # written by this build, readable by us alone


def _note_path(out: Path, job: Job, index: int) -> Path:
    return out / "logs" / f"{job.name}-{index:05d}.error.json"


def _message(error: Exception) -> str:
    if isinstance(error, CorpusError):
        return str(error)
    if isinstance(error, OSError):
        return os_error_text(error)
    return f"{type(error).__name__}: {error}"


def _write_note(note: Path, error: Exception) -> None:
    trace = None
    if not isinstance(error, CorpusError):
        trace = note.with_suffix("").with_suffix(".traceback.txt")
        trace.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    failure = Failure(error=_message(error), traceback=str(trace) if trace else None)
    write_text(note, canonical(failure.model_dump()), note.parent)

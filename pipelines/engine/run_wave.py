"""What all executors share: the tasks of a wave as datatrove sees them, the notes they leave on failing, retries."""

import contextlib
import os
import pickle
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from corpus.errors import CorpusError
from corpus.store.products import canonical, read_json, write_text
from pipelines.engine.job import Done, Job
from pipelines.engine.task import Task

if TYPE_CHECKING:
    from pipelines.engine.profile import Place

TOLD_FAILURES = 3


class Failure(NamedTuple):
    """What a task says of itself when it fails."""

    error: str
    traceback: str | None  # the file that holds it, if it was not an error that a person can act on


@dataclass(frozen=True)
class Wave:
    """(job, task) pairs that do not wait for each other; the rank of one is its place in the list."""

    out: Path
    logs: Path  # belongs to just this list: datatrove's files in it know only a rank
    work: Sequence[tuple[Job, int]]
    say: Callable[[str], None]  # tells the user a line

    @property
    def file(self) -> Path:
        """Where the workers read the list."""
        return self.logs / "work.pickle"

    def prepare(self) -> None:
        """Writes the list, and forgets how its tasks failed before."""
        self.logs.mkdir(parents=True, exist_ok=True)
        self.file.unlink(missing_ok=True)
        with open(self.file, "xb", opener=_for_us_alone) as file:
            pickle.dump(list(self.work), file)
        _read_work.cache_clear()
        for job, index in self.work:
            _note(self.out, job, index).unlink(missing_ok=True)

    def left(self) -> list[int]:
        """The ranks whose tasks have no manifest."""
        missing = {}
        for done in {job.name: Done(self.out, job) for job, _ in self.work}.values():
            list((done.folder / "tasks").glob("*"))  # a network disk looks for what is new when a folder is opened
            missing[done.job.name] = set(done.missing())
        return [rank for rank, (job, index) in enumerate(self.work) if index in missing[job.name]]

    def failure(self, rank: int) -> Failure | None:
        """What a task said when it failed; None if it did not say anything."""
        try:
            note = read_json(_note(self.out, *self.work[rank]))
        except CorpusError:
            return None
        return Failure(str(note.get("error")), str(note["traceback"]) if note.get("traceback") else None)


class RunTasks:
    """A datatrove pipeline step: rank n does the n-th (job, task) of a list that lies in a file of the build's."""

    def __init__(self, work: Path, out: Path) -> None:
        self.work, self.out = work, out

    def __repr__(self) -> str:
        return "RunTasks"

    def __setstate__(self, state: dict[str, Path]) -> None:
        quiet()
        self.__dict__.update(state)

    def __call__(self, data: object, rank: int, world_size: int) -> None:
        job, index = _read_work(self.work)[rank]
        try:
            Task(self.out, job, index).run()
        except Exception as error:
            told = _told(error)
            with contextlib.suppress(OSError):  # on a full disk, say: some executors bring the exception home
                _take_note(
                    self.out, job, index, told, None if isinstance(error, CorpusError) else traceback.format_exc()
                )
            raise CorpusError(f"{job.name}, task {index}: {told}") from None  # not InputError: something was written


def _for_us_alone(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@lru_cache(maxsize=4)
def _read_work(path: Path) -> Sequence[tuple[Job, int]]:
    return pickle.loads(path.read_bytes())  # type: ignore[no-any-return]  # written by this very build


def _note(out: Path, job: Job, index: int) -> Path:
    return out / "logs" / f"{job.name}-{index:05d}.error.json"


def _told(error: Exception) -> str:
    if isinstance(error, CorpusError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.strerror or error}: {error.filename or ''}"
    return f"{type(error).__name__}: {error}"


def _take_note(out: Path, job: Job, index: int, told: str, trace: str | None) -> None:
    note = _note(out, job, index)
    path = note.with_name(f"{job.name}-{index:05d}.traceback.txt") if trace else None
    if path and trace:
        path.write_text(trace, encoding="utf-8")
    failure = Failure(told, str(path) if path else None)
    write_text(note, canonical(dict(failure._asdict())), note.parent)


def quiet() -> None:
    """datatrove tells its story on stderr; progress is ours to show, and failures lie in notes."""
    from loguru import logger

    logger.disable("datatrove")


def run_wave(place: "Place", wave: Wave) -> None:
    """Runs a wave's tasks, and those again that were killed from outside. Raises CorpusError with what failed."""
    for attempt in range(place.attempts):
        wave.prepare()
        problem: CorpusError | None = None
        try:
            place.run(wave)
        except CorpusError as error:
            problem = error
        left = wave.left()
        failed = [rank for rank in left if wave.failure(rank)]
        if failed:
            raise CorpusError(_message(place, wave, failed, len(left)))
        if problem:
            raise problem
        if not left:
            return
        if attempt + 1 < place.attempts:
            wave.say(f"{len(left)} of {len(wave.work)} tasks were killed from outside; they are run again")
            wave = replace(wave, logs=wave.logs / "again", work=[wave.work[rank] for rank in left])
    raise CorpusError(_message(place, wave, left, len(left)))


def _message(place: "Place", wave: Wave, ranks: Sequence[int], left: int) -> str:
    lines = []
    for rank in ranks[:TOLD_FAILURES]:
        job, index = wave.work[rank]
        failure = wave.failure(rank) or Failure("its process was killed from outside, or its machine was lost", None)
        lines.append(f"{job.name}, task {index}: {failure.error}")
        if failure.traceback:
            lines.append(f"  the traceback is in {failure.traceback}")
        lines += [f"  {line}" for line in place.told(wave, rank)]
    if left > len(ranks[:TOLD_FAILURES]):
        lines.append(f"of {len(wave.work)} tasks, {left} are not done")
    return "\n".join([*lines, f"what was finished is kept; {same_command()} runs what is left"])


def same_command() -> str:
    """The command that the user gave, for a shell; whoever calls `build` as a function calls it again."""
    program = Path(sys.argv[0])
    typed = program.stem == "corpus" or program.parent.name == "corpus"  # the script, or `python -m corpus`
    return f"`{shlex.join(['corpus', *sys.argv[1:]])}`" if typed else "the same call"


def last_line(path: Path) -> str | None:
    """The last line of a log that says anything, fit for a terminal; None if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 4096))
            lines = [line for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
    except OSError:
        return None
    return "".join(each if each.isprintable() else "?" for each in lines[-1].strip())[:300] if lines else None

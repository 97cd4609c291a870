"""Verdicts on input that exhausted a parser or crashed it, kept in a job's folder so that reruns decide the same.

A task parses foreign bytes under the limits of `corpus/parse_limits.py`. A process that dies in a parse leaves
evidence. The process that runs the task next turns it into a verdict, before it does anything else, and books those
bytes as failed without parsing them. A MemoryError becomes a verdict at once.
"""

from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Self

from corpus.document import UnreadableError
from corpus.errors import CorpusError
from corpus.fetch.output import open_output
from corpus.parse_limits import Limit, ParseLimits, read_evidence
from corpus.settings import Json, Strict
from corpus.store.products import canonical
from pipelines.engine.job_output import JobOutput

MAX_VERDICTS = 20  # of one task. Each costs up to CPU_S and a restart of the task; the rest of the task fails unread
NAME_CHARACTERS = 1000  # of a file's name, so that a mark has room for it
FOLDER = "exhausted"  # in a job's folder
Phase = Literal["read", "document"]


class ExhaustedError(UnreadableError):
    """Raised in place of a parse that meets a limit, or is known to."""

    def __init__(self) -> None:
        super().__init__("exhausted")


class Place(NamedTuple):
    """Position of a parse in a task's input."""

    phase: Phase  # `read`: the reader's next step; `document`: the extraction of a record's text
    start: int  # of the span in the file
    record: int  # number of the span in the part of the file: in a compressed file, several may share a start
    file: str


class Verdict(Strict):
    """A place at which a parser met a limit."""

    phase: Phase
    start: int
    record: int
    file: str
    limit: Limit


class Verdicts(Strict):
    """The verdicts of a task, in the order in which they were found."""

    verdicts: tuple[Verdict, ...]


def deaths(output: JobOutput, index: int) -> int:
    """Return how many parses of this task died or ran out of memory. The number never falls."""
    evidence = [read_evidence(path) for path in _evidence_files(output, index)]
    return len(verdicts(output, index)) + sum(found is not None for found in evidence)


def verdicts(output: JobOutput, index: int) -> tuple[Verdict, ...]:
    """Return the verdicts on the input of a task."""
    path = output.path(_verdicts_file(index))
    if not path.is_file():
        return ()
    try:
        return Verdicts.model_validate_json(path.read_bytes()).verdicts
    except ValueError:
        raise CorpusError(f"{path}: damaged; delete it and build again") from None


class ParseGuard:
    """Context of a task that parses foreign bytes. `at` is the context of a single parse."""

    def __init__(self, output: JobOutput, index: int, process: str) -> None:
        """`process` is unique to this process, on all machines that share the output folder."""
        self._output, self._index = output, index
        self._limits = ParseLimits(output.folder / FOLDER / f"{index:05d}-{process}.evidence")
        self._found: dict[Place, Verdict] = {}
        self._met = 0  # verdicts that this run has come to
        self._place = Place("read", 0, 0, "")

    def __enter__(self) -> Self:
        for verdict in verdicts(self._output, self._index):
            self._found[_place(verdict)] = verdict
        files = _evidence_files(self._output, self._index)
        for mark, limit in filter(None, map(read_evidence, files)):
            phase, start, record, file = mark.decode("utf-8", "surrogatepass").split("\n", 3)
            self._add(Place("read" if phase == "read" else "document", int(start), int(record), file), limit)
        for path in files:
            path.unlink(missing_ok=True)
        self._limits.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._limits.__exit__(kind, error, trace)

    def at(self, phase: Phase, file: str, start: int, record: int) -> "_Parse":
        """Return the context of a parse. It raises ExhaustedError if the parse meets a limit, or is known to."""
        place = Place(phase, start, record, file[:NAME_CHARACTERS])
        if self._met >= MAX_VERDICTS or place in self._found:
            self._met += 1
            raise ExhaustedError
        self._place = place
        return _Parse(self)

    def arm(self) -> None:
        """Set the limits for the parse at the last place."""
        phase, start, record, file = self._place
        self._limits.arm(f"{phase}\n{start}\n{record}\n{file}".encode("utf-8", "surrogatepass"))

    def disarm(self, error: BaseException | None) -> None:
        """Lift the limits. Raises ExhaustedError if the parse ran out of memory or stack."""
        self._limits.disarm()
        if isinstance(error, (MemoryError, RecursionError)):
            self._add(self._place, "memory")
            self._met += 1
            raise ExhaustedError from None

    def _add(self, place: Place, limit: Limit) -> None:
        """Add a verdict, and write all of them before anything is decided by it."""
        phase, start, record, file = place
        self._found[place] = Verdict(phase=phase, start=start, record=record, file=file, limit=limit)
        rows: list[Json] = [verdict.model_dump(mode="json") for verdict in self._found.values()]
        path = self._output.folder / _verdicts_file(self._index)
        open_output(self._output.out).write(path, canonical({"verdicts": rows}), self._output.temporary)


class _Parse:
    """Context of a single parse."""

    def __init__(self, guard: ParseGuard) -> None:
        self._guard = guard

    def __enter__(self) -> None:
        self._guard.arm()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._guard.disarm(error)


def _place(verdict: Verdict) -> Place:
    return Place(verdict.phase, verdict.start, verdict.record, verdict.file)


def _verdicts_file(index: int) -> str:
    return f"{FOLDER}/{index:05d}.json"


def _evidence_files(output: JobOutput, index: int) -> list[Path]:
    return sorted((output.folder / FOLDER).glob(f"{index:05d}-*.evidence"))

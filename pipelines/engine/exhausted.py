"""Verdicts on input that exhausted a parser or crashed it, kept in a job's folder so that reruns decide the same.

A task parses foreign bytes under the limits of `corpus/parse_limits.py`. A process that dies in a parse leaves
evidence. The process that runs the task next turns it into a verdict, before it does anything else, and books those
bytes as failed without parsing them. A MemoryError becomes a verdict at once.
"""

import json
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Self

from corpus.document import UnreadableError
from corpus.errors import CorpusError
from corpus.fetch.output import open_output
from corpus.parse_limits import Limit, ParseLimits, read_evidence
from corpus.settings import Strict
from pipelines.engine.job_output import JobOutput

MAX_VERDICTS = 20  # of one task. Each costs up to CPU_S and a restart of the task; the rest of the task fails unread
NAME_CHARACTERS = 600  # of a file's name, so that a mark has room for it, with each character as up to 6 bytes
FOLDER = "exhausted"  # in a job's folder
Phase = Literal["read", "document"]


class ExhaustedError(UnreadableError):
    """Raised in place of a parse: `exhausted` if it meets a limit, `not_parsed` after MAX_VERDICTS."""


class Place(NamedTuple):
    """Position of a parse in a task's input."""

    phase: Phase  # `read`: the reader's next step; `document`: the extraction of a record's text
    start: int  # of the span in the file
    record: int  # number of the span in the part of the file: in a compressed file, several may share a start
    file: str


class Verdict(Strict):
    """A place at which a parser met a limit."""

    place: Place
    limit: Limit


class Verdicts(Strict):
    """The verdicts of a task, in the order in which they were found."""

    verdicts: tuple[Verdict, ...]


def deaths(output: JobOutput, index: int) -> int:
    """Return how many parses of this task died or ran out of memory. The number never falls."""
    evidence = [read_evidence(path) for path in _evidence_files(output, index)]
    return len(verdicts(output, index)) + sum(found is not None for found in evidence)


def all_verdicts(output: JobOutput) -> list[Verdict]:
    """Return the verdicts on the input of all tasks."""
    names = open_output(output.out).names(output.folder / FOLDER)
    indexes = sorted(int(name.removesuffix(".json")) for name in names if name.endswith(".json"))
    return [verdict for index in indexes for verdict in verdicts(output, index)]


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
        self._found: dict[Place, Limit] = {}
        self._met = 0  # verdicts that this run has come to
        self._file, self._name = "", '""'  # the last file, and its name as JSON

    def __enter__(self) -> Self:
        self._found = {verdict.place: verdict.limit for verdict in verdicts(self._output, self._index)}
        files = _evidence_files(self._output, self._index)
        for mark, limit in filter(None, map(read_evidence, files)):
            self._add(_place(mark), limit)
        for path in files:
            path.unlink(missing_ok=True)
        self._limits.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._limits.__exit__(kind, error, trace)

    def at(self, phase: Phase, file: str, start: int, record: int) -> "_Parse":
        """Return the context of one parse. Raises ExhaustedError, in the parse or before, if it meets a limit."""
        if self._met >= MAX_VERDICTS:
            raise ExhaustedError("not_parsed")
        if file is not self._file:
            self._file, self._name = file, json.dumps(file[:NAME_CHARACTERS])
        if self._found and Place(phase, start, record, file[:NAME_CHARACTERS]) in self._found:
            self._met += 1
            raise ExhaustedError("exhausted")
        return _Parse(self, self._limits, f'["{phase}", {start}, {record}, {self._name}]'.encode())

    def met_limit(self, mark: bytes) -> None:
        """Add the verdict on a parse that ran out of memory, and raise ExhaustedError."""
        self._add(_place(mark), "memory")
        self._met += 1
        raise ExhaustedError("exhausted") from None

    def _add(self, place: Place, limit: Limit) -> None:
        """Add a verdict, and write all of them before anything is decided by it."""
        self._found[place] = limit
        rows = tuple(Verdict(place=place, limit=limit) for place, limit in self._found.items())
        text, path = Verdicts(verdicts=rows).model_dump_json() + "\n", self._output.folder / _verdicts_file(self._index)
        open_output(self._output.out).write(path, text, self._output.temporary)


class _Parse:
    """Context of one parse. Plain code, since a line of JSON is parsed in some 20 us."""

    __slots__ = ("_guard", "_limits", "_mark")

    def __init__(self, guard: ParseGuard, limits: ParseLimits, mark: bytes) -> None:
        self._guard, self._limits, self._mark = guard, limits, mark

    def __enter__(self) -> None:
        self._limits.arm(self._mark)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._limits.disarm()
        if kind is not None and issubclass(kind, MemoryError | RecursionError):
            self._guard.met_limit(self._mark)


def _place(mark: bytes) -> Place:
    return Place(*json.loads(mark))


def _verdicts_file(index: int) -> str:
    return f"{FOLDER}/{index:05d}.json"


def _evidence_files(output: JobOutput, index: int) -> list[Path]:
    return sorted((output.folder / FOLDER).glob(f"{index:05d}-*.evidence"))

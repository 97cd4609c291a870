"""A source's datatrove steps at work: an instance of each to a task, and an answer that rests on one document alone."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from corpus.document import Document, Origin, UnreadableError, keyed_hash
from corpus.errors import CorpusError, InputError
from corpus.quality.datatrove_steps import Loaded, Step, load

REVISION = 1  # raised whenever a verdict or its name changes for any step

MAX_REASON = 60  # characters
MAX_REASONS = 100  # of one filter in one task; whatever else it says is told as no reason
ASKED_AGAIN, MAX_ASKED_AGAIN = 8, 100_000  # documents of a task, characters of each
SCORE_ONE = 1024  # of our language scores; datatrove's go to 1

PROBE = "The mill stands by the river. It grinds corn, and the people of the village bring it there.\n" * 3
PROBE_DOCUMENT = Document(
    id="0" * 32,
    text=PROBE,
    source="probe",
    url="https://example.org/mill",
    date="2024-05-01",
    language="en",
    license="cc0-1.0",
    origin=Origin("mill.txt", 0, len(PROBE)),
    signals={"language_score": SCORE_ONE},
)


class Answer(NamedTuple):
    """What a step says of a document: the text that goes on, or why it is dropped."""

    text: str
    dropped: str | None = None


class Chain:
    """The steps of one task. Without steps nothing of datatrove is loaded."""

    def __init__(self, steps: Sequence[Step]) -> None:
        """Raises InputError if one of them cannot be made."""
        made = [_Made(each) for each in load(steps)]
        self._formatters = [each for each in made if not each.step.is_filter]
        self._filters = [each for each in made if each.step.is_filter]

    def edit(self, text: str, identity: str) -> str:
        """The text as the formatters leave it, one after the other. Raises UnreadableError if one of them fails."""
        for step in self._formatters:
            text = step.ask(text, {"id": identity}).text
        return text

    def judge(self, document: Document) -> Answer:
        """What the filters say, in order, up to the first that drops it. Raises UnreadableError if one of them fails.

        Some filters edit what they keep: the next one sees that text, and it is what the answer holds.
        """
        text, facts = document.text, _metadata(document)
        for step in self._filters:
            answer = step.ask(text, facts)
            if answer.dropped is not None:
                return answer
            text = answer.text
        return Answer(text)

    def ask_again(self) -> None:
        """Asks of the first documents once more. Raises CorpusError if a step carried something from one to another."""
        for step in (*self._formatters, *self._filters):
            step.ask_again()


def _metadata(document: Document) -> Mapping[str, object]:
    """Return what a datatrove filter sees of a document beside its text; unknown values are left out."""
    score = document.signals.get("language_score")
    values = {
        "id": document.id,
        "url": document.url,
        "date": document.date,
        "language": document.language,
        "license": document.license,
        "source": document.source,
        "origin_file": document.origin.file,
        "origin_start": document.origin.start,
        "language_score": None if score is None else score / SCORE_ONE,
    }
    return {name: value for name, value in values.items() if value is not None}


def try_out(source: str, steps: Sequence[Step]) -> None:
    """Makes each step of a source and asks it of a plain document: what is missing, it says now. Raises InputError.

    A step that fetches a model or a list does so here.
    """
    try:
        chain = Chain(steps)
        chain.edit(PROBE, PROBE_DOCUMENT.id)
        for step in chain._filters:
            step.ask(PROBE, _metadata(PROBE_DOCUMENT))
    except UnreadableError as error:
        raise InputError(f"{source}: steps: {error.reason}, of a plain document: {error.__cause__}") from None
    except CorpusError as error:
        raise InputError(f"{source}: steps: {error}") from None


class _Made:
    """An instance. What it draws from, and the turns it takes, are set back before each document."""

    def __init__(self, step: Loaded) -> None:
        self.step = step
        try:
            self._instance: Any = step.kind(**step.arguments)
        except Exception as error:  # somebody's class: whatever it makes of its arguments
            raise InputError(f"`{step.use}` cannot be made: {type(error).__name__}: {error}") from None
        self._random = _generators(self._instance)
        self._turns = [each for each in vars(self._instance).values() if hasattr(each, "_replace_i")]
        self._reasons: set[str] = set()
        self._asked: list[tuple[str, Mapping[str, object], Answer]] = []

    def ask(self, text: str, facts: Mapping[str, object]) -> Answer:
        answer = self._answer(text, facts)
        if len(self._asked) < ASKED_AGAIN and len(text) <= MAX_ASKED_AGAIN:
            self._asked.append((text, facts, answer))
        if answer.dropped is None:
            return answer
        reason = snake_case(answer.dropped)
        if reason not in self._reasons and len(self._reasons) >= MAX_REASONS:
            reason = ""
        self._reasons.add(reason)
        return Answer(text, f"{self.step.name}.{reason}" if reason else self.step.name)

    def ask_again(self) -> None:
        for text, facts, answer in self._asked:
            try:
                same = self._answer(text, facts) == answer
            except UnreadableError:
                same = False
            if not same:
                raise CorpusError(
                    f"`{self.step.use}` answers otherwise when asked again of the document {facts['id']}: it keeps "
                    "something from document to document, so what it says depends on how input is cut into tasks. "
                    "Take it out of the recipe's steps, or let it judge each document alone."
                )

    def _answer(self, text: str, facts: Mapping[str, object]) -> Answer:
        self._set_back(str(facts["id"]))
        try:
            answer = self._filtered(text, facts) if self.step.is_filter else Answer(self._instance.format(text))
            if not isinstance(answer.text, str):
                raise TypeError(f"the text became {type(answer.text).__name__}")
        except (ImportError, OSError) as error:  # nothing that is in a document: each would fail
            raise CorpusError(f"`{self.step.use}`: {type(error).__name__}: {error}") from None
        except Exception as error:  # one document is lost, by name, and max_failed watches
            raise UnreadableError(f"{self.step.name}.{snake_case(type(error).__name__)}") from error
        return answer

    def _filtered(self, text: str, facts: Mapping[str, object]) -> Answer:
        from datatrove.data import Document
        from datatrove.pipeline.filters.base_filter import get_filter_result

        told = {name: value for name, value in facts.items() if name != "id"}
        document = Document(text=text, id=str(facts["id"]), metadata=told)
        (result,) = self._instance.filter_batch([document])
        keeps, reason = get_filter_result(result)
        return Answer(document.text) if keeps else Answer(text, str(reason or ""))

    def _set_back(self, identity: str) -> None:
        seed = self.step.arguments.get("seed")
        for generator in self._random:
            key = keyed_hash(seed if isinstance(seed, int) else 0, self.step.use, identity)
            generator.state = type(generator)(key).state
        for each in self._turns:  # of datatrove's PIIFormatter, whose replacements take turns
            each._replace_i = 0


def _generators(instance: Any) -> list[Any]:
    """What numpy's generators that an instance keeps, or bound methods of them, draw their bits from."""
    from numpy.random import Generator

    owners = (getattr(value, "__self__", value) for value in vars(instance).values())
    return [owner.bit_generator for owner in owners if isinstance(owner, Generator)]


def snake_case(text: str) -> str:
    """A name for the ledger: of a reason, or of an exception."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text[: 4 * MAX_REASON]).lower()
    return re.sub(r"[^a-z0-9_.]+", "_", parted)[:MAX_REASON].strip("_.")

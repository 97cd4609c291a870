"""Run a source's datatrove steps on one document at a time, so that no result depends on other documents."""

import re
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

from corpus.document import Document, Origin, UnreadableError, keyed_hash
from corpus.errors import CorpusError, InputError
from corpus.quality.datatrove_steps import LoadedStep, Step, load

REVISION = 1  # raise whenever a verdict or its name changes for any step

MAX_REASON = 60  # characters
MAX_REASONS = 100  # of one filter in one task; further ones are recorded under the filter's name alone
SCORE_ONE = 1024  # our language scores are integers up to this; datatrove's go to 1

PROBE = "The mill stands by the river. It grinds corn, and the people of the village bring it there.\n" * 3
_URL, _ORIGIN = "https://example.org/mill", Origin("mill.txt", 0, len(PROBE))
_SIGNALS = {"language_score": SCORE_ONE}
PROBE_DOCUMENT = Document("0" * 32, PROBE, "probe", _URL, "2024-05-01", "en", "cc0-1.0", _ORIGIN, _SIGNALS)


class StepVerdict(NamedTuple):
    """Result of a step: the text that goes on, and the reason if the document is dropped."""

    text: str
    dropped: str | None = None


class Chain:
    """The steps of one task. Without steps nothing of datatrove is imported."""

    def __init__(self, steps: Sequence[Step]) -> None:
        """Raises InputError if a step cannot be loaded or made."""
        runners = [_StepRunner(step) for step in load(steps)]
        self.formatters = [runner for runner in runners if not runner.step.is_filter]
        self.filters = [runner for runner in runners if runner.step.is_filter]

    def edit(self, text: str, identity: str) -> str:
        """Return the text after all formatters. Raises UnreadableError if one of them fails."""
        for formatter in self.formatters:
            text = formatter.run(text, identity, {}).text
        return text

    def judge(self, document: Document) -> StepVerdict:
        """Return the verdict of the first filter that drops the document, else the text after all filters.

        Filters may edit what they keep: the next filter sees the edited text. Raises UnreadableError if one fails.
        """
        text, metadata = document.text, _metadata(document)
        for runner in self.filters:
            verdict = runner.run(text, document.id, metadata)
            if verdict.dropped is not None:
                return verdict
            text = verdict.text
        return StepVerdict(text)


def _metadata(document: Document) -> Mapping[str, object]:
    """Return the metadata that a datatrove filter sees of a document; unknown values are left out."""
    score = document.signals.get("language_score")
    values = {name: getattr(document, name) for name in ("url", "date", "language", "license", "source")}
    values |= {"origin_file": document.origin.file, "origin_start": document.origin.start}
    values |= {"language_score": None if score is None else score / SCORE_ONE}
    return {name: value for name, value in values.items() if value is not None}


def try_out(source: str, steps: Sequence[Step]) -> None:
    """Run each step of a source twice on a plain document, which also fetches its model or list if it has one.

    Raises InputError if a step fails, or if its verdicts differ because it remembers the first run.
    """
    try:
        chain = Chain(steps)
        for runner in (*chain.formatters, *chain.filters):
            first, second = (runner.run(PROBE, PROBE_DOCUMENT.id, _metadata(PROBE_DOCUMENT)) for _ in range(2))
            if first != second:
                raise InputError(
                    f"`{runner.use}` gives another verdict when the same document comes again, so results would "
                    "depend on how the input is cut into tasks; remove it, or let it judge each document alone"
                )
    except UnreadableError as error:
        raise InputError(f"{source}: steps: {error.reason}, on a plain document: {error.__cause__}") from None
    except CorpusError as error:
        raise InputError(f"{source}: steps: {error}") from None


class _StepRunner:
    """Runs one step. A formatter, and a step that takes a `seed`, is made anew for each document.

    Formatters such as PIIFormatter count what they replaced before. A new seed from the document's id makes random
    verdicts independent of the order of documents.
    """

    def __init__(self, step: LoadedStep) -> None:
        self.step, self.use = step, step.step.use
        self._seed = step.arguments.get("seed")
        self._reasons: set[str] = set()
        try:
            self._instance: Any = step.kind(**step.arguments)
        except Exception as error:  # user code may raise anything
            raise InputError(f"`{self.use}` cannot be made: {type(error).__name__}: {error}") from None
        if "seed" not in step.arguments and _has_generator(self._instance):
            raise InputError(f"`{self.use}` draws at random but takes no `seed`, which is set for each document")

    def run(self, text: str, identity: str, metadata: Mapping[str, object]) -> StepVerdict:
        """Return the step's verdict. Raises UnreadableError if it fails on this document, CorpusError if on any."""
        try:
            instance = self._instance_for(identity)
            if self.step.is_filter:
                verdict = _filter(instance, text, identity, metadata)
            else:
                verdict = StepVerdict(instance.format(text))
            if not isinstance(verdict.text, str):
                raise TypeError(f"the text became {type(verdict.text).__name__}")
        except (ImportError, OSError) as error:  # a fault of the machine, which would fail all documents
            raise CorpusError(f"`{self.use}`: {type(error).__name__}: {error}") from None
        except Exception as error:  # only this document is lost, and max_failed limits their number
            raise UnreadableError(f"{self.step.name}.{snake_case(type(error).__name__)}") from error
        return verdict if verdict.dropped is None else StepVerdict(text, self._ledger_name(verdict.dropped))

    def _instance_for(self, identity: str) -> Any:
        if "seed" in self.step.arguments:
            seed = keyed_hash(self._seed if isinstance(self._seed, int) else 0, self.use, identity)
            return self.step.kind(**{**self.step.arguments, "seed": seed})
        return self._instance if self.step.is_filter else self.step.kind(**self.step.arguments)

    def _ledger_name(self, reason: str) -> str:
        reason = snake_case(reason)
        if reason not in self._reasons and len(self._reasons) >= MAX_REASONS:
            reason = ""
        self._reasons.add(reason)
        return f"{self.step.name}.{reason}" if reason else self.step.name


def _filter(instance: Any, text: str, identity: str, metadata: Mapping[str, object]) -> StepVerdict:
    from datatrove.data import Document as DatatroveDocument
    from datatrove.pipeline.filters.base_filter import get_filter_result

    document = DatatroveDocument(text=text, id=identity, metadata=dict(metadata))
    (result,) = instance.filter_batch([document])
    keeps, reason = get_filter_result(result)
    return StepVerdict(document.text) if keeps else StepVerdict(text, str(reason or ""))


def _has_generator(instance: Any) -> bool:
    """True if the instance keeps a random generator, or a bound method of one."""
    from numpy.random import Generator, RandomState

    owners = (getattr(value, "__self__", value) for value in vars(instance).values())
    return any(isinstance(owner, (Generator, RandomState, Random)) for owner in owners)


def snake_case(text: str) -> str:
    """Return a short name for the ledger of a reason or an exception."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text[: 4 * MAX_REASON]).lower()
    return re.sub(r"[^a-z0-9_.]+", "_", words)[:MAX_REASON].strip("_.")

"""What a run is scored by: evaluations as they are recorded, yardsticks beside them, the table and the page."""

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console

from corpus.store.products import write_text
from trainer.engine.checkpoint_state import State
from trainer.engine.parallel import Distributed, any_rank, from_first
from trainer.engine.start_run import Setup
from trainer.inspect.baselines import evaluations_table, measure
from trainer.inspect.console import RunConsole
from trainer.inspect.curves import write_page
from trainer.inspect.evaluate import evaluate
from trainer.inspect.generate import generate
from trainer.inspect.metrics import EvaluationRow, EvaluationsFile, MetricsFile
from trainer.inspect.read_tokenizer import open_tokenizer
from trainer.inspect.run_charts import PhaseMark
from trainer.inspect.scores import Record, Yardsticks
from trainer.model.transformer import Transformer

SAMPLE_TOKENS = 80
TOP_K = 50
PAGE_STEPS = 20_000  # beyond, all processes would wait for long; the page is then written at the ends of phases


class _Kept(Record):
    """`yardsticks.json`: what was measured, and on which corpora."""

    corpora: dict[str, str]
    yardsticks: Yardsticks


class Scoring:
    """The evaluations of a run. All processes score; the first records."""

    def __init__(
        self,
        setup: Setup,
        distributed: Distributed,
        console: RunConsole,
        context: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self.setup, self.distributed, self.console, self.context = setup, distributed, console, context
        self.file = EvaluationsFile(setup.folder)

    def has(self, step: int, label: str) -> bool:
        """Whether this is recorded, by the settings there are now. All processes ask together."""
        asked = (step, label, self._sequence_tokens, self.setup.training.evaluate.tokens_per_source)
        found = ((row.step, row.after, row.sequence_tokens, row.tokens_per_source) for row in self.file.rows())
        return any_rank(self.distributed, self.distributed.rank == 0 and asked in found)

    @property
    def _sequence_tokens(self) -> int:
        training = self.setup.training
        return training.evaluate.sequence_tokens or training.curriculum[0].sequence_tokens

    def score(self, model: Transformer, step: int, label: str) -> EvaluationRow | None:
        """Evaluates the model after `step`, and generates from the prompts that are set.

        Gives what it recorded: None if that had been done before, and on other processes than the first.
        """
        if self.has(step, label):
            return None
        training, began = self.setup.training, time.perf_counter()
        asked = training.evaluate
        found = evaluate(
            model,
            self.setup.corpora,
            sequence_tokens=self._sequence_tokens,
            batch_sequences=asked.batch_sequences,
            tokens_per_source=asked.tokens_per_source,
            distributed=self.distributed,
            forward_context=self.context,
            progress=self.console.evaluating,
        )
        samples = [(prompt, self._sample(model, prompt)) for prompt in asked.prompts]
        if self.distributed.rank:
            return None
        row = EvaluationRow(
            step=step,
            after=label,
            tokens=self.setup.curriculum.tokens(step),
            seconds=time.perf_counter() - began,
            **dict(found),
        )
        self.file.write(row)
        if row.bits_per_byte is not None:
            self.console.say(f"{label}: {row.bits_per_byte:.4f} bits per byte over all holdouts")
        if step <= PAGE_STEPS or not label.startswith("step "):
            self._show(samples)
        return row

    def _show(self, samples: list[tuple[str, str]]) -> None:
        """Writes the page. Whatever keeps it from being written must not end a run."""
        try:
            write_text(self.setup.folder / "samples.json", json.dumps(samples, indent=1) + "\n", self.setup.folder)
            write_run_page(self.setup)
        except Exception as error:
            self.console.say(f"the page could not be written: {type(error).__name__}: {error}")

    def _sample(self, model: Transformer, prompt: str) -> str:
        tokenizer = open_tokenizer(self.setup.corpora.tokenizer)
        drawn = generate(
            model,
            tokenizer,
            prompt,
            tokens=SAMPLE_TOKENS,
            temperature=0.8,
            top_k=TOP_K,
            seed=self.setup.training.seed,
            eos_id=self.setup.corpora.tokenizer.eos_id,
            forward_context=self.context,
            agree=partial(from_first, self.distributed),
        )
        return "".join(drawn)


def label_of(setup: Setup, state: State | None) -> str:
    """What the evaluation of a checkpoint is called."""
    if state is None:
        return "before"
    if state.step_in_phase == 0 and 0 < state.phase <= len(setup.curriculum.phases):  # stopped before its first step
        return f"after {setup.curriculum.phases[state.phase - 1].name}"
    return f"after {state.phase_name}" if state.phase_done else f"step {state.step}"


def yardsticks(setup: Setup, console: RunConsole) -> Yardsticks:
    """The yardsticks of the run's corpora: measured once, then kept in the run folder."""
    kept = kept_yardsticks(setup)
    if kept is None:
        kept = measure(setup.corpora, setup.training.evaluate.tokens_per_source, console.evaluating)
        told = _Kept(corpora=_contents(setup), yardsticks=kept).model_dump_json(indent=1)
        write_text(setup.folder / "yardsticks.json", told + "\n", setup.folder)
    return kept


def kept_yardsticks(setup: Setup) -> Yardsticks | None:
    """Those in the run folder, if they are of these corpora and as many tokens."""
    try:
        kept = _Kept.model_validate_json((setup.folder / "yardsticks.json").read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    asked = setup.training.evaluate.tokens_per_source
    same = kept.corpora == _contents(setup) and kept.yardsticks.tokens_per_source == asked
    return kept.yardsticks if same else None


def _contents(setup: Setup) -> dict[str, str]:
    return {name: opened.content_sha256 for name, opened in setup.corpora.manifests.items()}


def print_table(setup: Setup) -> None:
    """The evaluations before training, after each phase and of the last step, beside what yardsticks are known."""
    asked = setup.training.evaluate.tokens_per_source
    rows = [row for row in EvaluationsFile(setup.folder).rows() if row.tokens_per_source == asked]
    shown = [row for row in rows if not row.after.startswith("step ") or row is rows[-1]]
    Console().print(evaluations_table(shown, kept_yardsticks(setup) or Yardsticks()), crop=False)


def write_run_page(setup: Setup) -> Path:
    """The run's page, from what its folder holds."""
    marks = [
        PhaseMark(
            phase.name,
            phase.first_step,
            phase.last_step,
            setup.curriculum.tokens(phase.first_step - 1),
            setup.curriculum.tokens(phase.last_step),
        )
        for phase in setup.curriculum.phases
    ]
    try:
        samples = [(str(prompt), str(text)) for prompt, text in json.loads((setup.folder / "samples.json").read_text())]
    except (FileNotFoundError, ValueError, TypeError):
        samples = []
    return write_page(
        setup.folder,
        setup.training.name,
        marks,
        MetricsFile(setup.folder).rows(),
        list(EvaluationsFile(setup.folder).rows()),
        kept_yardsticks(setup) or Yardsticks(),
        samples,
    )

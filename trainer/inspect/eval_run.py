"""Evaluations of a run: recorded in its folder, shown by `trainer eval` and on its page."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from trainer.engine.checkpoint_state import CheckpointState
from trainer.engine.distributed import Distributed, any_rank, start, sums
from trainer.engine.resume import load_trained
from trainer.engine.run_setup import RunSetup, read_setup
from trainer.inspect.baselines import load_baselines, measure_baselines, save_baselines
from trainer.inspect.console import RunConsole
from trainer.inspect.eval_table import rich_table
from trainer.inspect.evaluate import EvaluationStopped, evaluate
from trainer.inspect.generate import Sampling, generate
from trainer.inspect.metrics import EvaluationRow, evaluations_file
from trainer.inspect.run_page import try_write_run_page, write_run_page
from trainer.model.transformer import Transformer

SAMPLE_TOKENS = 80
SAMPLE_TEMPERATURE, SAMPLE_TOP_K = 0.8, 50
# All processes wait while the page is written. Of longer runs it is written at the ends of phases only.
MAX_PAGE_STEPS = 20_000


class RunEvaluator:
    """Evaluates the model of a run. All processes evaluate; the first one records the result.

    `stop` says if this process was asked to stop.
    """

    def __init__(
        self,
        setup: RunSetup,
        distributed: Distributed,
        console: RunConsole,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.setup, self.distributed, self.console, self._stop = setup, distributed, console, stop
        self.file = evaluations_file(setup.folder)
        settings = setup.training.evaluate
        self._sequence_tokens = settings.sequence_tokens or setup.training.curriculum[0].sequence_tokens

    def is_recorded(self, step: int, label: str) -> bool:
        """Return True if this evaluation was recorded under the current settings. All processes call this together."""
        key = (step, label, self._sequence_tokens, self.setup.training.evaluate.tokens_per_source)
        keys = ((row.step, row.after, row.sequence_tokens, row.tokens_per_source) for row in self.file.rows())
        return any_rank(self.distributed, self.distributed.rank == 0 and key in keys)

    def evaluate(self, model: Transformer, step: int, label: str) -> EvaluationRow | None:
        """Evaluate the model after `step`, and generate from the prompts of the settings.

        Returns the recorded row; None on other processes than the first, and if it was recorded before. Raises
        EvaluationStopped on all processes, and records nothing, if any is asked to stop.
        """
        if self.is_recorded(step, label):
            return None
        # All processes evaluate and generate together; the first one goes on.
        settings, start_s = self.setup.training.evaluate, time.perf_counter()
        sources = evaluate(
            model,
            self.setup.corpora,
            sequence_tokens=self._sequence_tokens,
            batch_sequences=settings.batch_sequences,
            tokens_per_source=settings.tokens_per_source,
            distributed=self.distributed,
            progress=self.console.evaluating,
            stop=self._stop,
        )
        samples = [(prompt, self._sample(model, prompt, step)) for prompt in settings.prompts]
        if self.distributed.rank:
            return None
        row = EvaluationRow(
            step=step,
            sequence_tokens=self._sequence_tokens,
            stride_tokens=self._sequence_tokens,
            tokens_per_source=settings.tokens_per_source,
            sources=sources,
            after=label,
            tokens=self.setup.curriculum.tokens(step),
            seconds=time.perf_counter() - start_s,
        )
        # Record, then show: the page is written last, because it reads the recorded rows.
        self.file.write(row)
        if row.bits_per_byte is not None:
            self.console.say(f"{label}: {row.bits_per_byte:.4f} bits per byte over all holdouts")
        if step <= MAX_PAGE_STEPS or not label.startswith("step "):
            try_write_run_page(self.setup, self.console.say, samples)
        return row

    def _sample(self, model: Transformer, prompt: str, step: int) -> str:
        sampling = Sampling(SAMPLE_TOKENS, SAMPLE_TEMPERATURE, SAMPLE_TOP_K, self.setup.training.seed)
        # As many tokens of context as the model was trained with last, as in `trainer generate`.
        phases = self.setup.curriculum.phases
        phase = next((phase for phase in reversed(phases) if phase.first_step <= step), phases[0])
        file, context_tokens = self.setup.corpora.tokenizer, phase.sequence_tokens
        return "".join(generate(model, file, prompt, sampling, context_tokens, self._first_token))

    def _first_token(self, token: int) -> int:
        """Return the token of the first process, unless any is asked to stop."""
        first, stops = sums(self.distributed, [0 if self.distributed.rank else token, int(self._stop())])
        if stops:
            raise EvaluationStopped
        return first


def evaluation_label(setup: RunSetup, state: CheckpointState | None) -> str:
    """Return the name under which the evaluation of a checkpoint is recorded; None stands for the initial weights."""
    if state is None or state.step == 0:
        return "before"
    if state.step_in_phase == 0 and 0 < state.phase <= len(setup.curriculum.phases):  # stopped before its first step
        return f"after {setup.curriculum.phases[state.phase - 1].name}"
    return f"after {state.phase_name}" if state.phase_done else f"step {state.step}"


def show_evaluations(config: Path | None, assignments: Sequence[str], as_json: bool) -> None:
    """Run `trainer eval`: evaluate the last checkpoint if needed, and print all evaluations beside the baselines."""
    setup = read_setup(config, assignments)
    with start() as distributed, RunConsole(silent=distributed.rank > 0 or as_json) as console:
        model, state = load_trained(setup, distributed, None)
        evaluator = RunEvaluator(setup, distributed, console)
        evaluator.evaluate(model, state.step, evaluation_label(setup, state))
    # One process measures, prints and writes.
    if distributed.rank:
        return
    baselines = load_baselines(setup)
    if not baselines.sources:
        with RunConsole(silent=as_json) as console:
            limit = setup.training.evaluate.tokens_per_source
            baselines = measure_baselines(setup.corpora, limit, console.evaluating)
        save_baselines(setup, baselines)
    page = write_run_page(setup.folder, baselines)
    if as_json:
        rows = [row.model_dump() for row in evaluations_file(setup.folder).rows()]
        print(json.dumps({"evaluations": rows, "baselines": baselines.model_dump()}, indent=2))
    else:
        print_evaluations(setup)
        print(f"Report: {page}")


def print_evaluations(setup: RunSetup) -> None:
    """Print the evaluations before training, after each phase and of the last step, beside the known baselines."""
    limit = setup.training.evaluate.tokens_per_source
    rows = [row for row in evaluations_file(setup.folder).rows() if row.tokens_per_source == limit]
    # A phase that became longer has an evaluation at its earlier end.
    ends = {0, *(phase.last_step for phase in setup.curriculum.phases)}
    selected = [row for row in rows if (row.step in ends and not row.after.startswith("step ")) or row is rows[-1]]
    Console().print(rich_table(selected, load_baselines(setup)), crop=False)

"""What a trained model is asked: `trainer eval` and `trainer generate`."""

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from corpus.errors import InputError
from trainer.engine.checkpoint import Checkpoints
from trainer.engine.checkpoint_state import State, read_state
from trainer.engine.parallel import Distributed, chosen_precision, forward_context, from_first, start
from trainer.engine.resume import refuse_other_models
from trainer.engine.start_run import Setup, build_model, read_setup
from trainer.inspect.console import make_console
from trainer.inspect.generate import generate
from trainer.inspect.metrics import EvaluationsFile
from trainer.inspect.read_tokenizer import open_tokenizer
from trainer.inspect.scoring import Scoring, label_of, print_table, write_run_page, yardsticks
from trainer.model.transformer import Transformer


def show_scores(config: Path | None, assignments: Sequence[str], as_json: bool) -> None:
    """Scores the last checkpoint, if that was not done, and prints all evaluations beside the yardsticks."""
    setup = read_setup(config, assignments)
    with start() as distributed, make_console(silent=distributed.rank > 0 or as_json) as console:
        found = trained(setup, distributed, None)
        Scoring(setup, distributed, console, found.context).score(
            found.model, found.state.step, label_of(setup, found.state)
        )
    if distributed.rank:
        return
    with make_console(silent=as_json) as console:
        measured = yardsticks(setup, console)
    page = write_run_page(setup)
    if as_json:
        rows = [row.model_dump() for row in EvaluationsFile(setup.folder).rows()]
        print(json.dumps({"evaluations": rows, "yardsticks": measured.model_dump()}, indent=2))
        return
    print_table(setup)
    print(f"Report: {page}")


def write_on(
    config: Path | None,
    assignments: Sequence[str],
    prompt: str,
    tokens: int,
    temperature: float,
    top_k: int,
    seed: int,
    checkpoint: int | None,
) -> None:
    """Prints the prompt and what the model writes behind it, as it comes."""
    setup = read_setup(config, assignments)
    with start() as distributed:
        out = Console(markup=False, highlight=False, soft_wrap=True, quiet=distributed.rank > 0)
        found = trained(setup, distributed, checkpoint)
        context_tokens = found.state.phase_settings["sequence_tokens"]
        assert isinstance(context_tokens, int)
        drawn = generate(
            found.model,
            open_tokenizer(setup.corpora.tokenizer),
            prompt,
            tokens=tokens,
            temperature=temperature,
            top_k=top_k,
            seed=seed,
            eos_id=setup.corpora.tokenizer.eos_id,
            context_tokens=context_tokens,
            forward_context=found.context,
            agree=partial(from_first, distributed),
        )
        out.print(prompt, end="", style="bold")
        for text in drawn:
            out.print(text, end="")
        out.print()


class Trained(NamedTuple):
    """A checkpoint's model, and what a forward pass of it runs under."""

    model: Transformer
    state: State
    context: Callable[[], AbstractContextManager[object]]


def trained(setup: Setup, distributed: Distributed, step: int | None) -> Trained:
    """That of the last checkpoint, or of a step's. Raises InputError if there is none, or one of another model."""
    checkpoints = Checkpoints(setup.folder / "checkpoints", distributed, setup.training.checkpoint.keep, False)
    path = checkpoints.latest() if step is None else checkpoints.of_step(step)
    if path is None:
        there = ", ".join(sorted(each.name for each in checkpoints.folder.glob("step-*"))) or "none"
        what = "no checkpoint" if step is None else f"no checkpoint of step {step}"
        raise InputError(f"{what} in {checkpoints.folder} (there are: {there}); run `trainer fit` first")
    state = read_state(path)
    refuse_other_models(setup, state, path)
    precision = chosen_precision(setup.training.parallel.precision, distributed.device)
    model = build_model(setup, distributed, precision, initial=False)
    checkpoints.load(path, model, None)
    return Trained(model, state, partial(forward_context, distributed, precision))

"""What a trained model is asked: `trainer eval` and `trainer generate`."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from corpus.errors import InputError
from trainer.checkpoint import Checkpoints
from trainer.checkpoint_state import State, read_state
from trainer.console import make_console
from trainer.generate import generate
from trainer.metrics import EvaluationsFile
from trainer.model import Transformer
from trainer.parallel import Layout, chosen_precision, forward_context, start
from trainer.resume import refuse_others
from trainer.scoring import Scoring, print_table, write_run_page, yardsticks
from trainer.setup import Setup, build_model, read_setup
from trainer.tokenizer import open_tokenizer


def show_scores(config: Path | None, assignments: Sequence[str], as_json: bool) -> None:
    """Scores the last checkpoint, if that was not done, and prints all evaluations beside the yardsticks."""
    setup = read_setup(config, assignments)
    with start() as layout, make_console(silent=layout.rank > 0 or as_json) as console:
        model, state = trained(setup, layout, None)
        context = partial(forward_context, layout, chosen_precision(setup.training.parallel.precision, layout.device))
        label = f"after {state.phase_name}" if state.phase_done else f"step {state.step}"
        Scoring(setup, layout, console, context).score(model, state.step, label)
        if layout.rank:
            return
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
    out = Console(markup=False, highlight=False, soft_wrap=True)
    with start() as layout:
        model, state = trained(setup, layout, checkpoint)
        phase = setup.curriculum.phases[state.phase]
        context = partial(forward_context, layout, chosen_precision(setup.training.parallel.precision, layout.device))
        drawn = generate(
            model,
            open_tokenizer(setup.corpora.tokenizer),
            prompt,
            tokens=tokens,
            temperature=temperature,
            top_k=top_k,
            seed=seed,
            eos_id=setup.corpora.tokenizer.eos_id,
            context_tokens=phase.sequence_tokens,
            forward_context=context,
        )
        out.print(prompt, end="", style="bold")
        for text in drawn:
            if layout.rank == 0:
                out.print(text, end="")
    out.print()


def trained(setup: Setup, layout: Layout, step: int | None) -> tuple[Transformer, State]:
    """The model of the last checkpoint, or of a step's. Raises InputError if there is none, or one of another model."""
    saving = setup.training.checkpoint
    checkpoints = Checkpoints(setup.folder / "checkpoints", layout, saving.keep, False)
    path = checkpoints.latest() if step is None else checkpoints.of_step(step)
    if path is None:
        there = ", ".join(sorted(each.name for each in checkpoints.folder.glob("step-*"))) or "none"
        what = "no checkpoint" if step is None else f"no checkpoint of step {step}"
        raise InputError(f"{what} in {checkpoints.folder} (there are: {there}); run `trainer fit` first")
    state = read_state(path)
    refuse_others(setup, state, path, other_corpus=True)
    model = build_model(setup, layout, chosen_precision(setup.training.parallel.precision, layout.device))
    checkpoints.load(path, model, None)
    return model, state

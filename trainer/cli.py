"""The command `trainer`: plan, fit, status, report, eval, generate, trace."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from corpus.display.standard_streams import survive_closed_streams
from corpus.errors import CorpusError, InputError, os_error_text

FIRST_STEPS = """\
trainer trains a language model on the token shards of `corpus build`, in the phases of a training file.

Start with the small model that comes with the source; it trains in minutes on a CPU:

  corpus build recipes/quickstart.yaml                     build its corpus
  trainer plan --config recipes/train_quickstart.yaml      check the training file; show time, memory and cost
  trainer fit --config recipes/train_quickstart.yaml       train, or resume training
  trainer status runs/quickstart                           show how far it is; `trainer report` writes its page
  trainer eval --config recipes/train_quickstart.yaml      show bits per byte on each source's holdout

`trainer --help` lists all commands. docs/training.md describes the training file."""

app = typer.Typer(
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train a language model on the token shards of `corpus build`.",
)

Config = Annotated[
    Path | None,
    typer.Option("--config", help="Training file. (default: ./train.yaml, else recipes/train.yaml)", metavar="FILE"),
]
File = Annotated[Path | None, typer.Argument(help="Training file, in place of --config.", metavar="[FILE]")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a setting: key.path=value. Can be repeated.", metavar="KEY=VALUE"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
AtStep = Annotated[
    int | None, typer.Option("--checkpoint", min=1, help="Step of the checkpoint. (default: the last)", metavar="N")
]


@app.callback()
def start(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    if version:
        from importlib.metadata import version as version_of

        print(f"gristmill {version_of('gristmill')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(FIRST_STEPS)


@app.command()
def plan(
    file: File = None,
    config: Config = None,
    assignments: Set = None,
    without_corpus: Annotated[bool, typer.Option(help="Plan before the corpus is built.")] = False,
    vocabulary: Annotated[int, typer.Option(help="Tokens in the vocabulary, with --without-corpus.")] = 32_768,
    as_json: AsJson = False,
) -> None:
    """Check the training file against its corpora, and show time, memory and cost."""
    from trainer.inspect.plan_tables import show_plan

    show_plan(
        _one(file, config), assignments or [], without_corpus=without_corpus, as_json=as_json, vocabulary=vocabulary
    )


@app.command()
def fit(
    file: File = None,
    phase: Annotated[str | None, typer.Option("--phase", help="Train only this phase.", metavar="NUMBER|NAME")] = None,
    config: Config = None,
    assignments: Set = None,
    other_corpus: Annotated[
        bool, typer.Option(help="Resume even if a corpus differs from the one that the checkpoint was trained on.")
    ] = False,
    branch_from: Annotated[
        str | None,
        typer.Option(
            "--from", help="Begin with a checkpoint of another run. (default: its last)", metavar="RUN[@STEP]"
        ),
    ] = None,
    fresh_optimizer: Annotated[
        bool, typer.Option("--fresh-optimizer", help="With --from: leave out the optimizer's moments.")
    ] = False,
) -> None:
    """Train all remaining phases, or one; resume from the last checkpoint."""
    from trainer.fit import fit as train

    train(_one(file, config), phase, assignments or [], other_corpus, branch_from, fresh_optimizer)


@app.command()
def status(
    run: Annotated[
        Path | None, typer.Argument(help="Run folder or training file. (default: as in fit)", metavar="[RUN]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show how far a run is; also while it trains."""
    from trainer.inspect.run_status import show_status

    show_status(run, as_json)


@app.command()
def report(
    runs: Annotated[
        list[Path] | None, typer.Argument(help="Run folders or training files. (default: as in fit)", metavar="[RUN]…")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File of a page of several runs. (default: comparison.html)", metavar="FILE")
    ] = None,
) -> None:
    """Write the page of a run, also while it trains, or one page of several runs."""
    from trainer.inspect.comparison import show_report

    show_report(runs or [], out)


@app.command("eval")
def eval_(file: File = None, config: Config = None, assignments: Set = None, as_json: AsJson = False) -> None:
    """Show bits per byte on each source's holdout, next to the baselines."""
    from trainer.inspect.eval_run import show_evaluations

    show_evaluations(_one(file, config), assignments or [], as_json)


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help="Beginning of a document.")] = "",
    tokens: Annotated[int, typer.Option(min=1, help="Limit on the number of tokens.")] = 100,
    temperature: Annotated[float, typer.Option(min=0, help="0: always the most likely token.")] = 0.8,
    top_k: Annotated[int, typer.Option(min=1, help="Sample from this many of the most likely tokens.")] = 50,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sampling.")] = 1,
    checkpoint: AtStep = None,
    config: Config = None,
    assignments: Set = None,
) -> None:
    """Continue a prompt with the model of a checkpoint."""
    from trainer.inspect.generate import Sampling, print_generated

    print_generated(config, assignments or [], prompt, Sampling(tokens, temperature, top_k, seed), checkpoint)


@app.command()
def trace(
    step: Annotated[int, typer.Option("--step", min=1, help="Step of the curriculum, from 1.", metavar="N")],
    file: File = None,
    config: Config = None,
    assignments: Set = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line and span.")] = False,
) -> None:
    """List the documents in the batch of a step."""
    from trainer.inspect.trace import show_trace

    show_trace(_one(file, config), assignments or [], step, as_json)


def _one(file: Path | None, config: Path | None) -> Path | None:
    """Return the training file, given in one of two ways. Raises InputError if it is given in both."""
    if file is not None and config is not None:
        raise InputError(f"two training files: {file} and --config {config}; name one")
    return file or config


def main() -> None:
    """Run the command. Errors that the user can act on are printed without a traceback."""
    survive_closed_streams()
    try:
        app()
    except CorpusError as error:
        # Of an error that all processes raise together, only rank 0 prints it.
        rank = os.environ.get("RANK", "0")
        if rank == "0" or not getattr(error, "by_all", False):
            from corpus.display.terminal import printable

            message = f"trainer: {'' if rank == '0' else f'rank {rank}: '}{error}"
            print(printable(message, keep_line_ends=True), file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        print(f"trainer: {os_error_text(error)}", file=sys.stderr)
        sys.exit(1)

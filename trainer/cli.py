"""The command `trainer`: plan, fit, eval, generate, trace."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from corpus.errors import CorpusError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Trains a transformer on the token shards of a corpus, through a curriculum.",
)

Config = Annotated[
    Path | None,
    typer.Option("--config", help="A training file. (default: ./train.yaml, else recipes/train.yaml)", metavar="FILE"),
]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="Overrides a setting: key.path=value.", metavar="KEY=VALUE")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
AtStep = Annotated[
    int | None, typer.Option("--checkpoint", min=1, help="The step of a checkpoint. (default: the last)", metavar="N")
]


@app.command()
def plan(
    config: Config = None,
    assignments: Set = None,
    without_corpus: Annotated[bool, typer.Option(help="Plan before the corpus is built.")] = False,
    vocabulary: Annotated[int, typer.Option(help="Of the tokenizer, without a corpus.")] = 32_768,
    as_json: AsJson = False,
) -> None:
    """Show what a curriculum reads, needs and costs; refuse it if the corpora cannot feed it."""
    from trainer.inspect.training_plan import show_plan

    show_plan(config, assignments or [], without_corpus=without_corpus, as_json=as_json, vocabulary=vocabulary)


@app.command()
def fit(
    phase: Annotated[str | None, typer.Option("--phase", help="One phase.", metavar="NUMBER|NAME")] = None,
    config: Config = None,
    assignments: Set = None,
    other_corpus: Annotated[bool, typer.Option(help="Go on although a corpus is not the checkpoint's.")] = False,
) -> None:
    """Train a phase, or all that is left; go on from the last checkpoint."""
    from trainer.fit import fit as train

    train(config, phase, assignments or [], other_corpus)


@app.command("eval")
def eval_(config: Config = None, assignments: Set = None, as_json: AsJson = False) -> None:
    """Show held-out bits per byte by source, beside what a unigram and xz reach."""
    from trainer.inspect.load_model import show_scores

    show_scores(config, assignments or [], as_json)


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help="The beginning of a document.")] = "",
    tokens: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    temperature: Annotated[float, typer.Option(min=0, help="0: always the likeliest token.")] = 0.8,
    top_k: Annotated[int, typer.Option(min=1, help="Draw from so many of the likeliest.")] = 50,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    checkpoint: AtStep = None,
    config: Config = None,
    assignments: Set = None,
) -> None:
    """Write on from a prompt with the last checkpoint's model."""
    from trainer.inspect.load_model import write_on

    write_on(config, assignments or [], prompt, tokens, temperature, top_k, seed, checkpoint)


@app.command()
def trace(
    step: Annotated[int, typer.Option("--step", min=1, help="A step of the curriculum, from 1.", metavar="N")],
    config: Config = None,
    assignments: Set = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, a line a span.")] = False,
) -> None:
    """Name the documents in the batch of a step."""
    from trainer.inspect.trace import show_trace

    show_trace(config, assignments or [], step, as_json)


def main() -> None:
    """Runs the command; an error that a person can act on is printed without a traceback."""
    try:
        app()
    except CorpusError as error:
        rank = os.environ.get("RANK", "0")
        if rank == "0" or not getattr(error, "by_all", False):
            print(f"trainer: {'' if rank == '0' else f'process {rank}: '}{error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("trainer: stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:
        print(f"trainer: {error.filename or 'the output'}: {error.strerror or error}", file=sys.stderr)
        sys.exit(1)

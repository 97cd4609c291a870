"""The command `corpus`: plan, build, verify, stats, report, explain."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from corpus.errors import CorpusError, InputError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Turns the sources of a recipe into token shards, with every document accounted for.",
)


def _folder(written: str) -> Path:
    """An empty name (of a variable that is not set) would stand for the current folder."""
    if not written.strip():
        raise InputError("--out: the name is empty; name a folder (the current one is `.`), or leave --out away")
    return Path(written)


def _assigned(assignments: list[str] | None, sample: str | None) -> list[str]:
    return [*(assignments or []), *([f"sample={sample}"] if sample is not None else [])]


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"gristmill {version('gristmill')}")
        raise typer.Exit


RecipeFile = Annotated[Path, typer.Argument(help="A recipe, such as recipes/quickstart.yaml.", metavar="RECIPE")]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="Overrides a setting: key.path=value.", metavar="KEY=VALUE")
]
SampleOf = Annotated[
    str | None, typer.Option("--sample", help="Only so many files a source, or a share such as 5%.", metavar="N|N%")
]
Out = Annotated[
    Path | None,
    typer.Option(
        parser=_folder, help="The output folder. (default: the recipe's `out`, or build/<name>)", metavar="PATH"
    ),
]
On = Annotated[str | None, typer.Option("--on", help="The place: a file, or a name in recipes/on/.", metavar="PLACE")]
Built = Annotated[
    Path | None, typer.Argument(help="A build's folder. (default: the only one under build/)", metavar="OUT")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options that stand before a command."""


@app.command()
def plan(recipe: RecipeFile, out: Out = None, on: On = None, assignments: Set = None, sample: SampleOf = None) -> None:
    """Show the jobs of a recipe, their fingerprints, and which are done."""
    from pipelines.show import show_plan

    show_plan(recipe, out, on, _assigned(assignments, sample))


@app.command()
def build(
    recipe: RecipeFile,
    workers: Annotated[int | None, typer.Option(min=1, help="Tasks at once. (default: one a core)")] = None,
    on: On = None,
    out: Out = None,
    assignments: Set = None,
    sample: SampleOf = None,
) -> None:
    """Build a recipe's corpus, or what is left of it."""
    from pipelines.executors import read_place
    from pipelines.run import build as build_corpus

    place = read_place(on)
    if workers is not None:
        place = place.model_copy(update={"workers": workers})
    folder = build_corpus(recipe, out=out, place=place, assignments=_assigned(assignments, sample))

    from corpus.report.tables import show_build

    show_build(folder)


@app.command()
def verify(out: Built = None) -> None:
    """Check every file of a build against its manifests, and the ledgers against the shards."""
    from corpus.report.find import build_folder
    from corpus.verify import verify_build

    verify_build(build_folder(out))


@app.command()
def stats(
    path: Annotated[Path | None, typer.Argument(help="A build's folder, or one shard.", metavar="OUT|SHARD")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a build's funnel and shards, or what one shard holds."""
    from corpus.report.tables import show_stats

    show_stats(path, as_json)


@app.command()
def report(out: Built = None) -> None:
    """Say where a build's report page lies."""
    from corpus.report.find import build_folder

    page = build_folder(out) / "report.html"
    if not page.is_file():
        raise CorpusError(f"{page}: not there; the build did not reach its end: run `corpus build` again")
    print(page)


@app.command()
def explain(
    out: Annotated[Path, typer.Argument(help="A build's folder.", metavar="OUT")],
    what: Annotated[str, typer.Argument(help="A document's id, or FILE@OFFSET.", metavar="ID|FILE@OFFSET")],
    as_json: AsJson = False,
) -> None:
    """Tell where a document comes from, what was measured and decided, and where it ended."""
    from corpus.explain import show_explanation
    from corpus.report.find import build_folder

    show_explanation(build_folder(out), what, as_json)


def main() -> None:
    """Runs the command; an error that a person can act on is printed without a traceback."""
    try:
        app()
    except CorpusError as error:
        print(f"corpus: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("corpus: stopped", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(0)

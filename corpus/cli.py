"""The command `corpus`: plan, build, verify, stats, report, explain, diff, prune."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from corpus.errors import CorpusError, InputError

STOPPED = 130  # what typer makes of Ctrl-C

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Turns the sources of a recipe into token shards, with every document accounted for.",
)


def _folder(written: str) -> str:
    """An empty name (of a variable that is not set) would stand for the current folder."""
    if not written.strip():
        raise InputError("--out: the name is empty; name a folder (the current one is `.`), or leave --out away")
    return written


def _build(written: str | None, on: str | None) -> Path:
    """The folder of a build; the profile says how one at s3:// is asked for."""
    from corpus.inspect.find_build import build_folder

    if written is None or not written.startswith("s3://"):
        return build_folder(written)
    from pipelines.engine.read_profile import read_profile

    return build_folder(written, read_profile(on).access())


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
    str | None,
    typer.Option(
        parser=_folder,
        help="The output folder, or s3://BUCKET/FOLDER. (default: the recipe's `out`, or build/<name>)",
        metavar="PATH",
    ),
]
On = Annotated[str | None, typer.Option("--on", help="The profile: a file, or a name in recipes/on/.", metavar="PLACE")]
Built = Annotated[
    str | None, typer.Argument(help="A build's folder. (default: the only one under build/)", metavar="OUT")
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
def plan(
    recipe: RecipeFile,
    out: Out = None,
    on: On = None,
    assignments: Set = None,
    forecast: Annotated[
        bool, typer.Option("--forecast", help="Build a small sample, and say what the whole will hold and take.")
    ] = False,
    sample: Annotated[
        str | None, typer.Option("--sample", help="Forecast from this share of each source, such as 5%.", metavar="N%")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say where everything would come from; open no socket, read no source.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the jobs of a recipe, which are done, and what the build will hold and take."""
    if dry_run:
        from pipelines.commands.dry_run import show_dry_run

        if forecast or sample is not None:
            raise InputError("--dry-run fetches nothing, and a forecast needs a sample; give just one of them")
        show_dry_run(recipe, on, assignments or [], as_json)
        return
    from pipelines.commands.show_plan import show_plan

    show_plan(recipe, out, on, assignments or [], forecast=forecast, sample=sample, as_json=as_json)


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
    from pipelines.build import build as build_corpus
    from pipelines.engine.read_profile import read_profile

    profile = read_profile(on)
    if workers is not None:
        profile = profile.model_copy(update={"workers": workers})
    folder = build_corpus(recipe, out=out, profile=profile, assignments=_assigned(assignments, sample))

    from corpus.inspect.stats_tables import show_build

    show_build(folder)


@app.command()
def verify(out: Built = None, on: On = None) -> None:
    """Check every file of a build against its manifests, and the ledgers against the shards."""
    from corpus.inspect.verify import verify_build

    verify_build(_build(out, on))


@app.command()
def stats(
    path: Annotated[str | None, typer.Argument(help="A build's folder, or one shard.", metavar="OUT|SHARD")] = None,
    on: On = None,
    as_json: AsJson = False,
) -> None:
    """Show a build's funnel and shards, or what one shard holds."""
    from corpus.inspect.stats_tables import show_stats

    there = path is not None and path.startswith("s3://")
    show_stats(_build(path, on) if there else Path(path) if path else None, as_json)


@app.command()
def report(out: Built = None, on: On = None) -> None:
    """Say where a build's report page lies."""
    page = _build(out, on) / "report.html"
    if not page.is_file():
        raise CorpusError(f"{page}: not there; the build did not reach its end: run `corpus build` again")
    print(page)


@app.command()
def explain(
    out: Annotated[str, typer.Argument(help="A build's folder.", metavar="OUT")],
    what: Annotated[str, typer.Argument(help="A document's id, or FILE@OFFSET.", metavar="ID|FILE@OFFSET")],
    on: On = None,
    as_json: AsJson = False,
) -> None:
    """Tell where a document comes from, what was measured and decided, and where it ended."""
    from corpus.inspect.explain import show_explanation

    show_explanation(_build(out, on), what, as_json)


@app.command()
def diff(
    a: Annotated[str, typer.Argument(help="A build's folder.", metavar="A")],
    b: Annotated[str, typer.Argument(help="Another's.", metavar="B")],
    on: On = None,
    as_json: AsJson = False,
    page: Annotated[
        Path | None, typer.Option("--page", help="Write it as a page, too.", metavar="FILE.html", dir_okay=False)
    ] = None,
) -> None:
    """Tell what two builds differ by: settings, rules, what became of documents, tokens."""
    from corpus.inspect.diff.diff_tables import show_diff

    show_diff(_build(a, on), _build(b, on), as_json, page)


@app.command()
def prune(
    out: Built = None,
    recipes: Annotated[
        list[Path] | None, typer.Option("--recipe", help="Keep what this recipe needs, too.", metavar="RECIPE")
    ] = None,
    on: On = None,
    assignments: Set = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove them without asking.")] = False,
) -> None:
    """Remove the job folders that no plan needs, after saying which and how much."""
    from pipelines.commands.prune import show_prune

    show_prune(out, recipes or [], on, assignments or [], yes)


def main() -> None:
    """Runs the command; an error that a person can act on is printed without a traceback."""
    try:
        app()
    except CorpusError as error:
        from corpus.display.terminal import printable

        print("\n".join(map(printable, f"corpus: {error}".split("\n"))), file=sys.stderr)
        sys.exit(error.exit_code)
    except SystemExit as end:
        if end.code != STOPPED:
            raise
        print("corpus: stopped", file=sys.stderr, flush=True)
        os._exit(STOPPED)  # threads may still wait for servers
    except BrokenPipeError:
        sys.exit(0)

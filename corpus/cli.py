"""The command `corpus`: plan, build, verify, stats, report, explain, diff, prune.

Each command imports what it needs itself, so that `--help` and `--version` are quick.
"""

import os
import re
import sys
import webbrowser
from itertools import zip_longest
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperCommand

from corpus.display.standard_streams import survive_closed_streams
from corpus.errors import CorpusError, InputError, os_error_text
from corpus.stopping import stop_signals

STOPPED = 130  # exit status after Ctrl-C
FIRST_STEPS = """\
Build token shards from the sources of a recipe. To begin:

  corpus plan recipes/quickstart.yaml       show the jobs of a recipe
  corpus build recipes/quickstart.yaml      build it, in about a minute
  corpus report                             look at the result
  corpus --help                             list all commands
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help="Build token shards from a recipe.")


class PlanCommand(TyperCommand):
    """Allow `--forecast` without a value. A share after it must look like one: the recipe may follow as well."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        filled = []
        for arg, following in zip_longest(args, args[1:], fillvalue=""):
            alone = arg == "--forecast" and not re.fullmatch(r"[0-9.]+%?", following)
            filled.append("--forecast=" if alone else arg)
        return super().parse_args(ctx, filled)


def _out_option(written: str) -> str:
    """Refuse an empty name, as of an unset variable: it would mean the current folder."""
    if not written.strip():
        raise InputError("--out: the name is empty; name a folder (`.` is the current one), or leave out --out")
    return written


def _find_build(written: str | None, on: str | None) -> Path:
    """Find a build's folder; for one at s3:// the profile says how to connect."""
    from corpus.inspect.find_build import find_build
    from pipelines.engine.profile import read_profile

    return find_build(written, read_profile(on).access() if written and written.startswith("s3://") else None)


def _with_sample(assignments: list[str] | None, sample: str | None) -> list[str]:
    return [*(assignments or []), *([f"sample={sample}"] if sample is not None else [])]


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"gristmill {version('gristmill')}")
        raise typer.Exit


RecipeFile = Annotated[Path, typer.Argument(help="Recipe file, such as recipes/quickstart.yaml.", metavar="RECIPE")]
Built = Annotated[str | None, typer.Argument(help="Folder of a build. (default: the one in ./build)", metavar="OUT")]
BuildOrShard = Annotated[str | None, typer.Argument(help="Folder of a build, or a token shard.", metavar="OUT|SHARD")]
Document = Annotated[str, typer.Argument(help="Id of a document, or its first digits.", metavar="ID|FILE@OFFSET")]
Folder = Annotated[str, typer.Argument(help="Folder of a build, or its s3:// address.")]
Out = Annotated[str | None, typer.Option(parser=_out_option, help="Output. (default: build/<name>)", metavar="PATH|S3")]
On = Annotated[str | None, typer.Option("--on", help="Profile: a file, or a name in recipes/on/.", metavar="PROFILE")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Override a setting: mix.tokens=1M.", metavar="KEY=VALUE")]
Sample = Annotated[str | None, typer.Option("--sample", help="Part of each source: 20 files, or 5%.", metavar="N|N%")]
Forecast = Annotated[str | None, typer.Option(help="Estimate the full build from 5% (or N%) of it.", metavar="[N%]")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="List where everything comes from; open no connection.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Parallel tasks. (default: one per core)")]
NoOpen = Annotated[bool, typer.Option("--no-open", help="Only print the path of the page.")]
Page = Annotated[Path | None, typer.Option(help="Write a page as well.", metavar="FILE.html", dir_okay=False)]
Keep = Annotated[list[Path] | None, typer.Option("--recipe", help="Keep this recipe's jobs too.", metavar="RECIPE")]
IgnoreDisk = Annotated[bool, typer.Option("--ignore-disk-check", help="Start even if the disk may be too small.")]
Yes = Annotated[bool, typer.Option("--yes", help="Remove without asking.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Version = Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")]


@app.callback(invoke_without_command=True)
def common(context: typer.Context, version: Version = False) -> None:
    """Print the first steps if no command is given."""
    if context.invoked_subcommand is None:
        print(FIRST_STEPS, end="")


@app.command(cls=PlanCommand)
def plan(
    recipe: RecipeFile,
    out: Out = None,
    on: On = None,
    assignments: Set = None,
    sample: Sample = None,
    forecast: Forecast = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Show the jobs of a recipe and which are done.

    Example: corpus plan recipes/quickstart.yaml --forecast
    """
    overrides = _with_sample(assignments, sample)
    if dry_run:
        from pipelines.commands.dry_run import show_dry_run

        if forecast is not None:
            raise InputError("--dry-run fetches nothing, but --forecast needs a sample; give only one of them")
        show_dry_run(recipe, on, overrides, as_json)
        return
    from pipelines.commands.show_plan import show_plan

    show_plan(recipe, out, on, overrides, forecast=forecast, as_json=as_json)


@app.command()
def build(
    recipe: RecipeFile,
    workers: Workers = None,
    on: On = None,
    out: Out = None,
    assignments: Set = None,
    sample: Sample = None,
    ignore_disk_check: IgnoreDisk = False,
) -> None:
    """Build a corpus; resume if interrupted.

    Example: corpus build recipes/quickstart.yaml --sample 5%
    """
    from pipelines.build import build as build_corpus
    from pipelines.engine.profile import read_profile

    profile = read_profile(on)
    if workers is not None:
        profile = profile.model_copy(update={"workers": workers})
    folder = build_corpus(
        recipe,
        out=out,
        profile=profile,
        assignments=_with_sample(assignments, sample),
        ignore_disk_check=ignore_disk_check,
    )

    from corpus.inspect.stats import show_build

    show_build(folder)


@app.command()
def verify(out: Built = None, on: On = None) -> None:
    """Check the files of a build against their checksums, and the ledgers against the shards.

    Example: corpus verify build/quickstart
    """
    from corpus.inspect.verify import verify_build

    verify_build(_find_build(out, on))


@app.command()
def stats(path: BuildOrShard = None, on: On = None, as_json: AsJson = False) -> None:
    """Show the numbers of a build or of one shard.

    Example: corpus stats build/quickstart
    """
    from corpus.inspect.stats import show_stats

    local = Path(path) if path and not path.startswith("s3://") else None
    show_stats(_find_build(path, on) if path and not local else local, as_json)


@app.command()
def report(out: Built = None, on: On = None, no_open: NoOpen = False) -> None:
    """Open the report page of a build in a browser, or print its path if there is none.

    Example: corpus report build/quickstart
    """
    page = _find_build(out, on) / "report.html"
    if not page.is_file():
        raise CorpusError(f"{page}: no such file, because the build is unfinished; run `corpus build` again")
    print(page)
    desktop = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if desktop and _is_terminal() and not no_open:
        webbrowser.open(page.resolve().as_uri())


def _is_terminal() -> bool:
    return sys.stdout.isatty()


@app.command()
def explain(document: Document, out: Built = None, on: On = None, as_json: AsJson = False) -> None:
    """Show where a document comes from, its signals and verdicts, and where it ended.

    Example: corpus explain 3f2a91 build/quickstart (or the folder first)
    """
    from corpus.inspect.explain import show_explanation

    if out is not None and not _may_be_build(out) and _may_be_build(document):
        document, out = out, document
    show_explanation(_find_build(out, on), document, as_json)


def _may_be_build(written: str) -> bool:
    return written.startswith("s3://") or Path(written).is_dir()


@app.command()
def diff(a: Folder, b: Folder, on: On = None, as_json: AsJson = False, page: Page = None) -> None:
    """Compare two builds: settings, rules, outcomes of documents, tokens.

    Example: corpus diff build/before build/after --page diff.html
    """
    from corpus.inspect.diff.show_diff import show_diff

    show_diff(_find_build(a, on), _find_build(b, on), as_json, page)


@app.command()
def prune(
    out: Built = None,
    recipes: Keep = None,
    on: On = None,
    assignments: Set = None,
    yes: Yes = False,
) -> None:
    """List job folders that no plan needs, and remove them after asking.

    Example: corpus prune build/quickstart --recipe recipes/quickstart.yaml
    """
    from pipelines.commands.prune import show_prune

    show_prune(out, recipes or [], on, assignments or [], yes)


def main() -> None:
    """Run the command. Errors that the user can act on are printed without a traceback."""
    survive_closed_streams()
    with stop_signals():
        try:
            app()
        except CorpusError as error:
            from corpus.display.terminal import printable

            print(printable(f"corpus: {error}", keep_line_ends=True), file=sys.stderr, flush=True)
            status: str | int | None = error.exit_code
        except OSError as error:
            print(f"corpus: {os_error_text(error)}", file=sys.stderr)
            status = 1
        except SystemExit as end:
            status = end.code
            if status == STOPPED:
                print("corpus: stopped", file=sys.stderr, flush=True)
        if status == STOPPED:
            os._exit(STOPPED)  # other threads may still wait for servers
        sys.exit(status)

"""The command line before any work begins: help, version, first steps, and the report and explain arguments."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from corpus.cli import app
from corpus.errors import CorpusError, InputError

COMMANDS = ("plan", "build", "verify", "stats", "report", "explain", "diff", "prune")


def run_without(modules: set[str], *arguments: str) -> str:
    """Run the command; fails if it imports one of the modules."""
    program = (
        "import sys; from corpus.cli import app; app(sys.argv[1:], standalone_mode=False); "
        f"sys.exit(bool({modules} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


HEAVY = {"pydantic", "numpy", "pyarrow", "numba", "tokenizers"}


def test_the_version_is_shown_without_heavy_imports() -> None:
    assert run_without(HEAVY, "--version") == f"gristmill {version('gristmill')}\n"


def test_without_arguments_the_first_steps_are_shown() -> None:
    lines = run_without(HEAVY - {"pydantic"}).splitlines()  # typer itself imports pydantic if it is installed
    assert 3 <= len(lines) <= 7
    assert any("corpus build recipes/quickstart.yaml" in line for line in lines)
    assert any("corpus --help" in line for line in lines)


@pytest.mark.parametrize(
    ("command", "argument"), [("plan", "RECIPE"), ("build", "RECIPE"), ("explain", "ID"), ("diff", "A")]
)
def test_a_missing_argument_is_named(command: str, argument: str) -> None:
    run = CliRunner().invoke(app, [command])
    assert run.exit_code == 2 and "Missing argument" in run.output and argument in run.output.upper()


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_with_an_example(command: str) -> None:
    output = CliRunner().invoke(app, [command, "--help"]).output
    assert f"Example: corpus {command}" in output


def test_help_of_stats_names_a_build_or_a_shard() -> None:
    assert "OUT|SHARD" in CliRunner().invoke(app, ["stats", "--help"]).output


@pytest.mark.parametrize("command", ["plan", "build"])
@pytest.mark.parametrize("out", ["", " "])
def test_an_empty_output_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, out: str
) -> None:
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke(app, [command, "recipe.yaml", "--out", out])
    assert isinstance(run.exception, InputError) and "--out: the name is empty" in str(run.exception)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only build below ./build, with a report page."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "build" / "only"
    (folder / "jobs").mkdir(parents=True)
    (folder / "report.html").write_text("<p>")
    return folder


@pytest.mark.parametrize(
    ("display", "terminal", "options", "opened"),
    [(":0", True, [], True), (":0", True, ["--no-open"], False), ("", True, [], False), (":0", False, [], False)],
)
def test_report_opens_a_browser_on_a_desktop_only(
    build: Path, monkeypatch: pytest.MonkeyPatch, display: str, terminal: bool, options: list[str], opened: bool
) -> None:
    pages: list[str] = []
    monkeypatch.setattr("webbrowser.open", pages.append)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.setattr("corpus.cli._is_terminal", lambda: terminal)
    run = CliRunner().invoke(app, ["report", *options], catch_exceptions=False)
    assert run.stdout == "build/only/report.html\n"
    assert pages == ([(build / "report.html").as_uri()] if opened else [])


def test_report_of_an_unfinished_build_is_an_error(build: Path) -> None:
    (build / "report.html").unlink()
    run = CliRunner().invoke(app, ["report"])
    assert isinstance(run.exception, CorpusError) and "the build is unfinished" in str(run.exception)


@pytest.mark.parametrize(
    "arguments", [["0a1b2c"], ["0a1b2c", "build/only"], ["build/only", "0a1b2c"]], ids=["id", "id-out", "out-id"]
)
def test_explain_takes_the_id_and_the_folder_in_either_order(
    build: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    calls: list[tuple[Path, str, bool]] = []
    monkeypatch.setattr("corpus.inspect.explain.show_explanation", lambda *call: calls.append(call))
    CliRunner().invoke(app, ["explain", *arguments], catch_exceptions=False)
    assert calls == [(Path("build/only"), "0a1b2c", False)]

"""The command line itself: what it says before any work begins."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from corpus.cli import app
from corpus.errors import InputError


def test_the_version_is_told_without_loading_what_work_needs() -> None:
    program = (
        "import sys; from corpus.cli import app; app(['--version'], standalone_mode=False); "
        "sys.exit(bool({'pydantic', 'numpy', 'pyarrow', 'numba', 'tokenizers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"gristmill {version('gristmill')}\n"), done.stderr


def test_stats_takes_a_build_or_a_shard() -> None:
    assert "OUT|SHARD" in CliRunner().invoke(app, ["stats", "--help"]).output


@pytest.mark.parametrize("command", ["plan", "build"])
@pytest.mark.parametrize("out", ["", " "])
def test_an_output_folder_without_a_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, out: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [command, "recipe.yaml", "--out", out])
    assert isinstance(done.exception, InputError) and "--out: the name is empty" in str(done.exception)
    assert not list(tmp_path.iterdir())

"""Where compiled kernels are kept: never stale, and not needed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import corpus

KERNEL = """
from corpus.quality.kernels.compiled import kept
from corpus.quality.kernels.constant import FACTOR

@kept
def scaled(x):
    return FACTOR * x
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the kernels' folder with a kernel more."""
    source = Path(corpus.__file__).parent
    kernels = tmp_path / "corpus/quality/kernels"
    kernels.mkdir(parents=True)
    for folder in ("", "quality", "quality/kernels"):
        (tmp_path / "corpus" / folder / "__init__.py").touch()
    shutil.copy(source / "quality/kernels/compiled.py", kernels)
    (kernels / "scaled.py").write_text(KERNEL)
    (kernels / "constant.py").write_text("FACTOR = 3\n")
    return tmp_path


def run(package: Path, home: Path) -> str:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(home), "XDG_CACHE_HOME": str(home)}
    environment = {**environment, "PYTHONPATH": str(package)}
    environment.pop("NUMBA_CACHE_DIR", None)
    code = "from corpus.quality.kernels.scaled import scaled; print(scaled(5), sum(scaled.stats.cache_hits.values()))"
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=package, env=environment, capture_output=True, text=True, check=True).stdout


def test_a_constant_in_another_file_is_never_stale(package: Path) -> None:
    """numba alone would go on with the 3: the kernel's own file is unchanged."""
    assert run(package, package).split() == ["15", "0"]
    assert run(package, package).split() == ["15", "1"]
    (package / "corpus/quality/kernels/constant.py").write_text("FACTOR = 4\n")
    assert run(package, package).split() == ["20", "0"]


def test_kernels_work_where_nothing_can_be_written(package: Path) -> None:
    blocked = package / "corpus/quality/kernels/__pycache__"
    blocked.write_text("a file, so that no folder can be made here")
    for _ in range(2):
        assert run(package, blocked).split() == ["15", "0"]

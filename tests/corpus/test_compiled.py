"""The cache of compiled kernels is never stale, and kernels run without it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import corpus

KERNEL = """
from corpus.compiled import as_int64, cached_jit, jit_no_alloc
from corpus.kernels.constant import FACTOR

@jit_no_alloc
def factor():
    return as_int64(FACTOR)

@cached_jit
def scaled(x):
    return factor() * x
"""

OLDER_NUMBA = """
import numba
njit = numba.njit

def njit_without_nrt(*functions, **options):
    if "_nrt" in options:
        raise KeyError("_nrt")
    return njit(*functions, **options)

numba.njit = njit_without_nrt
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Copy corpus/compiled.py beside a package with one kernel, and return the folder."""
    kernels = tmp_path / "corpus/kernels"
    kernels.mkdir(parents=True)
    (kernels / "__init__.py").touch()
    (tmp_path / "corpus/__init__.py").touch()
    shutil.copy(Path(corpus.__file__).parent / "compiled.py", tmp_path / "corpus")
    (kernels / "scaled.py").write_text(KERNEL)
    (kernels / "constant.py").write_text("FACTOR = 3\n")
    return tmp_path


def run(package: Path, home: Path) -> str:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(home), "XDG_CACHE_HOME": str(home)}
    environment = {**environment, "PYTHONPATH": str(package)}
    environment.pop("NUMBA_CACHE_DIR", None)
    code = "from corpus.kernels.scaled import scaled; print(scaled(5), sum(scaled.stats.cache_hits.values()))"
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=package, env=environment, capture_output=True, text=True, check=True).stdout


def test_changed_constant_in_another_file_recompiles(package: Path) -> None:
    """numba's own cache would keep the value 3, because the file of the kernel is unchanged."""
    assert run(package, package).split() == ["15", "0"]
    assert run(package, package).split() == ["15", "1"]
    (package / "corpus/kernels/constant.py").write_text("FACTOR = 4\n")
    assert run(package, package).split() == ["20", "0"]


def test_changed_compiler_settings_start_a_new_cache(package: Path) -> None:
    assert run(package, package).split() == ["15", "0"]
    with (package / "corpus/compiled.py").open("a") as file:
        file.write("# changed\n")
    assert run(package, package).split() == ["15", "0"]


def test_change_outside_the_package_keeps_the_cache(package: Path) -> None:
    assert run(package, package).split() == ["15", "0"]
    (package / "corpus/other.py").write_text("FACTOR = 4\n")
    assert run(package, package).split() == ["15", "1"]


def test_kernels_compile_without_the_private_numba_option(package: Path) -> None:
    (package / "corpus/__init__.py").write_text(OLDER_NUMBA)
    assert run(package, package).split() == ["15", "0"]


def test_kernels_run_without_a_writable_cache(package: Path) -> None:
    blocked = package / "corpus/kernels/__pycache__"
    blocked.write_text("a file, so that no folder can be made here")
    for _ in range(2):
        assert run(package, blocked).split() == ["15", "0"]

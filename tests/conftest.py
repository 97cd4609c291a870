"""Settings and fixtures of all tests."""

import os
from pathlib import Path

if not os.environ.get("GRISTMILL_TEST_CUDA"):  # exact expectations hold on a CPU only
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

import pytest
from hypothesis import settings

pytest_plugins = ["tests.own_process"]
settings.register_profile("gristmill", deadline=None)  # the first example of a test may compile a kernel
settings.load_profile("gristmill")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name tests after the argument, not its bytes: gzip data contains the time, so names would differ by worker."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def data() -> Path:
    """Return the folder of real files named by CORPUS_TEST_DATA; skip the test without it."""
    folder = os.environ.get("CORPUS_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs real files: set CORPUS_TEST_DATA to the folder that docs/testing.md describes")
    return Path(folder)

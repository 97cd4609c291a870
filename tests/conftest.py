"""What all tests share: where the real data lies."""

import os
from pathlib import Path

if not os.environ.get("GRISTMILL_TEST_CUDA"):  # what tests expect to the bit, they expect of a CPU
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

import pytest
from hypothesis import settings

settings.register_profile("gristmill", deadline=None)  # the first example of many a test compiles a kernel
settings.load_profile("gristmill")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes name no test: those of a gzip hold the time, so that two workers would collect two tests."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real files that CORPUS_TEST_DATA names; without it the test is skipped."""
    folder = os.environ.get("CORPUS_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs real files: set CORPUS_TEST_DATA to the folder that docs/testing.md describes")
    return Path(folder)

"""A run that other tests resume."""

from pathlib import Path

import pytest

from tests.end_to_end.training import fit_here, write_config


@pytest.fixture(scope="module")
def phase_1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the config of a run that has finished its first phase."""
    config = write_config(tmp_path_factory.mktemp("phase-1"), evaluate={"tokens_per_source": 1})
    fit_here(config, "1")
    return config

"""Fixtures that the tests of fetching share."""

from pathlib import Path

import pytest

from corpus.fetch.access import Access


@pytest.fixture
def access(tmp_path: Path) -> Access:
    """Return network settings with an empty cache."""
    return Access(tmp_path / "cache")

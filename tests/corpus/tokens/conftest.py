"""Fixtures of the token tests."""

import json
from pathlib import Path

import pytest
import zstandard

GOLDEN = Path(__file__).parents[2] / "golden" / "corpus"


@pytest.fixture(scope="session")
def tokenizer_file() -> Path:
    """A byte-level BPE of 384 tokens."""
    return GOLDEN / "tokenizer.json"


@pytest.fixture(scope="session")
def books(data: Path) -> list[str]:
    """The first whole books."""
    with zstandard.open(data / "books" / "classic-books.jsonl.zst", "rt", encoding="utf-8") as lines:
        return [json.loads(next(lines))["text"] for _ in range(6)]

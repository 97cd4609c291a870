"""Inputs made to exhaust a parser end within seconds and a bounded memory, with an outcome by name.

Verified to fail without the slices of a row group, and without the cuts of the tokenizer's training. The limits are
watchdogs: most inputs take a hundredth of them.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import exhausting

CPU_S, MEMORY_MB = 20, 1000


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["page", "paper", "article", "table", "sample"])
def test_each_ends_with_an_outcome(tmp_path: Path, kind: str) -> None:
    measured = measure(kind, tmp_path)
    assert [name for name, *_ in measured] == exhausting.inputs(kind)
    over = [row for row in measured if row[1].startswith("ended") or row[2] > CPU_S or row[3] > MEMORY_MB]
    assert not over


def measure(kind: str, folder: Path) -> list[tuple[str, str, float, int]]:
    """Return name, outcome, CPU seconds and megabytes of each input."""
    found = subprocess.run(
        [sys.executable, exhausting.__file__, kind, str(folder)],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    return [tuple(json.loads(line)) for line in found.stdout.splitlines()]


@pytest.mark.parametrize("name", exhausting.PAGES)
def test_page_is_refused_without_parsing_it(name: str) -> None:
    from corpus.extract.page_cost import too_complex

    assert too_complex(exhausting.PAGES[name]().encode())


@pytest.mark.parametrize("name", ["one value in a dictionary", "a small value in many rows"])
def test_rows_of_one_value_are_read_up_to_the_budget(tmp_path: Path, name: str) -> None:
    from corpus.document import Failed
    from corpus.formats.parquet_rows import GROUP_LIMITS, rows

    path = tmp_path / "table.parquet"
    exhausting.TABLES[name](path)
    *read, last = rows(path, 0, path.stat().st_size, ["text"])
    assert last == Failed(read[-1].end, path.stat().st_size, "bomb")
    assert sum(len(row.values["text"]) for row in read) <= GROUP_LIMITS.unpacked_bytes + 200 * path.stat().st_size


def test_list_of_one_value_is_refused_without_decoding_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verified to fail without the budget of a row group, and without what lists add to it."""
    from corpus.document import Failed
    from corpus.formats import parquet_rows

    path = tmp_path / "table.parquet"
    exhausting.TABLES["a list of one value"](path)
    monkeypatch.setattr(parquet_rows, "_value", None)
    assert list(parquet_rows.rows(path, 0, path.stat().st_size, ["text"])) == [Failed(0, path.stat().st_size, "bomb")]

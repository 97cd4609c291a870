"""A build with datatrove's steps and the user's own: the ledger balances, and each dropped document names its step."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from corpus.inspect.explain import explain
from corpus.inspect.verify import verify_build
from corpus.store.finished_build import open_build
from corpus.store.ledger import Ledger
from tests.end_to_end.builds import write_recipe

OWN_STEPS_FOLDER = Path(__file__).parents[1] / "corpus/quality"  # own_steps.py
STEPS = [
    {"use": "own_steps.Fragile", "with": {"word": "TypeScript"}},
    "datatrove.pipeline.filters.C4QualityFilter",
    {"use": "datatrove.pipeline.formatters.SymbolLinesFormatter", "with": {"replace_char": "~"}},
    {"use": "own_steps.LinesAtMost", "with": {"lines": 150}},
]


@pytest.fixture(scope="module")
def out(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("spacy", reason="datatrove splits sentences with spaCy: pip install 'gristmill[dev]'")
    folder = tmp_path_factory.mktemp("steps")
    return build(folder, data, 150_000)


def build(folder: Path, data: Path, task_bytes: int) -> Path:
    """Build one source of real records with two workers, which must find the user's module too."""
    recipe = write_recipe(folder, data, task_bytes=task_bytes, keep_dropped="all")
    settings = json.loads(recipe.read_text())
    source = next(source for source in settings["sources"] if source["name"] == "records")
    source |= {"share": 1, "steps": STEPS, "rules": ["gopher_quality.words"], "max_failed": "20%"}
    recipe.write_text(json.dumps({**settings, "sources": [source]}))
    done = run(recipe, folder / "out")
    assert done.returncode == 0, done.stderr
    return folder / "out"


def run(recipe: Path, out: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "corpus", "build", recipe, "--out", out, "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": str(OWN_STEPS_FOLDER)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def rows(out: Path, kind: str, *columns: str) -> list[dict[str, object]]:
    paths = sorted(out.glob(f"jobs/clean.records-*/{kind}-*.parquet"))
    return [row for path in paths for row in pq.read_table(path, columns=list(columns) or None).to_pylist()]


def test_every_record_is_accounted_for(out: Path) -> None:
    verify_build(out)
    records = rows(out, "records")
    outcomes = Counter((row["outcome"], row["reason"]) for row in records)
    assert outcomes["failed", "datatrove.Fragile.zero_division_error"] > 0
    c4 = {f"datatrove.C4QualityFilter.{reason}" for reason in ("too_few_sentences", "curly_bracket")}
    assert {reason for outcome, reason in outcomes if outcome == "dropped"} >= c4 | {"gopher_quality.words"}
    ledger = Ledger.of([open_build(out, ("clean",)).job("clean", "records").file.ledger_json])
    assert {(each.outcome, each.reason): each.records for each in ledger.entries()} == outcomes
    by_steps = [row for row in rows(out, "dropped") if str(row["rule"]).startswith("datatrove.")]
    assert all(row["failed_rules"] == [row["rule"]] for row in by_steps)


def test_verdicts_and_texts_equal_those_of_datatrove(out: Path, data: Path) -> None:
    from datatrove.data import Document
    from datatrove.pipeline.filters import C4QualityFilter
    from datatrove.pipeline.formatters import SymbolLinesFormatter

    formatter, c4, edited = SymbolLinesFormatter(replace_char="~"), C4QualityFilter(), 0
    dropped_by_c4 = [row for row in rows(out, "dropped") if str(row["rule"]).startswith("datatrove.C4QualityFilter")]
    for row in [*rows(out, "kept"), *dropped_by_c4]:
        with (data / "records" / str(row["origin_file"])).open("rb") as file:
            file.seek(int(str(row["origin_start"])))
            document = Document(text=formatter.format(json.loads(file.readline())["text"]), id="")
        before, result = document.text, c4.filter(document)
        if row["rule"] is None:
            assert result is True and row["text"] == document.text
            assert int(str(row["non_symbol_words"])) >= 50, "kept documents pass our rules"
            edited += document.text != before
        else:
            assert result == (False, str(row["rule"]).removeprefix("datatrove.C4QualityFilter."))
            assert row["text"] == before
        text = str(row["text"])
        assert (row["characters"], row["text_bytes"]) == (len(text), len(text.encode()))
    assert edited > 3 and len(dropped_by_c4) > 3


def test_explain_names_the_filter_that_dropped_a_document(out: Path) -> None:
    dropped = rows(out, "dropped", "id", "rule")
    name = "datatrove.C4QualityFilter.curly_bracket"
    explanation = explain(out, next(str(row["id"]) for row in dropped if row["rule"] == name))
    assert (explanation["outcome"], explanation["reason"]) == ("dropped", name)
    verdicts = explanation["verdicts"]
    assert isinstance(verdicts, list)
    by_rule = {str(row["rule"]): (row["passed"], row["value"], row["source"]) for row in verdicts}  # type: ignore[index, call-overload]
    assert by_rule["datatrove.Fragile"] == (True, None, "own_steps.Fragile")
    assert by_rule["datatrove.C4QualityFilter"] == (
        False,
        "curly_bracket",
        "datatrove.pipeline.filters.C4QualityFilter",
    )
    assert by_rule["gopher_quality.words"][0] and "datatrove.LinesAtMost" not in by_rule
    ours = explain(out, next(str(row["id"]) for row in dropped if row["rule"] == "gopher_quality.words"))
    assert not any(str(row["rule"]).startswith("datatrove.") for row in ours["verdicts"])  # type: ignore[union-attr, index, call-overload]


def test_task_size_does_not_change_the_output(out: Path, data: Path, tmp_path: Path) -> None:
    other = build(tmp_path, data, 1_000_000)
    assert len(list(other.glob("jobs/clean.records-*/kept-*"))) < len(list(out.glob("jobs/clean.records-*/kept-*")))
    for kind in ("kept", "dropped", "records"):
        assert rows(other, kind) == rows(out, kind)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("own_steps.Unseen", "web: steps: `own_steps.Unseen` gives another verdict"),
        ({"use": "own_steps.Fragile", "with": {"word": "mill", "machine": True}}, "web: steps: `own_steps.Fragile`"),
    ],
)
def test_failing_or_stateful_step_is_refused_before_the_build(tmp_path: Path, step: object, message: str) -> None:
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": f"letter {n}"}) + "\n" for n in range(3)))
    source = {"name": "web", "reader": "records", "paths": ["a.jsonl"], "share": 1, "license": "cc0-1.0"}
    recipe = tmp_path / "letters.yaml"
    source |= {"identify_language": False, "steps": [step]}
    recipe.write_text(json.dumps({"format_version": 1, "name": "letters", "sources": [source]}))
    done = run(recipe, tmp_path / "out")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert message in done.stderr and not (tmp_path / "out").exists()

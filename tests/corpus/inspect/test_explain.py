"""`corpus explain` on a small real build: a document of every fate, by its id and by where it lies."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from corpus.errors import InputError
from corpus.inspect.explain import explain, show_explanation
from corpus.inspect.explanation import print_explanation
from corpus.store.token_shards import open_token_shard
from tests.small_build import HOSTILE, built, near_duplicate, prose


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def offsets(build: Path) -> list[int]:
    """Return the offsets at which the lines of web-a.jsonl begin."""
    lines = (build.parent / "files/web-a.jsonl").read_bytes().splitlines(keepends=True)
    return [sum(map(len, lines[:number])) for number in range(len(lines) + 1)]


def at(build: Path, offsets: list[int], line: int, *, inside: int = 5) -> Any:
    """Return the explanation of a byte in a line of web-a.jsonl."""
    return explain(build, f"web-a.jsonl@{offsets[line] + inside}")


def test_a_kept_document(build: Path, offsets: list[int]) -> None:
    found = at(build, offsets, 0)
    assert (found["outcome"], found["reason"]) == ("kept", None)
    assert found["origin"] == {
        "source": "web", "file": "web-a.jsonl", "start": 0, "end": offsets[1], "url": None, "date": "2024-05-01",
        "license": "unknown", "language": "en", "language_score": None,
    }  # fmt: skip
    assert found["text_bytes"] == len(prose(1000)) and prose(1000).startswith(found["excerpt"])
    assert found["signals"]["non_symbol_words"] == len(prose(1000).split())
    assert all(verdict["passed"] for verdict in found["verdicts"])
    assert found["split"] in ("train", "holdout") and found["duplicates"] == []
    row = pq.read_table(build / found["text_shard"]["file"]).slice(found["text_shard"]["row"], 1).to_pylist()[0]
    assert (row["id"], row["text"], row["split"]) == (found["id"], prose(1000), found["split"])


def test_every_kept_document_is_where_it_is_said_to_be(build: Path) -> None:
    """In token shards, or over its source's quota."""
    stood: dict[str, tuple[str, int, int]] = {}
    for path in build.glob("jobs/mix.web-*/*.arrow"):
        shard = open_token_shard(path)
        for row, (id_, start, end) in enumerate(
            zip(shard.ids_D16, shard.offsets_D1, shard.offsets_D1[1:], strict=False)
        ):
            stood[id_.tobytes().hex()] = (str(path.relative_to(build)), row, int(end - start))
    left_out = 0
    for path in sorted(build.glob("jobs/text.web-*/*.parquet")):
        for row, id_ in list(enumerate(pq.read_table(path)["id"].to_pylist()))[::4]:
            found: Any = explain(build, id_)
            assert found["text_shard"] == {"file": str(path.relative_to(build)), "row": row}
            where = found["token_shard"] and tuple(found["token_shard"][name] for name in ("file", "row", "tokens"))
            assert where == stood.get(id_)
            left_out += where is None
    assert 0 < left_out < len(stood)


def test_a_dropped_document(build: Path, offsets: list[int]) -> None:
    found = at(build, offsets, 11)
    assert (found["outcome"], found["reason"]) == ("dropped", "gopher_quality.words")
    verdicts = {verdict["rule"]: verdict for verdict in found["verdicts"]}
    words = verdicts["gopher_quality.words"]
    assert words["value"] < 50 and words["bound"] == "50..100000" and not words["passed"]
    assert "Rae et al. 2021" in words["source"] and words["published_bound"] is None
    assert verdicts["gopher_quality.hashes"]["passed"]
    assert "split" not in found and "text_shard" not in found


def test_a_document_in_another_language(build: Path, offsets: list[int]) -> None:
    found = at(build, offsets, 21)
    assert (found["outcome"], found["reason"]) == ("dropped", "language")
    gate = next(verdict for verdict in found["verdicts"] if verdict["rule"] == "language")
    assert (gate["value"], gate["bound"], gate["passed"]) == ("de", "en at >= 0.65", False)
    assert all(verdict["passed"] for verdict in found["verdicts"] if verdict is not gate)


def test_a_bound_of_the_recipes_own_is_told_from_the_published_one(build: Path) -> None:
    found: Any = explain(build, "books.jsonl@0")
    words = next(verdict for verdict in found["verdicts"] if verdict["rule"] == "gopher_quality.words")
    assert (words["bound"], words["published_bound"]) == ("40..100000", "50..100000")


@pytest.mark.parametrize(("line", "reason", "book"), [(3, "exact", 3), (7, "near", 7)])
def test_a_duplicate_and_what_it_is_a_duplicate_of(
    build: Path, offsets: list[int], line: int, reason: str, book: int
) -> None:
    found = at(build, offsets, line)
    assert (found["outcome"], found["reason"], found["split"]) == ("merged", reason, None)
    survivor = found["duplicate_of"]
    assert (survivor["source"], survivor["url"]) == ("books", f"https://books.example/{book}")
    kept: Any = explain(build, survivor["id"])
    assert kept["outcome"] == "kept" and kept["origin"]["url"] == survivor["url"]
    assert [each["id"] for each in kept["duplicates"]] == [found["id"]] and kept["duplicates_count"] == 1
    if reason == "near":
        one, other = (
            {tuple(text.split()[n : n + 5]) for n in range(216)} for text in (prose(7), near_duplicate(prose(7)))
        )
        assert (survivor["intersection"], survivor["union"]) == (len(one & other), len(one | other))
        assert survivor["similarity"] == round(len(one & other) / len(one | other), 4)


def test_one_record_that_stands_twice(build: Path, offsets: list[int]) -> None:
    first, second = at(build, offsets, 22), at(build, offsets, 23)
    assert first["id"] == second["id"] and {first["outcome"], second["outcome"]} == {"kept", "merged"}
    found: Any = explain(build, first["id"])
    assert found["copies"] == [{"file": "web-a.jsonl", "start": offsets[23], "end": offsets[24]}]


@pytest.mark.parametrize(("line", "outcome", "reason"), [(13, "failed", "bad_json"), (17, "skipped", "no_text")])
def test_a_span_without_a_document(build: Path, offsets: list[int], line: int, outcome: str, reason: str) -> None:
    for inside in (0, 7, offsets[line + 1] - offsets[line] - 1):
        found = at(build, offsets, line, inside=inside)
        assert (found["id"], found["outcome"], found["reason"]) == (None, outcome, reason)
        assert (found["origin"]["start"], found["origin"]["end"]) == (offsets[line], offsets[line + 1])
    assert "signals" not in found and "split" not in found


def test_an_id_by_its_beginning(build: Path, offsets: list[int]) -> None:
    found = at(build, offsets, 0)
    assert explain(build, found["id"][:10]) == explain(build, found["id"]) == found


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("web-b.jsonl.g@3", "did you mean `web-b.jsonl.gz`?"),
        ("web-a.jsonl@99999999", "no byte 99999999"),
        ("f" * 32, "no id begins with"),
        ("ABCDEF", "lower case"),
        ("abc", "lower case"),
        ("web-a.jsonl@-1", "FILE@OFFSET"),
        ("@5", "no source has a file named"),
        ("web-a.jsonl@" + "9" * 30, "FILE@OFFSET"),
    ],
)
def test_what_is_not_there(build: Path, what: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        explain(build, what)
    assert said in str(caught.value)


def test_text_from_outside_steers_no_terminal(
    build: Path, offsets: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    found = at(build, offsets, 19)
    assert found["excerpt"].startswith(HOSTILE) and found["origin"]["url"].endswith(HOSTILE)
    show_explanation(build, found["id"], as_json=False)
    shown = capsys.readouterr().out
    assert "\x1b" not in shown and "\u202e" not in shown
    assert r"\u001b[2J[bold]\u202e<script>" in shown
    assert found["id"] in shown and "gopher_quality.mean_word_length" in shown and "non_symbol_words" in shown


@pytest.mark.parametrize("line", [0, 3, 7, 11, 13, 17, 21, 22])
def test_each_fate_prints(build: Path, offsets: list[int], line: int, capsys: pytest.CaptureFixture[str]) -> None:
    found = at(build, offsets, line)
    show_explanation(build, f"web-a.jsonl@{offsets[line]}", as_json=False)
    shown = capsys.readouterr().out
    for word in (found["id"], found["reason"], (found.get("duplicate_of") or {}).get("id"), found.get("split")):
        assert word is None or word in shown
    show_explanation(build, f"web-a.jsonl@{offsets[line]}", as_json=True)
    assert json.loads(capsys.readouterr().out) == found


def printed(found: Any, width: int | None = None) -> str:
    """Return the output on a terminal with that many columns, or in a file (None)."""
    out = io.StringIO()
    print_explanation(found, Console(file=out, force_terminal=width is not None, no_color=True, width=width or 40))
    return out.getvalue()


@pytest.mark.parametrize("width", [None, 80, 60])
def test_the_bounds_are_seen_at_any_width(build: Path, width: int | None) -> None:
    found: Any = explain(build, "books.jsonl@0")
    shown = printed(found, width)
    for verdict in found["verdicts"]:
        for word in f"{verdict['bound']} {verdict.get('published_bound') or ''}".split():
            assert word in shown
    assert "40..100000" in shown and "(published:" in shown
    assert sum(len(line) > (width or 120) for line in shown.splitlines() if " NO " in line or " yes " in line) == 0


def test_in_a_file_each_verdict_and_signal_is_on_one_line(build: Path) -> None:
    found: Any = explain(build, "books.jsonl@0")
    shown = printed(found).splitlines()
    for verdict in found["verdicts"]:
        assert any(line.strip().startswith(verdict["rule"]) and verdict["bound"] in line for line in shown)
    for signal in found["signals"]:
        assert any(signal in line.split() for line in shown)


def test_what_is_as_long_as_a_file_is_cut_on_a_terminal(build: Path) -> None:
    found: Any = explain(build, "books.jsonl@0")
    for name in ("url", "license", "date", "language"):
        found["origin"][name] = f"begin-{name}-" + "x" * 1_000_000
    found["duplicates"] = [found["origin"] | {"id": "other"}]
    shown = printed(found)
    assert len(shown) < 20_000 and max(map(len, shown.splitlines())) < 700
    for name in ("url", "license", "date", "language"):
        assert f"begin-{name}-{'x' * (299 - len(f'begin-{name}-'))}…" in shown


def test_the_command(build: Path) -> None:
    command = [sys.executable, "-m", "corpus", "explain", str(build)]
    done = subprocess.run([*command, "books.jsonl@0", "--json"], capture_output=True, text=True)
    assert done.returncode == 0 and json.loads(done.stdout)["outcome"] == "kept"
    done = subprocess.run([*command, "book.jsonl@0"], capture_output=True, text=True)
    assert done.returncode == 2 and "did you mean `books.jsonl`?" in done.stderr and "Traceback" not in done.stderr

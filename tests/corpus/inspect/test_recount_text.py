"""Ledgers, records, decisions and text shards are counted again, whatever their manifests vouch for."""

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.inspect.recount import Recount
from corpus.inspect.verify import verify_build
from corpus.store.corpus_manifest import open_manifest
from corpus.store.finished_build import open_build
from corpus.store.products import canonical
from tests.resealed import error_lines, reseal, verify_error
from tests.small_build import built, copy_build


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def copy(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy in which a test puts right again what it changed."""
    return copy_build(build, tmp_path_factory.mktemp("verify") / "out")


@pytest.fixture
def own(build: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return copy_build(build, tmp_path / "out")


def ledgers(build: Path) -> Iterator[tuple[Path, int, str]]:
    """One entry of each kind of job's ledgers, and each of its counts."""
    for kind_ in ("clean.web", "minhash.web", "dedup", "text.web", "tokenize.web", "mix.web"):
        path = next(build.glob(f"jobs/{kind_}-*/tasks/00000.json"))
        for number, _ in enumerate(json.loads(path.read_text())["ledger"]):
            for count in ("records", "input_bytes", "text_bytes"):
                yield path, number, count


def test_no_count_of_any_ledger_can_lie(copy: Path) -> None:
    checked = 0
    for path, number, count in list(ledgers(copy)):
        task, job = path.read_bytes(), (path.parent.parent / "job.json").read_bytes()
        body = json.loads(task)
        body["ledger"][number][count] += 1
        path.write_text(canonical(body))
        reseal(path.parent.parent)
        try:
            named = error_lines(verify_error(copy))
        finally:
            path.write_bytes(task)
            (path.parent.parent / "job.json").write_bytes(job)
        assert len(named) == 1 and named[0].startswith(f"{path.relative_to(copy)}: "), (path, number, count, named)
        checked += 1
    assert checked > 30
    verify_build(copy)


def test_a_resealed_build_is_as_it_was(copy: Path) -> None:
    """Else the tests around this one would see their own seal only."""
    for job in copy.glob("jobs/*"):
        before = (job / "job.json").read_bytes()
        reseal(job)
        assert (job / "job.json").read_bytes() == before


def changed(path: Path, column: str, row: int, value: object) -> None:
    table = pq.read_table(path)
    values = table[column].to_pylist()
    values[row] = value
    place = table.schema.get_field_index(column)
    pq.write_table(
        table.set_column(place, table.schema.field(place), pa.array(values, table.schema.field(place).type)), path
    )


@pytest.mark.parametrize(
    ("job", "file", "column", "value", "said"),
    [
        ("clean.web", "records-00000", "end", 7, "does not join on"),
        ("clean.web", "records-00000", "reason", "no_reason", "counted"),
        ("clean.web", "kept-00000", "id", "0" * 32, "row by row"),
        ("clean.web", "kept-00000", "text", "another text", "text_bytes"),
        ("clean.web", "kept-00000", "source", "books", "another source"),
        ("minhash.web", "signatures-00000", "id", "0" * 32, "not a row for each kept document"),
        ("dedup", "decisions/web-00000", "split", None, "row by row"),
        ("text.web", "text-00000", "text", "another text", "text_bytes"),
        ("text.web", "text-00000", "split", "neither", "row by row"),
        ("text.web", "text-00000", "language", "tlh", "languages"),
    ],
)
def test_a_shard_that_says_otherwise_is_found_though_its_seal_is_good(
    own: Path, job: str, file: str, column: str, value: object, said: str
) -> None:
    folder = next(own.glob(f"jobs/{job}-*"))
    changed(folder / f"{file}.parquet", column, 0, value)
    reseal(folder)
    assert said in verify_error(own)


def test_a_shard_that_is_no_shard_is_found_though_its_seal_is_good(own: Path) -> None:
    folder = next(own.glob("jobs/text.web-*"))
    (folder / "text-00000.parquet").write_bytes(b"PAR1 not really PAR1")
    reseal(folder)
    assert "text-00000.parquet: cannot be recounted" in verify_error(own)


def merged_row(build: Path, reason: str) -> tuple[Path, int]:
    """A decision against a duplicate."""
    for path in sorted(build.glob("jobs/dedup-*/decisions/*.parquet")):
        reasons = pq.read_table(path)["reason"].to_pylist()
        if reason in reasons:
            return path, reasons.index(reason)
    raise AssertionError(f"no {reason} duplicate in the small build")


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("survivor", "0" * 32, "was not kept"),
        ("survivor_source", "web", "was not kept"),
        ("intersection", 1, "below 0.8"),
    ],
)
def test_a_duplicate_needs_a_survivor_that_stays_and_is_like_it(
    own: Path, column: str, value: object, said: str
) -> None:
    path, row = merged_row(own, "near")
    changed(path, column, row, value)
    reseal(path.parent.parent)
    assert said in verify_error(own)


def test_the_spans_of_a_file_end_where_it_does(own: Path) -> None:
    job = next(own.glob("jobs/fetch.books-*"))
    task = json.loads((job / "tasks/00000.json").read_text())
    task["facts"]["files"][0]["size"] += 1
    (job / "tasks/00000.json").write_text(canonical(task))
    reseal(job)
    size = task["facts"]["files"][0]["size"]
    error = verify_error(own)
    assert "its input fetch.books is not the one in build.json" in error  # what stands for it is of its files
    recount = Recount(open_build(own), own)
    recount.run(open_manifest(own))
    (problem,) = recount.problems
    assert f"books.jsonl: its records end at byte {size - 1}, the file at {size}" in problem


def test_a_document_that_dedup_kept_twice(build: Path) -> None:
    recount = Recount(open_build(build), build)
    recount.run(open_manifest(build))
    assert recount.problems == []
    first = recount.texts[0].slice(0, 1)
    texts = pa.concat_tables([*recount.texts, first])
    recount._survivors(texts, pa.concat_tables(recount.merged))
    (problem,) = recount.problems
    assert f"{first['id'][0]} is there twice in the text shards" in problem

"""The stage `dedup` over text shards and signatures of several tasks and sources."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.dedup.decision import Decision
from corpus.document import document_id
from corpus.recipe import Recipe
from corpus.settings import Json
from corpus.sources.records import RecordsSettings
from corpus.store.text_shards import TableWriter, read_rows
from pipelines.engine.job import Task
from pipelines.engine.job_output import JobOutput
from pipelines.stages.dedup import DedupFacts, DedupStage
from pipelines.stages.minhash import MinHashStage
from pipelines.stages.stage import DocumentStage

TEXT = " ".join(f"word{number}" for number in range(60))
LONGER = f"{TEXT} and some words more"  # similar enough, and earlier in policy order

KEPT = pa.schema(
    [
        ("id", pa.string()),
        ("text", pa.large_string()),
        ("text_bytes", pa.int64()),
        ("origin_file", pa.string()),
        ("origin_start", pa.int64()),
    ]
)


@dataclass(frozen=True)
class Kept(DocumentStage):
    """Stands for `clean`."""

    kind = "clean"

    def settings(self) -> Json:
        return None

    def work(self, task: Task) -> None:
        raise AssertionError("its files are written by `run`")


def dedup_job(near: dict[str, int] | None = None, tasks: tuple[int, int] = (2, 2)) -> DedupStage:
    same = {"reader": "records", "paths": ("documents.jsonl",), "license": "CC0-1.0", "share": 0.5}
    own = ({"name": "books", "priority": 1, "holdout": False}, {"name": "web"})
    sources = tuple(RecordsSettings.model_validate({**same, **each}) for each in own)
    settings = {"dedup": {"near": near or {}}, "holdout": {"share": 0.999_999}, "sources": sources}
    recipe = Recipe.model_validate({"format_version": 1, "name": "few", **settings})
    kept = [Kept(source.name, (), count, recipe) for source, count in zip(sources, tasks, strict=True)]
    minhashes = [MinHashStage(each.source_name, (each,), each.tasks, recipe) for each in kept]
    return DedupStage("", (*kept, *minhashes), 1, recipe)


def run(out: Path, job: DedupStage, texts: dict[str, list[list[str]]]) -> dict[str, list[list[Decision]]]:
    """Write the texts of each task of each source, and return the decisions."""
    for kept, minhash in zip(job.inputs_of(Kept), job.inputs_of(MinHashStage), strict=True):
        output = JobOutput(out, kept)
        output.folder.mkdir(parents=True)
        for task, part in enumerate(texts[kept.source_name]):
            with TableWriter(output.kept[task], KEPT) as writer:
                for row, text in enumerate(part):
                    id_, file = identity(kept.source_name, text), f"{kept.source_name}.jsonl"
                    writer.write([id_, text, len(text.encode()), file, 1000 * task + row])
            minhash.run_task(out, task)
    job.run_task(out, 0)
    tables = JobOutput(out, job).decisions
    return {
        source: [list(read_rows(path, Decision)) for path in tables.of_source(source, len(parts))]
        for source, parts in texts.items()
    }


def identity(source: str, text: str) -> str:
    return document_id(source, "", text.encode())


def test_survivors_are_those_of_priority_then_of_length(tmp_path: Path) -> None:
    texts = {"books": [[], ["alone", TEXT, "no words in common"]], "web": [[LONGER, "alone"], ["of its own", "!?"]]}
    books, web = run(tmp_path, dedup_job(), texts).values()
    assert books == [[], [Decision(identity("books", text), "train", *[None] * 5) for text in texts["books"][1]]]
    near, exact = web[0]
    assert near[:4] == (identity("web", LONGER), None, identity("books", TEXT), "books")
    assert near.reason == "near" and (near.intersection, near.union) == (56, 60)
    assert exact[1:] == (None, identity("books", "alone"), "books", 1, 1, "exact")
    assert web[1] == [Decision(identity("web", text), "holdout", *[None] * 5) for text in texts["web"][1]]
    ledger = JobOutput(tmp_path, dedup_job()).ledger()
    assert ledger.total("records") == 7 and ledger.total("records", "web", "merged") == 2


def test_copies_of_one_record_are_ranked_by_origin(tmp_path: Path) -> None:
    texts = {"books": [[TEXT, LONGER], [TEXT]], "web": [[], []]}
    books = run(tmp_path, dedup_job(), texts)["books"]
    assert [decision.split for part in books for decision in part] == [None, "train", None]
    assert {decision.survivor for part in books for decision in part} == {None, identity("books", LONGER)}


def test_comparisons_beyond_the_caps_are_listed(tmp_path: Path) -> None:
    """Pages of a template share bands and are no duplicates."""
    shared = " ".join(f"word{number}" for number in range(600))
    pages = [" ".join([shared, *(f"own{page}x{number}" for number in range(120))]) for page in range(40)]
    job = dedup_job({"document_cap": 5})
    run(tmp_path, job, {"books": [pages[:10], pages[10:20]], "web": [pages[20:30], pages[30:]]})
    output = JobOutput(tmp_path, job)
    counts = output.facts(DedupFacts).counts
    rows = pq.read_table(output.uncompared[0]).to_pylist()
    assert counts["near"] == 0 and counts["not_compared"] == sum(row["not_compared"] for row in rows) > 40
    assert {(row["source"], row["id"]) for row in rows} <= {
        *((("books", identity("books", page))) for page in pages[:20]),
        *((("web", identity("web", page))) for page in pages[20:]),
    }
    warning = job.warning(output)
    assert warning and "uncompared-00000.parquet" in warning
    assert counts["compared"] <= 5 * 40


def test_without_a_document_over_the_caps_nothing_is_listed(tmp_path: Path) -> None:
    job = dedup_job()
    run(tmp_path, job, {"books": [[TEXT], []], "web": [[LONGER], []]})
    output = JobOutput(tmp_path, job)
    assert job.warning(output) is None
    assert {product.table for product in output.products(0)} == {"decisions"}


def test_progress_is_reported_while_the_task_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(Task, "progress", lambda task, documents, size=0: told.append((documents, size)))
    texts = {"books": [[TEXT, "alone"], []], "web": [[LONGER], ["alone", "other"]]}
    run(tmp_path, dedup_job(), texts)
    told = told[-(4 + 4 + 4) :]
    assert sum(documents for documents, _ in told) == 5
    assert sum(size for _, size in told) == len(TEXT) + len(LONGER)  # shingles are computed of these two


def test_no_documents_at_all(tmp_path: Path) -> None:
    assert run(tmp_path, dedup_job(), {"books": [[], []], "web": [[], []]}) == {"books": [[], []], "web": [[], []]}

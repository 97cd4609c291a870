"""Deduplication of 10,000 to 640,000 synthetic documents: time and memory a document above an empty run.

    python benchmarks/dedup_growth.py [--largest 640000] [--templates 40000]

A quarter of the documents are planted copies, chains and pages of templates (`dedup_documents.py`). The stage `dedup`
runs in a process of its own for each size, on text shards and signatures written before. The decisions are compared
with those of an earlier version, which loaded shingles document by document and had no `document_cap`. Pages of one
template, of which no two are near duplicates, show the cost where that cap is reached. Time is CPU time.
"""

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from common import record
from dedup_documents import Text, documents, template_pages

sys.path.insert(0, str(Path(__file__).parents[1]))

from corpus.dedup.decision import Decision
from corpus.recipe import Recipe
from corpus.settings import Json
from corpus.sources.records import RecordsSettings
from corpus.store.text_shards import read_rows
from pipelines.engine.job_output import JobOutput
from pipelines.stages.dedup import DedupFacts, DedupStage
from pipelines.stages.minhash import MinHashStage
from pipelines.stages.stage import DocumentStage

PACKAGES = ("numba", "numpy", "pyarrow", "datasketch")
COUNTS = (10_000, 40_000, 160_000, 640_000)
FEW = 100  # documents of an "empty" run, which loads all libraries and kernels
PART = 5000  # documents
MOST = 1.25  # time and memory a document at 640,000, in those at 160,000
# SHA-256 of the decisions that the code of commit 886cd84 made on the same documents.
DECISIONS = {
    10_000: "c7060ddfa19d06f3c4060117abaa52089d831131edf262e4f0b26bb6fc3bc7e1",
    40_000: "d931c4c8d12f3246b5a069b9539c3570c362eae29e8b8ae13887e4bf76cca034",
    160_000: "756162404b95812b897e4437ae3eca3aa29dce4240c75445aa054c31d04e0020",
    640_000: "a6bafd4cef0b235d7245551d03394045b30142ab926f62626a6fc629ddf32a29",
}


@dataclass(frozen=True)
class Kept(DocumentStage):
    """Stands for `clean`: its files are written by `write_inputs`."""

    kind = "clean"

    def settings(self) -> Json:
        return None

    def work(self, task: object) -> None:
        raise AssertionError("its files are written by `write_inputs`")


def job(count: int) -> DedupStage:
    """Return the job over the documents, a quarter of them in a source of higher priority without a holdout."""
    same = {"reader": "records", "paths": ("documents.jsonl",), "license": "CC0-1.0", "share": 0.5}
    own = ({"name": "web"}, {"name": "books", "priority": 1, "holdout": False})
    sources = tuple(RecordsSettings.model_validate({**same, **each}) for each in own)
    settings = {"holdout": {"share": 0.01}, "seed": 7, "sources": sources}
    recipe = Recipe.model_validate({"format_version": 1, "name": "growth", **settings})
    parts = -(-count // PART)
    kept = [Kept("web", (), parts - parts // 4, recipe), Kept("books", (), parts // 4, recipe)]
    minhashes = [MinHashStage(each.source_name, (each,), each.tasks, recipe) for each in kept]
    return DedupStage("", (*kept, *minhashes), 1, recipe)


def write_inputs(out: Path, dedup: DedupStage, texts: Sequence[Text]) -> None:
    """Write text shards and signatures."""
    at = 0
    for kept, minhash in zip(dedup.inputs_of(Kept), dedup.inputs_of(MinHashStage), strict=True):
        output = JobOutput(out, kept)
        output.folder.mkdir(parents=True)
        for task in range(kept.tasks):
            part, start = texts[at : at + PART], task * PART
            at += PART
            columns = {
                "id": [each.id for each in part],
                "text": pa.array([each.text for each in part], pa.large_string()),
                "text_bytes": pa.array([len(each.text.encode()) for each in part], pa.int64()),
                "origin_file": pa.array([f"{kept.source_name}.jsonl"] * len(part), pa.string()),
                "origin_start": pa.array(range(start, start + len(part)), pa.int64()),
            }
            pq.write_table(pa.table(columns), output.kept[task], compression="zstd")
            minhash.run_task(out, task)


def decisions_hash(out: Path, dedup: DedupStage) -> str:
    """Return a hash over all decisions in order."""
    digest = hashlib.sha256()
    for kept in dedup.inputs_of(Kept):
        for path in JobOutput(out, dedup).decisions.of_source(kept.source_name, kept.tasks):
            for row in read_rows(path, Decision):
                digest.update(json.dumps(row).encode())
    return digest.hexdigest()


def child(step: str, kind: str, count: int, out: Path) -> None:
    """Do one step in this process, and print its figures as JSON."""
    dedup = job(count)
    if step == "write":
        write_inputs(out, dedup, template_pages(count) if kind == "templates" else documents(count))
        return
    start, cpu_s = time.perf_counter(), time.process_time()
    dedup.run_task(out, 0)
    figures = {
        "cpu_s": round(time.process_time() - cpu_s, 3),
        "wall_s": round(time.perf_counter() - start, 3),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000, 1),
    }
    output = JobOutput(out, dedup)
    facts = {"counts": output.facts(DedupFacts).counts, "decisions": decisions_hash(out, dedup)}
    listed = [name.name for name in output.products(0) if name.table == "uncompared"]
    rows = sum(pq.read_metadata(output.folder / name).num_rows for name in listed)
    print(json.dumps({**figures, **facts, "listed_documents": rows}))


def measure(kind: str, count: int) -> dict[str, Json]:
    """Write documents and deduplicate them, each in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="dedup_growth_") as folder:
        for step in ("write", "dedup"):
            command = [sys.executable, __file__, "--child", step, kind, str(count), folder]
            printed = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    figures: dict[str, Json] = {"documents": count, **json.loads(printed)}
    print(kind, json.dumps(figures), flush=True)
    return figures


def per_document(figures: dict[str, Json], empty: dict[str, Json]) -> dict[str, Json]:
    """Return time and memory a document above an empty run."""
    units = {"us_per_document": ("cpu_s", 1e6), "kb_per_document": ("peak_mb", 1e3)}
    above = {unit: scale * (figures[name] - empty[name]) for unit, (name, scale) in units.items()}  # type: ignore[operator]
    return {unit: round(value / figures["documents"], 3) for unit, value in above.items()}  # type: ignore[operator]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--largest", type=int, default=COUNTS[-1])
    parser.add_argument("--templates", type=int, default=40_000)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        step, kind, count, out = options.child
        child(step, kind, int(count), Path(out))
        return
    measure("documents", COUNTS[0])  # compiles
    empty = measure("documents", FEW)
    sizes = [measure("documents", count) for count in COUNTS if count <= options.largest]
    templates = [measure("templates", count) for count in (options.templates // 4, options.templates)]
    for figures in (*sizes, *templates):
        figures |= per_document(figures, empty)
    last, before = sizes[-1], sizes[-2]
    ratios = {unit: round(last[unit] / before[unit], 3) for unit in ("us_per_document", "kb_per_document")}
    met = {
        f"time and memory a document at most {MOST} times those at a quarter": max(ratios.values()) <= MOST,
        "decisions equal": all(each["decisions"] == DECISIONS[each["documents"]] for each in sizes),
    }
    figures = {"empty": empty, "sizes": sizes, "ratios": ratios, "template_pages": templates}
    claim = "deduplication grows in proportion to the documents, and its decisions are those of the version before"
    record("dedup_growth", claim, PACKAGES, figures, met)


if __name__ == "__main__":
    main()

"""dedup: find duplicates, pick survivors, assign the holdout. In memory, over the signatures of all sources."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from corpus import document
from corpus.dedup.decide import REVISION, DedupColumns, Removals, decide
from corpus.dedup.decision import Decision, held_out
from corpus.dedup.shingles import shingles
from corpus.settings import Json, Strict
from corpus.store.text_shards import read_one
from pipelines.engine.job import Task, versions
from pipelines.engine.job_output import Table
from pipelines.stages.minhash import MinHashStage
from pipelines.stages.stage import DocumentStage, Stage


class DedupFacts(Strict):
    """Facts of the dedup task: numbers of pairs and removals, see corpus.dedup.decide."""

    counts: dict[str, int]


@dataclass(frozen=True)
class DedupStage(Stage):
    """Writes a decision for each kept row, in the same order, as one file per source and task."""

    kind = "dedup"
    decisions = Table("decisions")

    def settings(self) -> Json:
        recipe = self.recipe
        return {
            "dedup": recipe.dedup.model_dump(mode="json"),
            "holdout": recipe.holdout.share,
            "seed": recipe.seed,
            "sources": [[source.name, source.priority, source.holdout] for source in recipe.sources],
        }

    def version_keys(self) -> dict[str, Json]:
        return {"decide": REVISION, "keys": document.REVISION, **versions(["pyarrow"])}

    def work(self, task: Task) -> None:
        signatures = Signatures(self, task)
        removals = decide(signatures.documents, signatures.shingles, self.recipe.dedup)
        decisions = self._decisions(signatures, removals)
        counts = ("intersection", "union")
        schema = pa.schema([(name, pa.int64() if name in counts else pa.string()) for name in Decision._fields])
        for source, part, rows in signatures.rows_by_part():
            table = pa.Table.from_pylist([decision._asdict() for decision in decisions[rows.start : rows.stop]], schema)
            pq.write_table(table, task.new_table(self.decisions, part, source), compression="zstd")
        for row, decision in enumerate(decisions):
            size = int(signatures.text_bytes[row])
            task.ledger.add(signatures.source(row), *outcome_of(decision), input_bytes=size, text_bytes=size)
        task.facts = DedupFacts(counts=asdict(removals.counts))

    def _decisions(self, signatures: "Signatures", removals: Removals) -> list[Decision]:
        """Return a decision per kept row: a split for a document that stays, a survivor for one that is merged."""
        ids, share = signatures.ids, self.recipe.holdout.share
        shares = {source.name: share if source.holdout else 0.0 for source in self.recipe.sources}
        decisions = []
        for row, identity in enumerate(ids):
            is_held_out = held_out(identity, self.recipe.seed, shares[signatures.source(row)])
            decisions.append(Decision(identity, "holdout" if is_held_out else "train", *[None] * 5))
        # replace those of the merged ones; a document that stays leads its cluster, so its id decides the split
        removed = signatures.order[removals.removed].tolist()
        survivors = signatures.order[removals.survivor].tolist()
        counts = (removals.intersection.tolist(), removals.union.tolist(), removals.near.tolist())
        for row, survivor, intersection, union, is_near in zip(removed, survivors, *counts, strict=True):
            reason, source = "near" if is_near else "exact", signatures.source(survivor)
            decisions[row] = Decision(ids[row], None, ids[survivor], source, intersection, union, reason)
        return decisions


def outcome_of(decision: Decision) -> tuple[str, str]:
    """Return outcome and reason: kept with its split, or merged with the kind of duplicate."""
    return ("kept", decision.split) if decision.split else ("merged", str(decision.reason))


class Signatures:
    """Signatures of all kept documents as columns, in the order of the kept rows; `order` ranks them by policy."""

    def __init__(self, job: DedupStage, task: Task) -> None:
        self._near = job.recipe.dedup.near
        self._parts: list[tuple[str, int, Path]] = []  # source, task, file with the texts
        tables: list[pa.Table] = []
        for documents, minhash in zip(job.inputs_of(DocumentStage), job.inputs_of(MinHashStage), strict=True):
            kept, signatures = task.input(documents).kept, task.input(minhash).signatures
            for part in range(documents.tasks):
                self._parts.append((documents.source_name, part, kept[part]))
                tables.append(pq.read_table(signatures[part]))
        joined = pa.concat_tables(tables)
        self.ids: list[str] = joined["id"].to_pylist()
        self.text_bytes = joined["text_bytes"].to_numpy()
        self._starts = np.cumsum([0, *(table.num_rows for table in tables)])
        self._part_of_row = np.repeat(np.arange(len(tables)), np.diff(self._starts))
        self.order = self._policy_order(job, joined)
        self.documents = self._columns(joined)

    def _policy_order(self, job: DedupStage, joined: pa.Table) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Return rows by priority, then by length of the text, then by id; copies of one record by origin."""
        priority_of = {source.name: source.priority for source in job.recipe.sources}
        priority = np.array([priority_of[source] for source, *_ in self._parts])[self._part_of_row]
        files, starts = joined["origin_file"].to_pylist(), joined["origin_start"].to_pylist()
        keys = zip((-priority).tolist(), (-self.text_bytes).tolist(), self.ids, files, starts, strict=True)
        ranked = sorted((key, row) for row, key in enumerate(keys))
        return np.array([row for _, row in ranked], np.int64)

    def _columns(self, joined: pa.Table) -> DedupColumns:
        hashes = np.frombuffer(b"".join(joined["content"].to_pylist()), np.uint8).reshape(-1, 16)
        width = self._near.bands if self._near else 0
        bands = joined["bands"].combine_chunks()
        has_bands = bands.is_valid().to_numpy(zero_copy_only=False)
        filled = np.zeros((len(hashes), width), np.uint64)
        if width and len(hashes):
            filled[has_bands] = np.asarray(bands.flatten(), np.uint64).reshape(-1, width)
        return DedupColumns(hashes[self.order], filled[self.order], has_bands[self.order])

    def shingles(self, rank: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
        """Return the shingle set of the document of that rank, computed from its text."""
        assert self._near is not None
        row = int(self.order[rank])
        part = int(self._part_of_row[row])
        text = read_one(self._parts[part][2], row - int(self._starts[part]), "text")
        return shingles(str(text), self._near.ngram_words)

    def source(self, row: int) -> str:
        """Return the source that a row came from."""
        return self._parts[int(self._part_of_row[row])][0]

    def rows_by_part(self) -> Iterator[tuple[str, int, range]]:
        """Yield the rows of each source and task."""
        for (source, part, _), first, end in zip(self._parts, self._starts, self._starts[1:], strict=False):
            yield source, part, range(int(first), int(end))

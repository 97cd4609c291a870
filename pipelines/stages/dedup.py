"""dedup: find duplicates, pick survivors, assign the holdout. In memory, over the signatures of all sources."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from corpus import document
from corpus.dedup.decide import REVISION, Ranks, Removals, decide
from corpus.dedup.decision import Decision, held_out
from corpus.dedup.shingles import ShingleSets
from corpus.dedup.signature_columns import Part, Signatures
from corpus.dedup.stored_shingles import ShardRows, store_shingles
from corpus.settings import Json, Strict
from corpus.units import human_count
from pipelines.engine.job import Task, versions
from pipelines.engine.job_output import JobOutput, Table
from pipelines.stages.minhash import MinHashStage
from pipelines.stages.stage import DocumentStage, Stage

STAYS = -1
_COUNTS = ("intersection", "union")
DECISION_SCHEMA = pa.schema([(name, pa.int64() if name in _COUNTS else pa.string()) for name in Decision._fields])


class DedupFacts(Strict):
    """Facts of the dedup task: numbers of pairs and removals, see corpus.dedup.decide."""

    counts: dict[str, int]


@dataclass(frozen=True)
class DedupStage(Stage):
    """Writes a decision for each kept row, in the same order, as one file per source and task.

    The table `uncompared` lists the documents that stay and were not compared with all that share a band, because a
    bucket or the document has too many of them. It has no file if there are none.
    """

    kind = "dedup"
    decisions = Table("decisions")
    uncompared = Table("uncompared")

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
        near = self.recipe.dedup.near
        signatures = Signatures(self._parts(task), near.bands if near else 0, lambda: task.progress(0))
        removals = decide(
            signatures.columns, lambda ranks: self._shingles(task, signatures, ranks), self.recipe.dedup, task.progress
        )
        for part, decisions in self._decisions(signatures, removals):
            columns = dict(zip(DECISION_SCHEMA.names, zip(*decisions, strict=True), strict=True)) if decisions else None
            table = pa.table(columns, DECISION_SCHEMA) if columns else DECISION_SCHEMA.empty_table()
            pq.write_table(table, task.new_table(self.decisions, part.task, part.source), compression="zstd")
            for decision, size in zip(decisions, signatures.text_bytes[part.first : part.end].tolist(), strict=True):
                task.ledger.add(part.source, *outcome_of(decision), input_bytes=size, text_bytes=size)
            task.progress(0)
        if removals.not_compared:
            self._list_uncompared(task, signatures, removals)
        task.facts = DedupFacts(counts=asdict(removals.counts))

    def warning(self, output: JobOutput) -> str | None:
        counts = output.facts(DedupFacts).counts
        if not counts["not_compared"]:
            return None
        path, number = output.path(self.uncompared.file_name(0)), human_count(counts["not_compared"])
        return f"dedup: {number} comparisons beyond dedup.near's caps were left out; {path} lists the documents"

    def _parts(self, task: Task) -> list[Part]:
        """Return the tasks of all sources, with the rows that their documents have in the columns."""
        parts, rows = [], 0
        priority_of = {source.name: source.priority for source in self.recipe.sources}
        for documents, minhash in zip(self.inputs_of(DocumentStage), self.inputs_of(MinHashStage), strict=True):
            name, kept, signatures = documents.source_name, task.input(documents).kept, task.input(minhash).signatures
            for number in range(documents.tasks):
                first, rows = rows, rows + pq.read_metadata(signatures[number]).num_rows
                parts.append(Part(name, priority_of[name], number, kept[number], signatures[number], first, rows))
        return parts

    def _shingles(self, task: Task, signatures: Signatures, ranks: Ranks) -> ShingleSets:
        """Compute the shingle sets of the documents of these ranks, in the order of their texts."""
        assert self.recipe.dedup.near is not None
        rows = signatures.columns.order[ranks]
        by_row = np.argsort(rows)
        shards = []
        for part in signatures.parts:
            first, end = np.searchsorted(rows, (part.first, part.end), sorter=by_row)
            shards.append(ShardRows(part.kept, rows[by_row[first:end]] - part.first))
        words, path = self.recipe.dedup.near.ngram_words, task.temporary / "shingles"
        hashes, start, size = store_shingles(shards, words, path, lambda read: task.progress(0, read))
        place = np.argsort(by_row)
        return ShingleSets(hashes, start[place], size[place])

    def _decisions(self, signatures: Signatures, removals: Removals) -> Iterator[tuple[Part, list[Decision]]]:
        """Yield a decision per kept row: a split for a document that stays, a survivor for one that is merged."""
        share = self.recipe.holdout.share
        shares = {source.name: share if source.holdout else 0.0 for source in self.recipe.sources}
        order = signatures.columns.order
        place = np.full(len(order), STAYS, np.int64)  # of a row in the columns of `removals`
        place[order[removals.removed]] = np.arange(len(removals.removed))
        for part in signatures.parts:
            decisions = []
            for row, at in enumerate(place[part.first : part.end].tolist(), part.first):
                identity = signatures.id(row)
                if at == STAYS:  # it leads its cluster, so its id decides the split
                    is_held_out = held_out(identity, self.recipe.seed, shares[part.source])
                    decisions.append(Decision(identity, "holdout" if is_held_out else "train", *[None] * 5))
                    continue
                survivor, near = int(order[removals.survivor[at]]), bool(removals.near[at])
                shared, union = int(removals.intersection[at]), int(removals.union[at])
                other, source = signatures.id(survivor), signatures.source(survivor)
                decisions.append(Decision(identity, None, other, source, shared, union, "near" if near else "exact"))
            yield part, decisions

    def _list_uncompared(self, task: Task, signatures: Signatures, removals: Removals) -> None:
        """Write the documents that stay and were not compared with all that share a band."""
        rows = signatures.columns.order[list(removals.not_compared)].tolist()
        counts = removals.not_compared.values()
        listed = sorted((signatures.source(row), signatures.id(row), n) for row, n in zip(rows, counts, strict=True))
        columns = dict(zip(("source", "id", "not_compared"), map(list, zip(*listed, strict=True)), strict=True))
        pq.write_table(pa.table(columns), task.new_table(self.uncompared), compression="zstd")


def outcome_of(decision: Decision) -> tuple[str, str]:
    """Return outcome and reason: kept with its split, or merged with the kind of duplicate."""
    return ("kept", decision.split) if decision.split else ("merged", str(decision.reason))

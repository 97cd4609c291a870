"""dedup: find duplicates, pick survivors, assign the holdout. In memory, over the signatures of all sources."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from corpus import document
from corpus.dedup.decision import Decision, held_out
from corpus.dedup.settings import Dedup
from corpus.recipe import Holdout
from corpus.settings import Json, Strict
from corpus.sources.base import SourceSettings
from pipelines.engine.job import Job, versions
from pipelines.engine.job_output import Table
from pipelines.engine.task import Task
from pipelines.stages.document_stage import DocumentStage
from pipelines.stages.minhash import MinHashStage

if TYPE_CHECKING:
    import pyarrow as pa

    from corpus.dedup.decide import DedupColumns, Removals


class DedupFacts(Strict):
    """Facts of the dedup task: numbers of pairs and removals, see corpus.dedup.decide."""

    counts: dict[str, int]


@dataclass(frozen=True)
class DedupStage(Job):
    """Writes a decision for each kept row, in the same order, as one file per source and task."""

    dedup: Dedup
    holdout: Holdout
    seed: int
    sources: tuple[SourceSettings, ...]

    kind: ClassVar[str] = "dedup"
    decisions = Table("decisions")

    def settings(self) -> Json:
        sources: list[Json] = [[source.name, source.priority, source.holdout] for source in self.sources]
        dedup = self.dedup.model_dump(mode="json")
        return {"dedup": dedup, "holdout": self.holdout.share, "seed": self.seed, "sources": sources}

    def version_keys(self) -> Mapping[str, Json]:
        from corpus.dedup.decide import REVISION

        return {"decide": REVISION, "keys": document.REVISION, **versions(["pyarrow"])}

    def work(self, task: Task) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        from corpus.dedup.decide import decide

        signatures = Signatures(self, task)
        found = decide(signatures.documents, signatures.shingles, self.dedup)
        decisions = self._decisions(signatures, found)
        schema = pa.schema(
            [
                ("id", pa.string()),
                ("split", pa.string()),
                ("survivor", pa.string()),
                ("survivor_source", pa.string()),
                ("intersection", pa.int64()),
                ("union", pa.int64()),
                ("reason", pa.string()),
            ]
        )
        for source, part, rows in signatures.rows_by_part():
            columns = [list(column) for column in zip(*decisions[rows.start : rows.stop], strict=True)]
            columns = columns or [[] for _ in schema.names]
            table = pa.table(dict(zip(schema.names, columns, strict=True)), schema=schema)
            pq.write_table(table, task.new_table(self.decisions, part, source), compression="zstd")
        self._book(task, signatures, decisions)
        task.facts = DedupFacts(counts=asdict(found.counts))

    def _decisions(self, signatures: "Signatures", found: "Removals") -> list[Decision]:
        """Return a decision per kept row: a split for a document that stays, a survivor for one that is merged."""
        ids = signatures.ids
        decisions: list[Decision | None] = [None] * len(ids)
        removed = signatures.order[found.removed].tolist()
        survivors = signatures.order[found.survivor].tolist()
        similarity = zip(found.intersection.tolist(), found.union.tolist(), found.near.tolist(), strict=True)
        for row, survivor, (intersection, union, is_near) in zip(removed, survivors, similarity, strict=True):
            reason, source = "near" if is_near else "exact", signatures.source(survivor)
            decisions[row] = Decision(ids[row], None, ids[survivor], source, intersection, union, reason)
        # a document that stays leads its cluster, so its id decides the split
        exempt = {source.name for source in self.sources if not source.holdout}
        return [
            decision
            or Decision(
                ids[row],
                "holdout"
                if signatures.source(row) not in exempt and held_out(ids[row], self.seed, self.holdout.share)
                else "train",
                *[None] * 5,
            )
            for row, decision in enumerate(decisions)
        ]

    def _book(self, task: Task, signatures: "Signatures", decisions: list[Decision]) -> None:
        for row, decision in enumerate(decisions):
            outcome, reason = ("kept", decision.split) if decision.split else ("merged", decision.reason)
            size = int(signatures.text_bytes[row])
            task.ledger.add(signatures.source(row), outcome, str(reason), input_bytes=size, text_bytes=size)


class Signatures:
    """Signatures of all kept documents as columns, in the order of the kept rows; `order` ranks them by policy."""

    def __init__(self, job: DedupStage, task: Task) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._near = job.dedup.near
        self._source_names = [source.name for source in job.sources]
        self._parts: list[tuple[int, int, int, Path]] = []  # number of source, task, first row, file with the texts
        tables: list[pa.Table] = []
        count = 0
        stages = zip(job.inputs_of(DocumentStage), job.inputs_of(MinHashStage), strict=True)
        for number, (documents, minhash) in enumerate(stages):
            kept, signatures = task.input(documents).kept, task.input(minhash).signatures
            for part in range(documents.tasks):
                table = pq.read_table(signatures[part])
                self._parts.append((number, part, count, kept[part]))
                tables.append(table)
                count += table.num_rows
        joined = pa.concat_tables(tables)
        self.ids: list[str] = joined["id"].to_pylist()
        self.text_bytes = joined["text_bytes"].to_numpy()
        self._starts = np.array([first for _, _, first, _ in self._parts] + [count])
        self._source_numbers = np.repeat([number for number, *_ in self._parts], np.diff(self._starts))
        self.order = self._policy_order(job, joined)
        self.documents = self._columns(joined)

    def _policy_order(self, job: DedupStage, joined: "pa.Table") -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Return rows by priority, then by length of the text, then by id; copies of one record by origin."""
        priority = np.array([source.priority for source in job.sources])[self._source_numbers]
        files, starts = joined["origin_file"].to_pylist(), joined["origin_start"].to_pylist()
        keys = zip((-priority).tolist(), (-self.text_bytes).tolist(), self.ids, files, starts, strict=True)
        ranked = sorted((key, row) for row, key in enumerate(keys))
        return np.array([row for _, row in ranked], np.int64)

    def _columns(self, joined: "pa.Table") -> "DedupColumns":
        from corpus.dedup.decide import DedupColumns

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
        from corpus.dedup.shingles import shingles
        from corpus.store.text_shards import read_one

        assert self._near is not None
        row = int(self.order[rank])
        part = int(np.searchsorted(self._starts, row, side="right")) - 1
        text = read_one(self._parts[part][3], row - int(self._starts[part]), "text")
        return shingles(str(text), self._near.ngram_words)

    def source(self, row: int) -> str:
        """Return the source that a row came from."""
        return self._source_names[int(self._source_numbers[row])]

    def rows_by_part(self) -> Iterator[tuple[str, int, range]]:
        """Yield the rows of each source and task."""
        for number, (source, part, first, _) in enumerate(self._parts):
            yield self._source_names[source], part, range(first, int(self._starts[number + 1]))

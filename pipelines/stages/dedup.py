"""dedup: who is a copy of whom, who stays, and who is held out. In memory, over the sketches of all sources."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from corpus import document
from corpus.dedup.settings import Dedup
from corpus.recipe import Holdout
from corpus.settings import Json
from corpus.sources.base import SourceSettings
from pipelines.engine.job import Job, versions
from pipelines.engine.task import Task

if TYPE_CHECKING:
    import pyarrow as pa

    from corpus.dedup.decide import DedupColumns, Removals


@dataclass(frozen=True)
class DedupJob(Job):
    """Writes, for each task of each source's clean, one decision a kept row, in the same order."""

    dedup: Dedup
    holdout: Holdout
    seed: int
    sources: tuple[SourceSettings, ...]

    def settings(self) -> Json:
        priorities: list[Json] = [[source.name, source.priority, source.holdout] for source in self.sources]
        share = self.holdout.share
        return {"dedup": self.dedup.model_dump(mode="json"), "holdout": share, "seed": self.seed, "sources": priorities}

    def deciders(self) -> Mapping[str, Json]:
        from corpus.dedup.decide import REVISION

        return {"decide": REVISION, "keys": document.REVISION, **versions(["pyarrow"])}

    def work(self, task: Task) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        from corpus.dedup.decide import decide

        sketches = Sketches(self, task)
        decisions = decide(sketches.documents, sketches.shingles, self.dedup)
        columns = self._columns(sketches, decisions)
        schema = pa.schema(
            [("id", pa.string()), ("split", pa.string()), ("survivor", pa.string()), ("survivor_source", pa.string()),
             ("intersection", pa.int64()), ("union", pa.int64()), ("reason", pa.string())]
        )  # fmt: skip
        for (source, part), rows in sketches.rows_by_part():
            table = pa.table({name: [columns[name][row] for row in rows] for name in schema.names}, schema=schema)
            pq.write_table(table, task.new(f"decisions/{source}-{part:05d}.parquet"), compression="zstd")
        self._book(task, sketches, columns)
        task.facts["counts"] = asdict(decisions.counts)

    def _columns(self, sketches: "Sketches", decisions: "Removals") -> dict[str, list[object]]:
        """A decision a row of clean: a split for what stays, a survivor for what is merged."""
        from corpus.dedup.decision import held_out

        ids = sketches.ids
        exempt = {source.name for source in self.sources if not source.holdout}
        columns: dict[str, list[object]] = {
            name: [None] * len(ids)
            for name in ("split", "survivor", "survivor_source", "intersection", "union", "reason")
        }
        removed = sketches.order[decisions.removed].tolist()
        survivors = sketches.order[decisions.survivor].tolist()
        rest = (decisions.intersection.tolist(), decisions.union.tolist(), decisions.near.tolist())
        for row, survivor, shared, union, near in zip(removed, survivors, *rest, strict=True):
            values = (ids[survivor], sketches.source(survivor), shared, union, "near" if near else "exact")
            for name, value in zip(
                ("survivor", "survivor_source", "intersection", "union", "reason"), values, strict=True
            ):
                columns[name][row] = value
        for row, identity in enumerate(ids):
            if columns["survivor"][row] is None:
                out = sketches.source(row) not in exempt and held_out(identity, self.seed, self.holdout.share)
                columns["split"][row] = "holdout" if out else "train"
        return {"id": list(ids), **columns}

    def _book(self, task: Task, sketches: "Sketches", columns: dict[str, list[object]]) -> None:
        for row, split in enumerate(columns["split"]):
            outcome, reason = ("kept", split) if split else ("merged", columns["reason"][row])
            size = int(sketches.text_bytes[row])
            task.ledger.add(sketches.source(row), outcome, str(reason), input_bytes=size, text_bytes=size)


class Sketches:
    """The sketches of all kept documents as columns, in the order of clean's rows; `order` ranks them by policy."""

    def __init__(self, job: DedupJob, task: Task) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._settings = job.dedup.near
        self.names = [source.name for source in job.sources]
        self.parts: list[tuple[int, int, int, Path]] = []  # source, part, first row, clean's shard
        tables: list[pa.Table] = []
        count = 0
        for number, (clean, sketch) in enumerate(zip(job.inputs_of("clean"), job.inputs_of("sketch"), strict=True)):
            for part in range(clean.tasks):
                table = pq.read_table(task.input(sketch).path(f"sketch-{part:05d}.parquet"))
                shard = task.input(clean).path(f"kept-{part:05d}.parquet")
                self.parts.append((number, part, count, shard))
                tables.append(table)
                count += table.num_rows
        whole = pa.concat_tables(tables)
        self.ids: list[str] = whole["id"].to_pylist()
        self.text_bytes = whole["text_bytes"].to_numpy()
        self._starts = np.array([first for _, _, first, _ in self.parts] + [count])
        self._source_of = np.repeat([number for number, *_ in self.parts], np.diff(self._starts))
        self.order = self._policy_order(job, whole)
        self.documents = self._columns(whole)

    def _policy_order(self, job: DedupJob, whole: "pa.Table") -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Higher priority first, then the longer text, then the id; two copies of one record by where they lie."""
        priority = np.array([source.priority for source in job.sources])[self._source_of]
        files, starts = whole["origin_file"].to_pylist(), whole["origin_start"].to_pylist()
        keys = zip((-priority).tolist(), (-self.text_bytes).tolist(), self.ids, files, starts, strict=True)
        ranked = sorted((key, row) for row, key in enumerate(keys))
        return np.array([row for _, row in ranked], np.int64)

    def _columns(self, whole: "pa.Table") -> "DedupColumns":
        from corpus.dedup.decide import DedupColumns

        joined = b"".join(whole["content"].to_pylist())
        raw = np.frombuffer(joined, np.uint8).reshape(-1, 16)
        width = self._settings.bands if self._settings else 0
        bands = whole["bands"].combine_chunks()
        has_bands = bands.is_valid().to_numpy(zero_copy_only=False)
        filled = np.zeros((len(raw), width), np.uint64)
        if width and len(raw):
            filled[has_bands] = np.asarray(bands.flatten(), np.uint64).reshape(-1, width)
        return DedupColumns(raw[self.order], filled[self.order], has_bands[self.order])

    def shingles(self, rank: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
        """The shingle set of the document of that rank, from its text."""
        from corpus.dedup.shingles import shingles
        from corpus.store.text_shards import read_one

        assert self._settings is not None
        row = int(self.order[rank])
        part = int(np.searchsorted(self._starts, row, side="right")) - 1
        text = read_one(self.parts[part][3], row - int(self._starts[part]), "text")
        return shingles(str(text), self._settings.ngram_words)

    def source(self, row: int) -> str:
        """The source that a row came from."""
        return self.names[int(self._source_of[row])]

    def rows_by_part(self) -> Iterator[tuple[tuple[str, int], range]]:
        """Each (source, task of clean) with its rows."""
        for number, (source, part, first, _) in enumerate(self.parts):
            yield (self.names[source], part), range(first, int(self._starts[number + 1]))

"""Recount the ledgers from the products themselves.

Hashes show that no file was changed after it was written; this shows that the counts were right when they were written.
Ids are compared as 32 hexadecimal digits.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.errors import CorpusError
from corpus.store.finished_build import Build, BuiltJob, task_path
from corpus.store.ledger import Ledger
from corpus.store.parquet_tables import columns

UNREADABLE = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AssertionError, CorpusError)
TABLES = {
    "records": "clean",
    "kept": "clean",
    "dropped": "clean",
    "signatures": "minhash",
    "decisions": "dedup",
    "text": "text",
}
COUNTS = "{} records, {} bytes of input, {} of text"
DOCUMENT = ["id", "split", "text_bytes"]


@dataclass
class Recount:
    """Problems found so far while comparing the manifests of a build with its products."""

    build: Build
    problems: list[str] = field(default_factory=list)
    ledgers: dict[tuple[str, int], Ledger] = field(default_factory=dict)  # counted ones, by job and task
    texts: dict[tuple[str, int], pa.Table] = field(default_factory=dict)  # text shards without texts, by source, task
    merged: list[pa.Table] = field(default_factory=list)  # decisions about duplicates
    all_read: bool = True  # False if a product could not be read

    def read_documents(self) -> None:
        """Compare the products from fetch to text with each other, and count their ledgers."""
        for source in self.build.sources:
            files = {name: self.build.table(kind, source, name) for name, kind in TABLES.items()}
            ends: dict[str, int] = {}  # the last byte of each file that a record covers
            for task in range(len(files["records"])):
                paths = {name: of_task[task] for name, of_task in files.items()}
                with self.reading(paths["records"]):
                    self._records(source, task, paths, ends)
                with self.reading(paths["text"]):
                    self._decisions(source, task, paths)
            self._file_ends(source, ends)
        if not self.problems:  # otherwise some texts may be missing
            self._survivors(pa.concat_tables(self.texts.values()), pa.concat_tables(self.merged))

    def name(self, path: Path) -> str:
        """Return a path relative to the build."""
        return str(path.relative_to(self.build.folder))

    def expect(self, holds: bool, path: Path, problem: str) -> None:
        """Add a problem if something does not hold for a product."""
        if not holds:
            self.problems.append(f"{self.name(path)}: {problem}")

    @contextmanager
    def reading(self, path: Path) -> Iterator[None]:
        """Turn an error while reading a product into a problem."""
        try:
            yield
        except UNREADABLE as error:
            self.all_read = False
            text = " ".join(str(error).split())[:300].replace(f"{self.build.folder}/", "")
            self.expect(False, path, f"cannot be recounted: {text}")

    def book(
        self, job: BuiltJob, task: int, source: str, outcome: object, reason: object, input_bytes: object,
        text_bytes: object, records: int = 1,
    ) -> None:  # fmt: skip
        """Add rows to a counted ledger; plain values are the same in every row."""
        values = (outcome, reason, input_bytes, text_bytes)
        rows = max(len(value) for value in values if isinstance(value, pa.ChunkedArray))
        arrays = [value if isinstance(value, pa.ChunkedArray) else pa.repeat(value, rows) for value in values]
        table = pa.table(arrays, ["outcome", "reason", "input", "text"])
        sums = table.group_by(["outcome", "reason"]).aggregate([("input", "sum"), ("text", "sum"), ([], "count_all")])
        ledger = self.ledgers.setdefault((job.name, task), Ledger())
        for row in sums.to_pylist():
            counts = {"input_bytes": row["input_sum"], "text_bytes": row["text_sum"]}
            ledger.add(source, row["outcome"], row["reason"] or "", records=records * row["count_all"], **counts)

    def compare_ledgers(self) -> None:
        """Compare the counted ledgers with those in the manifests of tasks."""
        for (name, task), counted in self.ledgers.items() if self.all_read else ():
            job = next(job for job in self.build.jobs if job.name == name)
            stated = Ledger.of([job.tasks[task].ledger_json])
            one, other = ({entry[:3]: entry[3:] for entry in ledger.entries()} for ledger in (stated, counted))
            for key in sorted({*one, *other}):
                says, found = one.get(key, (0, 0, 0)), other.get(key, (0, 0, 0))
                problem = f"{' '.join(filter(None, key))}: {COUNTS.format(*says)}; counted {COUNTS.format(*found)}"
                self.expect(says == found, task_path(job.folder, task), problem)

    def _records(self, source: str, task: int, paths: dict[str, Path], ends: dict[str, int]) -> None:
        """Check that spans follow each other, and that the documents are those of the records."""
        records, clean = columns(paths["records"]), self.build.job("clean", source)
        for file, start, end in zip(*(records[name].to_pylist() for name in ("file", "start", "end")), strict=True):
            joins = start == ends.get(file, 0) and end >= start
            self.expect(joins, paths["records"], f"{file}: {start}..{end} does not join on to {ends.get(file, 0)}")
            ends[file] = end
        sizes = pc.subtract(records["end"], records["start"])
        self.book(clean, task, source, records["outcome"], records["reason"], sizes, 0)
        for outcome in ("kept", "dropped"):
            path, origin = paths[outcome], ["id", "origin_file", "origin_start", "origin_end"]
            shard = columns(path, *origin, "source", "text_bytes", "rule")
            same = records.filter(pc.equal(records["outcome"], outcome)).select(["id", "file", "start", "end"])
            same = same.rename_columns(origin).to_pydict() == shard.select(origin).to_pydict()
            self.expect(same, path, f"not the {outcome} documents of {paths['records'].name}, row by row")
            self._text_shard(path, shard["source"], source)
            self.book(clean, task, source, outcome, shard["rule"], 0, shard["text_bytes"], records=0)

    def _text_shard(self, path: Path, sources: pa.ChunkedArray, source: str) -> None:
        """Check the source and the size of each text; a text that was not kept has no size."""
        self.expect(sources.unique().to_pylist() in ([], [source]), path, f"documents of another source than {source}")
        with pq.ParquetFile(path) as file:
            groups = (file.read_row_group(n, columns=["text", "text_bytes"]) for n in range(file.num_row_groups))
            differ = any(pc.any(pc.not_equal(pc.binary_length(g["text"]), g["text_bytes"])).as_py() for g in groups)
        self.expect(not differ, path, "text_bytes is not the size of each text")

    def _file_ends(self, source: str, ends: dict[str, int]) -> None:
        clean, files = self.build.job("clean", source), self.build.job("fetch", source).fetched_files or []
        sizes = {str(file["name"]): file["size"] for file in files}
        for name in sorted({*sizes, *ends}):
            end, size = ends.get(name, 0), sizes.get(name)
            self.expect(end == size, clean.folder, f"{name}: its records end at byte {end}, the file at {size}")

    def _decisions(self, source: str, task: int, paths: dict[str, Path]) -> None:
        """Check that each kept document has a signature and a decision, and that the text shard follows them."""
        kept, signatures = (columns(paths[name], "id", "text_bytes") for name in ("kept", "signatures"))
        decisions, text = columns(paths["decisions"]), columns(paths["text"], *DOCUMENT, "language", "source")
        for name, ids in (("signatures", signatures["id"]), ("decisions", decisions["id"])):
            self.expect(ids.equals(kept["id"]), paths[name], "not a row for each kept document, in order")
        stays, sizes = pc.is_valid(decisions["split"]), kept["text_bytes"]
        expected = decisions.append_column("text_bytes", sizes).select(DOCUMENT).filter(stays)
        same = text.select(DOCUMENT).to_pydict() == expected.to_pydict()
        self.expect(same, paths["text"], "not the documents that dedup kept, with their splits, row by row")
        self._text_shard(paths["text"], text["source"], source)
        self.texts[source, task] = text
        self.merged.append(decisions.filter(pc.invert(stays)))
        signed = signatures["text_bytes"]
        self.book(self.build.job("minhash", source), task, source, "kept", "", signed, signed)
        outcomes, reasons = pc.if_else(stays, "kept", "merged"), pc.coalesce(decisions["split"], decisions["reason"])
        for job, number in ((self.build.job("text", source), task), (self.build.job("dedup"), 0)):
            self.book(job, number, source, outcomes, reasons, sizes, sizes)

    def _survivors(self, texts: pa.Table, merged: pa.Table) -> None:
        """Check that the survivor of each duplicate was kept and is similar enough."""
        dedup = self.build.job("dedup")
        kept = pc.binary_join_element_wise(texts["source"], texts["id"], "/").combine_chunks()
        survivors = pc.binary_join_element_wise(merged["survivor_source"], merged["survivor"], "/")
        near = dedup.setting("dedup", "near", "at_least")
        at_least = near if isinstance(near, int | float) else 1.0
        similarity = pc.divide(merged["intersection"].cast(pa.float64()), merged["union"].cast(pa.float64()))
        for row in merged.filter(pc.invert(pc.is_in(survivors, kept))).slice(0, 1).to_pylist():
            self.expect(False, dedup.folder, f"{row['id']} was merged into {row['survivor']}, which was not kept")
        for row in (
            merged.filter(pc.or_(pc.equal(merged["union"], 0), pc.less(similarity, at_least))).slice(0, 1).to_pylist()
        ):
            found = f"{row['intersection']}/{row['union']}"
            self.expect(False, dedup.folder, f"{row['id']} was merged at {found}, below {at_least:g}")
        for id_ in repeated_ids(texts)[:1] if dedup.setting("dedup", "exact") else ():
            self.expect(False, dedup.folder, f"{id_} is there twice in the text shards")


def repeated_ids(documents: pa.Table) -> list[str]:
    """Return the ids that occur more than once."""
    counts = documents.group_by("id").aggregate([([], "count_all")])
    repeated: list[str] = counts.filter(pc.greater(counts["count_all"], 1))["id"].to_pylist()
    return repeated

"""Recount the ledgers from the products themselves, and compare the products with each other.

Hashes show that no file was changed after it was written; this shows that the counts were right when they were written.
Ids are compared as 32 hexadecimal digits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from corpus.store.corpus_manifest import Manifest, ShardEntry, SourceEntry
from corpus.store.finished_build import Build, BuiltJob, task_path
from corpus.store.ledger import Ledger
from corpus.store.parquet_tables import columns, value_counts
from corpus.store.token_shards import SPLITS, ShardHeader, open_token_shard, shard_entry
from corpus.tokens.runs import KEYS, TokenRun, order_key

COUNTS = ("records", "input_bytes", "text_bytes")
SUMS = "{} records, {} bytes of input, {} of text"
DOCUMENT = ["id", "split", "text_bytes"]
SPAN, ORIGIN = ["id", "file", "start", "end"], ["id", "origin_file", "origin_start", "origin_end"]


@dataclass
class Recount:
    """Problems found so far while comparing the manifests of a build with its products."""

    build: Build
    path: Path  # of the product that is being compared
    problems: list[str] = field(default_factory=list)
    ledgers: dict[tuple[str, int], Ledger] = field(default_factory=dict)  # counted ones, by job and task
    texts: list[pa.Table] = field(default_factory=list)  # text shards without texts
    merged: list[pa.Table] = field(default_factory=list)  # decisions about duplicates

    def run(self, manifest: Manifest) -> None:
        """Collect all problems. Raises an error of Arrow, CorpusError or ValueError if `path` cannot be read."""
        for source in self.build.sources:
            self._documents(source)
        texts = pa.concat_tables(self.texts)
        if not self.problems:  # otherwise some texts may be missing
            self._survivors(texts, pa.concat_tables(self.merged))
        if not self.problems:  # otherwise the texts to compare with may be wrong
            for entry in manifest.sources:
                self._token_shards(manifest, entry, texts.filter(pc.equal(texts["source"], entry.name)))
        self._compare_ledgers()

    def expect(self, checks: Mapping[str, object]) -> None:
        """Add the problem of each check that does not hold."""
        for problem, holds in checks.items():
            if not holds:
                self.problems.append(f"{self.path.relative_to(self.build.folder)}: {problem}")

    def expect_same(self, rows: pa.Table, expected: pa.Table, problem: str) -> None:
        """Add a problem unless both tables have the same values, whatever their columns are called."""
        self.expect({problem: rows.equals(expected.rename_columns(rows.column_names))})

    def expect_none(self, rows: pa.Table, problem: str) -> None:
        """Add the problem of the first row, if there is one."""
        self.expect({problem.format(**row): False for row in rows.slice(0, 1).to_pylist()})

    def _book(self, job: BuiltJob, task: int, source: str, rows: pa.Table, counts: Sequence[str] = COUNTS) -> None:
        """Add rows with an outcome, a reason and a size to these columns of a counted ledger."""
        sums = rows.group_by(["outcome", "reason"]).aggregate([("size", "sum"), ([], "count_all")])
        ledger = self.ledgers.setdefault((job.name, task), Ledger())
        for row in sums.to_pylist():
            added = {name: row["count_all" if name == "records" else "size_sum"] for name in counts}
            ledger.add(source, row["outcome"], row["reason"] or "", **{"records": 0, **added})

    def _compare_ledgers(self) -> None:
        """Compare the counted ledgers with those in the manifests of tasks."""
        jobs = {job.name: job for job in self.build.jobs}
        for (name, task), counted in self.ledgers.items():
            self.path = task_path(jobs[name].folder, task)
            stated = Ledger.of([jobs[name].tasks[task].ledger_json])
            one, other = ({entry[:3]: entry[3:] for entry in ledger.entries()} for ledger in (stated, counted))
            for key in sorted({*one, *other}):
                says, found = (SUMS.format(*counts.get(key, (0, 0, 0))) for counts in (one, other))
                self.expect({f"{' '.join(filter(None, key))}: {says}; counted {found}": says == found})

    def _read(self, source: str, kind: str, name: str, task: int, *names: str) -> pa.Table:
        """Read columns of a task's table."""
        self.path = self.build.table(kind, source, name)[task]
        return columns(self.path, *names)

    def _texts(self, source: str, kind: str, name: str, task: int, *names: str) -> pa.Table:
        """Read columns of a text shard, and check the source and the size of each text that was kept."""
        table = self._read(source, kind, name, task, "source", *names)
        with pq.ParquetFile(self.path) as file:
            groups = (file.read_row_group(n, columns=["text", "text_bytes"]) for n in range(file.num_row_groups))
            differ = any(pc.any(pc.not_equal(pc.binary_length(g["text"]), g["text_bytes"])).as_py() for g in groups)
        own = table["source"].unique().to_pylist() in ([], [source])
        self.expect({f"documents of another source than {source}": own})
        self.expect({"text_bytes is not the size of each text": not differ})
        return table

    def _documents(self, source: str) -> None:
        """Compare a source's products from fetch to text with each other, and count their ledgers."""
        clean, ends = self.build.job("clean", source), dict[str, int]()
        for task in range(len(clean.tasks)):
            # Spans follow each other, and documents are those of the records.
            records = self._read(source, "clean", "records", task)
            for file, start, end in zip(*(records[name].to_pylist() for name in SPAN[1:]), strict=True):
                last, ends[file] = ends.get(file, 0), end
                self.expect({f"{file}: {start}..{end} does not join on to {last}": start == last and end >= start})
            sizes = pc.subtract(records["end"], records["start"])
            self._book(clean, task, source, _sizes(records["outcome"], records["reason"], sizes), COUNTS[:2])
            for outcome in ("dropped", "kept"):
                kept = self._texts(source, "clean", outcome, task, *ORIGIN, "text_bytes", "rule")
                spans = records.filter(pc.equal(records["outcome"], outcome)).select(SPAN)
                self.expect_same(kept.select(ORIGIN), spans, f"not the {outcome} documents of the records, row by row")
                self._book(clean, task, source, _sizes(outcome, kept["rule"], kept["text_bytes"]), COUNTS[2:])
            self._decisions(source, task, kept)
        # The last span of a file ends where the file does.
        self.path, files = clean.folder, self.build.job("fetch", source).fetched_files or []
        sizes = {str(file["name"]): file["size"] for file in files}
        for name in sorted({*sizes, *ends}):
            end, size = ends.get(name, 0), sizes.get(name)
            self.expect({f"{name}: its records end at byte {end}, the file at {size}": end == size})

    def _decisions(self, source: str, task: int, kept: pa.Table) -> None:
        """Check that each kept document has a signature and a decision, and that the text shard follows them."""
        problem = "not a row for each kept document, in order"
        signatures = self._read(source, "minhash", "signatures", task, "id", "text_bytes")
        self.expect_same(signatures, kept.select(["id", "text_bytes"]), problem)
        self._book(self.build.job("minhash", source), task, source, _sizes("kept", "", signatures["text_bytes"]))
        decisions = self._read(source, "dedup", "decisions", task)
        self.expect_same(decisions.select(["id"]), kept.select(["id"]), problem)
        stays, sizes = pc.is_valid(decisions["split"]), kept["text_bytes"]
        outcomes, reasons = pc.if_else(stays, "kept", "merged"), pc.coalesce(decisions["split"], decisions["reason"])
        for job, number in ((self.build.job("dedup"), 0), (self.build.job("text", source), task)):
            self._book(job, number, source, _sizes(outcomes, reasons, sizes))
        text = self._texts(source, "text", "text", task, *DOCUMENT, "language")
        expected = decisions.append_column("text_bytes", sizes).select(DOCUMENT).filter(stays)
        problem = "not the documents that dedup kept, with their splits, row by row"
        self.expect_same(text.select(DOCUMENT), expected, problem)
        self.texts.append(text)
        self.merged.append(decisions.filter(pc.invert(stays)))
        self._token_run(source, task, expected)

    def _survivors(self, texts: pa.Table, merged: pa.Table) -> None:
        """Check that the survivor of each duplicate was kept and is similar enough."""
        dedup = self.build.job("dedup")
        self.path, near = dedup.folder, dedup.setting("dedup", "near", "at_least")
        at_least = near if isinstance(near, int | float) else 1.0
        lost = merged.join(texts, ["survivor_source", "survivor"], ["source", "id"], "left anti")
        self.expect_none(lost, "{id} was merged into {survivor}, which was not kept")
        similarity = pc.divide(merged["intersection"].cast(pa.float64()), merged["union"].cast(pa.float64()))
        unlike = merged.filter(pc.or_(pc.equal(merged["union"], 0), pc.less(similarity, at_least)))
        self.expect_none(unlike, f"{{id}} was merged at {{intersection}}/{{union}}, below {at_least:g}")
        if dedup.setting("dedup", "exact"):
            self.expect_none(_repeated(texts), "{id} is there twice in the text shards")

    def _token_run(self, source: str, task: int, texts: pa.Table) -> None:
        """Check that a token run has the documents of its text shard."""
        tokenize, run = self.build.job("tokenize", source), texts.slice(0, 0)
        self.path = tokenize.table("run")[task]
        for rows in TokenRun(self.path).rows(0, KEYS):
            splits = [SPLITS[split] for split in rows.splits_D.tolist()]
            run = pa.concat_tables([run, _rows(rows.ids_D16, splits, rows.bytes_D)])
        self.expect_same(run.sort_by("id"), texts.sort_by("id"), "not the documents of its text shard")
        self._book(tokenize, task, source, _sizes("kept", run["split"], run["text_bytes"]))

    def _token_shards(self, manifest: Manifest, source: SourceEntry, texts: pa.Table) -> None:
        """Compare a source's token shards with its text shards, and with the manifest."""
        mix, listed = self.build.job("mix", source.name), {shard.file: shard for shard in source.shards}
        shards = [texts.select(DOCUMENT).slice(0, 0)]
        for task, path in ((n, mix.folder / row.name) for n, file in enumerate(mix.tasks) for row in file.products):
            self.path, entry = path, listed.get(str(path.relative_to(self.build.folder)))
            self.expect({"missing in manifest.json": entry})
            shards += [self._token_shard(manifest, mix, task, entry, texts)] if entry else []
        self._over_quota(manifest, mix, texts, pa.concat_tables(shards))

    def _token_shard(
        self, manifest: Manifest, mix: BuiltJob, task: int, stated: ShardEntry, texts: pa.Table
    ) -> pa.Table:
        """Check a token shard against the manifest and the texts; return its documents."""
        shard, tokenizer = open_token_shard(self.path), manifest.tokenizer
        header = ShardHeader(tokenizer.sha256, mix.file.fingerprint, mix.source, stated.split)
        tokens, eos, size, kind = shard.tokens_N, tokenizer.eos.id, tokenizer.vocabulary, shard.tokens_N.dtype.name
        documents = _rows(shard.ids_D16, [stated.split] * len(shard), shard.bytes_D)
        self._book(mix, task, mix.source, _sizes("kept", stated.split, documents["text_bytes"]))
        own = texts.take(pc.index_in(documents["id"], texts["id"].combine_chunks()).drop_null())
        entry = shard_entry(self.path, stated.file, shard, value_counts(own["language"], "und"))
        differ = [name for name in ShardEntry.model_fields if getattr(entry, name) != getattr(stated, name)]
        strays = documents.join(texts, DOCUMENT, join_type="left anti")
        self.expect_none(strays, f"{{id}} ({{split}}, {{text_bytes}} bytes) is in no text shard of {mix.source}")
        self.expect(
            {
                f"its header is {shard.header}; expected {header}": shard.header == header,
                f"tokens are {kind}; manifest.json says {tokenizer.dtype}": kind == tokenizer.dtype,
                f"a document does not end in EOS ({eos})": (tokens[shard.offsets_D1[1:] - 1] == eos).all(),
                f"EOS ({eos}) is inside a document": (tokens == eos).sum() == len(shard),
                f"a token is beyond the vocabulary of {size}": tokens.max(initial=0) < size,
                f"manifest.json says other {', '.join(differ)} than the shard has": not differ,
            }
        )
        return documents

    def _over_quota(self, manifest: Manifest, mix: BuiltJob, texts: pa.Table, shards: pa.Table) -> None:
        """Check that no document is in two shards and that the holdout is complete; count what is over the quota."""
        self.path = mix.folder
        if not len(_repeated(texts)):  # else dedup was told to keep exact copies
            self.expect_none(_repeated(shards), "{id} is there twice")
        left = texts.join(shards, "id", join_type="left anti")
        held = left.filter(pc.equal(left["split"], "holdout"))
        self.expect({f"{len(held)} documents of the holdout are in no shard": not len(held)})
        # A document over quota is booked by the last task whose keys begin at or before its own.
        left = left.filter(pc.equal(left["split"], "train"))
        keys = [order_key(manifest.seed, id_) for id_ in left["id"].to_pylist()]
        tasks = pa.array([((key + 1) * len(mix.tasks) - 1) // KEYS for key in keys], pa.int64())
        for task in range(len(mix.tasks)):
            sizes = left["text_bytes"].filter(pc.equal(tasks, task))
            self._book(mix, task, mix.source, _sizes("skipped", "over_quota", sizes), COUNTS[:2])


def _repeated(documents: pa.Table) -> pa.Table:
    """Return the ids that occur more than once."""
    counts = documents.group_by("id").aggregate([([], "count_all")])
    return counts.filter(pc.greater(counts["count_all"], 1))


def _sizes(outcome: object, reason: object, sizes: pa.ChunkedArray) -> pa.Table:
    """Return documents to book; their outcome or reason may be the same for all of them."""
    keys = [key if isinstance(key, pa.ChunkedArray) else pa.repeat(key, len(sizes)) for key in (outcome, reason)]
    return pa.table([*keys, sizes], ["outcome", "reason", "size"])


def _rows(ids_D16: NDArray[np.uint8], splits: Sequence[str], bytes_D: NDArray[np.int64]) -> pa.Table:
    """Return ids, splits and sizes as a table with the columns of DOCUMENT."""
    digits = ids_D16.tobytes().hex()
    ids = [digits[start : start + 32] for start in range(0, len(digits), 32)]
    return pa.table([pa.array(ids, pa.string()), pa.array(splits, pa.string()), bytes_D], DOCUMENT)

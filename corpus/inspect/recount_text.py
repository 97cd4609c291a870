"""Records, decisions and text shards of a source, counted again.

Legend: D documents, in the order of the shards.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from corpus.inspect.recount_counting import Ids, file_of, guarded, hexadecimal, ids_of, int64, join, ledger_problems
from corpus.store.finished_build import Build, BuiltJob
from corpus.store.ledger import Ledger
from corpus.store.parquet_tables import columns


@dataclass
class Texts:
    """What the text shards of one source hold, and what went into others; grows task by task."""

    source: str
    ids: list[Ids] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    languages: list[str | None] = field(default_factory=list)
    merged: list[dict[str, object]] = field(default_factory=list)
    by_task: list[int] = field(default_factory=list)  # documents

    @property
    def ids_D(self) -> Ids:  # noqa: N802
        """The ids of all documents."""
        return join(self.ids)


def count_source(build: Build, texts: Texts, dedup: Ledger) -> Iterator[str]:
    """Problems of the jobs clean, sketch, dedup and text of a source; fills `texts`, adds to dedup's ledger."""
    source = texts.source
    clean = build.job("clean", source)
    reached: dict[str, int] = {}
    for task in range(len(clean.tasks)):
        yield from guarded(build, file_of(clean, task, "records"), _records(build, clean, task, reached))
        yield from guarded(build, file_of(clean, task, "kept"), _kept(build, source, task, texts, dedup))
    yield from _sizes(build, build.job("fetch", source), clean, reached)


def _records(build: Build, clean: BuiltJob, task: int, reached: dict[str, int]) -> Iterator[str]:
    """The spans join, and the ledger of records is the task's; the ids are those of the shards, in order."""
    path = file_of(clean, task, "records")
    where = path.relative_to(build.folder)
    records = columns(path, "file", "start", "end", "outcome", "reason", "id")
    starts, ends = int64(records["start"]), int64(records["end"])
    yield from _spans(str(where), records["file"].to_pylist(), starts, ends, reached)
    text_bytes: dict[tuple[str, str], int] = {}
    for outcome in ("kept", "dropped"):
        shard = file_of(clean, task, outcome)
        rows = columns(shard, "id", "source", "origin_file", "origin_start", "origin_end", "text_bytes", "rule")
        same = records.filter(pc.equal(records["outcome"], outcome))
        named = same.select(["id", "file", "start", "end"]).rename_columns(
            ["id", "origin_file", "origin_start", "origin_end"]
        )
        if named.to_pydict() != rows.select(named.column_names).to_pydict():
            yield f"{shard.relative_to(build.folder)}: not the {outcome} documents of {where}, row by row"
        if rows.filter(pc.not_equal(rows["source"], clean.source)).num_rows:
            yield f"{shard.relative_to(build.folder)}: holds documents of another source than {clean.source}"
        for rule, size in zip(rows["rule"].to_pylist(), int64(rows["text_bytes"]).tolist(), strict=True):
            text_bytes[outcome, rule or ""] = text_bytes.get((outcome, rule or ""), 0) + size
        yield from _text_sizes(build, shard)
    spans = pa.table([records["outcome"], records["reason"], pa.array(ends - starts)], ["outcome", "reason", "size"])
    ledger = Ledger()
    for row in spans.group_by(["outcome", "reason"]).aggregate([("size", "count"), ("size", "sum")]).to_pylist():
        fate = (row["outcome"], row["reason"])
        ledger.add(
            clean.source,
            *fate,
            records=row["size_count"],
            input_bytes=row["size_sum"],
            text_bytes=text_bytes.get(fate, 0),
        )
    yield from ledger_problems(build, clean, task, ledger)


def _spans(
    where: str, files: list[str], starts: NDArray[np.int64], ends: NDArray[np.int64], reached: dict[str, int]
) -> Iterator[str]:
    """Each span begins where the one before it in its file ends."""
    for file, start, end in zip(files, starts.tolist(), ends.tolist(), strict=True):
        if start != reached.get(file, 0) or end < start:
            yield f"{where}: {file}: {start}..{end} does not join on to byte {reached.get(file, 0)}"
        reached[file] = end


def _sizes(build: Build, acquire: BuiltJob, clean: BuiltJob, reached: Mapping[str, int]) -> Iterator[str]:
    """The spans of each file end where the file does."""
    sizes: dict[str, int] = {}
    for task in acquire.tasks:
        files = task.facts.get("files")
        for file in files if isinstance(files, list) else []:
            if isinstance(file, dict) and isinstance(size := file.get("size"), int):
                sizes[str(file.get("name"))] = size
    for name in sorted(sizes.keys() | reached.keys()):
        if reached.get(name, 0) != sizes.get(name):
            where = clean.folder.relative_to(build.folder)
            yield f"{where}: {name}: its records end at byte {reached.get(name, 0)}, the file at {sizes.get(name)}"


def _text_sizes(build: Build, shard: Path) -> Iterator[str]:
    """The stated size of each text is its size; a text that was not kept has none to compare."""
    with pq.ParquetFile(shard) as file:
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group, columns=["text", "text_bytes"])
            differ = pc.not_equal(pc.binary_length(rows["text"]), rows["text_bytes"])
            if pc.any(differ).as_py():
                yield f"{shard.relative_to(build.folder)}: text_bytes is not the size of each text"
                return


def _kept(build: Build, source: str, task: int, texts: Texts, dedup: Ledger) -> Iterator[str]:
    """Each kept document has a sketch and a decision, and the text shard holds just those that stay."""
    clean, sketch, text = (build.job(kind, source) for kind in ("clean", "minhash", "text"))
    kept = columns(file_of(clean, task, "kept"), "id", "text_bytes")
    ids, sizes = kept["id"].to_pylist(), int64(kept["text_bytes"]).tolist()
    sketched = file_of(sketch, task, "signatures")
    decided = build.job("dedup").folder / "decisions" / f"{source}-{task:05d}.parquet"
    for path in (sketched, decided):
        if columns(path, "id")["id"].to_pylist() != ids:
            yield f"{path.relative_to(build.folder)}: not a row for each kept document, in order"
            return
    counted = Ledger()
    for size in int64(columns(sketched, "text_bytes")["text_bytes"]).tolist():
        counted.add(source, "kept", "", input_bytes=size, text_bytes=size)
    yield from ledger_problems(build, sketch, task, counted)
    decisions, ledger = columns(decided).to_pylist(), Ledger()
    for decision, size in zip(decisions, sizes, strict=True):
        outcome, reason = ("kept", decision["split"]) if decision["split"] else ("merged", decision["reason"])
        for each in (ledger, dedup):
            each.add(source, outcome, str(reason), input_bytes=size, text_bytes=size)
    yield from ledger_problems(build, text, task, ledger)
    texts.merged += [decision for decision in decisions if not decision["split"]]
    shard = file_of(text, task, "text")
    yield from guarded(build, shard, _text(build, shard, decisions, sizes, texts))


def _text(
    build: Build, shard: Path, decisions: list[dict[str, object]], sizes: list[int], texts: Texts
) -> Iterator[str]:
    rows = columns(shard, "id", "split", "text_bytes", "language", "source")
    found = list(zip(*(rows[name].to_pylist() for name in ("id", "split", "text_bytes")), strict=True))
    expected = [
        (decision["id"], decision["split"], size)
        for decision, size in zip(decisions, sizes, strict=True)
        if decision["split"]
    ]
    if found != expected:
        yield f"{shard.relative_to(build.folder)}: not the documents, with their splits, that dedup left, row by row"
    if set(rows["source"].to_pylist()) - {texts.source}:
        yield f"{shard.relative_to(build.folder)}: holds documents of another source than {texts.source}"
    yield from _text_sizes(build, shard)
    texts.ids.append(ids_of(rows["id"]))
    texts.splits += rows["split"].to_pylist()
    texts.sizes += rows["text_bytes"].to_pylist()
    texts.languages += rows["language"].to_pylist()
    texts.by_task.append(rows.num_rows)


def count_decisions(build: Build, texts: list[Texts], ledger: Ledger) -> Iterator[str]:
    """Dedup's ledger, and of each document that was merged that its survivor stays, and is as like it as was asked."""
    dedup = build.job("dedup")
    yield from ledger_problems(build, dedup, 0, ledger)
    near = dedup.setting("dedup", "near", "at_least")
    at_least = near if isinstance(near, int | float) else 1.0
    stays = {each.source: set(each.ids_D.tolist()) for each in texts}
    wrong: dict[str, list[str]] = defaultdict(list)
    for each in texts:
        for row in each.merged:
            survivor = bytes.fromhex(str(row["survivor"]))
            if survivor.rstrip(b"\0") not in stays.get(str(row["survivor_source"]), ()):
                wrong[each.source].append(f"{row['id']} was merged into {row['survivor']}, which did not stay")
            shared, union = int(str(row["intersection"])), int(str(row["union"]))
            if not union or shared / union < at_least:
                wrong[each.source].append(f"{row['id']} was merged at {shared}/{union}, below {at_least:g}")
    for source, problems in wrong.items():
        more = f" (and {len(problems) - 1} more such)" if len(problems) > 1 else ""
        yield f"{(dedup.folder / 'decisions').relative_to(build.folder)}: {source}: {problems[0]}{more}"
    if dedup.setting("dedup", "exact"):
        everything = np.sort(join([each.ids_D for each in texts]))
        for id_ in everything[1:][everything[1:] == everything[:-1]][:5]:
            yield f"text shards: the document {hexadecimal(id_)} stands there twice"

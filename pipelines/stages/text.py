"""text: the corpus's own text shards: what the rules kept, less what is a duplicate, each row with its split."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from corpus.settings import Json
from pipelines.engine.job import Job, versions
from pipelines.engine.task import Task

if TYPE_CHECKING:
    import pyarrow as pa

    from corpus.dedup.decision import Decision


@dataclass(frozen=True)
class TextJob(Job):
    """Task n writes what dedup left of task n of clean, in order."""

    def settings(self) -> Json:
        return None

    def deciders(self) -> Mapping[str, Json]:
        return versions(["pyarrow"])

    def work(self, task: Task) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        from corpus.dedup.decision import Decision
        from corpus.store.text_shards import read_rows

        clean, dedup = task.input(self.inputs[0]), task.input(self.inputs[1])
        decisions = read_rows(dedup.path(f"decisions/{self.of_source}-{task.index:05d}.parquet"), Decision)
        with pq.ParquetFile(clean.path(f"kept-{task.index:05d}.parquet")) as kept:
            schema = _with_split(kept.schema_arrow)
            with pq.ParquetWriter(
                task.new(f"text-{task.index:05d}.parquet"), schema, compression="zstd", compression_level=3
            ) as writer:
                for group in range(kept.num_row_groups):
                    table = kept.read_row_group(group)
                    fates = [next(decisions) for _ in range(table.num_rows)]
                    self._book(task, fates, table["text_bytes"].to_pylist())
                    splits = pa.array([fate.split for fate in fates], pa.string())
                    table = table.drop_columns(["rule", "failed_rules"]).add_column(2, "split", splits)
                    if left := table.filter(splits.is_valid()):
                        writer.write_table(left.cast(schema))

    def _book(self, task: Task, fates: list["Decision"], sizes: list[int]) -> None:
        for fate, size in zip(fates, sizes, strict=True):
            outcome, reason = ("kept", fate.split) if fate.split else ("merged", fate.reason)
            task.ledger.add(self.of_source, outcome, str(reason), input_bytes=size, text_bytes=size)
        task.progress(len(fates), sum(sizes))


def _with_split(schema: "pa.Schema") -> "pa.Schema":
    import pyarrow as pa

    for name in ("rule", "failed_rules"):
        schema = schema.remove(schema.get_field_index(name))
    return schema.insert(2, pa.field("split", pa.string()))

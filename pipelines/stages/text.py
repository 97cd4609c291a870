"""text: write the corpus's text shards: the kept documents without duplicates, each with its split."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from corpus.settings import Json
from pipelines.engine.job import Job, versions
from pipelines.engine.job_output import Table
from pipelines.engine.task import Task
from pipelines.stages.dedup import DedupStage
from pipelines.stages.document_stage import DocumentStage

if TYPE_CHECKING:
    import pyarrow as pa

    from corpus.dedup.decision import Decision


@dataclass(frozen=True)
class TextStage(Job):
    """Task n writes the documents of task n of its input that deduplication left, in order."""

    kind: ClassVar[str] = "text"
    step: ClassVar[str | None] = "Duplicates"
    text = Table("text")

    def settings(self) -> Json:
        return None

    def version_keys(self) -> Mapping[str, Json]:
        return versions(["pyarrow"])

    def work(self, task: Task) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        from corpus.dedup.decision import Decision
        from corpus.store.text_shards import read_rows

        documents = self.input(DocumentStage)
        decided = task.input(self.input(DedupStage)).decisions.of_source(self.source_name, self.tasks)
        decisions = read_rows(decided[task.index], Decision)
        with pq.ParquetFile(task.input(documents).kept[task.index]) as kept:
            schema = _schema_with_split(kept.schema_arrow)
            with pq.ParquetWriter(task.new_table(self.text), schema, compression="zstd", compression_level=3) as writer:
                for group in range(kept.num_row_groups):
                    table = kept.read_row_group(group)
                    of_group = [next(decisions) for _ in range(table.num_rows)]
                    self._book(task, of_group, table["text_bytes"].to_pylist())
                    splits = pa.array([decision.split for decision in of_group], pa.string())
                    table = table.drop_columns(["rule", "failed_rules"]).add_column(2, "split", splits)
                    if remaining := table.filter(splits.is_valid()):
                        writer.write_table(remaining.cast(schema))

    def _book(self, task: Task, decisions: list["Decision"], sizes: list[int]) -> None:
        for decision, size in zip(decisions, sizes, strict=True):
            outcome, reason = ("kept", decision.split) if decision.split else ("merged", decision.reason)
            task.ledger.add(self.source_name, outcome, str(reason), input_bytes=size, text_bytes=size)
        task.progress(len(decisions), sum(sizes))


def _schema_with_split(schema: "pa.Schema") -> "pa.Schema":
    import pyarrow as pa

    for name in ("rule", "failed_rules"):
        schema = schema.remove(schema.get_field_index(name))
    return schema.insert(2, pa.field("split", pa.string()))

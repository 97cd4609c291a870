"""text: write the corpus's text shards: the kept documents without duplicates, each with its split."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from corpus.dedup.decision import Decision
from corpus.settings import Json
from corpus.store.text_shards import read_rows
from pipelines.engine.job import Task, versions
from pipelines.engine.job_output import Table
from pipelines.stages.dedup import DedupStage, outcome_of
from pipelines.stages.stage import DocumentStage, Stage


@dataclass(frozen=True)
class TextStage(Stage):
    """Task n writes the documents of task n of its input that deduplication left, in order."""

    kind = "text"
    step = "Duplicates"
    text = Table("text")

    def settings(self) -> Json:
        return None

    def version_keys(self) -> dict[str, Json]:
        return versions(["pyarrow"])

    def work(self, task: Task) -> None:
        documents = self.input(DocumentStage)
        decided = task.input(self.input(DedupStage)).decisions.of_source(self.source_name, self.tasks)
        decisions = read_rows(decided[task.index], Decision)
        with pq.ParquetFile(task.input(documents).kept[task.index]) as kept:
            schema = _with_split(kept.schema_arrow.empty_table(), []).schema
            with pq.ParquetWriter(task.new_table(self.text), schema, compression="zstd", compression_level=3) as writer:
                for group in range(kept.num_row_groups):
                    table = kept.read_row_group(group)
                    splits = []
                    for size, decision in zip(table["text_bytes"].to_pylist(), decisions, strict=False):
                        task.book(self.source_name, *outcome_of(decision), size)
                        splits.append(decision.split)
                    table = _with_split(table, splits)
                    if remaining := table.filter(table["split"].is_valid()):
                        writer.write_table(remaining)


def _with_split(table: pa.Table, splits: list[str | None]) -> pa.Table:
    """Return the kept documents with their splits in place of their verdicts."""
    return table.drop_columns(["rule", "failed_rules"]).add_column(2, "split", pa.array(splits, pa.string()))

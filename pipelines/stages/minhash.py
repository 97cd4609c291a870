"""minhash: compute the content hash and the MinHash bands of each kept document, row by row beside the text."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from corpus.dedup.signature import REVISION, content_hash, family, text_signature
from corpus.settings import Json
from pipelines.engine.job import Task, versions
from pipelines.engine.job_output import Table
from pipelines.stages.stage import DocumentStage, Stage

COPIED = ("id", "text_bytes", "origin_file", "origin_start")  # columns of the kept table


@dataclass(frozen=True)
class MinHashStage(Stage):
    """Task n reads the kept documents of task n of its input. The file's metadata states the hash family."""

    kind = "minhash"
    signatures = Table("signatures")

    def settings(self) -> Json:
        near = self.recipe.dedup.near
        return near.model_dump(mode="json", exclude={"at_least", "bucket_cap", "document_cap"}) if near else None

    def version_keys(self) -> dict[str, Json]:
        near = self.recipe.dedup.near
        return {**(family(near) if near else {"revision": REVISION}), **versions(["datasketch", "numpy", "pyarrow"])}

    def work(self, task: Task) -> None:
        near = self.recipe.dedup.near
        schema = pa.schema(
            [
                ("id", pa.string()),
                ("text_bytes", pa.int64()),
                ("origin_file", pa.string()),
                ("origin_start", pa.int64()),
                ("content", pa.binary(16)),
                ("bands", pa.list_(pa.uint64(), near.bands if near else 0)),
            ],
            metadata={key: str(value) for key, value in self.version_keys().items()},
        )
        kept = task.input(self.input(DocumentStage)).kept[task.index]
        with (
            pq.ParquetFile(kept) as source,
            pq.ParquetWriter(task.new_table(self.signatures), schema, compression="zstd") as writer,
        ):
            for group in range(source.num_row_groups):
                table = source.read_row_group(group, columns=["text", *COPIED])
                signatures = [self._signature(text) for text in table["text"].to_pylist()]
                columns = [*(table[name] for name in COPIED), *map(list, zip(*signatures, strict=True))]
                writer.write_table(pa.table(dict(zip(schema.names, columns, strict=True)), schema=schema))
                task.book(self.source_name, "kept", "", sum(table["text_bytes"].to_pylist()), table.num_rows)

    def _signature(self, text: str) -> tuple[bytes, list[int] | None]:
        """Return content hash and bands; no bands for a text that is too short to have shingles."""
        if self.recipe.dedup.near is None:
            return content_hash(text), None
        signature = text_signature(text, self.recipe.dedup.near)
        return signature.content_hash, None if signature.bands is None else signature.bands.tolist()

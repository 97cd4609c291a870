"""minhash: compute the content hash and the MinHash bands of each kept document, row by row beside the text."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from corpus.dedup.settings import Dedup
from corpus.settings import Json
from pipelines.engine.job import Job, versions
from pipelines.engine.job_output import Table
from pipelines.engine.task import Task
from pipelines.stages.document_stage import DocumentStage


class SignatureRow(NamedTuple):
    """Columns copied from the kept table."""

    id: str
    text_bytes: int
    origin_file: str
    origin_start: int


@dataclass(frozen=True)
class MinHashStage(Job):
    """Task n reads the kept documents of task n of its input. The file's metadata states the hash family."""

    dedup: Dedup

    kind: ClassVar[str] = "minhash"
    signatures = Table("signatures")

    def settings(self) -> Json:
        near = self.dedup.near
        return near.model_dump(mode="json", exclude={"at_least", "bucket_cap"}) if near else None

    def version_keys(self) -> Mapping[str, Json]:
        from corpus.dedup.signature import REVISION, family

        keys: dict[str, Json] = {**family(self.dedup.near)} if self.dedup.near else {"revision": REVISION}
        return {**keys, **versions(["datasketch", "numpy", "pyarrow"])}

    def work(self, task: Task) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        bands = self.dedup.near.bands if self.dedup.near else 0
        schema = pa.schema(
            [
                ("id", pa.string()),
                ("text_bytes", pa.int64()),
                ("origin_file", pa.string()),
                ("origin_start", pa.int64()),
                ("content", pa.binary(16)),
                ("bands", pa.list_(pa.uint64(), bands)),
            ],
            metadata={key: str(value) for key, value in self.version_keys().items()},
        )
        kept = task.input(self.input(DocumentStage)).kept[task.index]
        with (
            pq.ParquetFile(kept) as source,
            pq.ParquetWriter(task.new_table(self.signatures), schema, compression="zstd") as writer,
        ):
            for group in range(source.num_row_groups):
                table = source.read_row_group(group, columns=["text", *SignatureRow._fields])
                signatures = [self._signature(text) for text in table["text"].to_pylist()]
                columns = [*(table[name] for name in SignatureRow._fields), *map(list, zip(*signatures, strict=True))]
                writer.write_table(pa.table(dict(zip(schema.names, columns, strict=True)), schema=schema))
                size = sum(table["text_bytes"].to_pylist())
                task.ledger.add(self.source_name, "kept", "", records=table.num_rows, input_bytes=size, text_bytes=size)
                task.progress(table.num_rows, size)

    def _signature(self, text: str) -> tuple[bytes, list[int] | None]:
        """Return content hash and bands; no bands for a text that is too short to have shingles."""
        from corpus.dedup.signature import content_hash, text_signature

        if self.dedup.near is None:
            return content_hash(text), None
        signature = text_signature(text, self.dedup.near)
        return signature.content_hash, None if signature.bands is None else signature.bands.tolist()

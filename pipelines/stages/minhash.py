"""sketch: of each kept document a content hash and its MinHash bands, row by row beside the text."""

from collections.abc import Mapping
from dataclasses import dataclass

from corpus.dedup.settings import Dedup
from corpus.settings import Json
from pipelines.engine.job import Job, versions
from pipelines.engine.task import Task


@dataclass(frozen=True)
class Sketch(Job):
    """Task n sketches what task n of clean kept. The file's metadata says how, and what may be compared with it."""

    dedup: Dedup

    def settings(self) -> Json:
        near = self.dedup.near
        return near.model_dump(mode="json", exclude={"at_least", "bucket_cap"}) if near else None

    def deciders(self) -> Mapping[str, Json]:
        from corpus.dedup.signature import REVISION, family

        known: dict[str, Json] = {**family(self.dedup.near)} if self.dedup.near else {"revision": REVISION}
        return {**known, **versions(["datasketch", "numpy", "pyarrow"])}

    def work(self, task: Task) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        bands = self.dedup.near.bands if self.dedup.near else 0
        schema = pa.schema(
            [("id", pa.string()), ("text_bytes", pa.int64()), ("origin_file", pa.string()),
             ("origin_start", pa.int64()), ("content", pa.binary(16)), ("bands", pa.list_(pa.uint64(), bands))],
            metadata={key: str(value) for key, value in self.deciders().items()},
        )  # fmt: skip
        kept = task.input(self.inputs[0]).path(f"kept-{task.index:05d}.parquet")
        product = task.new(f"sketch-{task.index:05d}.parquet")
        with pq.ParquetFile(kept) as source, pq.ParquetWriter(product, schema, compression="zstd") as writer:
            for group in range(source.num_row_groups):
                names = ["id", "text", "text_bytes", "origin_file", "origin_start"]
                rows = source.read_row_group(group, columns=names).to_pylist()
                for row in rows:
                    row["content"], row["bands"] = self._sketch(row.pop("text"))
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                size = sum(row["text_bytes"] for row in rows)
                task.ledger.add(self.of_source, "kept", "", records=len(rows), input_bytes=size, text_bytes=size)
                task.progress(len(rows), size)

    def _sketch(self, text: str) -> tuple[bytes, list[int] | None]:
        from corpus.dedup.signature import content_hash, text_signature

        if self.dedup.near is None:
            return content_hash(text), None
        found = text_signature(text, self.dedup.near)
        return found.content_hash, None if found.bands is None else found.bands.tolist()

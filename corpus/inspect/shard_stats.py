"""What one shard holds, read from the shard itself; of a token shard also what a manifest above it says."""

import json
from pathlib import Path
from typing import cast

from corpus.errors import CorpusError, InputError
from corpus.inspect.report.summary_types import UNKNOWN_LANGUAGE
from corpus.settings import Json
from corpus.store.corpus_manifest import FILE_NAME, Manifest, ShardEntry, length_quantiles, open_manifest

Facts = dict[str, Json]
PARENTS = 4  # folders above a shard in which a manifest is looked for


def shard_stats(path: Path) -> Facts:
    """The facts of a token shard (.arrow) or a text shard (.parquet). Raises InputError if it is neither."""
    if not path.is_file():
        why = "is not a shard" if path.exists() else "no such file"
        raise InputError(f"{path}: {why}; expected a build's folder, or a shard (.arrow, .parquet)")
    if path.suffix == ".arrow":
        return _token_shard(path)
    if path.suffix == ".parquet":
        return _text_shard(path)
    raise InputError(f"{path}: expected a build's folder, a token shard (.arrow) or a text shard (.parquet)")


def _token_shard(path: Path) -> Facts:
    import numpy as np

    from corpus.store.token_shards import open_token_shard

    shard = open_token_shard(path)
    lengths = np.diff(shard.offsets_D1).tolist()
    facts: Facts = {
        "kind": "token shard",
        "source": shard.header.source,
        "split": shard.header.split,
        "documents": len(shard),
        "tokens": len(shard.tokens_N),
        "bytes": int(shard.bytes_D.sum()),
        "file_bytes": path.stat().st_size,
        "dtype": str(shard.tokens_N.dtype),
        "length_quantiles": cast(Json, length_quantiles(lengths).model_dump()),
        "tokenizer": shard.header.tokenizer,
        "recipe": shard.header.recipe,
    }
    found = _manifest_entry(path)
    if found:
        manifest, entry = found
        whole = [source for source in manifest.sources if source.name == shard.header.source]
        tokens = sum((source.train if entry.split == "train" else source.holdout).tokens for source in whole)
        facts["share_of_split"] = entry.tokens / tokens if tokens else 0.0
        facts["languages"] = cast(Json, _by_count(dict(entry.languages)))
        facts["sha256"] = entry.sha256
    return facts


def _manifest_entry(path: Path) -> tuple[Manifest, ShardEntry] | None:
    """The manifest in a folder above that lists this shard; one that cannot be read is passed over."""
    shard = path.resolve()
    for folder in shard.parents[:PARENTS]:
        if not (folder / FILE_NAME).is_file():
            continue
        try:
            manifest = open_manifest(folder)
        except CorpusError:
            continue
        for source in manifest.sources:
            for entry in source.shards:
                if (folder / entry.file).resolve() == shard:
                    return manifest, entry
    return None


def _text_shard(path: Path) -> Facts:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from corpus.store.text_shards import COLUMNS

    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            needed = {"source", "language", "text_bytes"}
            if not needed <= set(schema.names):
                raise InputError(
                    f"{path}: a Parquet file, but not a text shard: no {sorted(needed - set(schema.names))}"
                )
            common = {name for name, _ in COLUMNS}
            signals = [each.name for each in schema if pa.types.is_int64(each.type) and each.name not in common]
            table = file.read(columns=[*sorted(needed), *signals, *(["split"] if "split" in schema.names else [])])
        facts: Facts = {
            "kind": "text shard",
            "documents": table.num_rows,
            "bytes": pc.sum(table["text_bytes"]).as_py() or 0,
            "file_bytes": path.stat().st_size,
        }
        for name in ("source", "split", "language"):
            if name in table.column_names:
                rows = pc.value_counts(pc.fill_null(table[name], UNKNOWN_LANGUAGE)).to_pylist()
                facts[f"{name}s"] = cast(Json, _by_count({row["values"]: row["counts"] for row in rows}))
        means = {name: pc.mean(table[name]).as_py() for name in signals}
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a text shard: {' '.join(str(error).split())[:200]}") from None
    facts["signal_means"] = {name: None if mean is None else float(f"{mean:.6g}") for name, mean in means.items()}
    return facts


def _by_count(counts: dict[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))


def to_json(facts: Facts) -> str:
    """The facts as JSON, for a terminal: in ASCII, so nothing in it can steer one."""
    return json.dumps(facts, indent=2, ensure_ascii=True)

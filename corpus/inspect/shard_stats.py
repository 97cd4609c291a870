"""Numbers of one shard, read from the shard; for a token shard also from the manifest that lists it."""

from pathlib import Path
from typing import cast

from corpus.errors import CorpusError, InputError
from corpus.inspect.report.summary import UNKNOWN_LANGUAGE
from corpus.settings import Json
from corpus.store.corpus_manifest import FILE_NAME, Manifest, ShardEntry, length_quantiles, open_manifest
from corpus.units import by_count

ShardFacts = dict[str, Json]
PARENTS = 4  # folders above a shard that may hold its manifest


def shard_stats(path: Path) -> ShardFacts:
    """Return the facts of a token shard (.arrow) or a text shard (.parquet). Raises InputError if it is neither."""
    if not path.is_file():
        problem = "not a shard" if path.exists() else "no such file"
        raise InputError(f"{path}: {problem}; expected a build's folder, or a shard (.arrow, .parquet)")
    if path.suffix == ".arrow":
        return _token_shard(path)
    if path.suffix == ".parquet":
        return _text_shard(path)
    raise InputError(f"{path}: expected a build's folder, a token shard (.arrow) or a text shard (.parquet)")


def _token_shard(path: Path) -> ShardFacts:
    import numpy as np  # imported here, and pyarrow below, so that `corpus stats` of a build starts faster

    from corpus.store.token_shards import open_token_shard

    shard = open_token_shard(path)
    facts: ShardFacts = {
        "kind": "token shard",
        "source": shard.header.source,
        "split": shard.header.split,
        "documents": len(shard),
        "tokens": len(shard.tokens_N),
        "bytes": int(shard.bytes_D.sum()),
        "file_bytes": path.stat().st_size,
        "dtype": str(shard.tokens_N.dtype),
        "length_quantiles": cast(Json, length_quantiles(np.diff(shard.offsets_D1).tolist()).model_dump()),
        "tokenizer": shard.header.tokenizer,
        "recipe": shard.header.recipe,
    }
    if listed := _manifest_entry(path):
        manifest, entry = listed
        sources = [source for source in manifest.sources if source.name == shard.header.source]
        tokens = sum((source.train if entry.split == "train" else source.holdout).tokens for source in sources)
        facts["share_of_split"] = entry.tokens / tokens if tokens else 0.0
        facts["languages"] = cast(Json, by_count(entry.languages))
        facts["sha256"] = entry.sha256
    return facts


def _manifest_entry(path: Path) -> tuple[Manifest, ShardEntry] | None:
    """Return the manifest in a folder above that lists this shard, and its entry; unreadable manifests are ignored."""
    shard = path.resolve()
    for folder in shard.parents[:PARENTS]:
        try:
            manifest = open_manifest(folder) if (folder / FILE_NAME).is_file() else None
        except CorpusError:
            continue
        for entry in (entry for source in manifest.sources for entry in source.shards) if manifest else ():
            if manifest and (folder / entry.file).resolve() == shard:
                return manifest, entry
    return None


def _text_shard(path: Path) -> ShardFacts:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from corpus.store.parquet_tables import value_counts
    from corpus.store.text_shards import COLUMNS

    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            needed = {"source", "language", "text_bytes"}
            if missing := sorted(needed - set(schema.names)):
                raise InputError(f"{path}: not a text shard: this Parquet file has no columns {', '.join(missing)}")
            common = {name for name, _ in COLUMNS}
            signals = [field.name for field in schema if pa.types.is_int64(field.type) and field.name not in common]
            table = file.read(columns=[*sorted(needed), *signals, *(["split"] if "split" in schema.names else [])])
        facts: ShardFacts = {
            "kind": "text shard",
            "documents": table.num_rows,
            "bytes": pc.sum(table["text_bytes"]).as_py() or 0,
            "file_bytes": path.stat().st_size,
        }
        for name in ("source", "split", "language"):
            if name in table.column_names:
                facts[f"{name}s"] = cast(Json, by_count(value_counts(table[name], UNKNOWN_LANGUAGE)))
        means = {name: pc.mean(table[name]).as_py() for name in signals}
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a text shard: {' '.join(str(error).split())[:200]}") from None
    facts["signal_means"] = {name: None if mean is None else float(f"{mean:.6g}") for name, mean in means.items()}
    return facts

"""A token shard as the manifest lists it."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from corpus.store.corpus_manifest import Shard, length_quantiles
from corpus.store.token_shards import TokenShard


def entry(path: Path, file: str, shard: TokenShard, languages: Mapping[str, int]) -> Shard:
    """`path` is where the shard was written, `file` its name in the manifest, `languages` documents by code."""
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return Shard(
        file=file,
        split=shard.header.split,
        documents=len(shard),
        tokens=len(shard.tokens_N),
        bytes=int(shard.bytes_D.sum()),
        file_bytes=path.stat().st_size,
        sha256=sha256,
        length_quantiles=length_quantiles(np.diff(shard.offsets_D1).tolist()),
        languages=dict(languages),
    )

"""Token shards: documents of one source and split as token ids, in one Arrow IPC file that is memory-mapped.

Legend: D documents, D1 = D + 1, N tokens of all documents, 16 bytes of an id. Format: docs/formats.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.errors import CorpusError
from corpus.store.arrow_file import ArrowFile, on_one_line
from corpus.store.corpus_manifest import ShardEntry, Split, length_quantiles
from corpus.store.products import sha256_file

FORMAT_VERSION = "1"
MAX_SHARD_BYTES = 512_000_000  # of its one record batch
ROW_BYTES = 32  # of a row without its tokens: id 16, offset 8, bytes 8
UINT16_VOCABULARY = 65_536

SPLITS: tuple[Split, ...] = ("train", "holdout")
Tokens = NDArray[np.unsignedinteger]  # uint16 or uint32


class ShardHeader(NamedTuple):
    """Schema metadata of a shard, without the format version."""

    tokenizer: str  # SHA-256 of tokenizer.json, hex
    recipe: str  # the recipe's fingerprint, hex
    source: str
    split: Split


@dataclass(frozen=True, slots=True)
class TokenShard:
    """Columns of a shard. Those of an opened file are read-only views of it, without a copy.

    Document i is `tokens_N[offsets_D1[i]:offsets_D1[i + 1]]`; its last token is EOS.
    """

    header: ShardHeader
    ids_D16: NDArray[np.uint8]
    tokens_N: Tokens
    offsets_D1: NDArray[np.int64]
    bytes_D: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.bytes_D)


def token_dtype(vocabulary: int) -> "np.dtype[np.unsignedinteger]":
    """Return the type of token ids below `vocabulary`."""
    return np.dtype(np.uint16) if vocabulary <= UINT16_VOCABULARY else np.dtype(np.uint32)


def token_list(dtype: "np.dtype[np.unsignedinteger]") -> pa.DataType:
    """Return the Arrow type of the `tokens` column."""
    return pa.large_list(pa.field("item", pa.from_numpy_dtype(dtype), nullable=False))


def schema(dtype: "np.dtype[np.unsignedinteger]") -> pa.Schema:
    """Return the columns in order; none may hold nulls."""
    columns = {"id": pa.binary(16), "tokens": token_list(dtype), "bytes": pa.int64()}
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns.items()])


def write_token_shard(path: Path, shard: TokenShard) -> None:
    """Write one shard under exactly this name; the same rows give the same bytes.

    The task takes care of fsync and renaming. Raises CorpusError if the batch is over MAX_SHARD_BYTES.
    """
    documents, tokens = len(shard), shard.tokens_N
    total = tokens.nbytes + documents * ROW_BYTES
    if total > MAX_SHARD_BYTES:
        raise CorpusError(f"{path}: a token shard holds at most {MAX_SHARD_BYTES} bytes; these rows are {total}")
    assert _fault(shard) is None, _fault(shard)
    ends = tokens[shard.offsets_D1[1:] - 1]
    assert documents == 0 or bool((ends == ends[0]).all()), "documents must all end in the same EOS"
    columns = [
        pa.Array.from_buffers(pa.binary(16), documents, [None, pa.py_buffer(np.ascontiguousarray(shard.ids_D16))]),
        list_array(tokens, shard.offsets_D1),
        pa.array(shard.bytes_D, pa.int64()),
    ]
    metadata = {"format_version": FORMAT_VERSION, **shard.header._asdict()}
    batch = pa.record_batch(columns, schema=schema(tokens.dtype).with_metadata(metadata))
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)


def shard_entry(path: Path, file: str, shard: TokenShard, languages: Mapping[str, int]) -> ShardEntry:
    """Return the shard's entry for the manifest.

    `path` is where the shard was written, `file` its name in the manifest, `languages` counts documents by code.
    """
    return ShardEntry(
        file=file,
        split=shard.header.split,
        documents=len(shard),
        tokens=len(shard.tokens_N),
        bytes=int(shard.bytes_D.sum()),
        file_bytes=path.stat().st_size,
        sha256=sha256_file(path),
        length_quantiles=length_quantiles(np.diff(shard.offsets_D1).tolist()),
        languages=dict(languages),
    )


def list_array(tokens_N: Tokens, offsets_D1: NDArray[np.int64]) -> pa.Array:
    """Return token lists over the buffers of the given arrays, without a copy."""
    offsets = pa.py_buffer(np.ascontiguousarray(offsets_D1, dtype=np.int64))
    kind = token_list(tokens_N.dtype)
    return pa.Array.from_buffers(kind, len(offsets_D1) - 1, [None, offsets], children=[pa.array(tokens_N)])


def open_token_shard(path: Path) -> TokenShard:
    """Map a shard; only its header, offsets and byte counts are read.

    Raises CorpusError if the file is missing, damaged, of another format version, or not exactly a token shard.
    """
    file = ArrowFile(path, "token shard")
    file.refuse_other_versions(FORMAT_VERSION)
    if not any(file.reader.schema.equals(schema(np.dtype(dtype))) for dtype in (np.uint16, np.uint32)):
        raise CorpusError(f"{path}: its columns are not those of a token shard: {on_one_line(file.reader.schema)}")
    if file.reader.num_record_batches != 1:
        raise CorpusError(f"{path}: {file.reader.num_record_batches} record batches; a token shard has exactly one")
    header = _header(file)
    ids, lists, counts = file.batch(0).columns
    tokens_N, offsets_D1 = list_views(lists)
    shard = TokenShard(header, id_views(ids), tokens_N, offsets_D1, _view(counts))
    if fault := _fault(shard):
        raise CorpusError(f"{path}: damaged token shard: {fault}")
    return shard


def id_views(ids: pa.Array) -> NDArray[np.uint8]:
    """Return the bytes of an id column as a view with one row per id."""
    flat_N = np.frombuffer(ids.buffers()[1], np.uint8) if len(ids) else np.empty(0, np.uint8)
    return flat_N[ids.offset * 16 : (ids.offset + len(ids)) * 16].reshape(-1, 16)


def _view(integers: pa.Array) -> Any:  # of whichever type the column has
    """Return a column of integers without nulls as a view; `to_numpy` would import pandas, which is slow."""
    dtype, buffer = np.dtype(str(integers.type)), integers.buffers()[1]
    flat_N = np.frombuffer(buffer, dtype) if len(integers) else np.empty(0, dtype)
    return flat_N[integers.offset : integers.offset + len(integers)]


def list_views(lists: pa.Array) -> tuple[Tokens, NDArray[np.int64]]:
    """Return the flat tokens and the offsets of a token list column as views."""
    return _view(lists.values), _view(lists.offsets)


def _header(file: ArrowFile) -> ShardHeader:
    stored = file.metadata
    try:
        fields = {key: value.decode() for key, value in stored.items() if key != "format_version"}
        header = ShardHeader(**fields)  # type: ignore[arg-type]
    except (UnicodeDecodeError, TypeError):
        expected = ", ".join(("format_version", *ShardHeader._fields))
        raise CorpusError(f"{file.path}: expected the schema metadata {expected}; found {sorted(stored)}") from None
    if header.split not in SPLITS:
        raise CorpusError(f"{file.path}: split {header.split!r}; expected train or holdout")
    return header


def _fault(shard: TokenShard) -> str | None:
    """Return the first fault of the columns, if there is one."""
    offsets, documents = shard.offsets_D1, len(shard)
    if shard.ids_D16.shape != (documents, 16) or len(offsets) != documents + 1:
        return f"{len(shard.ids_D16)} ids, {len(offsets)} offsets and {documents} byte counts"
    if offsets[0] != 0 or offsets[-1] != len(shard.tokens_N):
        return f"offsets run from {offsets[0]} to {offsets[-1]} over {len(shard.tokens_N)} tokens"
    if documents and (np.diff(offsets).min() < 1 or shard.bytes_D.min() < 0):
        return "a document without tokens, or with fewer than 0 bytes"
    return None

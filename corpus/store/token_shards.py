"""The token shard: documents of one source and split as token ids, in one Arrow IPC file to be memory-mapped.

Legend: D documents, D1 = D + 1, N tokens of all documents, 16 bytes of an id. Format: docs/formats.md.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpus.errors import CorpusError
from corpus.store.arrow_file import ArrowFile, on_one_line

FORMAT_VERSION = "1"
MAX_SHARD_BYTES = 512_000_000  # of the one record batch
ROW_BYTES = 32  # of a row beside its tokens: id 16, offset 8, bytes 8
UINT16_VOCABULARY = 65_536

Split = Literal["train", "holdout"]
SPLITS: tuple[Split, ...] = ("train", "holdout")
Tokens = NDArray[np.unsignedinteger]  # uint16 or uint32


class Header(NamedTuple):
    """What a shard says of itself; the schema metadata, less the version."""

    tokenizer: str  # SHA-256 of tokenizer.json, hex
    recipe: str  # the recipe's fingerprint, hex
    source: str
    split: Split


@dataclass(frozen=True, slots=True)
class TokenShard:
    """The columns of a shard. Of one that was opened they are read-only views of the file: nothing is copied.

    Document i is `tokens_N[offsets_D1[i]:offsets_D1[i + 1]]`; its last token is EOS.
    """

    header: Header
    ids_D16: NDArray[np.uint8]
    tokens_N: Tokens
    offsets_D1: NDArray[np.int64]
    bytes_D: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.bytes_D)


def token_dtype(vocabulary: int) -> "np.dtype[np.unsignedinteger]":
    """The type of a token id where ids lie below `vocabulary`."""
    return np.dtype(np.uint16) if vocabulary <= UINT16_VOCABULARY else np.dtype(np.uint32)


def token_list(dtype: "np.dtype[np.unsignedinteger]") -> pa.DataType:
    """The Arrow type of the `tokens` column."""
    return pa.large_list(pa.field("item", pa.from_numpy_dtype(dtype), nullable=False))


def schema(dtype: "np.dtype[np.unsignedinteger]") -> pa.Schema:
    """The columns in order; no nulls anywhere."""
    columns = {"id": pa.binary(16), "tokens": token_list(dtype), "bytes": pa.int64()}
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns.items()])


def write_token_shard(path: Path, shard: TokenShard) -> None:
    """Writes one shard under exactly this name; the same rows give the same bytes.

    Temporary names, fsync and renaming are the task's. Raises CorpusError if the batch is over MAX_SHARD_BYTES.
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


def list_array(tokens_N: Tokens, offsets_D1: NDArray[np.int64]) -> pa.Array:
    """Token lists over the buffers of the arrays given."""
    offsets = pa.py_buffer(np.ascontiguousarray(offsets_D1, dtype=np.int64))
    kind = token_list(tokens_N.dtype)
    return pa.Array.from_buffers(kind, len(offsets_D1) - 1, [None, offsets], children=[pa.array(tokens_N)])


def open_token_shard(path: Path) -> TokenShard:
    """Maps a shard. Reads its header, offsets and byte counts, and no tokens.

    Raises CorpusError if the file is missing, damaged, of another format version, or not exactly a token shard.
    """
    file = ArrowFile.open(path, "token shard")
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
    """The bytes of an id column, one row an id, as a view."""
    flat_N = np.frombuffer(ids.buffers()[1], np.uint8) if len(ids) else np.empty(0, np.uint8)
    return flat_N[ids.offset * 16 : (ids.offset + len(ids)) * 16].reshape(-1, 16)


def _view(integers: pa.Array) -> Any:  # of whichever type the column has
    """A column of integers without nulls, as a view; pyarrow's own way imports pandas first, which takes a while."""
    dtype, buffer = np.dtype(str(integers.type)), integers.buffers()[1]
    flat_N = np.frombuffer(buffer, dtype) if len(integers) else np.empty(0, dtype)
    return flat_N[integers.offset : integers.offset + len(integers)]


def list_views(lists: pa.Array) -> tuple[Tokens, NDArray[np.int64]]:
    """The flat tokens and the offsets of a token list column, as views."""
    return _view(lists.values), _view(lists.offsets)


def _header(file: ArrowFile) -> Header:
    stored = file.metadata
    try:
        found = {key: value.decode() for key, value in stored.items() if key != "format_version"}
        header = Header(**found)  # type: ignore[arg-type]
    except (UnicodeDecodeError, TypeError):
        expected = ", ".join(("format_version", *Header._fields))
        raise CorpusError(f"{file.path}: expected the schema metadata {expected}; found {sorted(stored)}") from None
    if header.split not in SPLITS:
        raise CorpusError(f"{file.path}: split {header.split!r}; expected train or holdout")
    return header


def _fault(shard: TokenShard) -> str | None:
    """What is wrong with the columns, if anything."""
    offsets, documents = shard.offsets_D1, len(shard)
    if shard.ids_D16.shape != (documents, 16) or len(offsets) != documents + 1:
        return f"{len(shard.ids_D16)} ids, {len(offsets)} offsets and {documents} byte counts"
    if offsets[0] != 0 or offsets[-1] != len(shard.tokens_N):
        return f"offsets run from {offsets[0]} to {offsets[-1]} over {len(shard.tokens_N)} tokens"
    if documents and (np.diff(offsets).min() < 1 or shard.bytes_D.min() < 0):
        return "a document without tokens, or with fewer than 0 bytes"
    return None

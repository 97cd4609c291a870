"""Memory-mapped Arrow IPC files, checked so that a damaged one raises an error and never crashes the process."""

from pathlib import Path

import pyarrow as pa

from corpus.errors import CorpusError


class ArrowFile:
    """An open file; it stays mapped as long as this object or a view of a batch exists."""

    def __init__(self, path: Path, what: str) -> None:
        """Map a file; messages call it `what`. Raises CorpusError if it is missing or not an Arrow IPC file."""
        self.path, self.what = path, what
        try:
            with pa.memory_map(str(path)) as mapped:
                self._mapped = mapped.read_buffer(mapped.size())
            self.reader = pa.ipc.open_file(self._mapped)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise CorpusError(f"{path}: cannot be read as a {what}: {on_one_line(error)}") from None

    @property
    def metadata(self) -> dict[str, bytes]:
        """The schema's metadata."""
        return {key.decode("utf-8", "replace"): value for key, value in (self.reader.schema.metadata or {}).items()}

    def refuse_other_versions(self, version: str) -> None:
        """Raise CorpusError unless the file states this format version."""
        stored = self.metadata.get("format_version", b"").decode("utf-8", "replace")
        if stored != version:
            stated = f"format_version {stored!r}" if stored else "no format_version"
            raise CorpusError(f"{self.path}: {stated}; this release reads a {self.what} of version {version}")

    def batch(self, index: int) -> pa.RecordBatch:
        """Return a batch whose buffers lie in the file, are as long as its columns need, and hold no nulls.

        Offsets and indices are not checked. Raises CorpusError.
        """
        try:
            batch = self.reader.get_batch(index)
            batch.validate()  # first of all: sizes in a damaged file may point anywhere
            nulls = sum(_checked_nulls(column) for column in batch.columns)
        except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
            raise CorpusError(f"{self.path}: damaged {self.what}: {on_one_line(error)}") from None
        if nulls:
            raise CorpusError(f"{self.path}: {nulls} nulls; a {self.what} holds none")
        start, end = self._mapped.address, self._mapped.address + self._mapped.size
        buffers = [buffer for column in batch.columns for buffer in column.buffers() if buffer and buffer.size]
        if any(buffer.address < start or buffer.address + buffer.size > end for buffer in buffers):
            raise CorpusError(f"{self.path}: compressed; a {self.what} must be uncompressed to be memory-mapped")
        return batch


def _checked_nulls(column: pa.Array) -> int:
    nulls: int = column.null_count
    if pa.types.is_large_list(column.type):
        nulls += column.values.null_count
    elif pa.types.is_dictionary(column.type):
        column.dictionary.validate(full=True)
        nulls += column.dictionary.null_count
    return nulls


def on_one_line(what: object) -> str:
    """Return a library's message on one line, at most 200 characters, for use in our own messages."""
    text = " ".join(str(what).split())
    return text if len(text) <= 200 else f"{text[:200]}…"

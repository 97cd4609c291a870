"""What readers need of a path, over a file elsewhere that is not copied."""

import io
from pathlib import PurePosixPath
from typing import BinaryIO, NamedTuple

from corpus.fetch.access import Access
from corpus.fetch.answer import Remote, path_parts
from corpus.fetch.client import pieces_of
from corpus.fetch.remote_file import RemoteFile


class Status(NamedTuple):
    """What is known of the file without reading it."""

    st_size: int


class RemotePath:
    """Stands in for a pathlib.Path where a reader opens one, and asks for its size and name."""

    def __init__(self, remote: Remote, access: Access) -> None:
        self.remote = remote
        self._pieces = pieces_of(remote, access)
        path = PurePosixPath("/", *path_parts(remote.url)[1:])
        self.name, self.suffix, self.parts = path.name, path.suffix, path.parts

    def __str__(self) -> str:
        return self.remote.url

    def stat(self) -> Status:
        """The size."""
        return Status(self.remote.size)

    def open(self, mode: str = "rb", buffering: int = -1) -> BinaryIO:
        """A file object of its own; what was read last is shared."""
        assert mode == "rb"
        return io.BufferedReader(RemoteFile(self._pieces))

    def read_bytes(self) -> bytes:
        """All of it."""
        with self.open() as file:
            return file.read()

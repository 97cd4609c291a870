"""Content identity of a source's files: their names and contents, not where they lie."""

import hashlib
from collections.abc import Iterable, Mapping

from corpus.settings import Json
from corpus.store.products import canonical

IDENTITY_FIELDS = ("name", "size", "sha256", "first_part", "cuts", "version", "role")  # version: of files read in place


def identity(reader: str | None, files: Iterable[Mapping[str, Json]]) -> str:
    """Return the SHA-256, in hexadecimal, of the files that a fetch job recorded, as read by this reader."""
    known: list[Json] = [{key: file[key] for key in IDENTITY_FIELDS if key in file} for file in files]
    return hashlib.sha256(canonical({"reader": reader, "files": known}).encode()).hexdigest()

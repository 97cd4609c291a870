"""What stands for the files of a source in all that is made of them: their names and contents, not where they lie."""

import hashlib
from collections.abc import Iterable, Mapping

from corpus.settings import Json
from corpus.store.products import canonical

DECIDING = ("name", "size", "sha256", "first_part", "cuts", "version", "role")  # a version: of what is read elsewhere


def identity(reader: str | None, files: Iterable[Mapping[str, Json]]) -> str:
    """SHA-256 in hexadecimal of what an acquire job noted of its files, read by this reader."""
    known: list[Json] = [{key: file[key] for key in DECIDING if key in file} for file in files]
    return hashlib.sha256(canonical({"reader": reader, "files": known}).encode()).hexdigest()

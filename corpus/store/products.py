"""Products of tasks: written atomically (temporary name, fsync, rename, fsync of the folder), and hashed."""

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from corpus.errors import CorpusError
from corpus.settings import Json

# Fields that identify a file's content; `version` is that of a file read in place.
IDENTITY_FIELDS = ("name", "size", "sha256", "first_part", "cuts", "version", "role")


def canonical(value: Json) -> str:
    """Return JSON whose bytes depend on the value alone."""
    return json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def content_identity(reader: str | None, files: Iterable[Mapping[str, Json]]) -> str:
    """Return a hash of the files that a fetch job recorded, as read by this reader: not of where they lie."""
    known: list[Json] = [{key: file[key] for key in IDENTITY_FIELDS if key in file} for file in files]
    return hashlib.sha256(canonical({"reader": reader, "files": known}).encode()).hexdigest()


def sha256_file(path: Path, progress: Callable[[int], None] | None = None) -> str:
    """Return the SHA-256 of a file in hexadecimal; `progress` is called with the size of each block."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(1 << 20):
            digest.update(block)
            if progress:
                progress(len(block))
    return digest.hexdigest()


def _fsync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_folder(folder: Path) -> None:
    """Make renames into `folder` durable."""
    _fsync(folder, os.O_RDONLY)


def publish(temporary: Path, final: Path) -> None:
    """Rename a written file to its final name durably: its bytes reach the disk before its name does."""
    _fsync(temporary, os.O_RDWR)
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary.replace(final)
    fsync_folder(final.parent)


def write_text(final: Path, text: str, scratch: Path) -> None:
    """Write a small file atomically; a kill may leave a partial file in `scratch`, on the same disk."""
    scratch.mkdir(parents=True, exist_ok=True)
    temporary = scratch / f".{final.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp"
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        publish(temporary, final)
    except OSError:
        temporary.unlink(missing_ok=True)  # on a full disk it would take space that others need
        raise


def read_json(path: Path) -> dict[str, Json]:
    """Read a JSON object that we wrote. Raises CorpusError if it is missing or damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError:
        raise CorpusError(f"{path}: damaged (not JSON); delete it and build again") from None
    if not isinstance(value, dict):
        raise CorpusError(f"{path}: damaged (not a JSON object); delete it and build again")
    return value

"""Members of packages' archives (wheels and sdists), read without running or building anything.

Only regular files are read; links, devices, sparse files and names that are not text are passed over. A name that leads
out of its folder is refused, with the whole archive: no honest release holds one.
"""

import bz2
import difflib
import gzip
import hashlib
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

from corpus.errors import CorpusError, InputError

REVISION = 1  # raised whenever other members match, or by other names
MAX_UNPACKED_BYTES = 8_000_000_000  # of one archive: more is taken for a bomb
MAX_HEADER_BYTES = 16_000_000  # of one tar member, which tarfile reads into memory
MAX_MEMBERS = 1_000_000
_BLOCK_BYTES = 1 << 20
_OPENERS: dict[str, Callable[[Path], object]] = {
    ".gz": gzip.open,
    ".tgz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".tar": lambda path: path.open("rb"),
}
_NOT_TEXT = re.compile(r"[\x01-\x1f\x7f\ud800-\udfff]")
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)
_UNREADABLE = (*_DAMAGED, OverflowError, RuntimeError, KeyError, IndexError)  # RuntimeError: encrypted, recursion


@dataclass(frozen=True)
class Member:
    """A file that was extracted; its name within the release is spelt with `/`."""

    name: str
    size: int
    sha256: str


def members(archive: Path, pattern: str) -> Iterator[tuple[str, BinaryIO, int]]:
    """The name, contents (to be read before the next is asked for) and size of each regular file that matches.

    In the archive's order; of two members of one name the first counts. The top folder of an sdist, which repeats the
    archive's name, is left off. In `pattern`, `*` and `?` stay within a folder, and `**` stands for any folders.
    Raises CorpusError if the archive is damaged, has an unsafe name, or holds more than MAX_UNPACKED_BYTES.
    """
    wanted, seen = glob(pattern), set[str]()
    with _told(archive):
        for raw, opened, size in (_zip_files if _is_zip(archive) else _tar_files)(archive):
            name = _name(archive, raw)
            if len(seen) >= MAX_MEMBERS:
                raise CorpusError(f"{archive.name}: refused: more than {MAX_MEMBERS} files")
            if name and name not in seen and wanted.fullmatch(name):
                yield name, opened(), size
            seen.add(name)


def extract(archive: Path, pattern: str, folder: Path) -> list[Member]:
    """Writes what matches below `folder`, each file at its own path, and over what stands there; sorted by name.

    The `pypi` reader tells a document's identity by its path, so `folder` is `<anywhere>/<Address.folder>`. Nothing is
    fsynced. Raises InputError if nothing matches, and CorpusError as `members` does or if a file cannot be written.
    """
    found, root = [], folder.resolve()
    for name, contents, size in members(archive, pattern):
        target = root / name
        with _told(archive, f"cannot write {name[:200]!a}"):
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.parent.resolve().is_relative_to(root):
                raise CorpusError(f"{archive.name}: refused: {name[:200]!a} leads out of {folder}")
            target.unlink(missing_ok=True)
            output = target.open("xb")
        with output, _told(archive):
            digest, written = hashlib.sha256(), 0
            while block := contents.read(_BLOCK_BYTES):
                output.write(block)
                digest.update(block)
                written += len(block)
            if written != size:
                raise CorpusError(f"{archive.name}: damaged: {name[:200]!a} has {written} of {size} bytes")
        found.append(Member(name, size, digest.hexdigest()))
    if not found:
        names = [name for name, _, _ in members(archive, "**")]
        shown = difflib.get_close_matches(pattern, names, n=5, cutoff=0.4) or list(islice(names, 5))
        raise InputError(
            f"{archive.name}: no file matches `{pattern}`; among its {len(names)} files: {', '.join(shown)}"
        )
    return sorted(found, key=lambda member: member.name)


def glob(pattern: str) -> re.Pattern[str]:
    """The pattern as a regular expression over whole names."""
    spelt = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return re.compile("".join(spelt.get(part, re.escape(part)) for part in parts), re.DOTALL)


def top_folder(archive_name: str) -> str:
    """What an sdist calls its only folder, normalised: its own name less the suffix; "" for a wheel."""
    stem = re.sub(r"(\.tar\.\w+|\.tgz|\.tar|\.zip)$", "", archive_name)
    return "" if stem == archive_name else re.sub(r"[-_.]+", "-", stem).lower()


_File = tuple[str, Callable[[], BinaryIO], int]  # the name as it stands there, how to open it, its size


def _is_zip(archive: Path) -> bool:
    return archive.suffix in (".whl", ".zip")


def _zip_files(archive: Path) -> Iterator[_File]:
    with zipfile.ZipFile(archive) as opened:
        total = 0
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.is_dir() or kind not in (0, stat.S_IFREG):
                continue
            total += info.file_size
            if total > MAX_UNPACKED_BYTES:
                raise _bomb(archive)
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # the others decompress unbounded
                raise CorpusError(f"{archive.name}: compressed in a way that packages do not use")
            yield info.filename, partial(_opened, opened.open, info), info.file_size


class _Metered:
    """Decompressed bytes, as far as they are allowed."""

    def __init__(self, archive: Path, source: BinaryIO) -> None:
        self._archive, self._source, self._count, self.allowed = archive, source, 0, MAX_HEADER_BYTES

    def read(self, size: int) -> bytes:
        block = self._source.read(size)
        self._count += len(block)
        if self._count > min(self.allowed, MAX_UNPACKED_BYTES):
            raise _bomb(self._archive)
        return block


def _tar_files(archive: Path) -> Iterator[_File]:
    opener = _OPENERS.get(archive.suffix)
    if opener is None:
        raise CorpusError(f"{archive.name}: neither a wheel nor an sdist (.whl, .zip, .tar.gz, .tar.bz2, .tar.xz)")
    with cast(BinaryIO, opener(archive)) as source:
        metered = _Metered(archive, source)
        with tarfile.open(fileobj=metered, mode="r|") as opened:  # type: ignore[call-overload]  # it needs but `read`
            while (info := opened.next()) is not None:
                opened.members.clear()  # else a million headers stay in memory
                metered.allowed = opened.offset + MAX_HEADER_BYTES  # the file's end, and the next one's headers
                if info.isreg() and not info.issparse():
                    yield info.name, partial(_opened, opened.extractfile, info), info.size


Info = TypeVar("Info")


def _opened(opener: Callable[[Info], object], info: Info) -> BinaryIO:
    return cast(BinaryIO, opener(info))


def _bomb(archive: Path) -> CorpusError:
    return CorpusError(
        f"{archive.name}: refused: it unpacks to more than {MAX_UNPACKED_BYTES} bytes, or has a header of more than "
        f"{MAX_HEADER_BYTES}; a package does neither"
    )


def _name(archive: Path, raw: str) -> str:
    """The member's name within the release; "" if it is not text. Raises CorpusError if it leads elsewhere."""
    if leads_out(raw):
        raise CorpusError(f"{archive.name}: refused: the member name {raw[:200]!a} leads out of its folder")
    parts = [part for part in raw.split("/") if part not in ("", ".")]
    top = top_folder(archive.name)
    if top and len(parts) > 1 and re.sub(r"[-_.]+", "-", parts[0]).lower() == top:
        parts = parts[1:]
    name = "/".join(parts)
    return name if spelt_as_text(name) else ""


def leads_out(name: str) -> bool:
    """Whether a member of this name would lie, for one system or another, outside the folder it is unpacked to."""
    return name.startswith(("/", "\\")) or "\0" in name or ".." in re.split(r"[/\\]", name)


def spelt_as_text(name: str) -> bool:
    """Whether the name holds neither control characters nor bytes that are not UTF-8 (as surrogates)."""
    return not _NOT_TEXT.search(name)


@contextmanager
def _told(archive: Path, what: str = "damaged, or no such archive") -> Iterator[None]:
    try:
        yield
    except _UNREADABLE as error:
        raise CorpusError(f"{archive.name}: {what}: {type(error).__name__}: {str(error)[:200]!a}") from None

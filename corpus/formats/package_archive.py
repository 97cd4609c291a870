"""Files of packages' archives (wheels and sdists), extracted without running or building anything.

Only regular files are read; links, devices, sparse files and names that are not text are passed over. A name that leads
out of its folder is refused, with the whole archive: no honest release holds one.
"""

import difflib
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from corpus.document import Failed, Skipped
from corpus.errors import CorpusError, InputError
from corpus.formats.archive_member import PACKAGE_LIMITS, ArchiveMember, is_text, leads_out
from corpus.formats.archives import archive_walk

REVISION = 1  # raise whenever the matching members or their names change
_PASSED_OVER = ("link", "special")


@dataclass(frozen=True)
class ExtractedFile:
    """A file that was extracted; its name within the release is spelled with `/`."""

    name: str
    size: int
    sha256: str


def extract(archive: Path, pattern: str, folder: Path) -> list[ExtractedFile]:
    """Extract the matching files into `folder`, replacing existing ones; return them sorted by name.

    Of two members of one name the first counts. The top folder of an sdist, which repeats the archive's name, is left
    off. In `pattern`, `*` and `?` stay within a folder, and `**` stands for any folders. The `pypi` reader takes a
    document's identity from its path, so `folder` is `<anywhere>/<Address.folder>`. Nothing is fsynced. Raises
    InputError if nothing matches, and CorpusError if the archive is damaged, has an unsafe name or exceeds
    PACKAGE_LIMITS, or if a file cannot be written.
    """
    matches, names, written, root = glob(pattern), set[str](), list[str](), folder.resolve()

    def wanted(raw: str, size: int) -> BinaryIO | None:
        name = _name(archive, raw)
        new = name and name not in names
        names.add(name)
        if not new or not matches.fullmatch(name):
            return None
        written.append(name)
        return _created(archive, root, name)

    try:
        for member in archive_walk(archive, wanted, PACKAGE_LIMITS):
            _check(archive, member)
            if isinstance(member, ArchiveMember) and member.target is not None:
                member.target.close()
    except (OSError, ValueError) as error:
        problem = f"{type(error).__name__}: {str(error)[:200]!a}"
        raise CorpusError(f"{archive.name}: cannot write its files to {folder}: {problem}") from None
    if not written:
        present = sorted(names - {""})
        near = difflib.get_close_matches(pattern, present, n=5, cutoff=0.4) or present[:5]
        raise InputError(
            f"{archive.name}: no file matches `{pattern}`; among its {len(present)} files: {', '.join(near)}"
        )
    return [_extracted(root, name) for name in sorted(written)]


def _check(archive: Path, member: ArchiveMember | Skipped | Failed) -> None:
    """Raise CorpusError if the archive is a bomb, damaged, or unlike a release."""
    if isinstance(member, Failed) and member.reason == "bomb":
        raise CorpusError(f"{archive.name}: refused: it unpacks to more than {PACKAGE_LIMITS.unpacked_bytes} bytes")
    if isinstance(member, Failed) or (isinstance(member, Skipped) and member.reason not in _PASSED_OVER):
        raise CorpusError(
            f"{archive.name}: damaged, or not a wheel or sdist (.whl, .zip, .tar.gz, .tar.bz2, .tar.xz): "
            f"{member.reason}"
        )


def _created(archive: Path, root: Path, name: str) -> BinaryIO:
    """Open a new file below the folder. Raises CorpusError if a link there leads elsewhere."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.parent.resolve().is_relative_to(root):
        raise CorpusError(f"{archive.name}: refused: {name[:200]!a} leads out of {root}")
    path.unlink(missing_ok=True)
    return path.open("xb")


def _extracted(root: Path, name: str) -> ExtractedFile:
    with (root / name).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return ExtractedFile(name, file.tell(), digest.hexdigest())


def glob(pattern: str) -> re.Pattern[str]:
    """Return the pattern as a regular expression over complete names."""
    expressions = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return re.compile("".join(expressions.get(part, re.escape(part)) for part in parts), re.DOTALL)


def top_folder(archive_name: str) -> str:
    """Return the normalized name of an sdist's only folder: its own name less the suffix; "" for a wheel."""
    stem = re.sub(r"(\.tar\.\w+|\.tgz|\.tar|\.zip)$", "", archive_name)
    return "" if stem == archive_name else re.sub(r"[-_.]+", "-", stem).lower()


def _name(archive: Path, raw: str) -> str:
    """Return the member's name within the release; "" if it is not text. Raises CorpusError if it leads elsewhere."""
    if leads_out(raw):
        raise CorpusError(f"{archive.name}: refused: the member name {raw[:200]!a} leads out of its folder")
    parts = [part for part in raw.split("/") if part not in ("", ".")]
    top = top_folder(archive.name)
    if top and len(parts) > 1 and re.sub(r"[-_.]+", "-", parts[0]).lower() == top:
        parts = parts[1:]
    name = "/".join(parts)
    return name if is_text(name) else ""

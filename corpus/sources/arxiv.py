"""arXiv's LaTeX sources: its bulk tars (`arXiv_src_1911_001.tar`), and single submissions (`.tar.gz`, `.gz`).

One document is one paper. Submissions that are only a PDF, that were withdrawn, or that are not TeX are skipped.
A submission is a gzipped tar, or one gzipped file. Nothing is written to the disk, and figures are passed over. Source:
arXiv, "Submitting TeX" and "00README files".
"""

import io
import json
import posixpath
import re
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from corpus.document import Document, Failed, Record, Skipped, Span, UnreadableError
from corpus.formats.archive_member import BULK_LIMITS, SUBMISSION_LIMITS, ArchiveMember, in_memory, refusal
from corpus.formats.compressed import StreamDamage, StreamPiece, pieces_of
from corpus.formats.tar_members import BLOCK_BYTES, DecompressedBytes, PlainBytes, is_tar, tar_members
from corpus.sources.base import Reader, SourceSettings

_GZIP = b"\x1f\x8b"
# Source: arXiv, "Understanding the arXiv identifier"; before April 2007 the archive stood before the number.
_NEW = re.compile(r"(\d{4}\.\d{4,5}(?:v\d+)?)(?:\.[a-z.]+)?")
_OLD = re.compile(r"([a-z-]+(?:\.[A-Z]{2})?)[/_]?(\d{7}(?:v\d+)?)(?:\.[a-z.]+)?")

MAX_TEX_BYTES = 8_000_000  # of one submission: a long book has 3 MB
SINGLE = "main.tex"  # the name given to a submission of one file
_BINARY_HEAD_BYTES = 1 << 20  # in which a zero byte shows that a file is no TeX

_WANTED_NAME = re.compile(
    r"(?:\A|/)(?:00README[^/]*|[^./]+|[^/]+\.(?:tex|ltx|latex|sty|txt|inc|def|mac|macros|defs))\Z", re.I
)
_MAY_BE_MAIN = re.compile(r"(?:\A|/)(?:[^./]+|[^/]+\.(?:tex|ltx|latex|txt))\Z", re.IGNORECASE)
_CLASS = re.compile(
    rb"^[^%\n]{0,500}\\document(?:class|style)\s*(?:\[[^\]]{0,2000}\])?\s*\{([^{}]{0,100})", re.MULTILINE
)
_BEGIN = re.compile(rb"^[^%\n]{0,500}\\begin\s?\{document\}", re.MULTILINE)
_PLAIN = re.compile(
    rb"^[^%\n]{0,500}\\(?:bye|magnification|centerline|input|noindent|vskip|head|section|def)\b", re.MULTILINE
)
_NAMED = re.compile(rb"\\(?:input|include|subfile|(?:sub)?import\s*\{[^{}]{0,200}\})\s*\{?\s*([\w./+-]{1,200})")
_USUAL = re.compile(r"main|ms|paper|article|arxiv|manuscript|root", re.IGNORECASE)
_PARTS = (b"standalone", b"subfiles")  # classes of files that are parts of another document


class ArxivSettings(SourceSettings):
    """LaTeX sources of papers."""

    reader: Literal["arxiv"]


def read(path: Path, start: int, end: int, settings: SourceSettings) -> Iterator[Span]:
    """Yield a record for each paper; see Reader. A tar's headers belong to the paper after them."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(BLOCK_BYTES)
        if not is_tar(head):
            if start == 0:
                yield _single(path, size, head, settings)
            return
        wanted = in_memory(lambda name, length: length <= settings.max_record_bytes)
        papers = tar_members(PlainBytes(file, start, BULK_LIMITS), wanted)
        while start < end:
            member = next(papers, None) or Skipped(start, size, "padding")
            yield _paper(member) if isinstance(member, ArchiveMember) else member
            if member.end >= size:
                return
            start = member.end


def cuts(path: Path, wanted: Sequence[int], settings: SourceSettings) -> list[int]:
    """Return the nearest papers of a tar, found by its headers from its start on; a single submission is never cut."""
    size = path.stat().st_size
    places = array("q", [0])
    with path.open("rb") as file:
        if is_tar(file.read(BLOCK_BYTES)):
            papers = tar_members(PlainBytes(file, 0, BULK_LIMITS), lambda name, length: None)
            places.extend(paper.end for paper in papers)
    return [places[index] if (index := bisect_left(places, offset)) < len(places) else size for offset in wanted]


def document(record: Record, settings: SourceSettings) -> Document:
    """Return the paper's text and the number of missing input files. Raises UnreadableError."""
    from corpus.extract.latex_text import latex_text

    files, main, why_not = submission(record.content)
    if main is None:
        raise UnreadableError(why_not)
    made = latex_text(files, main)
    return record.document(made.text, signals={"missing_inputs": len(made.missing)})


def _single(path: Path, size: int, head: bytes, settings: SourceSettings) -> Span:
    if not head.startswith(_GZIP):
        return Failed(0, size, "not_an_archive") if size else Skipped(0, 0, "empty")
    content = io.BytesIO(path.read_bytes()) if size <= settings.max_record_bytes else None
    return _paper(ArchiveMember(0, size, path.name, size, content))


def _paper(member: ArchiveMember) -> Span:
    """Return the outcome of a member of a bulk tar, or of a file by itself."""
    start, end, name, content = member.start, member.end, member.name, member.content
    if content is None:
        return Skipped(start, end, "too_large")
    if not content.strip():
        return Skipped(start, end, "empty")
    if not content.startswith(_GZIP):
        return Skipped(start, end, "pdf_only" if content.startswith(b"%PDF") else "not_tex")
    try:
        paper = submission(content)
    except UnreadableError as error:
        return Failed(start, end, error.reason)
    if paper.main is None:
        return Skipped(start, end, paper.why_not)
    identity = _identity(name)
    url = f"https://arxiv.org/abs/{identity}" if identity else None
    return Record(start, end, identity or name.rpartition("/")[2].partition(".")[0], content, url=url)


def _identity(name: str) -> str:
    """Return the arXiv id, with its version where the name has it; "" for another name."""
    base = name.rpartition("/")[2]
    if match := _NEW.fullmatch(base):
        return match[1]
    match = _OLD.fullmatch(base)
    return f"{match[1]}/{match[2]}" if match else ""


class Submission(NamedTuple):
    """The readable files of a submission; `main` is None if that is no TeX, and `why_not` is then the reason."""

    files: Mapping[str, bytes]
    main: str | None
    why_not: str = ""


def submission(content: bytes) -> Submission:
    """Read the submission. Raises UnreadableError."""
    data = DecompressedBytes(_gzip_pieces(content), len(content), SUBMISSION_LIMITS)
    head = b"".join(data.parts(BLOCK_BYTES))
    if not is_tar(head):
        return _single_file(head + b"".join(data.parts(MAX_TEX_BYTES)))
    files, tex_bytes, pdfs = dict[str, bytes](), 0, 0
    for member in tar_members(data, in_memory(_is_wanted), head):
        if isinstance(member, Failed):
            raise UnreadableError(member.reason)
        if isinstance(member, ArchiveMember):
            pdfs += member.name.lower().endswith(".pdf")
            if (text := member.content) is not None:
                tex_bytes += len(text)
                files[posixpath.normpath(member.name)] = _with_line_feeds(text)
        if tex_bytes > MAX_TEX_BYTES:
            return Submission({}, None, "too_large")
    main = main_file(files)
    if main is not None:
        return Submission(files, main)
    empty = not any(_has_text(text) for text in files.values())
    return Submission({}, None, ("pdf_only" if pdfs else "empty") if empty else "not_tex")


def _gzip_pieces(content: bytes) -> Iterator[StreamPiece | StreamDamage]:
    """Decompress the gzip members, which zeros may pad."""
    for piece in pieces_of(io.BytesIO(content), 0, len(content), "gzip"):
        if isinstance(piece, StreamPiece) or not piece.first or content[piece.start : piece.end].strip(b"\0"):
            yield piece


def _is_wanted(name: str, size: int) -> bool:
    return size <= MAX_TEX_BYTES and _WANTED_NAME.search(name) is not None and not refusal(name)


def _single_file(content: bytes) -> Submission:
    if len(content) > MAX_TEX_BYTES:
        return Submission({}, None, "too_large")
    if content.startswith(b"%PDF"):
        return Submission({}, None, "pdf_only")
    content = _with_line_feeds(content)
    if not _has_text(content):
        return Submission({}, None, "empty")
    main = main_file({SINGLE: content})
    return Submission({SINGLE: content}, main, "" if main else "not_tex")


def _with_line_feeds(content: bytes) -> bytes:
    """End lines as Unix does: with the carriage returns of old Macs, a comment would run over the whole paper."""
    return content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _has_text(content: bytes) -> bool:
    """Return True if there is more than comments; a withdrawn paper leaves a file that arXiv marks."""
    if content.startswith(b"%auto-ignore"):
        return False
    return any(line.strip() and not line.lstrip().startswith(b"%") for line in io.BytesIO(content))


def main_file(files: Mapping[str, bytes]) -> str | None:
    """Return the file that TeX is run on: the one that the authors name, else the likeliest; None if none is TeX."""
    names = [name for name in sorted(files) if _MAY_BE_MAIN.search(name) and _has_text(files[name])]
    for stated in _stated_main_files(files):
        if stated in names:
            return stated
    for pattern in (_CLASS, _BEGIN, _PLAIN):
        if candidates := [name for name in names if _is_tex(files[name]) and pattern.search(files[name])]:
            named = _input_names(files)
            return max(candidates, key=lambda name: _likelihood(name, files[name], named))
    return None


def _is_tex(content: bytes) -> bool:
    return (
        not content.startswith((b"%!PS", b"%PDF", b"<", b"\x89", b"GIF8")) and b"\0" not in content[:_BINARY_HEAD_BYTES]
    )


def _likelihood(name: str, content: bytes, named: set[str]) -> tuple[bool, bool, bool, bool, int, int]:
    document_class = _CLASS.search(content)
    stem = posixpath.splitext(posixpath.basename(name))[0]
    return (
        _BEGIN.search(content) is not None,
        document_class is None or document_class[1].strip() not in _PARTS,
        stem not in named,
        _USUAL.fullmatch(stem) is not None,
        -name.count("/"),
        len(content),
    )


def _input_names(files: Mapping[str, bytes]) -> set[str]:
    """Return the names of files that others input, without folder and extension."""
    inputs = (match[1] for content in files.values() for match in _NAMED.finditer(content))
    return {posixpath.splitext(posixpath.basename(name.decode("ascii", "replace")))[0] for name in inputs}


def _stated_main_files(files: Mapping[str, bytes]) -> list[str]:
    """Return the main files that 00README states, as lines of `name toplevelfile` or JSON."""
    names = []
    for name, content in files.items():
        if posixpath.basename(name).lower() == "00readme.json":
            names += _main_files_of_json(content)
        elif posixpath.basename(name).upper().startswith("00README"):
            lines = [line.split() for line in content.decode("utf-8", "replace").splitlines()]
            names += [line[0] for line in lines if len(line) == 2 and line[1].lower() == "toplevelfile"]
    return [posixpath.normpath(name) for name in names]


def _main_files_of_json(content: bytes) -> list[str]:
    try:
        sources = json.loads(content)["sources"]
        return [str(file["filename"]) for file in sources if file.get("usage") == "toplevel"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


def missing_checksum(path: Path) -> str | None:
    """Return None: each submission is gzipped, and carries a checksum of its own."""
    return None


READER = Reader(ArxivSettings, read, cuts, document, revision=3, missing_checksum=missing_checksum)

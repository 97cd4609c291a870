"""The TeX files of an arXiv submission, and the main one; a submission is a gzipped tar, or one gzipped file.

Nothing is written to the disk; figures are passed over. Source: arXiv, "Submitting TeX" and "00README files".
"""

import io
import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from corpus.document import Failed, UnreadableError
from corpus.formats.archive_member import SUBMISSION_LIMITS, ArchiveMember, in_memory, refusal
from corpus.formats.compressed import StreamDamage, StreamPiece, pieces_of
from corpus.formats.tar_members import BLOCK_BYTES, DecompressedBytes, is_tar, tar_members

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


class Submission(NamedTuple):
    """The readable files of a submission; `main` is None if that is no TeX, and `why_not` is then the reason."""

    files: Mapping[str, bytes]
    main: str | None
    why_not: str = ""


def submission(content: bytes) -> Submission:
    """Read the submission. Raises UnreadableError."""
    data = DecompressedBytes(_pieces(content), len(content), SUBMISSION_LIMITS)
    head = b"".join(data.parts(BLOCK_BYTES))
    if not is_tar(head):
        return _single(head + b"".join(data.parts(MAX_TEX_BYTES)))
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


def _pieces(content: bytes) -> Iterator[StreamPiece | StreamDamage]:
    """Decompress the gzip members, which zeros may pad."""
    for piece in pieces_of(io.BytesIO(content), 0, len(content), "gzip"):
        if isinstance(piece, StreamPiece) or not piece.first or content[piece.start : piece.end].strip(b"\0"):
            yield piece


def _is_wanted(name: str, size: int) -> bool:
    return size <= MAX_TEX_BYTES and _WANTED_NAME.search(name) is not None and not refusal(name)


def _single(content: bytes) -> Submission:
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

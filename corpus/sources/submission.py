r"""An arXiv submission, as its authors sent it: a gzipped tar, or one gzipped file. Its TeX files, and the main one.

Nothing is written to the disk; figures are passed over. Source: arXiv, "Submitting TeX" and "00README files".
"""

import gzip
import io
import json
import posixpath
import re
import zlib
from collections.abc import Mapping
from typing import NamedTuple

from corpus.document import Failed
from corpus.formats.member import BrokenError, Member, refusal
from corpus.formats.tar_members import Tar, is_tar

MAX_TEX_BYTES = 8_000_000  # of one submission: a long book has 3 MB
MAX_UNPACKED_BYTES = 1_000_000_000  # with figures; arXiv takes 50 MB packed
MAX_MEMBERS = 20_000
SINGLE = "main.tex"  # what a submission of one file is called here
_BLOCK_BYTES = 1 << 20
_HEAD_BYTES = 512

_KEPT = re.compile(r"(?:\A|/)(?:00README[^/]*|[^./]+|[^/]+\.(?:tex|ltx|latex|sty|txt|inc|def|mac|macros|defs))\Z", re.I)
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
_PARTS = (b"standalone", b"subfiles")  # classes of what is a part of another document


class Submission(NamedTuple):
    """What can be read of a submission; `main` is None where that is no TeX, and `why_not` says what it is."""

    files: Mapping[str, bytes]
    main: str | None
    why_not: str = ""


def submission(content: bytes) -> Submission:
    """The submission. Raises BrokenError."""
    data = _Inflated(content)
    head = data.read(_HEAD_BYTES)
    if not is_tar(head):
        return _single(head + data.read(MAX_TEX_BYTES))
    data.unread(head, 0)
    files, tex_bytes, pdfs = dict[str, bytes](), 0, 0
    tar = Tar(data, lambda name, size: size <= MAX_TEX_BYTES and _KEPT.search(name) is not None and not refusal(name))
    while (found := tar.next()) is not None:
        if isinstance(found, Failed):
            raise BrokenError(found.reason)
        if isinstance(found, Member):
            pdfs += found.name.lower().endswith(".pdf")
            if found.content is not None:
                tex_bytes += len(found.content)
                files[posixpath.normpath(found.name)] = _with_line_feeds(found.content)
        if tex_bytes > MAX_TEX_BYTES:
            return Submission({}, None, "too_large")
    main = main_file(files)
    if main is not None:
        return Submission(files, main)
    empty = not any(_says_something(each) for each in files.values())
    return Submission({}, None, ("pdf_only" if pdfs else "empty") if empty else "not_tex")


def _single(content: bytes) -> Submission:
    if len(content) > MAX_TEX_BYTES:
        return Submission({}, None, "too_large")
    if content.startswith(b"%PDF"):
        return Submission({}, None, "pdf_only")
    content = _with_line_feeds(content)
    if not _says_something(content):
        return Submission({}, None, "empty")
    main = main_file({SINGLE: content})
    return Submission({SINGLE: content}, main, "" if main else "not_tex")


def _with_line_feeds(content: bytes) -> bytes:
    """Old Macs ended lines by carriage returns: a comment at the top would run over the whole paper."""
    return content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _says_something(content: bytes) -> bool:
    """Whether there is more than comments; a withdrawn paper leaves a file that arXiv marks."""
    if content.startswith(b"%auto-ignore"):
        return False
    return any(line.strip() and not line.lstrip().startswith(b"%") for line in io.BytesIO(content))


def main_file(files: Mapping[str, bytes]) -> str | None:
    """The file that TeX is run on: the one that the authors name, else the likeliest by what it holds; None: no TeX."""
    names = [name for name in sorted(files) if _MAY_BE_MAIN.search(name) and _says_something(files[name])]
    for stated in _stated(files):
        if stated in names:
            return stated
    for pattern in (_CLASS, _BEGIN, _PLAIN):
        if candidates := [name for name in names if _is_tex(files[name]) and pattern.search(files[name])]:
            named = _named(files)
            return max(candidates, key=lambda name: _likelihood(name, files[name], named))
    return None


def _is_tex(content: bytes) -> bool:
    return not content.startswith((b"%!PS", b"%PDF", b"<", b"\x89", b"GIF8")) and b"\0" not in content[:_BLOCK_BYTES]


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


def _named(files: Mapping[str, bytes]) -> set[str]:
    """What other files input, without folder and extension."""
    found = set()
    for content in files.values():
        for match in _NAMED.finditer(content):
            found.add(posixpath.splitext(posixpath.basename(match[1].decode("ascii", "replace")))[0])
    return found


def _stated(files: Mapping[str, bytes]) -> list[str]:
    """What 00README says the main file is: lines of `name toplevelfile`, or JSON."""
    found = []
    for name, content in files.items():
        if posixpath.basename(name).lower() == "00readme.json":
            found += _stated_as_json(content)
        elif posixpath.basename(name).upper().startswith("00README"):
            lines = [line.split() for line in content.decode("utf-8", "replace").splitlines()]
            found += [line[0] for line in lines if len(line) == 2 and line[1].lower() == "toplevelfile"]
    return [posixpath.normpath(name) for name in found]


def _stated_as_json(content: bytes) -> list[str]:
    try:
        sources = json.loads(content)["sources"]
        return [str(each["filename"]) for each in sources if each.get("usage") == "toplevel"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


class _Inflated:
    """The bytes of a gzipped tar in memory, as `Tar` reads them. Raises BrokenError."""

    def __init__(self, content: bytes) -> None:
        self._file = gzip.GzipFile(fileobj=io.BytesIO(content))
        self._again, self._members, self._read = b"", 0, 0

    @property
    def place(self) -> int:
        """Not asked for: a submission is one record."""
        return 0

    def read(self, size: int) -> bytes:
        """So many bytes, or all that are left."""
        parts, self._again = [self._again[:size]], self._again[size:]
        wanted = size - len(parts[0])
        while wanted and (part := self._part(wanted)):
            parts.append(part)
            wanted -= len(part)
        return b"".join(parts)

    def skip(self, size: int) -> int:
        """Passes over so many bytes; how many there were."""
        left = size
        while left and (part := self.read(min(left, _BLOCK_BYTES))):
            left -= len(part)
        return size - left

    def unread(self, block: bytes, place: int) -> None:
        """The next read begins with this block again."""
        self._again = block

    def member(self) -> None:
        """One more member."""
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise BrokenError("too_many_members")

    def _part(self, size: int) -> bytes:
        try:
            part = self._file.read(min(size, _BLOCK_BYTES))
        except EOFError:
            raise BrokenError("truncated") from None
        except (OSError, zlib.error, ValueError):
            raise BrokenError("bad_gzip") from None
        self._read += len(part)
        if self._read > MAX_UNPACKED_BYTES:
            raise BrokenError("bomb")
        return part

"""Source files of repositories and their licenses, in archives as forges and package indexes publish them.

One document is one source file. Archives are zip, or tar, plain or in gzip, bzip2, xz or zstd; nothing is unpacked to
the disk. Notebooks, data and prose count as source files only if `languages` names them.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator

from corpus.document import Document, Failed, Record, Skipped, Span
from corpus.extract.charsets import decodes, head, known_charset, marked_charset
from corpus.extract.code_languages import LANGUAGES, NAMED, language_of_name, language_of_script
from corpus.extract.licenses import PERMISSIVE, UNKNOWN, allows, license_of_metadata, license_of_tag, license_of_text
from corpus.formats.archive_member import ArchiveMember
from corpus.formats.archives import members
from corpus.settings import nearest
from corpus.sources.base import Reader, SourceSettings, filled, never_cut

# Source: PEP 263; editors apply it to every language.
_CODING = re.compile(rb"(?:[^\n]*\n)?[^\n]*?coding[:=][ \t]*([-\w.]{1,40}?)(?:-unix|-dos|-mac)?(?![-\w.])")
_SUFFIX = re.compile(r"(\.tar(\.\w+)?|\.t[gbx]z2?|\.zip)$", re.IGNORECASE)
_HEAD_BYTES = 1 << 16  # searched for a statement of the license

_LICENSE_BYTES = 500_000  # of a file that states a license
_MAX_FOLDERS = 20_000
_TEXT_SUFFIX = r"(?:\.(?:txt|md|rst|markdown|html))?"
# Kinds of files that state a license: the lesser GPL beside the GPL it amends, the license of the folder, one of
# several licenses to choose from, and the metadata of a package.
_KINDS = {
    "lesser": re.compile(rf"copying[._-](?:lesser|lib){_TEXT_SUFFIX}", re.IGNORECASE),
    "license": re.compile(rf"(?:(?:un)?licen[cs]e|copying){_TEXT_SUFFIX}", re.IGNORECASE),
    "choice": re.compile(
        rf"(?:licen[cs]e|copying)[._-](?!third|3rd|bundled|vendor|doc|font)[\w.-]+?{_TEXT_SUFFIX}", re.IGNORECASE
    ),
    "metadata": re.compile(
        r"PKG-INFO|METADATA|pyproject\.toml|setup\.cfg|package\.json|composer\.json|Cargo\.toml|[\w.-]+\.(?:cabal|gemspec)"
    ),
}
# Precedence of the kinds in one folder, highest first. "unknown" is metadata whose license we do not know, or a text
# that only points to a choice.
_PRECEDENCE = ("lesser", "license", "choice", "metadata", "unknown")
_CHOICE = re.compile(r"\bdual[ -]?licen[cs]|\beither\b.{0,40}\blicen[cs]es?\b", re.IGNORECASE | re.DOTALL)
_CHOICE_CHARACTERS = 2000
_RESERVED = re.compile(r"commercial|proprietary|all rights reserved", re.IGNORECASE)
_LEGAL = re.compile(r"copyright|reserved|permission|commercial|proprietary|licen[cs]ed|\bmay not\b", re.IGNORECASE)
_PROSE_LANGUAGES = (None, "", "markdown", "restructuredtext", "html")
_MANUAL = re.compile(r"(?:^|/)(?:docs?|manual|documentation|source|site|www|pages?)\b")


def _language(name: str) -> str:
    if name not in NAMED:
        raise ValueError(f"unknown language{nearest(name, sorted(NAMED))}")
    return name


class CodeSettings(SourceSettings):
    """Archives of repositories."""

    reader: Literal["code"]
    languages: tuple[Annotated[str, AfterValidator(_language)], ...] | None = None  # None: all, less data and prose
    licenses: Literal["all", "permissive"] | tuple[str, ...] = "all"  # or SPDX identifiers


class ArchiveLicenses(NamedTuple):
    """Licenses of an archive's folders, and the folder that holds everything."""

    top: str  # the only folder at the top, with its `/`; "" if there are more, or files beside it
    licenses: Mapping[str, str]  # by folder; the top of the archive is ""

    def license_of(self, name: str) -> str | None:
        """Return the license of the nearest folder above a member that states one."""
        while name:
            name = name.rpartition("/")[0]
            if name in self.licenses:
                return self.licenses[name]
        return None


def read(path: Path, start: int, end: int, settings: CodeSettings) -> Iterator[Span]:
    """Yield a record for each source file; see Reader. A bad member is lost alone, a broken archive from there on.

    Its identity is the archive's name, less its suffix, and the member's path below the only folder at the top.
    """
    return filled(_spans(path, settings), start, never_cut(path, [end], settings)[0])


def document(record: Record, settings: CodeSettings) -> Document:
    """Return the file unchanged, with signals for generated, minified and vendored code."""
    from corpus.extract.generated_code import is_generated, is_minified, is_vendored

    code = record.content.decode(record.charset or "utf-8")
    path = record.identity.partition(" ")[2]
    signals = {
        "generated": int(is_generated(path, code)),
        "minified": int(is_minified(path, code)),
        "vendored": int(is_vendored(path)),
    }
    return record.document(code, signals=signals)


def _spans(path: Path, settings: CodeSettings) -> Iterator[Span]:
    languages = LANGUAGES if settings.languages is None else frozenset(settings.languages)

    def wanted(name: str, size: int) -> bool:
        language = language_of_name(name)
        return size <= settings.max_record_bytes and (language in languages or language == "")

    licenses = read_licenses(path)
    archive = re.sub(r"\s+", "_", _SUFFIX.sub("", path.name))
    for member in members(path, wanted):
        yield _outcome(member, licenses, archive, languages, settings) if isinstance(member, ArchiveMember) else member


def _outcome(
    member: ArchiveMember, licenses: ArchiveLicenses, archive: str, languages: frozenset[str], settings: CodeSettings
) -> Span:
    start, end, content, name = member.start, member.end, member.content, normalized_name(member.name)
    # Is it a source file in one of the languages?
    language = language_of_name(name)
    if language == "" and content is not None:
        language = language_of_script(content)
    if not language or language not in languages:
        return Skipped(start, end, "other_language" if language else "not_source")
    if content is None:
        return Skipped(start, end, "too_large")
    # Find its charset: stated, or UTF-8.
    charset = marked_charset(content) or _declared(content)
    if charset is None and b"\0" in content:
        return Skipped(start, end, "binary")
    if charset is None or not decodes(content, charset):
        charset = "utf-8"
    if not decodes(content, charset):
        return Failed(start, end, "not_utf8")
    top = head(content, charset, _HEAD_BYTES)
    if not top.strip() and not content.decode(charset).strip():
        return Skipped(start, end, "empty")
    # Is its license allowed? The source's counts where neither the file nor a folder above states one.
    license = license_of_tag(top) or licenses.license_of(name)
    if not _allowed(license or settings.license, settings.licenses):
        return Skipped(start, end, "license")
    identity = f"{archive} {name.removeprefix(licenses.top)}"
    return Record(start, end, identity, content, charset, license=license)


def _declared(content: bytes) -> str | None:
    declared = _CODING.match(content[:1000])
    return known_charset(declared[1].decode("ascii", "replace")) if declared else None


def _allowed(license: str, wanted: str | tuple[str, ...]) -> bool:
    if wanted == "all":
        return True
    allowed = PERMISSIVE if wanted == "permissive" else {name.lower() for name in wanted}
    return allows(license, allowed)


def read_licenses(path: Path) -> ArchiveLicenses:
    """Read the license statements of an archive, in a pass of its own: they may come after the files they cover."""
    tops = set[str]()
    stated = dict[str, tuple[int, str]]()  # by folder: precedence and license
    for member in members(path, lambda name, size: size <= _LICENSE_BYTES and _kind(name) is not None):
        if not isinstance(member, ArchiveMember):
            continue
        name = normalized_name(member.name)
        first, slash, _ = name.partition("/")
        if len(tops) < 2:
            tops.add(first + slash if slash else "")
        if member.content and (kind := _kind(name)) and len(stated) < _MAX_FOLDERS:
            _add_statement(stated, name, kind, member.content.decode("utf-8", "replace"))
    top = tops.pop() if len(tops) == 1 else ""
    return ArchiveLicenses(top, {folder: license for folder, (_, license) in stated.items()})


def normalized_name(name: str) -> str:
    """Return a member's name without empty and `.` steps: `./a//b` becomes `a/b`."""
    return "/".join(step for step in name.split("/") if step not in ("", "."))


def _kind(name: str) -> str | None:
    base = name.rpartition("/")[2]
    kind = next((kind for kind, pattern in _KINDS.items() if pattern.fullmatch(base)), None)
    # license-check.py is a program about licenses, not a license.
    return None if kind == "choice" and language_of_name(base) not in _PROSE_LANGUAGES else kind


def _only_points_to_choice(content: str) -> bool:
    """True if a short text only says that one may choose among the licenses beside it."""
    return len(content) <= _CHOICE_CHARACTERS and bool(_CHOICE.search(content)) and not _RESERVED.search(content)


def _is_statement(name: str, content: str) -> bool:
    """True if a text that names no known license still states one, rather than being a page of a manual."""
    folders, _, base = name.lower().rpartition("/")
    page = base.endswith((".rst", ".html"))
    if _MANUAL.search(folders) and (page or base.endswith((".md", ".markdown"))):
        return bool(_RESERVED.search(content))  # such a page may include or describe the license at the top
    return not page or bool(_LEGAL.search(content))


def _add_statement(stated: dict[str, tuple[int, str]], name: str, kind: str, content: str) -> None:
    """Combine a file's statement with what its folder states so far."""
    folder = name.rpartition("/")[0]
    license = license_of_metadata(content) if kind == "metadata" else license_of_text(content)
    if license is None or (license == UNKNOWN and not _is_statement(name, content)):
        return
    if license == UNKNOWN and (kind == "metadata" or _only_points_to_choice(content)):
        kind = "unknown"
    rank = _PRECEDENCE.index(kind)
    rank_so_far, license_so_far = stated.get(folder, (len(_PRECEDENCE), ""))
    if rank == rank_so_far and kind == "license":  # LICENSE and COPYING must agree
        stated[folder] = rank, license if license == license_so_far else UNKNOWN
    elif rank == rank_so_far and kind == "choice":
        either = {*license_so_far.split(" OR "), license}
        stated[folder] = rank, UNKNOWN if UNKNOWN in either else " OR ".join(sorted(either))
    elif rank < rank_so_far:
        stated[folder] = rank, license


READER = Reader(CodeSettings, read, never_cut, document, revision=9, libraries=("zstandard", "license-expression"))

"""Source files of repositories, in archives as forges, package indexes and distributions publish them.

One document is one source file. Archives are zip, or tar, plain or in gzip, bzip2, xz or zstd; nothing is unpacked to
the disk. Notebooks, data and prose count as source files only if `languages` names them.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator

from corpus.document import Document, Failed, Record, Skipped, Span
from corpus.extract.charsets import decodes, head, known_charset, marked_charset
from corpus.extract.code_languages import LANGUAGES, NAMED, language_of_name, language_of_script
from corpus.extract.licenses import PERMISSIVE, allows, license_of_tag
from corpus.formats.archive_member import ArchiveMember
from corpus.formats.archives import members
from corpus.settings import nearest
from corpus.sources.base import Reader, SourceSettings, filled, never_cut
from corpus.sources.license_files import ArchiveLicenses, normalized_name, read_licenses

# Source: PEP 263; editors apply it to every language.
_CODING = re.compile(rb"(?:[^\n]*\n)?[^\n]*?coding[:=][ \t]*([-\w.]{1,40}?)(?:-unix|-dos|-mac)?(?![-\w.])")
_SUFFIX = re.compile(r"(\.tar(\.\w+)?|\.t[gbx]z2?|\.zip)$", re.IGNORECASE)
_HEAD_BYTES = 1 << 16  # searched for a statement of the license


def _language(name: str) -> str:
    if name not in NAMED:
        raise ValueError(f"unknown language{nearest(name, sorted(NAMED))}")
    return name


class CodeSettings(SourceSettings):
    """Archives of repositories."""

    reader: Literal["code"]
    languages: tuple[Annotated[str, AfterValidator(_language)], ...] | None = None  # None: all, less data and prose
    licenses: Literal["all", "permissive"] | tuple[str, ...] = "all"  # or SPDX identifiers


def read(path: Path, start: int, end: int, settings: CodeSettings) -> Iterator[Span]:
    """Yield a record for each source file; see Reader. A bad member is lost alone, a broken archive from there on.

    Its identity is the archive's name, less its suffix, and the member's path below the only folder at the top.
    """
    return filled(_spans(path, settings), start, never_cut(path, [end], settings)[0])


def document(record: Record, settings: SourceSettings) -> Document:
    """Return the file unchanged, with signals for generated, minified and vendored code."""
    from corpus.extract.generated_code import is_generated, is_minified, is_vendored

    code = record.content.decode(record.charset or "utf-8")
    path = record.identity.partition(" ")[2]
    signals = {
        "generated": is_generated(path, code),
        "minified": is_minified(path, code),
        "vendored": is_vendored(path),
    }
    return record.document(code, signals={name: int(value) for name, value in signals.items()})


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


READER = Reader(CodeSettings, read, never_cut, document, revision=6, libraries=("zstandard", "license-expression"))

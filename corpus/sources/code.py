"""Archives of repositories, as forges, package indexes and distributions publish them: a document a source file.

tar, plain or in gzip, bzip2, xz or zstd, and zip. Nothing is unpacked to the disk. Notebooks, data and prose are no
source files, but for those that `languages` names.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator

from corpus.document import Document, Failed, Record, Skipped, Span
from corpus.extract.charsets import decodes, head, known_charset, marked_charset
from corpus.extract.code_languages import LANGUAGES, NAMED, language_of_name, language_of_script
from corpus.extract.licenses import PERMISSIVE, allows, license_of_tag
from corpus.formats.archive_member import ArchiveMember
from corpus.formats.archives import members
from corpus.formats.lines import whole
from corpus.settings import nearest
from corpus.sources.base import Reader, SourceSettings
from corpus.sources.license_files import ArchiveLicenses, normalized_name, read_licenses

# Source: PEP 263; editors read the same of any language.
_CODING = re.compile(rb"(?:[^\n]*\n)?[^\n]*?coding[:=][ \t]*([-\w.]{1,40}?)(?:-unix|-dos|-mac)?(?![-\w.])")
_SUFFIX = re.compile(r"(\.tar(\.\w+)?|\.t[gbx]z2?|\.zip)$", re.IGNORECASE)
_HEAD_BYTES = 1 << 16  # in which a file says what its license is


def _language(name: str) -> str:
    if name not in NAMED:
        raise ValueError(f"no language that we know{nearest(name, sorted(NAMED))}")
    return name


class CodeSettings(SourceSettings):
    """Archives of repositories."""

    reader: Literal["code"]
    languages: tuple[Annotated[str, AfterValidator(_language)], ...] | None = None  # None: all, less data and prose
    licenses: Literal["all", "permissive"] | tuple[str, ...] = "all"  # or those of a list, as SPDX spells them


def read(path: Path, start: int, end: int, settings: SourceSettings) -> Iterator[Span]:
    """A record for each source file; see Reader. A bad member is lost alone, and a broken archive from there on.

    Its identity is the archive's name, less its suffix, and the member's path below the only folder at the top.
    """
    assert isinstance(settings, CodeSettings)
    size = path.stat().st_size
    if start == 0 and end > 0:
        yield from whole(_found(path, settings), 0, size)


def cuts(path: Path, wanted: Sequence[int], settings: SourceSettings) -> list[int]:
    """An archive is never cut."""
    size = path.stat().st_size
    return [0 if offset <= 0 else size for offset in wanted]


def document(record: Record, settings: SourceSettings) -> Document:
    """Return the file unchanged, with signals for generated, minified and vendored code."""
    from corpus.extract.generated_code import is_generated, is_minified, is_vendored

    code = record.content.decode(record.charset or "utf-8")
    path = record.identity.partition(" ")[2]
    said = {
        "generated": is_generated(path, code),
        "minified": is_minified(path, code),
        "vendored": is_vendored(path),
    }
    return record.document(code, signals={name: int(value) for name, value in said.items()})


def _found(path: Path, settings: CodeSettings) -> Iterator[Span]:
    languages = LANGUAGES if settings.languages is None else frozenset(settings.languages)

    def wanted(name: str, size: int) -> bool:
        language = language_of_name(name)
        return size <= settings.max_record_bytes and (language in languages or language == "")

    about = read_licenses(path)
    archive = re.sub(r"\s+", "_", _SUFFIX.sub("", path.name))
    for found in members(path, wanted):
        yield _outcome(found, about, archive, languages, settings) if isinstance(found, ArchiveMember) else found


def _outcome(
    member: ArchiveMember, about: ArchiveLicenses, archive: str, languages: frozenset[str], settings: CodeSettings
) -> Span:
    start, end, content, name = member.start, member.end, member.content, normalized_name(member.name)
    language = language_of_name(name)
    if language == "" and content is not None:
        language = language_of_script(content)
    if not language or language not in languages:
        return Skipped(start, end, "other_language" if language else "not_source")
    if content is None:
        return Skipped(start, end, "too_large")
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
    license = license_of_tag(top) or about.license_of(name)
    if not _may(license or settings.license, settings.licenses):
        return Skipped(start, end, "license")
    identity = f"{archive} {name.removeprefix(about.top)}"
    return Record(start, end, identity, content, charset, license=license)


def _declared(content: bytes) -> str | None:
    declared = _CODING.match(content[:1000])
    return known_charset(declared[1].decode("ascii", "replace")) if declared else None


def _may(license: str, wanted: str | tuple[str, ...]) -> bool:
    if wanted == "all":
        return True
    allowed = PERMISSIVE if wanted == "permissive" else {each.lower() for each in wanted}
    return allows(license, allowed)


READER = Reader(CodeSettings, read, cuts, document, revision=6, libraries=("zstandard", "license-expression"))

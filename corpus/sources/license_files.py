"""Licenses stated by the LICENSE and metadata files of an archive, by folder."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from corpus.extract.code_languages import language_of_name
from corpus.extract.licenses import UNKNOWN, license_of_metadata, license_of_text
from corpus.formats.archive_member import ArchiveMember
from corpus.formats.archives import members

_MAX_BYTES = 500_000  # of a file that states a license
_MAX_FOLDERS = 20_000
_SUFFIX = r"(?:\.(?:txt|md|rst|markdown|html))?"
# Kinds of files that state a license: the lesser GPL beside the GPL it amends, the license of the folder, one of
# several licenses to choose from, and the metadata of a package.
_KINDS = {
    "lesser": re.compile(rf"copying[._-](?:lesser|lib){_SUFFIX}", re.IGNORECASE),
    "license": re.compile(rf"(?:(?:un)?licen[cs]e|copying){_SUFFIX}", re.IGNORECASE),
    "choice": re.compile(
        rf"(?:licen[cs]e|copying)[._-](?!third|3rd|bundled|vendor|doc|font)[\w.-]+?{_SUFFIX}", re.IGNORECASE
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


def read_licenses(path: Path) -> ArchiveLicenses:
    """Read the license statements of an archive, in a pass of its own: they may lie behind the files they cover."""
    tops = set[str]()
    stated = dict[str, tuple[int, str]]()  # by folder: precedence and license
    for member in members(path, lambda name, size: size <= _MAX_BYTES and _kind(name) is not None):
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
    before = stated.get(folder)
    if before is not None and before[0] == rank and kind == "license":  # LICENSE and COPYING must agree
        stated[folder] = rank, license if license == before[1] else UNKNOWN
    elif before is not None and before[0] == rank and kind == "choice":
        either = {*before[1].split(" OR "), license}
        stated[folder] = rank, UNKNOWN if UNKNOWN in either else " OR ".join(sorted(either))
    elif before is None or rank < before[0]:
        stated[folder] = rank, license

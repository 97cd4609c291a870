"""The licenses that an archive states in files of their own, and which of them is that of a file beside them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from corpus.extract.code_languages import language_of_name
from corpus.extract.licenses import UNKNOWN, license_of_text, stated_license
from corpus.formats.archives import members
from corpus.formats.member import Member

_MAX_BYTES = 500_000  # of a file that states a license
_MAX_FOLDERS = 20_000
_SUFFIX = r"(?:\.(?:txt|md|rst|markdown|html))?"
_KINDS = {
    "lesser": re.compile(rf"copying[._-](?:lesser|lib){_SUFFIX}", re.IGNORECASE),
    "whole": re.compile(rf"(?:(?:un)?licen[cs]e|copying){_SUFFIX}", re.IGNORECASE),
    "choice": re.compile(
        rf"(?:licen[cs]e|copying)[._-](?!third|3rd|bundled|vendor|doc|font)[\w.-]+?{_SUFFIX}", re.IGNORECASE
    ),
    "metadata": re.compile(
        r"PKG-INFO|METADATA|pyproject\.toml|setup\.cfg|package\.json|composer\.json|Cargo\.toml|[\w.-]+\.(?:cabal|gemspec)"
    ),
}
_CHOICE = re.compile(r"\bdual[ -]?licen[cs]|\beither\b.{0,40}\blicen[cs]es?\b", re.IGNORECASE | re.DOTALL)
_SOLD = re.compile(r"commercial|proprietary|all rights reserved", re.IGNORECASE)
_CHOICE_CHARACTERS = 2000
_PROSE = (None, "", "markdown", "restructuredtext", "html")
_LEGAL = re.compile(r"copyright|reserved|permission|commercial|proprietary|licen[cs]ed|\bmay not\b", re.IGNORECASE)
_MANUAL = re.compile(r"(?:^|/)(?:docs?|manual|documentation|source|site|www|pages?)\b")
_RULES_OVER = ("lesser", "whole", "choice", "metadata", "unknown")  # of what a folder says, first to last


class Survey(NamedTuple):
    """What a first pass over an archive finds."""

    top: str  # the only folder at the top, with its `/`; "" if there are more, or files beside it
    licenses: Mapping[str, str]  # of folders by their paths, the topmost by ""

    def license_of(self, name: str) -> str | None:
        """The license of the nearest folder above a member that states one."""
        while name:
            name = name.rpartition("/")[0]
            if name in self.licenses:
                return self.licenses[name]
        return None


def survey(path: Path) -> Survey:
    """Reads an archive for the licenses in it."""
    tops, said = set[str](), dict[str, tuple[int, str]]()
    for found in members(path, lambda name, size: size <= _MAX_BYTES and _kind(name) is not None):
        if not isinstance(found, Member):
            continue
        name = tidy(found.name)
        first, slash, _ = name.partition("/")
        if len(tops) < 2:
            tops.add(first + slash if slash else "")
        if found.content and (kind := _kind(name)) and len(said) < _MAX_FOLDERS:
            _note(said, name, kind, found.content.decode("utf-8", "replace"))
    top = tops.pop() if len(tops) == 1 else ""
    return Survey(top, {folder: license for folder, (_, license) in said.items()})


def tidy(name: str) -> str:
    """A member's name without what says nothing: `./a//b` is `a/b`."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _kind(name: str) -> str | None:
    base = name.rpartition("/")[2]
    kind = next((kind for kind, pattern in _KINDS.items() if pattern.fullmatch(base)), None)
    return None if kind == "choice" and language_of_name(base) not in _PROSE else kind  # a program about licenses


def _leaves_the_choice(content: str) -> bool:
    """Whether a text only says that the licenses beside it are to choose from."""
    return len(content) <= _CHOICE_CHARACTERS and bool(_CHOICE.search(content)) and not _SOLD.search(content)


def _is_statement(name: str, content: str) -> bool:
    """Whether a file that names no license we know states one all the same; a page of a manual seldom does."""
    folders, _, base = name.lower().rpartition("/")
    page = base.endswith((".rst", ".html"))
    if _MANUAL.search(folders) and (page or base.endswith((".md", ".markdown"))):
        return bool(_SOLD.search(content))  # it may include the license of the top, or tell of it
    return not page or bool(_LEGAL.search(content))


def _note(said: dict[str, tuple[int, str]], name: str, kind: str, content: str) -> None:
    folder = name.rpartition("/")[0]
    license = stated_license(content) if kind == "metadata" else license_of_text(content)
    if license is None or (license == UNKNOWN and not _is_statement(name, content)):
        return
    if license == UNKNOWN and (kind == "metadata" or _leaves_the_choice(content)):
        kind = "unknown"
    rank = _RULES_OVER.index(kind)
    before = said.get(folder)
    if before is not None and before[0] == rank and kind == "whole":
        said[folder] = rank, license if license == before[1] else UNKNOWN
    elif before is not None and before[0] == rank and kind == "choice":
        either = {*before[1].split(" OR "), license}
        said[folder] = rank, UNKNOWN if UNKNOWN in either else " OR ".join(sorted(either))
    elif before is None or rank < before[0]:
        said[folder] = rank, license

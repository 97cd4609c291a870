"""What the header of a plain-text book of Project Gutenberg says of it."""

import re
from typing import NamedTuple

from corpus.extract.gutenberg_text import book_start

_MAX_CHARACTERS = 20_000  # of a header, that are looked at
_UNMARKED_CHARACTERS = 6000  # of a text whose header has no end
_NUMBER = re.compile(r"\b(?:e-?book|e-?text)[ \t]?(?:#|no\.?|number:?)[ \t]?(\d{1,6})\b", re.IGNORECASE)
_NAMED = re.compile(  # "The Project Gutenberg EBook of TITLE, by AUTHOR"
    r"^\W{0,9}(?:This is )?(?:The )?Project Gutenberg(?:['’]s)? (?:(?:e-?book|e-?text),? )?(?:of )?([^\n*]{2,200})",
    re.IGNORECASE | re.MULTILINE,
)
_COPYRIGHTED = re.compile(r"this is a \W{0,3}copyrighted\W{1,3}project gutenberg", re.IGNORECASE)
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_DATE = re.compile(rf"\b({'|'.join(_MONTHS)})(?: (\d{{1,2}})(?:st|nd|rd|th)?)?,? {{1,3}}(\d{{4}})\b", re.IGNORECASE)
_ISO_DATE = re.compile(r"\b\d{4}-\d{2}(?:-\d{2})?\b")
_LANGUAGES = """
    afrikaans:af arabic:ar breton:br bulgarian:bg catalan:ca chinese:zh czech:cs danish:da dutch:nl english:en
    esperanto:eo estonian:et finnish:fi french:fr frisian:fy gaelic:gd galician:gl german:de greek:el hebrew:he
    hungarian:hu icelandic:is interlingua:ia irish:ga italian:it japanese:ja korean:ko latin:la lithuanian:lt maori:mi
    norwegian:no occitan:oc persian:fa polish:pl portuguese:pt romanian:ro russian:ru sanskrit:sa serbian:sr
    slovenian:sl spanish:es swedish:sv tagalog:tl telugu:te turkish:tr ukrainian:uk welsh:cy yiddish:yi
"""
_CODES = dict(each.split(":") for each in _LANGUAGES.split())


class Header(NamedTuple):
    """None stands for what it does not say."""

    number: str | None
    title: str | None
    author: str | None
    language: str | None  # the first of them, as ISO 639-1
    date: str | None  # of the release: ISO 8601, to the day or the month
    charset: str | None  # as it is spelt there
    copyrighted: bool


def header_of(text: str) -> Header:
    """Reads the header at the top of a file's text, or as much of the text as may hold one."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    head = text[: min(book_start(text) or _UNMARKED_CHARACTERS, _MAX_CHARACTERS)]
    named, number = _NAMED.search(head), _NUMBER.search(head)
    title, _, author = named[1].rstrip().rpartition(", by ") if named else ("", "", "")
    language = (_field(head, "language") or "").lower().split(",")[0].strip()
    return Header(
        number[1].lstrip("0") if number else None,
        _field(head, "title") or title or author or None,
        _field(head, "author") or (author if title else None) or None,
        _CODES.get(language) or (language if re.fullmatch("[a-z]{2}", language) else None),
        _date(_field(head, "release date") or _line_to(head, number)),
        _field(head, "character set encoding"),
        _COPYRIGHTED.search(head) is not None,
    )


def _field(head: str, name: str) -> str | None:
    """The value of `Name: value`, with the indented lines that continue it."""
    match = re.search(rf"^{name}:[ \t]*(\S.*(?:\n[ \t]+\S.*)*)", head, re.IGNORECASE | re.MULTILINE)
    return " ".join(match[1].split())[:500] if match else None


def _line_to(head: str, match: re.Match[str] | None) -> str:
    """`March, 1994  [Etext #11]`."""
    return head[head.rfind("\n", 0, match.start()) + 1 : match.end()] if match else ""


def _date(value: str) -> str | None:
    if found := _DATE.search(value):
        day = f"-{int(found[2]):02d}" if found[2] else ""
        return f"{found[3]}-{_MONTHS.index(found[1].lower()) + 1:02d}{day}"
    iso = _ISO_DATE.search(value)
    return iso[0] if iso else None

"""Books of Project Gutenberg: the fields of the header, and the text without header, license and credits.

The plain text files of thirty years have `*** START OF` and `*** END OF` lines since 2001, the "small print" of Etexts
before, and lines such as "End of Project Gutenberg's …". Without any marker, only the paragraphs at the top that speak
of Project Gutenberg are removed, so that no book is lost for a missing marker.
"""

import re
from typing import NamedTuple

_PG = r"Proje[ck]t Gutenberg"


def _line(pattern: str) -> re.Pattern[str]:
    """Compile a pattern for the start of a line.

    Two adjoining repeats in such a pattern must not match the same characters: hostile lines would take hours.
    """
    return re.compile(rf"^{pattern}", re.IGNORECASE | re.MULTILINE)


# Markers around the book.
_START = _line(rf"[ \t*]*START OF (?:THE |THIS )?(?:COPYRIGHTED )?{_PG}")
_END = _line(rf"[ \t]*\*[ \t*]*END OF (?:THE |THIS )?(?:COPYRIGHTED )?{_PG}")
_SMALL_PRINT_START = _line(r"[^\w\n]*START[^\w\n]+THE SMALL PRINT")
_SMALL_PRINT_END = _line(r"(?:[^\w\n]*END[^\w\n]*THE SMALL PRINT|\[\"Small Print\" V\.|[ \t*]*SMALL PRINT!).*$")
_SOFT_END = _line(
    rf"[ \t*]*(?:End of (?:the |this )?{_PG}|Ende (?:dieses |diese |des |von )?{_PG}|Fin (?:de ce |del? |du ){_PG}"
    rf"|Fine (?:di |del ){_PG}|Einde van (?:het )?{_PG})"
)
_HEAD_CHARACTERS = 80_000  # the longest headers have some 20,000
_TAIL_CHARACTERS = 40_000  # the license at the end has some 19,000
_BOOK_CHARACTERS = 300  # that must follow the small print, else it stands after the book
_MARKER_LINES = 4  # a long title may spread a marker over so many

# Fields of the header.
_FIELD_CHARACTERS = 20_000  # of a header
_UNMARKED_CHARACTERS = 6000  # of a text whose header has no end
_NUMBER = re.compile(r"\b(?:e-?book|e-?text)[ \t]?(?:#|no\.?|number:?)[ \t]?(\d{1,6})\b", re.IGNORECASE)
_NAMED = re.compile(  # "The Project Gutenberg EBook of TITLE, by AUTHOR"
    r"^\W{0,9}(?:This is )?(?:The )?Project Gutenberg(?:['’]s)? (?:(?:e-?book|e-?text),? )?(?:of )?([^\n*]{2,200})",
    re.IGNORECASE | re.MULTILINE,
)
_COPYRIGHTED = re.compile(r"this is a \W{0,3}copyrighted\W{1,3}project gutenberg", re.IGNORECASE)
_MONTH_NAMES = "january february march april may june july august september october november december"
_MONTHS = _MONTH_NAMES.split()
_DATE = re.compile(rf"\b({'|'.join(_MONTHS)})(?: (\d{{1,2}})(?:st|nd|rd|th)?)?,? {{1,3}}(\d{{4}})\b", re.IGNORECASE)
_ISO_DATE = re.compile(r"\b\d{4}-\d{2}(?:-\d{2})?\b")
_LANGUAGES = """
    afrikaans:af arabic:ar breton:br bulgarian:bg catalan:ca chinese:zh czech:cs danish:da dutch:nl english:en
    esperanto:eo estonian:et finnish:fi french:fr frisian:fy gaelic:gd galician:gl german:de greek:el hebrew:he
    hungarian:hu icelandic:is interlingua:ia irish:ga italian:it japanese:ja korean:ko latin:la lithuanian:lt maori:mi
    norwegian:no occitan:oc persian:fa polish:pl portuguese:pt romanian:ro russian:ru sanskrit:sa serbian:sr
    slovenian:sl spanish:es swedish:sv tagalog:tl telugu:te turkish:tr ukrainian:uk welsh:cy yiddish:yi
"""
_CODES = dict(pair.split(":") for pair in _LANGUAGES.split())

# Paragraphs about the making of the file.
_CREDIT = re.compile(
    r"\W*(?:(?:this )?(?:e-?text|e-?book|file|html version|transcription|electronic text)\b.{0,60}"
    r"\b(?:prepared|produced|created|transcribed|scanned|typed|proofed|converted)\b"
    r"|(?:produced|prepared|transcribed|scanned|typed|proofread|proofed|digitized|etext)\b.{0,20} (?:by|from)\b"
    r"|credits?:|transcriber.?s.? notes?\b|(?:additional|many) .{0,40}(?:editions?|proofing) by\b"
    r"|images of the original pages are available)",
    re.IGNORECASE | re.DOTALL,
)
_ABOUT_GUTENBERG = re.compile(rf"{_PG}|\bgutenberg\.(?:org|net)\b|\be-?(?:text|book)\b", re.IGNORECASE)
_FIELD = re.compile(
    r"(?:title|author|editor|translator|illustrator|posting date|release date|last updated|most recently updated"
    r"|language|character set encoding|original publication)\s*:",
    re.IGNORECASE,
)
_CREDIT_CHARACTERS = 1500  # a longer paragraph is part of the book
_CREDIT_PARAGRAPHS = 60
_BLANK_LINES = re.compile(r"(?:[ \t\ufeff]*\n)*")
_PARAGRAPH_END = re.compile(r"\n[ \t]*\n|\Z")
# Transcriber's notes after the book: below a line of their own, or in its last paragraph or bracket.
_NOTES = _line(r"[^\w\n]*Transcriber.?s.?[ \t]+Notes?\b(?:[^\w\n]*$|[^\]]*\]\Z|(?:.|\n(?![ \t]*\n))*\Z)")
_NOTES_CHARACTERS = 4000
_BOOK_GOES_ON = _line(r"[^\w\n]*(?:chapter|part|book|volume|act|scene|[ivxlc]+\.?$|the end\b|finis\b)")
_WORLD_LIBRARY = re.compile(r"<<THIS ELECTRONIC VERSION OF.{0,1000}?>>", re.DOTALL)  # in every act of Shakespeare


class GutenbergHeader(NamedTuple):
    """Fields of a book's header; None where absent."""

    number: str | None
    title: str | None
    author: str | None
    language: str | None  # the first one, as ISO 639-1
    date: str | None  # of the release: ISO 8601, to the day or the month
    charset: str | None  # as spelled in the header
    copyrighted: bool


def read_header(text: str) -> GutenbergHeader:
    """Read the header at the top of a book's text, or as much of the text as may hold one."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    head = text[: min(_book_start(text) or _UNMARKED_CHARACTERS, _FIELD_CHARACTERS)]
    named, number = _NAMED.search(head), _NUMBER.search(head)
    title, _, author = named[1].rstrip().rpartition(", by ") if named else ("", "", "")
    language = (_field(head, "language") or "").lower().split(",")[0].strip()
    number_line = head[head.rfind("\n", 0, number.start()) + 1 : number.end()] if number else ""
    return GutenbergHeader(
        number[1].lstrip("0") if number else None,
        _field(head, "title") or title or author or None,
        _field(head, "author") or (author if title else None) or None,
        _CODES.get(language) or (language if re.fullmatch("[a-z]{2}", language) else None),
        _date(_field(head, "release date") or number_line),  # older: `March, 1994  [Etext #11]`
        _field(head, "character set encoding"),
        _COPYRIGHTED.search(head) is not None,
    )


def _field(head: str, name: str) -> str | None:
    """Return the value of `Name: value`, with the indented lines that continue it."""
    match = re.search(rf"^{name}:[ \t]*(\S.*(?:\n[ \t]+\S.*)*)", head, re.IGNORECASE | re.MULTILINE)
    return " ".join(match[1].split())[:500] if match else None


def _date(value: str) -> str | None:
    if match := _DATE.search(value):
        day = f"-{int(match[2]):02d}" if match[2] else ""
        return f"{match[3]}-{_MONTHS.index(match[1].lower()) + 1:02d}{day}"
    iso = _ISO_DATE.search(value)
    return iso[0] if iso else None


def book_text(text: str) -> str:
    """Return the book alone, with line feeds as line ends."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    start = _book_start(text)
    book = _WORLD_LIBRARY.sub("", text[start : _book_end(text, start)])
    # Credits follow the header; without a header they stand at the top if anything there speaks of Gutenberg.
    if start or _ABOUT_GUTENBERG.search(book[:1000]):
        book = _without_credits(book, unmarked=not start)
    book = book.rstrip()
    notes = _NOTES.search(book, max(len(book) // 2, len(book) - _NOTES_CHARACTERS))
    if notes and not _BOOK_GOES_ON.search(book, notes.end()):
        book = book[: notes.start()]
    return _without_blank_start(book).rstrip()


def _book_start(text: str) -> int:
    """Return the offset after the last marker of a header; 0 if there is none."""
    ends = [_marker_end(text, match.start()) for match in _START.finditer(text, 0, _HEAD_CHARACTERS)]
    small_print = _SMALL_PRINT_END.finditer(text, 0, min(_HEAD_CHARACTERS, len(text) - _BOOK_CHARACTERS))
    return max([*ends, *(match.end() for match in small_print)], default=0)


def _marker_end(text: str, start: int) -> int:
    """Return the offset after the asterisks that close a marker within a few lines, else after its first line."""
    lines = text[start : start + 1000].partition("\n\n")[0].split("\n")[:_MARKER_LINES]
    closed = next((number for number, line in enumerate(lines) if line.rstrip().endswith("*")), 0)
    return start + len("\n".join(lines[: closed + 1]))


def _book_end(text: str, start: int) -> int:
    """Return the offset of the license or of the line that announces it; the end of the text if there is neither."""
    hard = _END.search(text, start)
    end = hard.start() if hard else len(text)
    soft = _SOFT_END.search(text, max(start, min(len(text) - _TAIL_CHARACTERS, end - 2000)))
    closing = _SMALL_PRINT_END.search(text, max(start, len(text) - _TAIL_CHARACTERS))
    small_print = _SMALL_PRINT_START.search(text, start) if closing else None  # after the book in some Etexts
    return min([end, *(match.start() for match in (soft, small_print) if match)])


def _without_credits(book: str, *, unmarked: bool) -> str:
    """Remove the paragraphs before the book that are about the file; if `unmarked`, also the fields of its header."""
    head = _without_blank_start(book[:_HEAD_CHARACTERS])
    for _ in range(_CREDIT_PARAGRAPHS):
        match = _PARAGRAPH_END.search(head)
        assert match is not None
        paragraph = head[: match.start()]
        short = len(paragraph) <= _CREDIT_CHARACTERS
        credit = short and (_CREDIT.match(paragraph) or _ABOUT_GUTENBERG.search(paragraph))
        if not paragraph or not (credit or (unmarked and _FIELD.match(paragraph.lstrip("\ufeff")))):
            break
        head = _without_blank_start(head[match.end() :])
    return head + book[_HEAD_CHARACTERS:]


def _without_blank_start(text: str) -> str:
    match = _BLANK_LINES.match(text)
    return text[match.end() if match else 0 :]

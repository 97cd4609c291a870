"""Books of Project Gutenberg without its header, its license and its credits.

The forms are those that thirty years of plain text have taken: `*** START OF` and `*** END OF` lines since 2001, the
"small print" of Etexts before, and lines such as "End of Project Gutenberg's …". Where no marker is found, only the
paragraphs at the top that speak of Project Gutenberg go: no book is lost for a marker.
"""

import re

_PG = r"Proje[ck]t Gutenberg"


def _line(pattern: str) -> re.Pattern[str]:
    """What begins a line; in such patterns two runs that may hold the same never meet, or hostile lines take ages."""
    return re.compile(rf"^{pattern}", re.IGNORECASE | re.MULTILINE)


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
_LEFT_CHARACTERS = 300  # behind the small print where that stands last
_MARKER_LINES = 4  # over which a long title may draw a marker

_CREDIT = re.compile(
    r"\W*(?:(?:this )?(?:e-?text|e-?book|file|html version|transcription|electronic text)\b.{0,60}"
    r"\b(?:prepared|produced|created|transcribed|scanned|typed|proofed|converted)\b"
    r"|(?:produced|prepared|transcribed|scanned|typed|proofread|proofed|digitized|etext)\b.{0,20} (?:by|from)\b"
    r"|credits?:|transcriber.?s.? notes?\b|(?:additional|many) .{0,40}(?:editions?|proofing) by\b"
    r"|images of the original pages are available)",
    re.IGNORECASE | re.DOTALL,
)
_OURS = re.compile(rf"{_PG}|\bgutenberg\.(?:org|net)\b|\be-?(?:text|book)\b", re.IGNORECASE)
_FIELD = re.compile(
    r"(?:title|author|editor|translator|illustrator|posting date|release date|last updated|most recently updated"
    r"|language|character set encoding|original publication)\s*:",
    re.IGNORECASE,
)
_CREDIT_CHARACTERS = 1500  # of one paragraph: a longer one is rather the book's
_CREDIT_PARAGRAPHS = 60
_BLANK_LINES = re.compile(r"(?:[ \t\ufeff]*\n)*")
_PARAGRAPH_END = re.compile(r"\n[ \t]*\n|\Z")
# Notes behind the book: below a line of their own, or its last paragraph or bracket. Those between paragraphs stay.
_NOTES = _line(r"[^\w\n]*Transcriber.?s.?[ \t]+Notes?\b(?:[^\w\n]*$|[^\]]*\]\Z|(?:.|\n(?![ \t]*\n))*\Z)")
_NOTES_CHARACTERS = 4000
_GOES_ON = _line(r"[^\w\n]*(?:chapter|part|book|volume|act|scene|[ivxlc]+\.?$|the end\b|finis\b)")
_WORLD_LIBRARY = re.compile(r"<<THIS ELECTRONIC VERSION OF.{0,1000}?>>", re.DOTALL)  # said in every act of Shakespeare


def book_text(text: str) -> str:
    """The book alone, its lines ended by line feeds."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    start = book_start(text)
    book = _WORLD_LIBRARY.sub("", text[start : _book_end(text, start)])
    if start or _OURS.search(book[:1000]):
        book = _without_credits(book, unmarked=not start)
    book = book.rstrip()
    notes = _NOTES.search(book, max(len(book) // 2, len(book) - _NOTES_CHARACTERS))
    if notes and not _GOES_ON.search(book, notes.end()):
        book = book[: notes.start()]
    return _begun(book).rstrip()


def book_start(text: str) -> int:
    """Behind the last marker of a header; 0 if there is none."""
    ends = [_marker_end(text, match.start()) for match in _START.finditer(text, 0, _HEAD_CHARACTERS)]
    small = _SMALL_PRINT_END.finditer(text, 0, min(_HEAD_CHARACTERS, len(text) - _LEFT_CHARACTERS))
    return max([*ends, *(match.end() for match in small)], default=0)


def _marker_end(text: str, start: int) -> int:
    """Behind the asterisks that close the marker, on this line or soon; else behind the line."""
    lines = text[start : start + 1000].partition("\n\n")[0].split("\n")[:_MARKER_LINES]
    closed = next((number for number, line in enumerate(lines) if line.rstrip().endswith("*")), 0)
    return start + len("\n".join(lines[: closed + 1]))


def _book_end(text: str, start: int) -> int:
    """Where the license, or what announces it, begins; the text's end if nothing does."""
    hard = _END.search(text, start)
    end = hard.start() if hard else len(text)
    soft = _SOFT_END.search(text, max(start, min(len(text) - _TAIL_CHARACTERS, end - 2000)))
    closing = _SMALL_PRINT_END.search(text, max(start, len(text) - _TAIL_CHARACTERS))
    small = _SMALL_PRINT_START.search(text, start) if closing else None  # some Etexts have it behind the book
    return min([end, *(match.start() for match in (soft, small) if match)])


def _without_credits(book: str, *, unmarked: bool) -> str:
    """Less what is said before the book of the making of the file; `unmarked`: and the fields of its header."""
    head = _begun(book[:_HEAD_CHARACTERS])
    for _ in range(_CREDIT_PARAGRAPHS):
        match = _PARAGRAPH_END.search(head)
        assert match is not None
        paragraph = head[: match.start()]
        ours = len(paragraph) <= _CREDIT_CHARACTERS and (_CREDIT.match(paragraph) or _OURS.search(paragraph))
        if not paragraph or not (ours or (unmarked and _FIELD.match(paragraph.lstrip("\ufeff")))):
            break
        head = _begun(head[match.end() :])
    return head + book[_HEAD_CHARACTERS:]


def _begun(text: str) -> str:
    """From its first line that is not blank."""
    match = _BLANK_LINES.match(text)
    return text[match.end() if match else 0 :]

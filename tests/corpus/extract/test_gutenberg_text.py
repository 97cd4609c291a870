"""Books without header, license and credits, in every form that these have taken; fields of headers."""

import pytest

from corpus.extract.gutenberg_text import GutenbergHeader, book_text, read_header

BOOK = """THE MILL

by A. Miller


CHAPTER I

    The mill stands by the river.
It has the water to thank.

It grinds.

Whoever comes with a sack of grain goes home with a sack of flour, and the miller keeps a tenth.
He keeps it for the stones, which must be dressed; for the wheel, which must be mended; and for
himself, who must eat. Nobody in the valley has ever found that to be too much.

THE END"""
HEAD = """The Project Gutenberg EBook of The Mill, by A. Miller

This eBook is for the use of anyone.

Title: The Mill

"""
LICENSE = """

Updated editions will replace the previous one.

*** START: FULL LICENSE ***

THE FULL PROJECT GUTENBERG LICENSE
"""
SMALL = (
    "***START**THE SMALL PRINT!**FOR PUBLIC DOMAIN ETEXTS**START***\nWhy is this here? You know: lawyers.\n\n"
    "This PROJECT GUTENBERG-tm etext is a work.\n"
)
SMALL_END = "*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*\n"
STARTS = [
    "*** START OF THE PROJECT GUTENBERG EBOOK THE MILL ***",
    "*** START OF THIS PROJECT GUTENBERG EBOOK THE MILL ***",
    "***START OF THE PROJECT GUTENBERG EBOOK THE MILL***",
    "*** START OF THE COPYRIGHTED PROJECT GUTENBERG EBOOK THE MILL ***",
    "*** START OF THE PROJECT GUTENBERG EBOOK THE MILL; OR, A YEAR BY THE RIVER WITH ALL\nTHAT IT BRINGS, AND MORE ***",
    "*** START OF THE PROJECT GUTENBERG EBOOK THE MILL",
    SMALL + SMALL_END,
    SMALL + "*END THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*",
    SMALL + '["Small Print" V.12.08.93]',
    SMALL + SMALL_END + "\n*** START OF THE PROJECT GUTENBERG EBOOK THE MILL ***",
]
CREDITS = [
    "",
    "Produced by Anonymous Volunteers",
    "E-text prepared by Jane Doe and the\nOnline Distributed Proofreading Team\n(https://www.pgdp.net)",
    "This etext was prepared by Jane Doe, Springfield.",
    "Transcribed from the 1890 Mill & Co edition by Jane Doe, email jane@example.org",
    "Credits: Jane Doe\n\nNote: Project Gutenberg also has an HTML version of this file.",
    "Transcriber's Note:\nSpelling was kept.",
    "[Transcriber’s Notes: Italics are _so_.]\n\nProduced by Jane Doe",
]
ENDS = [
    "*** END OF THE PROJECT GUTENBERG EBOOK THE MILL ***",
    "*** END OF THIS PROJECT GUTENBERG EBOOK THE MILL ***",
    "***END OF THE PROJECT GUTENBERG EBOOK THE MILL***",
    "End of Project Gutenberg's The Mill, by A. Miller\n\n*** END OF THIS PROJECT GUTENBERG EBOOK THE MILL ***",
    "End of the Project Gutenberg EBook of The Mill, by A. Miller",
    "End of The Project Gutenberg Etext of The Mill",
    "Ende dieses Projekt Gutenberg Etextes Die Mühle",
    "Fin de Project Gutenberg Etext, Le Moulin",
    SMALL + SMALL_END,
    "Transcriber's Notes\n\nPage 7: mil changed to mill.\n\n\n*** END OF THE PROJECT GUTENBERG EBOOK THE MILL ***",
]


@pytest.mark.parametrize("credit", CREDITS)
@pytest.mark.parametrize("start", STARTS)
def test_headers_and_credits_are_removed(start: str, credit: str) -> None:
    assert book_text(f"\ufeff{HEAD}{start}\n\n\n{credit}\n\n\n{BOOK}\n\n\n{ENDS[3]}{LICENSE}") == BOOK


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("start", STARTS)
def test_footers_are_removed(start: str, end: str) -> None:
    long = BOOK.replace("It grinds.", "It grinds, and grinds.\n" * 4000)
    for book in (BOOK, long):
        behind = "" if end.endswith(SMALL_END) else LICENSE
        assert book_text(f"{HEAD}{start}\n\n{book}\n\n\n{end}{behind}".replace("\n", "\r\n")) == book


def test_missing_or_late_marker_loses_no_text() -> None:
    long = BOOK.replace("It grinds.", "It grinds, and grinds.\n" * 8000)
    assert book_text(f"{HEAD}{STARTS[0]}\n\n{long}") == long  # no end
    assert book_text(f"{HEAD}\nRelease Date: May 1, 2001\n\nProduced by Jane\n\n{long}\n\n{ENDS[0]}{LICENSE}") == long
    assert book_text(long) == long and book_text(BOOK) == BOOK  # no frame at all
    assert book_text(f"{HEAD}{SMALL}\n{BOOK}").endswith(BOOK)  # its end is missing
    quoted = long.replace("CHAPTER I", "End of Project Gutenberg, he said", 1)
    assert book_text(f"{HEAD}{STARTS[0]}\n\n{quoted}\n\n{ENDS[0]}{LICENSE}") == quoted
    late = f"{long}\n\n{STARTS[0]}\n\n{BOOK}"
    assert book_text(late) == late


def test_sentences_of_a_book_about_production_stay() -> None:
    said = (
        "PREFACE\n\nProduced by great labour, this mill was built.\n\nTranscriber's notes were many.\n\n"
        + "It ground.\n\n" * 900
    )
    assert book_text(f"{HEAD}{STARTS[0]}\n\n{said}\n\n{ENDS[0]}") == said.strip()
    first = "Produced by the river, the flour " + "is white, and the flour " * 90
    assert book_text(f"{HEAD}{STARTS[0]}\n\n{first}\n\nTHE END") == f"{first}\n\nTHE END"


def test_note_between_paragraphs_does_not_end_the_book() -> None:
    inline = "[Transcriber's Note: the original reads 'teh'.]"
    rest = "It ground on.\n\nCHAPTER XX\n\nAnd on."
    for note in (inline, "Transcriber's Note: 'teh' is so.", "TRANSCRIBER'S NOTE\n\nHere a page is lost."):
        book = f"{BOOK}\n\n{note}\n\n{rest}"
        assert book_text(f"{HEAD}{STARTS[0]}\n\n{book}\n\n{ENDS[0]}") == book
    for note in ("Transcriber's Note: 'teh' is\nso.", "Transcriber's Notes:\n\nPage 7: so.\n\nPage 9: so.",
                 "[Transcriber's Note: teh.\n\nAnd more.]"):  # fmt: skip
        body = f"{BOOK[:-9]}\n\n{inline}\n\nIt ground on."
        assert book_text(f"{HEAD}{STARTS[0]}\n\n{body}\n\n\n{note}\n\n{ENDS[0]}") == body


def test_world_library_notice_within_shakespeare_is_removed() -> None:
    notice = "<<THIS ELECTRONIC VERSION OF THE COMPLETE WORKS OF WILLIAM\nSHAKESPEARE IS COPYRIGHT 1990-1993>>\n\n"
    assert book_text(f"{STARTS[0]}\n\nACT I\n\n{notice}ACT II") == "ACT I\n\n\n\nACT II"


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (
            "The Project Gutenberg eBook of The Mill\n\nTitle: The Mill\n    A Year by the River\n\n"
            "Author: A. Miller\n\nRelease date: June 27, 2008 [eBook #11]\n"
            "                Most recently updated: October 6, 2016\n\n"
            "Language: German\n\nCredits: Jane Doe\n\nCharacter set encoding: ISO-8859-1\n\n",
            GutenbergHeader("11", "The Mill A Year by the River", "A. Miller", "de", "2008-06-27", "ISO-8859-1", False),
        ),
        (
            "***This is the Project Gutenberg Etext of The Mill***\n\nMarch, 1994  [Etext #007]\n",
            GutenbergHeader("7", "The Mill", None, None, "1994-03", None, False),
        ),
        (
            "Project Gutenberg’s The Mill, by A. Miller\n\n"
            "** This is a COPYRIGHTED Project Gutenberg eBook, Details Below **\n\n"
            "Posting Date: May 1, 2009 [EBook #70000]\nRelease Date: 2001-12\nLanguage: Klingon, English\n",
            GutenbergHeader("70000", "The Mill", "A. Miller", None, "2001-12", None, True),
        ),
        ("Just a text.", GutenbergHeader(None, None, None, None, None, None, False)),
    ],
)
def test_header_fields(head: str, expected: GutenbergHeader) -> None:
    for book in ("", f"\n{STARTS[0]}\n\nTitle: of another\n\nLanguage: French\n"):
        for line_end in ("\n", "\r\n"):
            assert read_header((head + book).replace("\n", line_end)) == expected


@pytest.mark.parametrize(
    "hostile",
    [
        *(run * 700_000 for run in (" ", "\n", "*", "* \n", " \n\t", "\f\v", "Title:\n ", "Produced by\n\n")),
        *(
            run * 50_000
            for run in ("Project Gutenberg ", "*** START OF THE PROJECT GUTENBERG\n", "Transcriber's Note ")
        ),
        "<<THIS ELECTRONIC VERSION OF" * 5_000,
    ],
)
def test_hostile_text_does_not_backtrack(hostile: str) -> None:
    """A pattern that backtracks would take days."""
    assert len(book_text(hostile + "x")) <= len(hostile) + 1
    assert read_header(hostile + "x").number is None

"""Books of Project Gutenberg from real files: complete, and without header and license text."""

import zipfile
from pathlib import Path

import pytest

from corpus.document import Failed, Record, Skipped, Span
from corpus.sources.gutenberg import READER, GutenbergSettings
from tests.corpus.formats.tiles import outcomes, read_cut, read_whole, records

PLAIN = {"name": "books", "reader": "gutenberg", "paths": ("x",), "share": 1.0, "license": "public-domain"}
SETTINGS = GutenbergSettings.model_validate(PLAIN)
HEADER = "Title: The Mill\n\nRelease Date: May 1, 2001 [EBook #7]\n\nLanguage: French\n\n{0}"
HEADER += "*** START OF THE PROJECT GUTENBERG EBOOK ***\n\n"


def only(path: Path, content: bytes, settings: GutenbergSettings = SETTINGS) -> Span:
    path.write_bytes(content)
    [found] = read_whole(READER, path, settings)
    return found


@pytest.mark.parametrize(
    ("name", "begins", "ends", "date", "language"),
    [
        ("11-0.txt", "GUTENBERG EBOOK ALICE’S ADVENTURES IN WONDERLAND ***", "End of Project", "1994-03", "en"),
        ("1342-0.txt", "Produced by Anonymous Volunteers", "End of the Project Gutenberg EBook", "1998-06", "en"),
        ("old/alice30.txt", "ETEXTS*Ver.04.29.93*END*", "\x1a", "1994-03", None),
    ],
)  # fmt: skip
def test_a_real_book_is_complete_and_without_its_frame(
    data: Path, name: str, begins: str, ends: str, date: str, language: str | None
) -> None:
    path = data / "gutenberg" / name
    [found] = records(read_whole(READER, path, SETTINGS))
    number = "1342" if "1342" in name else "11"
    assert found.identity == f"ebook {number}" and found.url == f"https://www.gutenberg.org/ebooks/{number}"
    assert (found.date, found.language, found.license) == (date, language, None)
    book = READER.document(found, SETTINGS).text
    raw = path.read_text("utf-8-sig")
    by_hand = raw[raw.index(begins) + len(begins) : raw.find(ends) if ends in raw else None]
    assert isinstance(book, str) and book == by_hand.strip("\n").rstrip()
    assert "Gutenberg" not in book and "etext" not in book.lower().split() and len(book) > 140_000


def test_files_that_are_no_books_are_skipped(data: Path, tmp_path: Path) -> None:
    path = data / "gutenberg" / "pg11.rdf"
    assert read_whole(READER, path, SETTINGS) == [Skipped(0, path.stat().st_size, "not_text")]
    small = SETTINGS.model_copy(update={"max_record_bytes": 9})
    assert only(tmp_path / "a.txt", b"") == Skipped(0, 0, "empty")
    assert only(tmp_path / "a.txt", b" \r\n") == Skipped(0, 3, "empty")
    assert only(tmp_path / "a.txt", b"a\0b") == Skipped(0, 3, "binary")
    assert only(tmp_path / "a.txt", b"0123456789", small) == Skipped(0, 10, "too_large")
    assert only(tmp_path / "a.txt", b"\xff\xfea") == Failed(0, 3, "bad_encoding")
    assert only(tmp_path / "a.txt", b"\xef\xbb\xbf<!DOCTYPE html>") == Skipped(0, 18, "not_text")


@pytest.mark.parametrize(
    ("encoding", "claimed"),
    [("utf-8", "ASCII"), ("utf-8-sig", ""), ("utf-16", ""), ("latin-1", "ISO Latin-1"), ("latin-1", ""),
     ("cp1252", "zip"), ("cp1251", "Windows-1251"), ("cp850", "CP850")],
)  # fmt: skip
def test_the_bytes_decide_the_encoding_before_the_header(tmp_path: Path, encoding: str, claimed: str) -> None:
    book = "Le café est là" if encoding != "cp1251" else "Мельница"
    claim = f"Character set encoding: {claimed}\n\n" if claimed else ""
    found = only(tmp_path / "a.txt", (HEADER.format(claim) + book).encode(encoding))
    assert isinstance(found, Record) and READER.document(found, SETTINGS).text == book
    assert (found.identity, found.date, found.language) == ("ebook 7", "2001-05-01", "fr")


def test_identity_without_a_number(tmp_path: Path) -> None:
    said = [
        only(tmp_path / "mill.txt", text)
        for text in (
            b"Title: The Mill\n\nAuthor: A. Miller\n",
            b"The Project Gutenberg Etext of The Mill, by A. Miller\n",
            b"x",
        )
    ]
    assert [each.identity for each in records(said)] == ["The Mill by A. Miller"] * 2 + ["mill.txt"]


def test_a_copyrighted_book_is_not_under_the_sources_license(tmp_path: Path) -> None:
    claim = "This is a *COPYRIGHTED* Project Gutenberg eBook, Details Below\n\n"
    [found] = records([only(tmp_path / "a.txt", HEADER.format(claim).encode())])
    assert found.license == "other"


def test_zips_are_read_member_by_member(tmp_path: Path) -> None:
    path = tmp_path / "7-0.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("7-0.txt", HEADER.format("") + "Le moulin")
        archive.writestr("cover.jpg", "\0")
        archive.writestr("../8-0.txt", "bad")
        archive.writestr("bomb.txt", " " * 40_000_000)
    found = read_whole(READER, path, SETTINGS)
    assert outcomes(found) == {"record": 1, "not_text": 1, "unsafe_name": 1, "too_large": 1}
    assert READER.document(records(found)[0], SETTINGS).text == "Le moulin"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert outcomes(read_whole(READER, path, SETTINGS)) == {"truncated": 1}


def test_a_book_is_never_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a book")
    assert READER.cuts(path, [0, 1, 6], SETTINGS) == [0, 6, 6]
    assert read_cut(READER, path, [3], SETTINGS) == read_whole(READER, path, SETTINGS)


def test_books_in_the_rows_of_a_data_set_are_those_of_its_files(data: Path, tmp_path: Path) -> None:
    """Fails if a row keeps its header, or a cut loses a row."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = ["11-0.txt", "1342-0.txt", "old/alice30.txt"]
    raw = [(data / "gutenberg" / name).read_text("utf-8-sig") for name in names]
    path = tmp_path / "en-00000-of-00001.parquet"
    pq.write_table(pa.table({"id": ["11-0", "1342-0", "none", None], "text": [*raw, None]}), path, row_group_size=1)
    found = read_whole(READER, path, SETTINGS)
    assert outcomes(found) == {"record": 3, "no_text": 1}
    assert read_cut(READER, path, [1, path.stat().st_size // 2], SETTINGS) == found
    for row, name in zip(records(found), names, strict=True):
        [alone] = records(read_whole(READER, data / "gutenberg" / name, SETTINGS))
        assert (row.identity, READER.document(row, SETTINGS).text) == (
            alone.identity,
            READER.document(alone, SETTINGS).text,
        )

"""Files of packages as documents."""

from pathlib import Path

import pytest

from corpus.document import Failed, Record, Skipped, Span
from corpus.sources.pypi import READER, PypiSettings
from tests.corpus.formats.tiles import read_whole

PLAIN = {"name": "docs", "reader": "pypi", "paths": ("pypi:a==1/*",), "share": 1.0, "license": "mit"}
TEXT = PypiSettings.model_validate({**PLAIN, "max_record_bytes": 1000})
HTML = PypiSettings.model_validate({**PLAIN, "format": "html"})


def only(path: Path, content: bytes, settings: PypiSettings = TEXT) -> Span:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    [found] = read_whole(READER, path, settings)
    return found


def test_the_identity_of_a_file_is_its_package_and_path(tmp_path: Path) -> None:
    folders = [tmp_path / "here" / "some-pkg==1.0" / "docs", tmp_path / "there" / "x==2" / "some-pkg==1.0" / "docs"]
    for folder in folders:
        found = only(folder / "a.txt", "mill жито\n".encode())
        assert found == Record(0, 14, "some-pkg 1.0 docs/a.txt", "mill жито\n".encode())
        assert READER.document(found, TEXT).text == "mill жито\n"
    elsewhere = [only(tmp_path / folder / "a.txt", b"x") for folder in ("one", "two")]
    assert elsewhere[0] == elsewhere[1] == Record(0, 1, "a.txt", b"x")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", Skipped(0, 0, "empty")),
        (b" \n\t", Skipped(0, 3, "empty")),
        (b"\xef\xbb\xbf\n", Skipped(0, 4, "empty")),
        (b"a\0b", Skipped(0, 3, "binary")),
        (b"a" * 1001, Skipped(0, 1001, "too_large")),
        (b"caf\xe9", Failed(0, 4, "not_utf8")),
        (b"\xff\xfea\0b", Failed(0, 5, "not_utf8")),
    ],
)
def test_files_that_are_no_text_are_skipped(tmp_path: Path, content: bytes, expected: Span) -> None:
    assert only(tmp_path / "a.txt", content) == expected


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks_decide_the_encoding_and_are_dropped(tmp_path: Path, encoding: str) -> None:
    found = only(tmp_path / "a.txt", "жито".encode(encoding))
    assert isinstance(found, Record) and READER.document(found, TEXT).text == "жито"


def test_html_may_name_its_own_encoding(tmp_path: Path) -> None:
    found = only(tmp_path / "a.html", '<meta charset="latin-1"><p>café'.encode("latin-1"), HTML)
    assert isinstance(found, Record) and found.charset is None
    assert only(tmp_path / "b.html", b"<p>\0", HTML) == Skipped(0, 4, "binary")


def test_html_becomes_text(tmp_path: Path) -> None:
    pytest.importorskip("corpus.extract.html")
    page = "<html><head><title>t</title></head><body><main><p>" + "The mill grinds. " * 30 + "</p></main></body></html>"
    found = only(tmp_path / "a.html", page.encode(), HTML)
    assert isinstance(found, Record)
    shown = READER.document(found, HTML).text
    assert "The mill grinds." in shown and "<p>" not in shown


def test_a_file_is_never_cut(tmp_path: Path) -> None:
    only(tmp_path / "a.txt", b"one\ntwo\n")
    assert READER.cuts(tmp_path / "a.txt", [0, 1, 4, 8], TEXT) == [0, 8, 8, 8]
    assert list(READER.read(tmp_path / "a.txt", 8, 8, TEXT)) == []

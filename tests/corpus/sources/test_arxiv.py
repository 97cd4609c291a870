"""arXiv's sources: bulk tars and single submissions, each paper a document."""

import gzip
import io
import tarfile
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.document import Document, Failed, Record, Skipped, UnreadableError
from corpus.sources.arxiv import READER
from tests.corpus.formats.tiles import outcomes, read_cut, read_whole, records
from tests.corpus.sources.submissions import (
    BULK,
    S2ORC,
    SETTINGS,
    STACKS,
    bulk,
    info,
    packed,
    paper,
    submitted,
    unpacked,
)


def made(record: Record) -> Document:
    return READER.document(record, SETTINGS)


def text_of(path: Path) -> str:
    [found] = read_whole(READER, path, SETTINGS)
    assert isinstance(found, Record), found
    return made(found).text


def test_bulk_tar_gives_its_papers(data: Path) -> None:
    path = data / BULK
    found = read_whole(READER, path, SETTINGS)
    assert outcomes(found) == {"record": 9, "pdf_only": 1, "padding": 1}
    papers = records(found)
    assert [each.identity for each in papers] == [S2ORC, *STACKS]
    assert papers[0].url == "https://arxiv.org/abs/1911.02782"
    with tarfile.open(path) as outer:  # another reader's word for where they begin, and what they hold
        members = outer.getmembers()
        assert [each.start for each in found[:-1]] == [member.offset for member in members]
        for each, member in zip(papers, members, strict=False):
            expected = outer.extractfile(member)
            assert expected is not None and each.content == expected.read()


@pytest.mark.parametrize("parts", [2, 3, 7, 40, 1000])
def test_any_cuts_give_the_same(data: Path, parts: int) -> None:
    path = data / BULK
    wanted = [path.stat().st_size * part // parts for part in range(1, parts)]
    assert read_cut(READER, path, wanted, SETTINGS) == read_whole(READER, path, SETTINGS)


def test_cuts_are_where_members_begin(data: Path) -> None:
    path = data / BULK
    with tarfile.open(path) as outer:
        first, second, third = [member.offset for member in outer.getmembers()][:3]
    size = path.stat().st_size
    asked = [0, first + 1, second, second + 1, size - 1, size]
    assert READER.cuts(path, asked, SETTINGS) == [0, second, second, third, size, size]


def test_every_paper_becomes_text_and_missing_files_are_counted(data: Path) -> None:
    signals = {each.identity: made(each).signals for each in records(read_whole(READER, data / BULK, SETTINGS))}
    assert signals.pop(S2ORC) == {"missing_inputs": 0}
    assert set(signals) == set(STACKS)  # a book's chapters, sent without its `preamble` and its list of `chapters`
    assert all(each == {"missing_inputs": 2} for each in signals.values())


def test_single_submission_gives_the_same_paper(data: Path, tmp_path: Path) -> None:
    bulk_papers = {each.identity: each for each in records(read_whole(READER, data / BULK, SETTINGS))}
    for identity, name in {S2ORC: "1911.02782v3.tar.gz", STACKS[1]: "1911.90001.gz"}.items():
        path = tmp_path / name
        path.write_bytes(bulk_papers[identity].content)
        [found] = read_whole(READER, path, SETTINGS)
        assert isinstance(found, Record) and found.content == bulk_papers[identity].content
        assert found.identity == name.removesuffix(".tar.gz").removesuffix(".gz")
        single, bulk = made(found), made(bulk_papers[identity])
        assert (single.text, single.signals) == (bulk.text, bulk.signals)
        assert READER.cuts(path, [0, 1, 10**9], SETTINGS) == [0, found.end, found.end]


def test_a_paper_split_in_two_gives_the_same_text(data: Path, tmp_path: Path) -> None:
    files = unpacked(data, S2ORC)
    whole, place = files["main.tex"], files["main.tex"].index(b"\\section{Evaluation}")
    end = files["main.tex"].index(b"\\section{Related work}")
    path = tmp_path / "paper.tar.gz"
    path.write_bytes(submitted(files))
    expected = text_of(path)
    part, called = whole[place:end], b"\\input{parts/evaluation}\n"
    path.write_bytes(submitted({"main.tex": whole[:place] + called + whole[end:], "parts/evaluation.tex": part}))
    assert text_of(path) == expected
    path.write_bytes(submitted({"main.tex": whole[:place] + called + whole[end:]}))
    [found] = records(read_whole(READER, path, SETTINGS))
    without = made(found)
    assert without.signals == {"missing_inputs": 1}
    assert "sample 500 paper clusters" in expected and "sample 500 paper clusters" not in without.text
    assert without.text.endswith(expected[-2000:])


@pytest.mark.parametrize(
    ("name", "identity", "url"),
    [
        ("1911/1911.02782.gz", "1911.02782", "https://arxiv.org/abs/1911.02782"),
        ("0704/0704.0001v2.gz", "0704.0001v2", "https://arxiv.org/abs/0704.0001v2"),
        ("0001/hep-th0001001.gz", "hep-th/0001001", "https://arxiv.org/abs/hep-th/0001001"),
        ("9901/math.AG9901001.gz", "math.AG/9901001", "https://arxiv.org/abs/math.AG/9901001"),
        ("other/my-paper.tar.gz", "my-paper", None),
    ],
)
def test_a_paper_is_known_by_its_arxiv_id(tmp_path: Path, name: str, identity: str, url: str | None) -> None:
    found = read_whole(READER, bulk(tmp_path / "a.tar", {name: gzip.compress(paper("x"))}), SETTINGS)
    assert [(each.identity, each.url) for each in records(found)] == [(identity, url)]


PAPER = gzip.compress(paper("Words."), mtime=0)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (PAPER, "record"),
        (submitted({"a.tex": paper("x")}), "record"),
        (b"", "empty"),
        (gzip.compress(b""), "empty"),
        (gzip.compress(b"%auto-ignore\nThis paper has been withdrawn."), "empty"),
        (gzip.compress(b"% nothing\n  % but comments\n"), "empty"),
        (submitted({}), "empty"),
        (submitted({"fig.eps": b"%!PS"}), "empty"),
        (b"%PDF-1.4", "pdf_only"),
        (gzip.compress(b"%PDF-1.4"), "pdf_only"),
        (submitted({"paper.pdf": b"%PDF-1.4"}), "pdf_only"),
        (b"<html>", "not_tex"),
        (gzip.compress(b"%!PS-Adobe-2.0\n\\def x"), "not_tex"),
        (gzip.compress(b"<html>\\input{x}</html>"), "not_tex"),
        (submitted({"notes.txt": b"just words"}), "not_tex"),
        (PAPER[:-9], "truncated"),
        (PAPER[:12] + b"\xff" * 9 + PAPER[21:], "bad_gzip"),
        (PAPER[:-8] + b"\0" * 8, "bad_gzip"),
        (gzip.compress(gzip.decompress(submitted({"a.tex": paper("x" * 999)}))[:700]), "truncated"),
    ],
)
def test_files_that_are_no_papers_are_skipped(tmp_path: Path, content: bytes, expected: str) -> None:
    members = {"1911/1911.00001.gz": PAPER, "1911/1911.00002.gz": content, "1911/1911.00003.gz": PAPER}
    found = read_whole(READER, bulk(tmp_path / "a.tar", members), SETTINGS)
    assert outcomes(found) == Counter(["record", expected, "record", "padding"])
    assert isinstance(found[1], Failed) == (expected in ("truncated", "bad_gzip"))


def test_papers_over_the_limit_are_skipped(tmp_path: Path) -> None:
    small = SETTINGS.model_copy(update={"max_record_bytes": len(PAPER)})
    path = bulk(tmp_path / "a.tar", {"1911/1911.00001.gz": PAPER, "1911/1911.00002.gz": PAPER + b"\0"})
    assert outcomes(read_whole(READER, path, small)) == {"record": 1, "too_large": 1, "padding": 1}
    single = tmp_path / "1911.00002.gz"
    single.write_bytes(PAPER + b"\0")
    assert read_whole(READER, single, small) == [Skipped(0, len(PAPER) + 1, "too_large")]


def test_a_file_that_is_no_archive_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    for content, expected in ((b"", Skipped(0, 0, "empty")), (b"words" * 200, Failed(0, 1000, "not_an_archive"))):
        path.write_bytes(content)
        assert read_whole(READER, path, SETTINGS) == [expected]


def test_an_unreadable_paper_raises_its_reason() -> None:
    for content, reason in ((PAPER[:-9], "truncated"), (gzip.compress(b"words"), "not_tex")):
        with pytest.raises(UnreadableError, match=reason):
            READER.document(Record(0, 1, "1911.00001", content), SETTINGS)


TAR = packed((info(f"1911/1911.0000{n}.gz"), PAPER * (n % 3 + 1)) for n in range(6))
with tarfile.open(fileobj=io.BytesIO(TAR)) as _opened:
    MEMBERS = _opened.getmembers()


@pytest.mark.parametrize("length", [1, 511, 512, 513, 600, 1024, 1536, 2047, 4000, len(TAR) - 1, len(TAR)])
def test_spans_cover_half_a_tar(tmp_path: Path, length: int) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(TAR[:length])
    whole = read_whole(READER, path, SETTINGS)
    assert read_cut(READER, path, range(0, length, 300), SETTINGS) == whole
    ends = [member.offset_data + -(-member.size // 512) * 512 for member in MEMBERS]
    assert len(records(whole)) == sum(end <= length for end in ends)


def test_reading_resumes_after_a_damaged_header(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    place = MEMBERS[2].offset
    path.write_bytes(TAR[:place] + b"?" + TAR[place + 1 :])
    found = read_whole(READER, path, SETTINGS)
    assert outcomes(found) == {"record": 5, "bad_header": 1, "padding": 1}
    assert found[2] == Failed(place, found[3].start, "bad_header")
    assert read_cut(READER, path, range(0, len(TAR), 200), SETTINGS) == found


@given(st.lists(st.tuples(st.integers(0, len(TAR) - 1), st.integers(0, 255)), max_size=8), st.integers(1, len(TAR)))
def test_spans_cover_every_byte_of_damaged_files(changes: list[tuple[int, int]], length: int) -> None:
    damaged = bytearray(TAR)
    for place, byte in changes:
        damaged[place] = byte
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.tar"
        path.write_bytes(damaged[:length])
        whole = read_whole(READER, path, SETTINGS)
        assert read_cut(READER, path, range(0, len(TAR), 700), SETTINGS) == whole
        for each in records(whole):
            made(each)

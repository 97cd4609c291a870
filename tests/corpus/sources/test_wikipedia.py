"""Dumps as published, cut anywhere, damaged, and hostile."""

import bz2
import random
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.document import Failed, Skipped
from corpus.sources.wikipedia import READER, WikipediaSettings
from tests.corpus.formats.tiles import outcomes, read_cut, read_whole, records

SETTINGS = WikipediaSettings(name="wiki", reader="wikipedia", paths=("x",), share=1.0, license="cc-by-sa-4.0")
HEAD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" xml:lang="en">
  <siteinfo><sitename>Wikipedia</sitename><dbname>testwiki</dbname>
  <base>https://test.wikipedia.org/wiki/Main_Page</base></siteinfo>
"""
TAIL = "</mediawiki>\n"
MAGIC = b"BZh91AY&SY"


def page(number: int, text: str, *, namespace: int = 0, extra: str = "", model: str = "wikitext") -> str:
    return (
        f"  <page>\n    <title>Page &amp; {number}</title>\n    <ns>{namespace}</ns>\n    <id>{number}</id>{extra}\n"
        f"    <revision><id>{number + 1000}</id><timestamp>2024-01-02T03:04:05Z</timestamp>"
        f"<contributor><id>7</id></contributor><model>{model}</model><format>text/x-wiki</format>"
        f'<text bytes="1" xml:space="preserve">{escape(text)}</text></revision>\n  </page>\n'
    )


def dump(count: int = 12) -> list[str]:
    draw = random.Random(7)
    words = ["mill", "flour", "[[wheel]]", "{{stone}}", "<ref>grain</ref>", "жито", "&nbsp;"]
    pages = [page(number, " ".join(draw.choices(words, k=draw.randrange(1, 400)))) for number in range(count)]
    pages[3] = page(3, "#REDIRECT [[x]]", extra='\n    <redirect title="x" />')
    pages[5] = page(5, "talk", namespace=1)
    return pages


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def in_streams(content: bytes, places: list[int]) -> bytes:
    """Compress each part between the places as its own bzip2 stream, as pbzip2 does."""
    ends = [*sorted(places), len(content)]
    return b"".join(bz2.compress(content[one:other], 1) for one, other in zip([0, *ends], ends, strict=False))


def magics(content: bytes) -> list[int]:
    return [match.start() for match in re.finditer(rb"BZh[1-9]1AY&SY", content)]


@pytest.mark.parametrize(
    ("name", "encoding", "expected"),
    [
        ("enwiki-latest-pages-articles1*.bz2", "utf-8", {"record": 106, "redirect": 100}),
        ("enwiki-table-markup*", "utf-8", {"record": 5}),
        ("bgwiki-*", "utf-16", {"record": 1, "other_namespace": 2}),
        ("enwiktionary-*", "utf-8", {"record": 1331, "redirect": 15, "other_namespace": 43}),
    ],
)
def test_real_dumps_match_an_xml_parser(data: Path, name: str, encoding: str, expected: dict[str, int]) -> None:
    [path] = (data / "wikipedia").glob(name)
    found = read_whole(READER, path, SETTINGS)
    assert outcomes(found) == expected
    whole = bz2.decompress(path.read_bytes()).decode(encoding)
    texts = [
        (each.findtext("./{*}title"), each.findtext("./{*}revision/{*}id"), each.findtext("./{*}revision/{*}text"))
        for each in ElementTree.fromstring(whole[: whole.rindex("</page>") + 7] + "</mediawiki>").iterfind("./{*}page")
        if each.findtext("./{*}ns") == "0" and each.find("./{*}redirect") is None
    ]
    assert [(each.identity.split()[-1], each.content.decode()) for each in records(found)] == [t[1:] for t in texts]


def test_metadata_of_a_page(data: Path) -> None:
    [path] = (data / "wikipedia").glob("enwiki-latest*")
    first = records(read_whole(READER, path, SETTINGS))[0]
    assert first.identity == "enwiki 12 716551092"
    assert first.url == "https://en.wikipedia.org/wiki/Anarchism"
    assert first.date == "2016-04-22T10:19:33Z"
    assert READER.document(first, SETTINGS).text.startswith("Anarchism is a political philosophy that advocates")
    [path] = (data / "wikipedia").glob("bgwiki*")
    [only] = records(read_whole(READER, path, SETTINGS))
    assert only.identity == "bgwiki 558 7862180"
    assert "Григорианският календар" in READER.document(only, SETTINGS).text


@pytest.mark.parametrize("kind", ["plain", "bz2"])
def test_each_outcome_has_its_reason(tmp_path: Path, kind: str) -> None:
    pages = [
        page(0, "text"),
        page(1, "x", extra='<redirect title="y" />'),
        page(2, "x", namespace=4),
        page(3, "{}", model="json"),
        page(4, " \n"),
        page(5, "y").replace("</revision>", ""),
        page(6, "&bomb;").replace("&amp;bomb;", "&bomb;"),
        page(7, "z").replace("  </page>\n", ""),
        page(8, "a" * 50_000),
        page(9, "last"),
    ]
    content = (HEAD + "".join(pages) + TAIL).encode()
    path = written(tmp_path / "dump", bz2.compress(content) if kind == "bz2" else content)
    settings = SETTINGS.model_copy(update={"max_record_bytes": 40_000})
    found = read_whole(READER, path, settings)
    assert [each.identity if hasattr(each, "identity") else each.reason for each in found] == [
        "testwiki 0 1000",
        *("redirect", "other_namespace", "not_wikitext", "empty", "bad_xml", "bad_xml", "bad_xml", "too_large"),
        "testwiki 9 1009",
    ]
    assert records(found)[0].url == "https://test.wikipedia.org/wiki/Page_%26_0"
    if kind == "plain":
        starts = [content.index(each.encode()) + 2 for each in pages]
        assert [(each.start, each.end) for each in found] == list(
            zip([0, *starts[1:]], [*starts[1:], len(content)], strict=True)
        )


def test_entities_are_not_expanded(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;"><!ENTITY f SYSTEM "file:///etc/passwd">]>'
    inside = page(1, "x").replace("<page>", f"<page>{bomb}")
    uses = [page(number, "x").replace(">x<", f">{each}<") for number, each in ((2, "&b;"), (3, "&f;"))]
    path = written(tmp_path / "dump", (bomb + HEAD + inside + "".join(uses) + page(4, "good") + TAIL).encode())
    found = read_whole(READER, path, SETTINGS)
    assert outcomes(found) == {"bad_xml": 3, "record": 1}
    assert records(found)[0].content == b"good"
    nested = f"  <page>{'<a>' * 100_000}{'</a>' * 100_000}<ns>0</ns></page>"
    deep = written(tmp_path / "deep", (HEAD + nested + page(4, "good") + TAIL).encode())
    assert outcomes(read_whole(READER, deep, SETTINGS)) == {"bad_xml": 1, "record": 1}


def test_the_last_of_several_revisions_is_used(tmp_path: Path) -> None:
    [revision] = re.findall(r"<revision>.*</revision>", page(1, "new"))
    old = revision.replace("new", "old").replace("1001", "1000")
    path = written(tmp_path / "dump", (HEAD + page(1, "new").replace(revision, old + revision) + TAIL).encode())
    [found] = records(read_whole(READER, path, SETTINGS))
    assert (found.identity, found.content) == ("testwiki 1 1001", b"new")


def test_a_stream_without_pages_is_skipped(tmp_path: Path) -> None:
    pages = dump()
    parts = [HEAD, "".join(pages[:6]), "".join(pages[6:]), TAIL]  # as the multistream dumps are laid out
    streams = [bz2.compress(part.encode()) for part in parts]
    path = written(tmp_path / "dump.bz2", b"".join(streams))
    found = read_whole(READER, path, SETTINGS)
    assert found[0] == Skipped(0, len(streams[0]), "no_page")
    assert found[-1] == Skipped(path.stat().st_size - len(streams[3]), path.stat().st_size, "no_page")
    assert outcomes(found) == {"record": 10, "redirect": 1, "other_namespace": 1, "no_page": 2}
    assert read_cut(READER, path, magics(path.read_bytes()), SETTINGS) == found
    assert read_whole(READER, written(tmp_path / "empty.bz2", b""), SETTINGS) == []
    assert outcomes(read_whole(READER, written(tmp_path / "none", b"<not pages>"), SETTINGS)) == {"no_page": 1}
    broken = b"damaged" + b"".join(streams)  # no container is recognized, so nothing of it is read
    assert outcomes(read_whole(READER, written(tmp_path / "none", broken), SETTINGS)) == {"not_xml": 1}


CONTENT = (HEAD + "".join(dump()) + TAIL).encode()
REFERENCE = [
    (f"testwiki {each.findtext('id')} {each.findtext('revision/id')}", each.findtext("revision/text"))
    for each in ElementTree.fromstring(CONTENT.decode().replace("xmlns=", "ns=")).iterfind("page")
    if each.findtext("ns") == "0" and each.find("redirect") is None
]


@settings(max_examples=60, deadline=None)
@given(
    places=st.lists(st.integers(0, len(CONTENT)), max_size=30),
    near=st.lists(st.tuples(st.integers(0, 11), st.integers(-3, 8)), max_size=8),
    wanted=st.lists(st.floats(0, 1), max_size=6),
)
def test_any_cuts_of_any_streams_give_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    places: list[int],
    near: list[tuple[int, int]],
    wanted: list[float],
) -> None:
    tags = [at for at in range(len(CONTENT)) if CONTENT.startswith(b"<page>", at)]
    content = in_streams(CONTENT, [*places, *(tags[number] + shift for number, shift in near)])
    path = written(tmp_path_factory.mktemp("cut") / "dump.bz2", content)
    found = read_whole(READER, path, SETTINGS)
    assert [(each.identity, each.content.decode()) for each in records(found)] == REFERENCE
    assert read_cut(READER, path, [int(each * len(content)) for each in wanted], SETTINGS) == found
    assert read_cut(READER, path, range(0, len(content), 7), SETTINGS) == found


def test_a_plain_dump_is_cut_at_its_pages(tmp_path: Path) -> None:
    path = written(tmp_path / "dump.xml", CONTENT)
    tags = [at for at in range(len(CONTENT)) if CONTENT.startswith(b"<page>", at)]
    wanted = [0, 1, tags[0], tags[2], tags[2] + 1, tags[-1] + 1, len(CONTENT)]
    assert READER.cuts(path, wanted, SETTINGS) == [0, tags[1], tags[1], tags[2], tags[3], len(CONTENT), len(CONTENT)]
    found = read_whole(READER, path, SETTINGS)
    assert [(each.identity, each.content.decode()) for each in records(found)] == REFERENCE
    for step in (50, 1000, 10**6):
        assert read_cut(READER, path, range(0, len(CONTENT), step), SETTINGS) == found


def test_a_range_end_between_cuts_means_the_next_cut(tmp_path: Path) -> None:
    path = written(tmp_path / "dump.bz2", in_streams(CONTENT, [5000, 9000]))
    places = [*magics(path.read_bytes()), path.stat().st_size]
    assert list(READER.read(path, 0, places[1] - 5, SETTINGS)) == list(READER.read(path, 0, places[1], SETTINGS))
    assert list(READER.read(path, places[1], places[1] + 1, SETTINGS))[-1].end == places[2]


def test_utf_16_is_read_and_not_cut(tmp_path: Path) -> None:
    for encoding in ("utf-16", "utf-16-le"):
        content = CONTENT.decode().encode(encoding)
        for path in (written(tmp_path / "a", content), written(tmp_path / "b", in_streams(content, [101, 5001, 5002]))):
            found = read_whole(READER, path, SETTINGS)
            assert [(each.identity, each.content.decode()) for each in records(found)] == REFERENCE
            assert READER.cuts(path, [0, 1, 5000], SETTINGS) == [0, path.stat().st_size, path.stat().st_size]


def test_pages_of_later_streams_are_read_after_damage(tmp_path: Path) -> None:
    pages = dump()
    good = [bz2.compress((HEAD if not n else "").encode() + "".join(pages[n : n + 3]).encode()) for n in (0, 3, 6, 9)]
    for broken in (good[1][:-30], good[1][:50] + b"?" * 50 + good[1][100:], b"no stream at all" * 10, good[1][:3]):
        path = written(tmp_path / "dump.bz2", good[0] + broken + good[2] + good[3])
        found = read_whole(READER, path, SETTINGS)
        assert [each for each in found if isinstance(each, Failed)] == [
            Failed(len(good[0]), len(good[0]) + len(broken), "bad_bz2")
        ]
        numbers = [int(each.identity.split()[1]) for each in records(found)]
        assert [each for each in numbers if each not in (3, 4, 5)] == [0, 1, 2, 6, 7, 8, 9, 10, 11]
        assert read_cut(READER, path, magics(path.read_bytes()), SETTINGS) == found
    cut = written(tmp_path / "cut.bz2", b"".join(good)[:-10])
    assert outcomes(read_whole(READER, cut, SETTINGS))["truncated"] == 1
    plain = written(tmp_path / "cut", CONTENT[: CONTENT.rindex(b"</page>")])
    found = read_whole(READER, plain, SETTINGS)
    assert found[-1] == Failed(CONTENT.rindex(b"<page>"), len(CONTENT[: CONTENT.rindex(b"</page>")]), "truncated")


def test_a_page_that_runs_into_damage_fails_alone(tmp_path: Path) -> None:
    at = CONTENT.index(b"<page>", 5000) + 40
    one, other = bz2.compress(CONTENT[:at]), bz2.compress(CONTENT[at:])
    path = written(tmp_path / "dump.bz2", one + other[:-20])
    found = read_whole(READER, path, SETTINGS)
    assert found[-1] == Failed(len(one), path.stat().st_size, "truncated")
    assert isinstance(found[-2], Failed) and found[-2].end == len(one)
    assert read_cut(READER, path, [len(one)], SETTINGS) == found


@settings(max_examples=80, deadline=None)
@given(
    at=st.floats(0, 1),
    junk=st.one_of(st.binary(max_size=30), st.sampled_from([MAGIC, b"<page>", b"</page>", b"<page><page>"])),
    overwrite=st.booleans(),
    compressed=st.booleans(),
)
def test_spans_tile_hostile_files(
    tmp_path_factory: pytest.TempPathFactory, at: float, junk: bytes, overwrite: bool, compressed: bool
) -> None:
    whole = in_streams(CONTENT, [3000, 6000, 9001]) if compressed else CONTENT
    place = int(at * len(whole))
    content = whole[:place] + junk + whole[place + (len(junk) if overwrite else 0) :]
    path = written(tmp_path_factory.mktemp("hostile") / "dump", content)
    found = read_whole(READER, path, SETTINGS)
    if place > 4000:  # else the head may be lost, or the stream that holds the most pages
        assert len(records(found)) >= len(REFERENCE) - 5
    read_cut(READER, path, range(0, len(content), 50), SETTINGS)  # each range tiles

"""manifest.json: canonical when written, and checked in full when read."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.errors import InputError
from corpus.store.corpus_manifest import Manifest, canonical, length_quantiles, locate, open_manifest, write_manifest

GOLDEN = Path(__file__).parents[2] / "golden" / "corpus"


@pytest.fixture
def data_() -> dict:
    return json.loads((GOLDEN / "manifest.json").read_bytes())


def refused(folder: Path, data: object) -> str:
    (folder / "manifest.json").write_text(data if isinstance(data, str) else json.dumps(data))
    with pytest.raises(InputError) as caught:
        open_manifest(folder)
    assert str(folder / "manifest.json") in str(caught.value)
    return str(caught.value)


def test_reads_a_folder_or_a_file_and_writes_the_same_bytes(tmp_path: Path) -> None:
    manifest = open_manifest(GOLDEN)
    assert open_manifest(GOLDEN / "manifest.json") == manifest
    assert locate(GOLDEN) == GOLDEN / "manifest.json"
    write_manifest(tmp_path / "manifest.json", manifest)
    assert (tmp_path / "manifest.json").read_bytes() == (GOLDEN / "manifest.json").read_bytes()


def test_is_canonical() -> None:
    raw = canonical(open_manifest(GOLDEN))
    assert raw.decode() == json.dumps(json.loads(raw), sort_keys=True, indent=2, ensure_ascii=False) + "\n"


def test_missing_or_unreadable(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "none" / "manifest.json"):
        with pytest.raises(InputError, match="cannot read a manifest"):
            open_manifest(place)
    with pytest.raises(InputError, match="cannot read a manifest"):
        open_manifest(Path("a\0b"))


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "null", "\0\xff", "[" * 100_000, '{"format_version": 1' + "0" * 9999 + "}"]
)
def test_malformed(tmp_path: Path, text: str) -> None:
    refused(tmp_path, text)


def test_says_every_fault_and_where(tmp_path: Path, data_: dict) -> None:
    data_["seed"], data_["surprise"] = "7", 1
    del data_["tokenizer"]["sha256"]
    message = refused(tmp_path, data_)
    for part in ("seed: ", "surprise: ", "tokenizer.sha256: "):
        assert part in message


def test_a_newer_format_is_refused_by_its_number(tmp_path: Path, data_: dict) -> None:
    data_["format_version"], data_["unheard_of"] = 2, {}
    assert "format_version 2; this release reads up to 1" in refused(tmp_path, data_)


@pytest.mark.parametrize(
    "file",
    [
        "../a.arrow",
        "shards/../../a",
        "/etc/passwd",
        "C:/a",
        "c:a",
        "a\\b",
        "\\\\host\\a",
        "",
        ".",
        "a//b",
        "./a",
        "a\n",
        "a\0b",
    ],
)
def test_paths_stay_inside(tmp_path: Path, data_: dict, file: str) -> None:
    data_["sources"][0]["shards"][0]["file"] = file
    assert "sources.0.shards.0.file" in refused(tmp_path, data_)
    data_ = json.loads((GOLDEN / "manifest.json").read_bytes())
    data_["tokenizer"]["file"] = file
    assert "tokenizer.file" in refused(tmp_path, data_)


def test_sums_are_checked(tmp_path: Path, data_: dict) -> None:
    source, other = data_["sources"][0], data_["sources"][1]
    source["shards"][0]["tokens"] += 1
    assert "shards add up to" in refused(tmp_path, data_)
    source["shards"][0]["tokens"] -= 1
    data_["tokens_got"] += 1
    assert "not tokens_got" in refused(tmp_path, data_)
    data_["tokens_got"] -= 1
    source["share_got"] += 0.01
    assert "not share_got" in refused(tmp_path, data_)
    source["share_got"] -= 0.01
    other["shards"][0]["file"] = source["shards"][0]["file"]
    assert "a shard is named twice" in refused(tmp_path, data_)
    data_["sources"].reverse()
    assert "in the order of their names" in refused(tmp_path, data_)


def test_is_strict_and_frozen() -> None:
    manifest = open_manifest(GOLDEN)
    with pytest.raises(ValueError, match="frozen"):
        manifest.name = "other"  # type: ignore[misc]
    with pytest.raises(ValueError, match="valid integer"):
        Manifest.model_validate({**manifest.model_dump(), "seed": "1"})


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=60))
def test_quantiles_are_nearest_ranks(lengths: list[int]) -> None:
    found = length_quantiles(lengths)
    assert (found.p0, found.p100) == (min(lengths), max(lengths))
    for p, value in ((5, found.p5), (25, found.p25), (50, found.p50), (75, found.p75), (95, found.p95)):
        reached = [
            each for each in sorted(lengths) if 100 * sum(other <= each for other in lengths) >= p * len(lengths)
        ]
        assert value == reached[0]


def test_quantiles_of_nothing() -> None:
    assert set(length_quantiles([]).model_dump().values()) == {0}

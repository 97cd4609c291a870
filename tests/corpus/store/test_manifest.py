"""manifest.json is canonical when written, and fully checked when read."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.errors import InputError
from corpus.store.corpus_manifest import Manifest, canonical, length_quantiles, locate, open_manifest, write_manifest

GOLDEN = Path(__file__).parents[2] / "golden" / "corpus"


@pytest.fixture
def manifest_json() -> dict:
    return json.loads((GOLDEN / "manifest.json").read_bytes())


def read_error(folder: Path, data: object) -> str:
    (folder / "manifest.json").write_text(data if isinstance(data, str) else json.dumps(data))
    with pytest.raises(InputError) as caught:
        open_manifest(folder)
    assert str(folder / "manifest.json") in str(caught.value)
    return str(caught.value)


def test_manifest_is_read_from_folder_or_file_and_written_identically(tmp_path: Path) -> None:
    manifest = open_manifest(GOLDEN)
    assert open_manifest(GOLDEN / "manifest.json") == manifest
    assert locate(GOLDEN) == GOLDEN / "manifest.json"
    write_manifest(tmp_path / "manifest.json", manifest)
    assert (tmp_path / "manifest.json").read_bytes() == (GOLDEN / "manifest.json").read_bytes()


def test_a_field_of_earlier_releases_stays_and_is_not_added() -> None:
    """Fails if a takedown in an older build removed the size of chunks, which is part of the layout's hash."""
    manifest = open_manifest(GOLDEN)
    assert b"chunk_tokens" not in canonical(manifest)
    assert b'"chunk_tokens": 64,' in canonical(manifest.model_copy(update={"chunk_tokens": 64, "revision": 1}))


def test_manifest_json_is_canonical() -> None:
    raw = canonical(open_manifest(GOLDEN))
    assert raw.decode() == json.dumps(json.loads(raw), sort_keys=True, indent=2, ensure_ascii=False) + "\n"


def test_missing_manifest_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none" / "manifest.json"):
        with pytest.raises(InputError, match="cannot read a manifest"):
            open_manifest(path)
    with pytest.raises(InputError, match="cannot read a manifest"):
        open_manifest(Path("a\0b"))


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "null", "\0\xff", "[" * 100_000, '{"format_version": 1' + "0" * 9999 + "}"]
)
def test_malformed_manifest_is_refused(tmp_path: Path, text: str) -> None:
    read_error(tmp_path, text)


def test_every_fault_is_reported_with_its_field(tmp_path: Path, manifest_json: dict) -> None:
    manifest_json["seed"], manifest_json["surprise"] = "7", 1
    del manifest_json["tokenizer"]["sha256"]
    message = read_error(tmp_path, manifest_json)
    for part in ("seed: ", "surprise: ", "tokenizer.sha256: "):
        assert part in message


def test_newer_format_version_is_refused(tmp_path: Path, manifest_json: dict) -> None:
    manifest_json["format_version"], manifest_json["unheard_of"] = 2, {}
    assert "format_version 2; this release reads up to 1" in read_error(tmp_path, manifest_json)


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
def test_paths_outside_the_build_are_refused(tmp_path: Path, manifest_json: dict, file: str) -> None:
    manifest_json["sources"][0]["shards"][0]["file"] = file
    assert "sources.0.shards.0.file" in read_error(tmp_path, manifest_json)
    manifest_json = json.loads((GOLDEN / "manifest.json").read_bytes())
    manifest_json["tokenizer"]["file"] = file
    assert "tokenizer.file" in read_error(tmp_path, manifest_json)


def test_inconsistent_sums_are_refused(tmp_path: Path, manifest_json: dict) -> None:
    source, other = manifest_json["sources"][0], manifest_json["sources"][1]
    source["shards"][0]["tokens"] += 1
    assert "shards add up to" in read_error(tmp_path, manifest_json)
    source["shards"][0]["tokens"] -= 1
    manifest_json["tokens_got"] += 1
    assert "not tokens_got" in read_error(tmp_path, manifest_json)
    manifest_json["tokens_got"] -= 1
    source["share_got"] += 0.01
    assert "not share_got" in read_error(tmp_path, manifest_json)
    source["share_got"] -= 0.01
    other["shards"][0]["file"] = source["shards"][0]["file"]
    assert "a shard is named twice" in read_error(tmp_path, manifest_json)
    manifest_json["sources"].reverse()
    assert "in the order of their names" in read_error(tmp_path, manifest_json)


def test_manifest_is_strict_and_frozen() -> None:
    manifest = open_manifest(GOLDEN)
    with pytest.raises(ValueError, match="frozen"):
        manifest.name = "other"  # type: ignore[misc]
    with pytest.raises(ValueError, match="valid integer"):
        Manifest.model_validate({**manifest.model_dump(), "seed": "1"})


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=60))
def test_quantiles_are_nearest_ranks(lengths: list[int]) -> None:
    quantiles = length_quantiles(lengths)
    assert (quantiles.p0, quantiles.p100) == (min(lengths), max(lengths))
    for p, value in (
        (5, quantiles.p5),
        (25, quantiles.p25),
        (50, quantiles.p50),
        (75, quantiles.p75),
        (95, quantiles.p95),
    ):
        candidates = [
            each for each in sorted(lengths) if 100 * sum(other <= each for other in lengths) >= p * len(lengths)
        ]
        assert value == candidates[0]


def test_quantiles_of_no_lengths_are_0() -> None:
    assert set(length_quantiles([]).model_dump().values()) == {0}

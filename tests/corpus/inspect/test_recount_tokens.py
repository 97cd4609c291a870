"""Token shards are counted again, whatever their manifests vouch for."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from corpus.inspect.verify import verify_build
from corpus.store.token_shards import TokenShard, open_token_shard
from tests.resealed import error_lines, remanifest, reseal, reshard, verify_error
from tests.small_build import built, copy_build


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.getbasetemp())


@pytest.fixture
def own(build: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return copy_build(build, tmp_path / "out")


def shard_of(build: Path, split: str) -> tuple[Path, TokenShard]:
    """A token shard of books, in memory."""
    path = next(build.glob(f"jobs/mix.books-*/books-{split}-*.arrow"))
    shard = open_token_shard(path)
    columns = {name: getattr(shard, name).copy() for name in ("ids_D16", "tokens_N", "offsets_D1", "bytes_D")}
    return path, replace(shard, **columns)


def test_token_shards_as_they_were_are_still_right(own: Path) -> None:
    reshard(own, dict([shard_of(own, "train"), shard_of(own, "holdout")]))
    verify_build(own)


def test_a_document_without_eos(own: Path) -> None:
    path, shard = shard_of(own, "train")
    shard.tokens_N[shard.offsets_D1[1:] - 1] = 5
    reshard(own, {path: shard})
    assert "does not end in EOS" in verify_error(own)


def test_eos_inside_a_document(own: Path) -> None:
    path, shard = shard_of(own, "train")
    shard.tokens_N[0] = 0
    reshard(own, {path: shard})
    assert "EOS (0) is inside a document" in verify_error(own)


def test_a_token_that_the_vocabulary_lacks(own: Path) -> None:
    path, shard = shard_of(own, "train")
    shard.tokens_N[0] = 60_000
    reshard(own, {path: shard})
    assert "beyond the vocabulary" in verify_error(own)


def test_a_document_that_no_text_shard_holds(own: Path) -> None:
    path, shard = shard_of(own, "train")
    shard.ids_D16[0] = 7
    reshard(own, {path: shard})
    assert re.search(f"{'07' * 16} .*is in no text shard of books", verify_error(own))


def test_a_holdout_document_in_a_train_shard(own: Path) -> None:
    train, holdout = shard_of(own, "train"), shard_of(own, "holdout")
    train[1].ids_D16[0], holdout[1].ids_D16[0] = holdout[1].ids_D16[0].copy(), train[1].ids_D16[0].copy()
    reshard(own, dict([train, holdout]))
    said = verify_error(own)
    for _, shard in (train, holdout):
        assert re.search(f"{shard.ids_D16[0].tobytes().hex()} .*{shard.header.split}.* is in no text shard", said)


def test_a_document_that_stands_twice(own: Path) -> None:
    path, shard = shard_of(own, "train")
    shard.ids_D16[0] = shard.ids_D16[1]
    reshard(own, {path: shard})
    said = verify_error(own)
    assert f"{shard.ids_D16[1].tobytes().hex()} is there twice" in said and "over_quota" in said


def test_sizes_are_those_of_the_texts(own: Path) -> None:
    path, shard = shard_of(own, "train")
    shard.bytes_D[:2] += (1, -1)
    reshard(own, {path: shard})
    said = verify_error(own)
    first = shard.ids_D16[0].tobytes().hex()
    assert f"{first} (train, {shard.bytes_D[0]} bytes) is in no text shard of books" in said


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("recipe", "0" * 64, "recipe='000000"),
        ("tokenizer", "0" * 64, "tokenizer='000000"),
        ("source", "web", "source='web', split='train'); expected"),
        ("split", "holdout", "source='books', split='holdout'); expected"),
    ],
)
def test_a_shard_that_says_it_is_another(own: Path, field: str, value: str, said: str) -> None:
    path, shard = shard_of(own, "train")
    reshard(own, {path: replace(shard, header=shard.header._replace(**{field: value}))})
    assert said in verify_error(own)


def test_a_shard_of_wider_tokens(own: Path) -> None:
    path, shard = shard_of(own, "train")
    reshard(own, {path: replace(shard, tokens_N=shard.tokens_N.astype("uint32"))})
    assert "tokens are uint32; manifest.json says uint16" in verify_error(own)


def test_a_shard_that_is_no_shard(own: Path) -> None:
    path, shard = shard_of(own, "train")
    reshard(own, {path: shard}, damage=lambda raw: raw[:-200] + bytes(200))
    assert f"{path.relative_to(own)}: cannot be recounted" in verify_error(own)


def test_a_run_of_other_documents(own: Path) -> None:
    job = next(own.glob("jobs/tokenize.web-*"))
    (job / "run-00000.arrow").write_bytes((job / "run-00001.arrow").read_bytes())
    reseal(job)
    assert "run-00000.arrow: not the documents of its text shard" in verify_error(own)


@pytest.mark.parametrize(("field", "said"), [("languages", "languages"), ("length_quantiles", "length_quantiles")])
def test_what_the_manifest_adds_of_its_own_is_recounted(own: Path, field: str, said: str) -> None:
    def change(body: dict[str, Any]) -> None:
        counts = body["sources"][0]["shards"][0][field]
        counts[next(iter(counts))] += 1

    remanifest(own, change)
    named = error_lines(verify_error(own))
    assert len(named) == 1 and said in named[0]


def test_a_shard_that_the_manifest_lacks(own: Path) -> None:
    def change(body: dict[str, Any]) -> None:
        source = body["sources"][0]
        gone = source["shards"].pop()
        source[gone["split"]] = {name: source[gone["split"]][name] - gone[name] for name in source[gone["split"]]}

    remanifest(own, change)
    said = verify_error(own)
    assert "missing in manifest.json" in said and "of the holdout are in no shard" in said


@pytest.mark.parametrize("what", ["job", "shard"])
def test_a_manifest_of_another_build(own: Path, what: str) -> None:
    def change(body: dict[str, Any]) -> None:
        if what == "job":
            body["fingerprints"]["mix.web"] = "0" * 64
        else:
            body["sources"][0]["shards"][0]["sha256"] = "0" * 64

    remanifest(own, change)
    expected = (
        "made of another mix.web" if what == "job" else "is not a product of this build, or has another size or hash"
    )
    assert len(error_lines(verify_error(own))) == 1 and expected in verify_error(own)

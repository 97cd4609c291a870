"""Opening corpora: one or several, with one tokenizer; hashes of what determines the batches."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from corpus.errors import InputError
from corpus.store.corpus_manifest import open_manifest
from tests.trainer.made_corpus import EOS, TOKENIZER, VOCABULARY, Made, counted, documents, write
from trainer.data.corpora import Corpora, OpenCorpus, open_corpora

GOLDEN = Path(__file__).parent.parent.parent / "golden" / "corpus"
WEB = Made(documents([[5, 3], [4]]).train, documents([[6, 2]]).train)


@pytest.fixture
def web(tmp_path: Path) -> Path:
    return write(tmp_path / "web", {"pages": WEB, "books": counted([7])})


@pytest.fixture
def curated(tmp_path: Path) -> Path:
    return write(tmp_path / "curated", {"books": counted([9, 2])})


def test_the_golden_corpus() -> None:
    """Fails if the splits are swapped."""
    corpora, manifest = open_corpora({"main": str(GOLDEN)}), json.loads((GOLDEN / "manifest.json").read_text())
    assert list(corpora.sources) == ["books", "code", "web"]
    for told in manifest["sources"]:
        found = corpora.sources[told["name"]]
        assert found.train_tokens == told["train"]["tokens"]
        assert sum(shard.tokens for shard in found.holdout) == told["holdout"]["tokens"]
        assert sum(shard.documents for shard in found.holdout) == told["holdout"]["documents"]
        assert found.holdout_thin == told["holdout_thin"]
        files = [shard["file"] for shard in told["shards"] if shard["split"] == "train"]
        assert [shard.path for shard in found.train] == [GOLDEN / file for file in files]
    tokenizer = corpora.tokenizer
    assert tokenizer.path == GOLDEN / "tokenizer.json" and tokenizer.path.is_file()
    assert (tokenizer.vocabulary, tokenizer.sha256) == (384, manifest["tokenizer"]["sha256"])


def test_a_manifest_file_and_its_folder_open_the_same_corpus(web: Path) -> None:
    """Fails if shard paths are resolved relative to the manifest file."""
    by_file, by_folder = open_corpora({"main": str(web / "manifest.json")}), open_corpora({"main": str(web)})
    assert by_file.sources == by_folder.sources
    assert all(shard.path.is_file() for shard in by_file.sources["pages"].train)


def test_with_several_corpora_source_names_start_with_the_corpus(web: Path, curated: Path) -> None:
    """Fails if `books` of one corpus replaces that of the other, or if a source's identity depends on other corpora."""
    corpora = open_corpora({"web": str(web), "best": str(curated)})
    assert set(corpora.sources) == {"best/books", "web/books", "web/pages"}
    assert all(source.name == name for name, source in corpora.sources.items())
    assert {name: source.train_tokens for name, source in corpora.sources.items()} == {
        "best/books": 11,
        "web/books": 7,
        "web/pages": 12,
    }
    alone = open_corpora({"any": str(web)}).sources
    assert {name: source.layout for name, source in alone.items()} == {
        "books": corpora.sources["web/books"].layout,
        "pages": corpora.sources["web/pages"].layout,
    }
    assert alone["books"].identity != corpora.sources["best/books"].identity
    assert [shard.tokens for shard in corpora.sources["web/pages"].holdout] == [8]
    assert (corpora.tokenizer.sha256, corpora.tokenizer.vocabulary, corpora.tokenizer.eos_id) == (
        TOKENIZER,
        VOCABULARY,
        EOS,
    )


def test_corpora_with_different_tokenizers_are_rejected(web: Path, tmp_path: Path) -> None:
    """Fails if only the first corpus' tokenizer is read."""
    other = write(tmp_path / "other", {"books": counted([9])}, tokenizer="ab" * 32)
    with pytest.raises(InputError) as caught:
        open_corpora({"web": str(web), "best": str(other)})
    assert "corpora `best` and `web` were made with different tokenizers" in str(caught.value)
    assert "abababababab" in str(caught.value) and TOKENIZER[:12] in str(caught.value)
    assert "rebuild one with the other's tokenizer.json" in str(caught.value)


def test_every_corpus_that_cannot_be_opened_is_reported(web: Path, tmp_path: Path) -> None:
    """Fails if only the first missing manifest is reported."""
    (tmp_path / "newer").mkdir()
    (tmp_path / "newer" / "manifest.json").write_text('{"format_version": 99}')
    with pytest.raises(InputError) as caught:
        open_corpora({"web": str(web), "gone": str(tmp_path / "nowhere"), "newer": str(tmp_path / "newer")})
    told = str(caught.value).splitlines()
    assert len(told) == 2
    assert told[0].startswith(f"corpus `gone`: {tmp_path / 'nowhere'}: cannot read a manifest")
    assert "format_version 99" in told[1]
    assert all("build it with `corpus build`, or name another in `corpora`" in line for line in told)


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_damaged_shards_are_found_when_a_corpus_is_opened(web: Path, damage: str) -> None:
    """Else a phase finds out at its first step, after the phases before it."""
    first, second = sorted(web.rglob("*.arrow"))[:2]
    second.unlink()
    first.unlink() if damage == "missing" else first.write_bytes(first.read_bytes()[:-1])
    problem = "is missing" if damage == "missing" else "bytes, not"
    with pytest.raises(InputError, match=rf"(?s)corpus `main`: .*{problem}.*1 more of its shards are damaged.*verify"):
        opened(web)


def opened(folder: Path) -> OpenCorpus:
    return open_corpora({"main": str(folder)}).manifests["main"]


def shard(manifest: dict[str, list[dict[str, list[dict[str, str]]]]], split: str) -> dict[str, str]:
    return next(each for source in manifest["sources"] for each in source["shards"] if each["split"] == split)


def changed(folder: Path, target: Path, change: Callable[[dict], object]) -> OpenCorpus:  # type: ignore[type-arg]
    """Open a copy of the build with a changed manifest."""
    shutil.copytree(folder, target)
    manifest = json.loads((target / "manifest.json").read_text())
    change(manifest)
    (target / "manifest.json").write_text(json.dumps(manifest))
    return opened(target)


def test_a_takedown_changes_the_content_hash_but_not_the_layout_hash(web: Path, tmp_path: Path) -> None:
    """Fails if the content hash omits the shards' hashes, or the layout hash includes them."""
    before = opened(web)
    taken = changed(web, tmp_path / "a", lambda manifest: shard(manifest, "train").update(sha256="cd" * 32))
    assert taken.content_sha256 != before.content_sha256
    assert taken.layout_sha256 == before.layout_sha256


def test_metadata_that_affects_no_batch_changes_neither_hash(web: Path, tmp_path: Path) -> None:
    """Fails if the whole manifest is hashed: a new license, revision or holdout would then prevent resuming."""

    def change(manifest: dict) -> None:  # type: ignore[type-arg]
        shard(manifest, "holdout").update(sha256="cd" * 32)
        manifest.update(revision=3, name="another")
        manifest["sources"][0]["license"] = "unknown"

    other = changed(web, tmp_path / "b", change)
    assert (other.content_sha256, other.layout_sha256) == (opened(web).content_sha256, opened(web).layout_sha256)


def test_chunk_size_shard_order_and_tokenizer_change_both_hashes(web: Path, tmp_path: Path) -> None:
    """Fails if a hash omits the chunk size, the order of the shards, or the tokenizer."""
    changes: list[Callable[[dict], object]] = [  # type: ignore[type-arg]
        lambda manifest: manifest.update(chunk_tokens=5),
        lambda manifest: manifest["sources"][1]["shards"].reverse(),
        lambda manifest: manifest["tokenizer"].update(sha256="cd" * 32),
    ]
    found = [opened(web), *(changed(web, tmp_path / str(n), change) for n, change in enumerate(changes))]
    assert len({each.content_sha256 for each in found}) == len({each.layout_sha256 for each in found}) == len(found)


def test_manifests_of_earlier_releases_keep_their_hashes(web: Path, tmp_path: Path) -> None:
    """Fails if the size of chunks, which earlier releases wrote, is no longer hashed, or if its default is another."""
    earlier = OpenCorpus(GOLDEN / "manifest.json", open_manifest(GOLDEN).model_copy(update={"chunk_tokens": 64}))
    assert earlier.layout_sha256 == "31e44195a4b47d099384e0081e7ac71518f585253d69833f7ecab559028e6168"
    assert earlier.content_sha256 == "1c608ec810bb84d61ba2f3df820ec231c614e18512f07c511d92780e6f95ed0d"
    default = changed(web, tmp_path / "a", lambda manifest: manifest.update(chunk_tokens=8192))
    assert (default.layout_sha256, default.content_sha256) == (opened(web).layout_sha256, opened(web).content_sha256)


def test_an_empty_split_has_no_shards(tmp_path: Path) -> None:
    """Fails if a source without training tokens is dropped, or its holdout is counted as training tokens."""
    folder = write(tmp_path / "web", {"pages": WEB, "off": Made([], WEB.holdout)})
    corpora: Corpora = open_corpora({"main": str(folder)})
    assert (corpora.sources["off"].train, corpora.sources["off"].train_tokens) == ((), 0)
    assert [shard.documents for shard in corpora.sources["off"].holdout] == [2]

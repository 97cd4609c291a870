"""Training draws its sample by share, and the same texts give the same tokenizer."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from corpus.document import keyed_hash
from corpus.errors import CorpusError
from corpus.tokens.encode import Encoder
from corpus.tokens.train_bpe import MAX_TOKEN_BYTES, PATTERN, Train, sample, train

TEXTS = [
    f"The {number}th mill ground {number * 7919} sacks of wheat, rye & oats;\n\tnobody's mill did {'x' * number}."
    for number in range(80)
]
SMALL = Train(vocabulary=300)


def ids(count: int, prefix: str) -> list[tuple[str, int]]:
    return [(hashlib.md5(f"{prefix}{number}".encode()).hexdigest(), 10 + number % 7) for number in range(count)]


def test_sample_takes_each_share_in_hashed_order() -> None:
    documents = {"web": ids(500, "w"), "books": ids(500, "b")}
    chosen = sample(documents, {"web": 0.75, "books": 0.25}, 2000, seed=3)
    sizes = {source: dict(found) for source, found in documents.items()}
    for source, part in (("web", 1500), ("books", 500)):
        ordered = sorted(sizes[source], key=lambda each: keyed_hash(3, "tokenizer", each))
        assert chosen[source] == ordered[: len(chosen[source])]
        taken = [sizes[source][each] for each in chosen[source]]
        assert sum(taken) >= part > sum(taken[:-1])
    assert chosen != sample(documents, {"web": 0.75, "books": 0.25}, 2000, seed=4)
    shuffled = {source: found[::-1] for source, found in reversed(documents.items())}
    assert chosen == sample(shuffled, {"books": 0.25, "web": 0.75}, 2000, seed=3)


def test_sample_of_a_short_source_has_all_its_documents() -> None:
    documents = {"web": ids(3, "w"), "none": []}
    chosen = sample(documents, {"web": 0.5, "none": 0.5}, 10**9, seed=1)
    assert sorted(chosen["web"]) == sorted(each for each, _ in documents["web"]) and chosen["none"] == []


def test_contents_of_a_trained_tokenizer() -> None:
    made = json.loads(train(TEXTS, SMALL))
    vocabulary = made["model"]["vocab"]
    assert vocabulary["<|endoftext|>"] == 0 and len(vocabulary) == 300
    assert [token["content"] for token in made["added_tokens"] if token["special"]] == ["<|endoftext|>"]
    split, as_bytes = made["pre_tokenizer"]["pretokenizers"]
    assert split["pattern"] == {"Regex": PATTERN}
    assert not as_bytes["add_prefix_space"] and not as_bytes["use_regex"]
    assert made["decoder"]["type"] == "ByteLevel" and made["normalizer"] is None and made["post_processor"] is None


def test_every_byte_is_a_token() -> None:
    from tokenizers.pre_tokenizers import ByteLevel

    vocabulary = json.loads(train(["a"], SMALL))["model"]["vocab"]
    assert set(ByteLevel.alphabet()) <= set(vocabulary) and len(vocabulary) == 257


def test_no_text_is_an_error() -> None:
    for nothing in ([], ["", ""]):
        with pytest.raises(CorpusError, match="no text to train"):
            train(nothing, SMALL)


def test_order_of_texts_does_not_matter() -> None:
    assert train(TEXTS, SMALL) == train(TEXTS[::-1], SMALL) == train(iter(TEXTS), SMALL)


def test_same_bytes_in_any_process_and_number_of_threads(tmp_path: Path) -> None:
    program = (
        "import sys; from corpus.tokens.train_bpe import Train, train\n"
        "texts = [f'Mill {n} of {n * 7919 % 997}: wheat, {chr(97 + n % 26) * 3} {n * 104729:x}' for n in range(3000)]\n"
        "sys.stdout.buffer.write(train(texts, Train(vocabulary=900)))"
    )
    found = set()
    for seed, threads, parallel in (("1", "1", "false"), ("2", "2", "true"), ("3", "5", "true")):
        settings = {"PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": parallel}
        run = subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, **settings}, capture_output=True, check=True
        )
        found.add(run.stdout)
    assert len(found) == 1 and len(found.pop()) > 10_000


def test_long_runs_give_no_long_tokens(tmp_path: Path) -> None:
    """Without cuts these 2 MB of spaces and signs also take a minute to train on."""
    made = train([*TEXTS, " " * 1_000_000, "=" * 1_000_000], Train(vocabulary=2000))
    (tmp_path / "tokenizer.json").write_bytes(made)
    assert max(len(token) for token in json.loads(made)["model"]["vocab"]) <= MAX_TOKEN_BYTES
    assert Encoder(tmp_path / "tokenizer.json").roundtrips(" " * 5000 + "=" * 5000)

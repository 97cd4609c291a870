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
from corpus.tokens.pretokenizers import GPT2, GPT4, GPT4_SINGLE_DIGITS
from corpus.tokens.train_bpe import MAX_TOKEN_BYTES, RESERVED, Balance, Sized, Train, sample, train

TEXTS = [
    f"The {number}th mill ground {number * 7919} sacks of wheat, rye & oats;\n\tnobody's mill did {'x' * number}."
    for number in range(80)
]
SMALL = Train(vocabulary=300)


def ids(count: int, prefix: str, language: str = "en") -> list[Sized]:
    names = [hashlib.md5(f"{prefix}{number}".encode()).hexdigest() for number in range(count)]
    return [Sized(name, 10 + number % 7, language) for number, name in enumerate(names)]


def test_sample_takes_each_share_in_hashed_order() -> None:
    documents = {"web": ids(500, "w"), "books": ids(500, "b")}
    settings = Train(sample_bytes=2000)
    chosen = sample(documents, {"web": 0.75, "books": 0.25}, settings, seed=3)
    sizes = {source: {each.id: each.bytes for each in found} for source, found in documents.items()}
    for source, part in (("web", 1500), ("books", 500)):
        ordered = sorted(sizes[source], key=lambda each: keyed_hash(3, "tokenizer", each))
        assert chosen[source] == ordered[: len(chosen[source])]
        taken = [sizes[source][each] for each in chosen[source]]
        assert sum(taken) >= part > sum(taken[:-1])
    assert chosen != sample(documents, {"web": 0.75, "books": 0.25}, settings, seed=4)
    shuffled = {source: found[::-1] for source, found in reversed(documents.items())}
    assert chosen == sample(shuffled, {"books": 0.25, "web": 0.75}, settings, seed=3)


def test_sample_of_a_short_source_has_all_its_documents() -> None:
    documents = {"web": ids(3, "w"), "none": []}
    chosen = sample(documents, {"web": 0.5, "none": 0.5}, Train(sample_bytes=10**9), seed=1)
    assert sorted(chosen["web"]) == sorted(each.id for each in documents["web"]) and chosen["none"] == []


@pytest.mark.parametrize(
    ("languages", "parts"),
    [
        ("proportional", {"en": 13_500, "de": 1_440, "el": 60}),  # as many bytes of each as the source has
        (
            "square_root",
            {"en": 10_926, "de": 3_572, "el": 502},
        ),  # Greek has no more, and the others share what it lacks
        ("equal", {"en": 7_249, "de": 7_249, "el": 502}),
    ],
)
def test_sample_balances_languages(languages: Balance, parts: dict[str, int]) -> None:
    sizes = {"en": 9000, "de": 960, "el": 40}
    documents = {"web": [each for language, count in sizes.items() for each in ids(count, language, language)]}
    settings = Train(sample_bytes=15_000, languages=languages)
    chosen = set(sample(documents, {"web": 1.0}, settings, seed=3)["web"])
    taken = {
        language: sum(each.bytes for each in documents["web"] if each.language == language and each.id in chosen)
        for language in sizes
    }
    slack = 400 if languages == "proportional" else 17  # a random sample; else the last document goes over
    assert all(abs(taken[language] - parts[language]) <= slack for language in sizes)


def test_sample_of_a_source_with_less_than_its_part_has_all_languages() -> None:
    documents = {"web": [*ids(30, "a", "en"), *ids(5, "b", "de"), Sized("00" * 16, 0, "el")]}
    for languages in ("square_root", "equal"):
        settings = Train(sample_bytes=10**6, languages=languages)  # type: ignore[arg-type]
        assert len(sample(documents, {"web": 1.0}, settings, seed=1)["web"]) >= 35


def test_contents_of_a_trained_tokenizer() -> None:
    made = json.loads(train(TEXTS, SMALL))
    vocabulary = made["model"]["vocab"]
    assert vocabulary["<|endoftext|>"] == 0 and len(vocabulary) == 300
    assert [token["content"] for token in made["added_tokens"] if token["special"]] == ["<|endoftext|>", *RESERVED]
    split, as_bytes = made["pre_tokenizer"]["pretokenizers"]
    assert split["pattern"] == {"Regex": GPT4}
    assert not as_bytes["add_prefix_space"] and not as_bytes["use_regex"]
    assert made["decoder"]["type"] == "ByteLevel" and made["normalizer"] is None and made["post_processor"] is None


def test_reserved_tokens_change_no_id_of_a_text(tmp_path: Path) -> None:
    """They come after all others, and no text becomes one of them."""
    encoders = []
    for reserved in (True, False):
        path = tmp_path / f"{reserved}.json"
        path.write_bytes(train(TEXTS, Train(vocabulary=384, reserved_tokens=reserved)))
        encoders.append(Encoder(path))
    with_reserved, without = encoders
    assert (without.vocabulary, with_reserved.vocabulary) == (384, 512) and len(set(RESERVED)) == 128
    assert with_reserved.eos_id == without.eos_id == 0
    texts = [*TEXTS, f"a {'b'.join(RESERVED)} c", "<|fim_prefix|>"]
    for one, other in zip(with_reserved.encode(texts), without.encode(texts), strict=True):
        assert one.tolist() == other.tolist()
    added = {
        token["content"]: token["id"] for token in json.loads((tmp_path / "True.json").read_bytes())["added_tokens"]
    }
    assert [added[name] for name in RESERVED] == list(range(384, 512))
    named = ("<|begin_of_text|>", "<|pad|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")
    assert RESERVED[:5] == named and sum("reserved" in name for name in RESERVED) >= 64


@pytest.mark.parametrize(
    ("chosen", "pattern", "words"),
    [
        ({"pretokenizer": "gpt2"}, GPT2, ["It", "'s", " 12345", "\n", "ok"]),
        ({"pretokenizer": "gpt4"}, GPT4, ["It", "'s", " ", "123", "45", "\n", "ok"]),
        ({}, GPT4, ["It", "'s", " ", "123", "45", "\n", "ok"]),
        ({"digits": "single"}, GPT4_SINGLE_DIGITS, ["It", "'s", " ", "1", "2", "3", "4", "5", "\n", "ok"]),
    ],
)
def test_pretokenizer_by_name(chosen: dict[str, str], pattern: str, words: list[str]) -> None:
    from tokenizers import Tokenizer

    made = train(TEXTS, Train.model_validate({"vocabulary": 300, **chosen}))
    split = json.loads(made)["pre_tokenizer"]["pretokenizers"][0]
    assert split["pattern"] == {"Regex": pattern}
    cut = Tokenizer.from_str(made.decode()).pre_tokenizer.pre_tokenize_str("It's 12345\nok")
    assert [word.replace("Ġ", " ").replace("Ċ", "\n") for word, _ in cut] == words


def test_gpt2_has_no_setting_of_digits() -> None:
    with pytest.raises(ValueError, match="`digits` is for the pretokenizers gpt4 and llama3"):
        Train.model_validate({"pretokenizer": "gpt2", "digits": "single"})


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

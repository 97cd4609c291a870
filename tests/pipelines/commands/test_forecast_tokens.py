"""Tokens of a sample as the whole's tokenizer would cut it."""

import random
from pathlib import Path

import pytest

from corpus.tokens.encode import Encoder
from corpus.tokens.settings import Tokenizer
from corpus.tokens.train_bpe import Train, train
from pipelines.commands.forecast.sample_tokens import Text, measure

WORDS = ["".join(random.Random(n).choices("abcdefghilmnoprstu", k=2 + n % 7)) for n in range(3000)]


def texts(count: int, seed: int) -> list[Text]:
    """Documents of words of Zipf's frequencies."""
    draw = random.Random(seed)
    weights = [1 / (n + 5) for n in range(len(WORDS))]
    found = [" ".join(draw.choices(WORDS, weights, k=300)) for _ in range(count)]
    return [Text(f"{seed:016x}{n:016x}", text, len(text)) for n, text in enumerate(found)]


def test_the_rate_of_a_sample_is_that_of_the_whole(tmp_path: Path) -> None:
    whole, how = texts(600, 1), Train(vocabulary=1500, sample_bytes=300_000)
    path = tmp_path / "tokenizer.json"
    size = 0
    trained = [each for each in whole if (size := size + each.size) < 300_000]
    path.write_bytes(train((each.text for each in trained), how))
    sample = whole[::15]
    true = sum(len(tokens) for tokens in Encoder(path).encode(each.text for each in sample))
    total = float(sum(each.size for each in whole))
    rates = measure({"a": sample}, {"a": total}, Tokenizer(train=how), None, {"a": 1.0}, 1)
    assert sum(rates.tokens["a"]) == pytest.approx(true, rel=0.05)
    assert 0.002 < rates.spread["a"] < 0.1
    inside = measure(
        {"a": sample}, {"a": 1.0 * sum(each.size for each in sample)}, Tokenizer(train=how), None, {"a": 1.0}, 1
    )
    assert sum(inside.tokens["a"]) < true, "a tokenizer of the sample alone knows its words too well"


def test_a_given_tokenizer_counts_exactly(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(train((each.text for each in texts(50, 2)), Train(vocabulary=400)))
    sample = texts(10, 3)
    rates = measure({"a": sample}, {"a": 1e6}, Tokenizer(file="tokenizer.json"), path, {"a": 1.0}, 1)
    assert rates.tokens["a"] == [len(tokens) for tokens in Encoder(path).encode(each.text for each in sample)]
    assert rates.spread["a"] == 0


def test_sources_without_text_have_no_tokens() -> None:
    rates = measure({"a": [], "b": []}, {"a": 0.0, "b": 0.0}, Tokenizer(), None, {"a": 0.5, "b": 0.5}, 1)
    assert rates.tokens == {"a": [], "b": []}
    rates = measure({"a": texts(4, 1), "b": []}, {"a": 9e3, "b": 0.0}, Tokenizer(), None, {"a": 0.5, "b": 0.5}, 1)
    assert len(rates.tokens["a"]) == 4 and min(rates.tokens["a"]) > 0

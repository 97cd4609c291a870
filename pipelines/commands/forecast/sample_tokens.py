"""Tokens of the sampled documents, as a tokenizer of the whole corpus would cut them.

A tokenizer that is trained on the sample alone knows just these texts, and so cuts them into fewer tokens than one of
the whole would; trained on one half, it cuts the other half into more. The truth lies between the two: nearer to the
first, the more of a source the whole's tokenizer will be trained on. Half the distance is the forecast's error.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from corpus.tokens import train_bpe
from corpus.tokens.encode import Encoder
from corpus.tokens.settings import Tokenizer

TRAINED_BYTES = 20_000_000  # more text changes the rates little, and takes minutes
FOLDS = 2


class Text(NamedTuple):
    """A sampled document that may be in the corpus."""

    id: str
    text: str
    size: int  # UTF-8 bytes


class Rates(NamedTuple):
    """Tokens a byte of text of each source's documents."""

    tokens: Mapping[str, Sequence[float]]  # of each text, in their order
    spread: Mapping[str, float]  # half the distance of the two, as a share of their middle


def measure(
    texts: Mapping[str, Sequence[Text]], whole_bytes: Mapping[str, float], tokenizer: Tokenizer, given: Path | None,
    shares: Mapping[str, float], seed: int,
) -> Rates:  # fmt: skip
    """Counts tokens; `whole_bytes` is what each source is thought to hold, of which training takes its share."""
    if given is not None:
        encoder = Encoder(given, tokenizer.eos)
        return Rates({name: _counts(encoder, found) for name, found in texts.items()}, dict.fromkeys(texts, 0.0))
    how = tokenizer.train or train_bpe.Train()
    parts = {name: min(shares[name] * how.sample_bytes, whole_bytes[name]) for name in texts}
    inside = _trained(texts, parts, how, seed)
    counts_in = {name: _counts(inside, found) for name, found in texts.items()} if inside else {}
    counts_out: dict[str, list[int]] = {name: [0] * len(found) for name, found in texts.items()}
    for fold in range(FOLDS):
        others = {name: [each for n, each in enumerate(found) if n % FOLDS != fold] for name, found in texts.items()}
        encoder_out = _trained(others, parts, how, seed) or inside
        for name, found in texts.items():
            if encoder_out:
                counts_out[name][fold::FOLDS] = _counts(encoder_out, found[fold::FOLDS])
    if inside is None:
        return Rates({name: [] for name in texts}, dict.fromkeys(texts, 0.0))
    tokens, spread = {}, {}
    for name in texts:
        low, high = sorted((sum(counts_in[name]), sum(counts_out[name])))
        known = parts[name] / whole_bytes[name] if whole_bytes[name] else 0.0
        pairs = zip(counts_in[name], counts_out[name], strict=True)
        tokens[name] = [known * one + (1 - known) * other for one, other in pairs]
        spread[name] = (high - low) / (high + low) if high else 0.0
    return Rates(tokens, spread)


def _trained(
    texts: Mapping[str, Sequence[Text]], parts: Mapping[str, float], how: train_bpe.Train, seed: int
) -> Encoder | None:
    """A tokenizer of these texts, as many of each source as the whole's will be trained on; None without any text."""
    size = min(TRAINED_BYTES, sum(parts.values()))
    if not size or not any(each.text for name, found in texts.items() for each in found if parts[name]):
        return None
    documents = {name: [(each.id, each.size) for each in found] for name, found in texts.items()}
    chosen = {name: set(ids) for name, ids in train_bpe.sample(documents, parts, int(size) + 1, seed).items()}
    trained = train_bpe.train(
        (each.text for name, found in texts.items() for each in found if each.id in chosen[name]), how
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.json"
        path.write_bytes(trained)
        return Encoder(path)


def _counts(encoder: Encoder, texts: Sequence[Text]) -> list[int]:
    return [len(tokens) for tokens in encoder.encode(each.text for each in texts)]

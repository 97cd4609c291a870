"""Train the tokenizer: a byte-level BPE on a sample of the corpus drawn by share."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Annotated

from pydantic import Field

from corpus.document import keyed_hash
from corpus.errors import CorpusError
from corpus.settings import Quantity, Strict
from corpus.tokens.encode import cut
from corpus.tokens.shares import apportion, exact

REVISION = 2  # raise whenever the same sample gives another tokenizer
LIBRARIES = ("tokenizers",)
EOS = "<|endoftext|>"  # id 0

# Words with the space before them, contractions, at most three digits, punctuation with the line ends after it.
# Every character is in exactly one piece, so nothing is lost.
# Source: cl100k_base in OpenAI's tiktoken_ext/openai_public.py, less its possessive quantifiers, as in the
# tokenizer.json of Llama 3.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
MIN_PAIRS = 2  # a pair that occurs once gives no token
MAX_TOKEN_BYTES = 64
# The trainer rescans a piece at each merge in it, so 250,000 spaces in a row took 38 s and became tokens of that
# length. Training cuts runs at this length; encoding does not.
_LONG_RUN = re.compile(r"\S{100}|\s{100}")


class Train(Strict):
    """A tokenizer trained on the corpus."""

    vocabulary: Annotated[int, Field(ge=257, le=1_048_576)] = (
        32_768  # with EOS and the 256 bytes; smaller if there is little text
    )
    sample_bytes: Annotated[Quantity, Field(ge=1)] = 100_000_000


def sample(
    documents: Mapping[str, Sequence[tuple[str, int]]], shares: Mapping[str, float], sample_bytes: int, seed: int
) -> dict[str, list[str]]:
    """Return the ids to train on, by source: the first by keyed hash, until the source's part of the bytes is reached.

    `documents` has (id, bytes of the text) by source, in any order and without the holdout. A source with fewer bytes
    than its part gives all its documents.
    """
    parts = apportion(sample_bytes, exact(shares))
    chosen: dict[str, list[str]] = {}
    for source, sizes in documents.items():
        left, chosen[source] = parts[source], []
        for identity, size in sorted(sizes, key=lambda entry: (keyed_hash(seed, "tokenizer", entry[0]), entry)):
            if left <= 0:
                break
            chosen[source].append(identity)
            left -= size
    return chosen


def train(texts: Iterable[str], settings: Train) -> bytes:
    """Return tokenizer.json of a byte-level BPE. It depends neither on the order of texts nor on threads.

    Raises CorpusError if there is no text.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(PATTERN), "isolated")
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, as_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocabulary,
        min_frequency=MIN_PAIRS,
        max_token_length=MAX_TOKEN_BYTES,
        special_tokens=[EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    nonempty = (text for text in texts if text)
    first = next(nonempty, None)
    if first is None:
        raise CorpusError("no text to train a tokenizer on: the samples of all sources are empty")
    tokenizer.train_from_iterator(_without_long_runs(chain([first], nonempty)), trainer)
    return tokenizer.to_str(pretty=False).encode() + b"\n"


def _without_long_runs(texts: Iterable[str]) -> Iterator[str]:
    """Yield the texts in pieces that the library can hold, cut after each long run."""
    for text in (piece for whole in texts for piece, _ in cut(whole)):
        start = 0
        for run in _LONG_RUN.finditer(text):
            yield text[start : run.end()]
            start = run.end()
        yield text[start:]

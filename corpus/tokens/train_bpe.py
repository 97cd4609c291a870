"""Training of the tokenizer: a byte-level BPE on a sample of the corpus drawn by share."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated

from pydantic import Field

from corpus.document import keyed_hash
from corpus.errors import CorpusError
from corpus.settings import Quantity, Strict
from corpus.tokens.shares import apportion, exact

REVISION = 1  # raised whenever the same sample gives another tokenizer
LIBRARIES = ("tokenizers",)
EOS = "<|endoftext|>"  # id 0

# Words with the space before them, contractions, at most three digits, punctuation with the line ends after it.
# Every character falls into exactly one piece, so nothing is lost.
# Source: cl100k_base in OpenAI's tiktoken_ext/openai_public.py, less its possessive quantifiers, as in the
# tokenizer.json of Llama 3.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
MIN_PAIRS = 2  # a pair seen once is no evidence for a token
MAX_TOKEN_BYTES = 64
# The trainer rescans a whole piece at each merge in it: 250,000 spaces in a row cost 38 s, and bought themselves
# tokens of that length. In training, runs longer than this are cut; encoding does not cut them.
_LONG_RUN = re.compile(r"\S{100}|\s{100}")


class Train(Strict):
    """A tokenizer of the corpus's own."""

    vocabulary: Annotated[int, Field(ge=257, le=1_048_576)] = (
        32_768  # with EOS and the 256 bytes; fewer if text is short
    )
    sample_bytes: Annotated[Quantity, Field(ge=1)] = 100_000_000


def sample(
    documents: Mapping[str, Sequence[tuple[str, int]]], shares: Mapping[str, float], sample_bytes: int, seed: int
) -> dict[str, list[str]]:
    """The ids to train on, by source: the first by keyed hash until the source's part of the bytes is reached.

    `documents` holds (id, bytes of its text) by source, in any order and without the holdout. A source with less
    than its part gives all it has.
    """
    parts = apportion(sample_bytes, exact(shares))
    chosen: dict[str, list[str]] = {}
    for source, found in documents.items():
        left, chosen[source] = parts[source], []
        for _, document, size in sorted((keyed_hash(seed, "tokenizer", each), each, size) for each, size in found):
            if left <= 0:
                break
            chosen[source].append(document)
            left -= size
    return chosen


def train(texts: Iterable[str], settings: Train) -> bytes:
    """tokenizer.json of a byte-level BPE; the same texts in any order, on any number of threads, give the same bytes.

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
    counted = _Counted(texts)
    tokenizer.train_from_iterator(iter(counted), trainer)
    if not counted.characters:
        raise CorpusError("no text to train a tokenizer on: every source's sample is empty")
    return tokenizer.to_str(pretty=False).encode() + b"\n"


class _Counted:
    """Texts with their long runs cut, and how many characters there were."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts, self.characters = texts, 0

    def __iter__(self) -> Iterator[str]:
        for text in self._texts:
            self.characters += len(text)
            start = 0
            for run in _LONG_RUN.finditer(text):
                yield text[start : run.end()]
                start = run.end()
            yield text[start:]

"""Train the tokenizer: a byte-level BPE on a sample of the corpus drawn by share, and within a source by language."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import chain
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from corpus.document import keyed_hash
from corpus.errors import CorpusError
from corpus.settings import Quantity, Strict
from corpus.tokens import pretokenizers
from corpus.tokens.encode import cut
from corpus.tokens.shares import apportion, exact

REVISION = 3  # raise whenever the same sample gives another tokenizer
LIBRARIES = ("tokenizers",)
EOS = "<|endoftext|>"  # id 0

# Special tokens after all others, so that a text has the same ids without them. No text of a corpus becomes one; they
# are for a later use of the model, since its vocabulary cannot grow. With the free ones they are 128, so that a
# vocabulary that is a multiple of 128 remains one.
_NAMED = ("<|begin_of_text|>", "<|pad|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")
RESERVED = (*_NAMED, *(f"<|reserved_{number}|>" for number in range(128 - len(_NAMED))))

MIN_PAIRS = 2  # a pair that occurs once gives no token
MAX_TOKEN_BYTES = 64
# The trainer rescans a piece at each merge in it, so 250,000 spaces in a row took 38 s and became tokens of that
# length. Training cuts runs at this length; encoding does not.
_LONG_RUN = re.compile(r"\S{100}|\s{100}")


Balance = Literal["proportional", "square_root", "equal"]


class Train(Strict):
    """A tokenizer trained on the corpus."""

    # With EOS and the 256 bytes, without reserved tokens. Smaller if there is little text.
    vocabulary: Annotated[int, Field(ge=257, le=1_048_576)] = 32_768
    sample_bytes: Annotated[Quantity, Field(ge=1)] = 100_000_000
    languages: Balance = "proportional"
    pretokenizer: pretokenizers.Name = "llama3"
    digits: pretokenizers.Digits = "threes"
    reserved_tokens: bool = True

    @model_validator(mode="after")
    def _digits_of_gpt2(self) -> Self:
        if self.pretokenizer == "gpt2" and "digits" in self.model_fields_set:
            raise ValueError("`digits` is for the pretokenizers gpt4 and llama3; GPT-2's keeps a number in one word")
        return self


class Sized(NamedTuple):
    """A document that may be in the sample."""

    id: str
    bytes: int  # of the text
    language: str


def sample(
    documents: Mapping[str, Sequence[Sized]], shares: Mapping[str, float], settings: Train, seed: int
) -> dict[str, list[str]]:
    """Return the ids to train on, by source: the first by keyed hash, until the source's part of the bytes is reached.

    `documents` are in any order and without the holdout. A source with fewer bytes than its part gives all of them.
    """
    parts = apportion(settings.sample_bytes, exact(shares))
    chosen: dict[str, list[str]] = {}
    for source, found in documents.items():
        left = _language_parts(found, parts[source], settings.languages)
        chosen[source] = []
        for each in sorted(found, key=lambda each: (keyed_hash(seed, "tokenizer", each.id), each)):
            group = each.language if each.language in left else ""
            if left[group] > 0:
                chosen[source].append(each.id)
                left[group] -= each.bytes
    return chosen


def _language_parts(documents: Sequence[Sized], part: int, balance: Balance) -> dict[str, int]:
    """Divide a source's part of the bytes among its languages; proportional to them it needs no division, and is "".

    What a language lacks to its part goes to the others. Square roots are whole numbers, exact on every machine.
    """
    if balance == "proportional" or not documents:
        return {"": part}
    sizes: Counter[str] = Counter()
    for each in documents:
        sizes[each.language] += each.bytes
    parts: dict[str, int] = {}
    while sizes:
        weights = {language: math.isqrt(size) if balance == "square_root" else 1 for language, size in sizes.items()}
        total = sum(weights.values()) or 1
        fair = apportion(part, {language: Fraction(weight, total) for language, weight in weights.items()})
        short = [language for language in sizes if sizes[language] <= fair[language]]
        if not short:
            return parts | fair
        for language in short:
            parts[language] = sizes.pop(language)
            part -= parts[language]
    return parts


def train(texts: Iterable[str], settings: Train) -> bytes:
    """Return tokenizer.json of a byte-level BPE. It depends neither on the order of texts nor on threads.

    Raises CorpusError if there is no text.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    pattern = pretokenizers.pattern(settings.pretokenizer, settings.digits)
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
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
    if settings.reserved_tokens:
        tokenizer.add_special_tokens(list(RESERVED))
    return tokenizer.to_str(pretty=False).encode() + b"\n"


def _without_long_runs(texts: Iterable[str]) -> Iterator[str]:
    """Yield the texts in pieces that the library can hold, cut after each long run."""
    for text in (piece for whole in texts for piece, _ in cut(whole)):
        start = 0
        for run in _LONG_RUN.finditer(text):
            yield text[start : run.end()]
            start = run.end()
        yield text[start:]

"""Small corpora written by tests: real token shards and a real manifest with chosen tokens.

Legend: N tokens of a source, in the order of its shards; D documents of a shard.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from hypothesis import settings
from numpy.typing import NDArray

from corpus.store.corpus_manifest import (
    Eos,
    Manifest,
    ShardEntry,
    SourceEntry,
    Split,
    TokenizerEntry,
    total,
    write_manifest,
)
from corpus.store.token_shards import ShardHeader, TokenShard, shard_entry, token_dtype, write_token_shard
from trainer.config import Training
from trainer.data.corpora import Corpora, open_corpora
from trainer.data.curriculum import Curriculum, resolve

TOKENIZER = hashlib.sha256(b"a tokenizer").hexdigest()
RECIPE = hashlib.sha256(b"a recipe").hexdigest()
EOS = 0
VOCABULARY = 60_000
MODEL = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16}

ON_DISK = settings(max_examples=40)  # for properties that write a corpus an example

Documents = Sequence[NDArray[np.int64]]  # of one shard


class Made(NamedTuple):
    """A source: the documents of each of its shards."""

    train: Sequence[Documents]
    holdout: Sequence[Documents] = ()

    def tokens(self) -> NDArray[np.int64]:
        """Return the training tokens in the order of the shards."""
        return np.concatenate([document for shard in self.train for document in shard])

    def starts(self) -> list[int]:
        """Return the position of each training document's first token."""
        return list(accumulate((len(document) for shard in self.train for document in shard), initial=0))[:-1]


def counted(shard_tokens: Sequence[int], first: int = 0) -> Made:
    """A source whose token ids are `first` + their position. Each shard is one document, without EOS."""
    starts = np.cumsum([first, *shard_tokens])
    return Made([[np.arange(start, start + size)] for start, size in zip(starts, shard_tokens, strict=False)])


def documents(shards: Sequence[Sequence[int]], first: int = 1) -> Made:
    """A source of documents of these lengths, including EOS; other token ids are positions, as in `counted`.

    A negative length is that of a document that a takedown replaced with EOS.
    """
    place, made = first, []
    for lengths in shards:
        shard = []
        for length in lengths:
            tokens_N = np.full(abs(length), EOS) if length < 0 else np.arange(place, place + length)
            tokens_N[-1] = EOS
            place += abs(length)
            shard.append(tokens_N)
        made.append(shard)
    return Made(made)


def write(
    folder: Path,
    sources: Mapping[str, Made],
    *,
    vocabulary: int = VOCABULARY,
    tokenizer: str = TOKENIZER,
) -> Path:
    """Write shards and a manifest into `folder`, and return it."""
    (folder / "shards").mkdir(parents=True)
    dtype = token_dtype(vocabulary)
    made = {
        name: [
            _shard(folder, name, split, number, shard, dtype, tokenizer)
            for split, shards in (("train", source.train), ("holdout", source.holdout))
            for number, shard in enumerate(shards)
        ]
        for name, source in sorted(sources.items())
    }
    sums = {name: total([each for each in shards if each.split == "train"]) for name, shards in made.items()}
    got = sum(each.tokens for each in sums.values())
    manifest = Manifest(
        name="made",
        recipe=RECIPE,
        seed=1,
        tokens_asked=None,
        tokens_got=got,
        shortfall="accept",
        tokenizer=TokenizerEntry(
            file="tokenizer.json",
            sha256=tokenizer,
            vocabulary=vocabulary,
            eos=Eos(token="<|endoftext|>", id=EOS),
            dtype=dtype.name,  # type: ignore[arg-type]
        ),
        sources=tuple(
            SourceEntry(
                name=name,
                license="cc0-1.0",
                priority=0,
                share_asked=sums[name].tokens / max(1, got),
                share_got=sums[name].tokens / max(1, got),
                train=sums[name],
                holdout=total([each for each in shards if each.split == "holdout"]),
                holdout_thin=True,
                shards=tuple(shards),
            )
            for name, shards in made.items()
        ),
        fingerprints={},
    )
    write_manifest(folder / "manifest.json", manifest)
    return folder


def _shard(
    folder: Path,
    source: str,
    split: Split,
    number: int,
    made: Documents,
    dtype: "np.dtype[np.unsignedinteger]",
    tokenizer: str,
) -> ShardEntry:
    ids = [hashlib.sha256(f"{source}/{split}/{number}/{each}".encode()).digest()[:16] for each in range(len(made))]
    lengths_D = np.array([len(document) for document in made], np.int64)
    shard = TokenShard(
        header=ShardHeader(tokenizer, RECIPE, source, split),
        ids_D16=np.frombuffer(b"".join(ids), np.uint8).reshape(-1, 16),
        tokens_N=np.concatenate(made).astype(dtype),
        offsets_D1=np.concatenate([[0], np.cumsum(lengths_D)]),
        bytes_D=4 * lengths_D,
    )
    file = f"shards/{source}-{split}-{number:03d}.arrow"
    write_token_shard(folder / file, shard)
    return shard_entry(folder / file, file, shard, {"en": len(made)})


@contextmanager
def corpora_of(sources: Mapping[str, Made], *, chunk_tokens: int, vocabulary: int = VOCABULARY) -> Iterator[Corpora]:
    """Write a build for the duration of the block, and open it: for tests that need one per example."""
    with TemporaryDirectory() as temporary:
        folder = write(Path(temporary) / "build", sources, vocabulary=vocabulary)
        yield with_chunks(open_corpora({"main": str(folder)}), chunk_tokens)


def with_chunks(corpora: Corpora, chunk_tokens: int) -> Corpora:
    """Return the corpora with chunks of another size than the trainer would choose."""
    sources = {name: replace(source, chunk_tokens=chunk_tokens) for name, source in corpora.sources.items()}
    return replace(corpora, sources=sources)


def phase(name: str = "all", **written: object) -> dict[str, object]:
    """A phase as in a training file, with a constant learning rate by default."""
    return {"name": name, "learning_rate": {"peak": 1e-3}, **written}


def phase_of_steps(
    steps: int, sequence_tokens: int, sequences: int, name: str = "all", **written: object
) -> dict[str, object]:
    """A phase of `steps` steps without a limit on epochs."""
    batch = sequence_tokens * sequences
    sizes = {"tokens": steps * batch, "sequence_tokens": sequence_tokens, "batch_tokens": batch, "max_epochs": 1e12}
    return phase(name, **{**sizes, **written})


def training(*phases: dict[str, object], **written: object) -> Training:
    """A training file with these phases."""
    document = {
        "format_version": 1,
        "name": "made",
        "corpora": {"main": "build"},
        "model": MODEL,
        "curriculum": phases,
        **written,
    }
    return Training.model_validate_json(json.dumps(document))


def curriculum(corpora: Corpora, *phases: dict[str, object], **written: object) -> Curriculum:
    """The curriculum of these phases over the corpora."""
    return resolve(training(*phases, **written), corpora)

"""Our loader and plain loops over a memory map, measured by `loader.py`, and the tokens that all loaders read."""

import hashlib
import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from loader_peers import (
    BATCH,
    EOS,
    SEED,
    SEQUENCE,
    SHARES,
    VOCABULARY,
    MeasuredLoader,
    OpenLoader,
    Pair,
    State,
    load_torch,
    pair,
    tokens_of,
)

ROOT = Path(__file__).parents[1]
DOCUMENT_TOKENS = {"books": (11_000, 1.1), "code": (800, 1.4), "web": (700, 1.2)}  # median, sigma of the log


def make_tokens(folder: Path, tokens: int) -> None:
    """Write documents of log-normal length that end in EOS. Sources have disjoint ranges of token ids."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (source, share) in enumerate(SHARES.items()):
        random, count = np.random.default_rng(number), round(tokens * share)
        median, sigma = DOCUMENT_TOKENS[source]
        drawn = np.exp(random.normal(np.log(median), sigma, 2 * count // median + 100))
        ends = np.cumsum(np.clip(drawn, 2, 200_000).astype(np.int64))
        ends = np.append(ends[ends < count], count)
        low, high = (VOCABULARY * each // len(SHARES) for each in (number, number + 1))
        data = random.integers(max(1, low), high, count, dtype=np.uint16)
        data[ends - 1] = EOS
        np.save(folder / f"{source}.npy", data)
        np.save(folder / f"{source}.offsets.npy", np.concatenate([[0], ends]))


# Our loader.


def load_ours() -> None:
    """Import the loader, and torch for the tensors."""
    load_torch()
    sys.path.insert(0, str(ROOT))
    import trainer.data.curriculum
    import trainer.data.loader  # noqa: F401


def write_ours(tokens: Path, folder: Path) -> None:
    """Write manifest and token shards as `corpus build` does."""
    sys.path.insert(0, str(ROOT))
    from corpus.store import corpus_manifest as store
    from corpus.store.token_shards import ShardHeader, TokenShard, shard_entry, write_token_shard

    zero, none = hashlib.sha256(b"benchmark").hexdigest(), store.Totals(documents=0, tokens=0, bytes=0)
    sources = []
    for source, share in SHARES.items():
        data, offsets = np.load(tokens / f"{source}.npy"), np.load(tokens / f"{source}.offsets.npy")
        ids = np.random.default_rng(0).integers(0, 256, (len(offsets) - 1, 16), dtype=np.uint8)
        shard = TokenShard(ShardHeader(zero, zero, source, "train"), ids, data, offsets, 4 * np.diff(offsets))
        write_token_shard(folder / f"{source}.arrow", shard)
        shards = (shard_entry(folder / f"{source}.arrow", f"{source}.arrow", shard, {}),)
        sources.append(
            store.SourceEntry(
                name=source,
                license="none",
                priority=0,
                share_asked=share,
                share_got=share,
                train=store.total(shards),
                holdout=none,
                holdout_thin=True,
                shards=shards,
            )
        )
    manifest = store.Manifest(
        name="benchmark",
        recipe=zero,
        seed=0,
        tokens_asked=None,
        tokens_got=sum(source.train.tokens for source in sources),
        shortfall="accept",
        tokenizer=store.TokenizerEntry(
            file="tokenizer.json",
            sha256=zero,
            vocabulary=VOCABULARY,
            eos=store.Eos(token="<|endoftext|>", id=EOS),
            dtype="uint16",
        ),
        sources=tuple(sources),
        fingerprints={},
    )
    store.write_manifest(folder / store.FILE_NAME, manifest)


def open_ours(folder: Path, state: State | None, *, how: str) -> OpenLoader:
    """Open three sources mixed by shares in permuted order; batches have segments and ignored targets."""
    import torch

    from trainer.config import Training
    from trainer.data.corpora import open_corpora
    from trainer.data.curriculum import resolve
    from trainer.data.loader import Batches

    corpora = open_corpora({"made_up": str(folder)})
    tokens = sum(source.train_tokens for source in corpora.sources.values())
    settings = {
        "format_version": 1,
        "name": "benchmark",
        "corpora": {"made_up": str(folder)},
        "model": {"num_hidden_layers": 1, "hidden_size": 64, "num_attention_heads": 1, "intermediate_size": 64},
        "curriculum": [
            {
                "name": "only",
                "tokens": round(tokens * 0.99),
                "sequence_tokens": SEQUENCE,
                "batch_tokens": SEQUENCE * BATCH,
                "shares": SHARES,
                "learning_rate": {"peak": 0.001},
            }
        ],
    }
    phase = resolve(Training.model_validate_json(json.dumps(settings)), corpora).phases[0]
    batches, first = Batches(corpora, phase), phase.first_step
    if state is not None:
        first += int(str(state["done"]))

    def tensors() -> Iterator[Pair]:
        single = (batches[step] for step in range(first, phase.last_step))
        for batch in single if how == "random" else batches.iterate(first, prefetch=how in ("prefetch", "digests")):
            if how == "digests":
                batch.digest()
            parts = (batch.inputs_BT, batch.targets_BT, batch.segments_BT)
            yield tuple(torch.from_numpy(part) for part in parts)

    return OpenLoader(tensors(), lambda done: {"done": done})


# Plain loops: sequences from random offsets, drawn with replacement. Resuming draws new ones.


def write_flat(tokens: Path, folder: Path) -> None:
    """Write one file that contains only tokens."""
    with (folder / "all.bin").open("wb") as file:
        for source in SHARES:
            tokens_of(tokens, source).tofile(file)


def open_memmap(folder: Path, state: State | None) -> OpenLoader:
    """Open one map once, and take a slice of it for each row."""

    def batches() -> Iterator[Pair]:
        data, random = np.memmap(folder / "all.bin", dtype=np.uint16, mode="r"), np.random.default_rng(SEED)
        while True:
            starts = random.integers(0, len(data) - SEQUENCE, BATCH).tolist()
            yield pair(np.stack([data[at : at + SEQUENCE + 1] for at in starts]))

    return OpenLoader(batches(), lambda done: {})


def open_tuned(folder: Path, state: State | None) -> OpenLoader:
    """Open the map as a plain array, whose slices cost less, and reuse one array for all rows."""

    def batches() -> Iterator[Pair]:
        data = np.asarray(np.memmap(folder / "all.bin", dtype=np.uint16, mode="r"))
        random, rows = np.random.default_rng(SEED), np.empty((BATCH, SEQUENCE + 1), np.uint16)
        while True:
            for row, at in enumerate(random.integers(0, len(data) - SEQUENCE, BATCH).tolist()):
                rows[row] = data[at : at + SEQUENCE + 1]
            yield pair(rows)

    return OpenLoader(batches(), lambda done: {})


def open_nanogpt(folder: Path, state: State | None) -> OpenLoader:
    """Open the map for each batch. Source: nanoGPT, train.py, get_batch."""
    import torch

    def batches() -> Iterator[Pair]:
        while True:
            data = np.memmap(folder / "all.bin", dtype=np.uint16, mode="r")
            ix = torch.randint(len(data) - SEQUENCE, (BATCH,))
            x = torch.stack([torch.from_numpy((data[i : i + SEQUENCE]).astype(np.int64)) for i in ix])
            y = torch.stack([torch.from_numpy((data[i + 1 : i + 1 + SEQUENCE]).astype(np.int64)) for i in ix])
            yield x, y

    return OpenLoader(batches(), lambda done: {})


_MODES = {
    "prefetch off": ("plain", "64 steps read at a time"),
    "prefetch on": ("prefetch", "64 steps read at a time, by a thread"),
    "prefetch on, with digests": ("digests", "as before, and each batch's digest, which `trainer fit` takes"),
    "batch by batch": ("random", "batches[step], one at a time"),
}
OURS = {
    f"Gristmill, {name}": MeasuredLoader(
        f"mixed by shares, sequences permuted in windows of 128 chunks, segments of documents, ignored targets; {mode}",
        None,
        "Gristmill",
        load_ours,
        write_ours,
        partial(open_ours, how=how),
    )
    for name, (how, mode) in _MODES.items()
}
PLAIN = {
    name: MeasuredLoader(description, None, "memmap", load_torch, write_flat, opener)
    for name, description, opener in (
        ("memmap loop", "random offsets; np.stack of slices of one np.memmap", open_memmap),
        ("memmap loop, tuned", "the same with plain slices into one array of rows", open_tuned),
        ("nanoGPT's get_batch", "random offsets, the map opened for each batch, as published", open_nanogpt),
    )
}

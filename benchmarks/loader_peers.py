"""Dataset libraries that `loader.py` compares with our loader, and the interface of a measured loader.

A `MeasuredLoader` writes the same tokens in its own format, and opens them at the start or at a saved state. All return
batches of sequences as two contiguous int64 tensors, inputs and targets, without worker processes. Only `load` imports
torch and the libraries.
"""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

SEQUENCE, BATCH = 2048, 8
SHARES = {"books": 0.3, "code": 0.2, "web": 0.5}  # of the written tokens, and of those read
EOS, VOCABULARY, SEED = 0, 50_000, 1
LIBRARIES = ("mosaicml-streaming", "litdata", "megatron-core", "datasets")
Pair = tuple["Tensor", ...]  # inputs, targets, and the segments of ours
State = dict[str, object]  # JSON object
Writer = Callable[[Path, Path], None]  # (folder of tokens, output folder)


class OpenLoader(NamedTuple):
    """Open loader, and a function that returns the state from which to resume."""

    batches: Iterator[Pair]
    state: Callable[[int], State]  # argument: number of batches read


class MeasuredLoader(NamedTuple):
    """Loader to measure."""

    description: str  # its options
    package: str | None  # library to install; None for our own environment
    format: str  # name of its folder; loaders of the same format share files
    load: Callable[[], None]
    write: Writer
    open: Callable[[Path, State | None], OpenLoader]


def tokens_of(tokens: Path, source: str) -> NDArray[np.uint16]:
    """Return all tokens of a source as a memory map."""
    tokens_N: NDArray[np.uint16] = np.load(tokens / f"{source}.npy", mmap_mode="r")
    return tokens_N


def pair(rows: NDArray[np.uint16]) -> Pair:
    """Split rows into inputs and targets."""
    import torch

    return torch.from_numpy(rows[:, :-1].astype(np.int64)), torch.from_numpy(rows[:, 1:].astype(np.int64))


def load_torch() -> None:
    """Import torch, with one thread."""
    import torch

    torch.set_num_threads(1)


# MosaicML Streaming.


def load_mosaicml() -> None:
    """Import the library. It imports torchvision, which is not used and may not match the build of torch."""
    load_torch()
    import torch

    os.environ.setdefault("RANK", "0")
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        for operator in ("nms", "qnms"):  # which the Python part of torchvision expects at import
            torch.library.define(f"torchvision::{operator}", "(Tensor dets, Tensor scores, float threshold) -> Tensor")
    from streaming.base.util import clean_stale_shared_memory

    clean_stale_shared_memory()  # left by killed runs


def write_mosaicml(tokens: Path, folder: Path) -> None:
    """Write a folder of MDS shards for each source, with one sample per sequence."""
    from streaming import MDSWriter

    for source in SHARES:
        with MDSWriter(out=str(folder / source), columns={"tokens": f"ndarray:uint16:{SEQUENCE + 1}"}) as out:
            for row in _sequences(tokens, source):
                out.write({"tokens": row})


def open_mosaicml(folder: Path, state: State | None, *, mixed: bool) -> OpenLoader:
    """Open with its default shuffling algorithm (py1e)."""
    from streaming import Stream, StreamingDataLoader, StreamingDataset

    streams = [Stream(local=str(folder / each), proportion=SHARES[each] if mixed else None) for each in SHARES]
    dataset = StreamingDataset(streams=streams, shuffle=True, shuffle_seed=SEED, batch_size=BATCH)
    loader = StreamingDataLoader(
        dataset, batch_size=BATCH, collate_fn=lambda items: pair(np.stack([item["tokens"] for item in items]))
    )
    if state is not None:
        loader.load_state_dict(state)
    return OpenLoader(iter(loader), lambda done: loader.state_dict())


# LitData.


def load_litdata() -> None:
    """Import the library."""
    load_torch()
    import litdata  # noqa: F401


def write_litdata(tokens: Path, folder: Path) -> None:
    """Write a folder of token chunks for each source, and one for all sources."""
    import torch
    from litdata.streaming import TokensLoader
    from litdata.streaming.cache import Cache

    for name, sources in {**{source: [source] for source in SHARES}, "all": list(SHARES)}.items():
        cache = Cache(str(folder / name), chunk_size=(SEQUENCE + 1) * 8192, item_loader=TokensLoader(SEQUENCE + 1))
        rows = (row for source in sources for row in _sequences(tokens, source))
        for number, row in enumerate(rows):
            cache[number] = torch.from_numpy(row.copy())
        cache.done()
        cache.merge()


def open_litdata(folder: Path, state: State | None, *, mixed: bool) -> OpenLoader:
    """Open with TokensLoader, shuffled."""
    from litdata import CombinedStreamingDataset, StreamingDataLoader, StreamingDataset, TokensLoader

    def open_dataset(name: str) -> StreamingDataset:
        return StreamingDataset(str(folder / name), item_loader=TokensLoader(SEQUENCE + 1), shuffle=True, seed=SEED)

    if mixed:
        parts = [open_dataset(source) for source in SHARES]
        dataset = CombinedStreamingDataset(parts, SEED, tuple(SHARES.values()), iterate_over_all=False)
    else:
        dataset = open_dataset("all")
    loader = StreamingDataLoader(dataset, batch_size=BATCH)
    if state is not None:
        loader.load_state_dict(state)
    return OpenLoader((pair(rows.numpy()) for rows in loader), lambda done: loader.state_dict())


# Megatron's indexed dataset.


def load_megatron() -> None:
    """Import the library, and initialize torch.distributed, which it needs."""
    load_torch()
    import torch.distributed as dist

    warnings.filterwarnings("ignore", message="Transformer Engine")
    logging.disable(logging.WARNING)
    from megatron.core.datasets import blended_megatron_dataset_builder, gpt_dataset  # noqa: F401

    dist.init_process_group("gloo", init_method="tcp://127.0.0.1:0", rank=0, world_size=1)


def write_megatron(tokens: Path, folder: Path) -> None:
    """Write an indexed dataset for each source, and one for all sources; documents stay whole."""
    from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder

    for name, sources in {**{source: [source] for source in SHARES}, "all": list(SHARES)}.items():
        builder = IndexedDatasetBuilder(str(folder / f"{name}.bin"), dtype=np.uint16)
        for source in sources:
            data, offsets = tokens_of(tokens, source), np.load(tokens / f"{source}.offsets.npy").tolist()
            for first, last in pairwise(offsets):
                builder.add_document(data[first:last], [last - first])
        builder.finalize(str(folder / f"{name}.idx"))


class _Tokenizer:
    """Tokenizer attributes that GPTDataset reads."""

    vocab_size, eod, eos, pad = VOCABULARY, EOS, EOS, VOCABULARY - 1
    unique_identifiers = {"class": "none"}  # noqa: RUF012


def open_megatron(folder: Path, state: State | None, *, mixed: bool) -> OpenLoader:
    """Open without attention mask and resets, its fastest options. Resuming reuses the indices of the first start."""
    from megatron.core.datasets.blended_megatron_dataset_builder import BlendedMegatronDatasetBuilder
    from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig
    from torch.utils.data import DataLoader, default_collate

    prefixes = [str(folder / each) for each in (SHARES if mixed else ["all"])]
    samples = (folder / "all.bin").stat().st_size // 2 * 98 // 100 // SEQUENCE  # a little less than one epoch
    weights, sizes = (list(SHARES.values()), [samples, 0, 0]) if mixed else (None, [None] * 3)
    cache = folder / f"cache_{len(prefixes)}"
    for old in cache.glob("*") if state is None else ():  # a fresh start must build its indices
        old.unlink()
    flags = ("reset_position_ids", "reset_attention_mask", "eod_mask_loss", "create_attention_mask")
    settings = GPTDatasetConfig(
        random_seed=SEED,
        sequence_length=SEQUENCE,
        blend=(prefixes, weights),
        split="1,0,0",
        path_to_cache=str(cache),
        tokenizer=_Tokenizer(),
        **dict.fromkeys(flags, False),
    )

    def collate(items: list[dict[str, "Tensor"]]) -> Pair:  # without masks and positions
        return tuple(default_collate([(item["tokens"], item["labels"]) for item in items]))

    dataset = BlendedMegatronDatasetBuilder(GPTDataset, sizes, lambda: True, settings).build()[0]
    first = 0 if state is None else int(str(state["consumed_samples"]))
    loader = DataLoader(dataset, batch_size=BATCH, sampler=range(first, len(dataset)), collate_fn=collate)
    return OpenLoader(iter(loader), lambda done: {"consumed_samples": done * BATCH})


# Hugging Face datasets.


def load_datasets() -> None:
    """Import the library, offline and without progress bars."""
    load_torch()
    os.environ["HF_HUB_OFFLINE"] = "1"
    import datasets

    datasets.disable_progress_bars()


def write_datasets(tokens: Path, folder: Path) -> None:
    """Write an Arrow dataset for each source, with one row per sequence."""
    from datasets import Dataset, Features, List, Value

    for source in SHARES:
        features = Features({"tokens": List(Value("uint16"), length=SEQUENCE + 1)})
        rows = Dataset.from_generator(
            lambda source=source: ({"tokens": row} for row in _sequences(tokens, source)),
            features=features,
            cache_dir=str(folder / "cache"),
        )
        rows.save_to_disk(str(folder / source))


def open_datasets(folder: Path, state: State | None, *, mixed: bool) -> OpenLoader:
    """Open map-style in Arrow format, its fastest option: slices if mixed, else a list of row numbers per batch."""
    from datasets import concatenate_datasets, interleave_datasets, load_from_disk

    parts = [load_from_disk(str(folder / source)) for source in SHARES]
    if mixed:
        rows = interleave_datasets([part.shuffle(seed=SEED) for part in parts], list(SHARES.values()), seed=SEED)
    else:
        rows = concatenate_datasets(parts)
    rows = rows.with_format("arrow")
    order = None if mixed else np.random.default_rng(SEED).permutation(len(rows))

    def batch(at: int) -> Pair:
        which = slice(at, at + BATCH) if order is None else order[at : at + BATCH].tolist()
        return pair(rows[which]["tokens"].combine_chunks().flatten().to_numpy().reshape(BATCH, SEQUENCE + 1))

    first = 0 if state is None else int(str(state["first"]))
    return OpenLoader(map(batch, range(first, len(rows) - BATCH + 1, BATCH)), lambda done: {"first": done * BATCH})


def _sequences(tokens: Path, source: str) -> Iterator[NDArray[np.uint16]]:
    data = np.asarray(tokens_of(tokens, source))
    for at in range(0, len(data) - SEQUENCE, SEQUENCE):
        yield data[at : at + SEQUENCE + 1]


_PEERS = {
    "MosaicML Streaming": (
        ("MDS, local, samples shuffled (py1e)", "streams by proportion"),
        ("mosaicml-streaming", load_mosaicml, write_mosaicml, open_mosaicml),
    ),
    "LitData": (
        ("TokensLoader, chunks and samples shuffled", "CombinedStreamingDataset by weights"),
        ("litdata", load_litdata, write_litdata, open_litdata),
    ),
    "Megatron": (
        ("GPTDataset, single sequences permuted, no attention mask, no resets", "a blend by weights"),
        ("megatron-core", load_megatron, write_megatron, open_megatron),
    ),
    "HF datasets": (
        ("map-style, Arrow format, single sequences permuted", "interleave_datasets by probabilities"),
        ("datasets", load_datasets, write_datasets, open_datasets),
    ),
}
PEERS = {  # all tokens as one source, the fastest, and three sources mixed by shares
    f"{name}, {what}": MeasuredLoader(
        "; ".join(options[:parts]), package, name, load, write, partial(opener, mixed=parts == 2)
    )
    for name, (options, (package, load, write, opener)) in _PEERS.items()
    for what, parts in (("one source", 1), ("mixed", 2))
}

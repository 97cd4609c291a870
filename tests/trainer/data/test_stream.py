"""The stream of a source: each epoch reads each chunk once, and each token is a target once, for any sizes.

Token ids of a `counted` source are their positions in it, so that a stream shows what it has read.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from corpus.errors import CorpusError
from tests.trainer.made_corpus import ON_DISK, VOCABULARY, Made, corpora_of, counted, documents, write
from trainer.data.corpora import Corpora, open_corpora
from trainer.data.stream import ShardMaps, SourceStream
from trainer.errors import TrainerError

CUTS = st.lists(st.integers(1, 40), min_size=1, max_size=6)  # tokens of each shard
CHUNKS = st.integers(1, 50)
LARGE = 70_000  # a vocabulary of uint32


def stream_of(corpora: Corpora, seed: int = 1, maps: ShardMaps | None = None) -> SourceStream:
    return SourceStream(corpora.sources["books"], seed, corpora.tokenizer.vocabulary, maps or ShardMaps())


@contextmanager
def opened(cuts: list[int], chunk_tokens: int, seed: int = 1, first: int = 0) -> Iterator[SourceStream]:
    """The stream of a counted source."""
    vocabulary = VOCABULARY if first + sum(cuts) <= VOCABULARY else LARGE
    with corpora_of({"books": counted(cuts, first)}, chunk_tokens=chunk_tokens, vocabulary=vocabulary) as corpora:
        yield stream_of(corpora, seed)


@ON_DISK
@given(CUTS, CHUNKS, st.integers(0, 3), st.integers(0, 2**32 - 1))
@example([5], 8, 0, 1)  # less than a chunk
@example([1], 1, 2, 1)  # one token
@example([6, 6], 4, 1, 1)  # whole chunks alone
@example([12], 12, 1, 1)  # one whole chunk
@example([3, 4, 6], 4, 1, 1)  # a tail of one token
@example([1, 1, 1, 1, 1], 2, 0, 1)  # shards smaller than a chunk
def test_each_epoch_visits_each_chunk_once(cuts: list[int], chunk: int, epoch: int, seed: int) -> None:
    """Fails if the remainder after the last full chunk is permuted like a full one."""
    tokens = sum(cuts)
    with opened(cuts, chunk, seed) as stream:
        read_N, _ = stream.read(epoch * tokens, tokens)
    whole = tokens // chunk
    chunks_CN = read_N[: whole * chunk].reshape(whole, chunk).astype(np.int64)
    assert np.array_equal(
        chunks_CN - chunks_CN[:, :1], np.tile(np.arange(chunk), (whole, 1))
    )  # each chunk is contiguous
    assert sorted(chunks_CN[:, 0].tolist()) == [number * chunk for number in range(whole)]
    assert read_N[whole * chunk :].tolist() == list(range(whole * chunk, tokens))


@ON_DISK
@given(CUTS, CHUNKS, st.integers(1, 30), st.integers(1, 3))
@example([5], 8, 3, 2)
@example([16], 4, 4, 1)
@example([17], 4, 16, 2)
@example([2], 1, 30, 3)
def test_each_token_is_a_target_once_an_epoch(cuts: list[int], chunk: int, width: int, epochs: int) -> None:
    """Fails if sequences of T + 1 tokens have a stride of T + 1: their first tokens would never be targets."""
    tokens = sum(cuts)
    targets: list[int] = []
    with opened(cuts, chunk) as stream:
        first = int(stream.read(0, 1)[0][0])
        for start in range(0, epochs * tokens, width):
            window_N, _ = stream.read(start, width + 1)
            targets += window_N[1:].tolist()
    for epoch in range(epochs):
        seen = targets[max(0, epoch * tokens - 1) : (epoch + 1) * tokens - 1]
        assert sorted(seen) == sorted(set(range(tokens)) - ({first} if epoch == 0 else set()))


@ON_DISK
@given(CUTS, CHUNKS, st.integers(0, 300), st.integers(1, 200))
def test_any_range_equals_that_part_of_the_stream(cuts: list[int], chunk: int, start: int, count: int) -> None:
    """Fails if a read in the middle of a chunk starts at its beginning, or if the first token is a seam."""
    with opened(cuts, chunk) as stream:
        whole_N, seams = stream.read(0, start + count)
        part_N, part_seams = stream.read(start, count)
        pieces = list(stream.slices(start, count))
    assert np.array_equal(part_N, whole_N[start:])
    assert part_seams.tolist() == [seam - start for seam in seams.tolist() if seam > start]
    breaks = [at for at, (a, b) in enumerate(pairwise(whole_N.tolist()), 1) if b != a + 1]
    assert seams.tolist() == breaks
    assert sum(piece.last - piece.first for piece in pieces) == count


@ON_DISK
@given(CUTS, CHUNKS, st.integers(0, 300), st.integers(1, 100))
def test_slices_locate_the_tokens(cuts: list[int], chunk: int, start: int, count: int) -> None:
    """Fails if a range continues in the next shard at the offset where it left the previous one."""
    starts = {f"books-train-{number:03d}.arrow": sum(cuts[:number]) for number in range(len(cuts))}
    with opened(cuts, chunk) as stream:
        told = [
            starts[piece.shard.path.name] + place
            for piece in stream.slices(start, count)
            for place in range(piece.first, piece.last)
        ]
        assert told == stream.read(start, count)[0].tolist()


def test_epochs_seeds_and_sources_have_different_orders() -> None:
    """Fails if the key omits the epoch, the seed, or the source's name."""
    made = {"books": counted([120]), "poems": counted([120])}
    with corpora_of(made, chunk_tokens=2) as corpora:
        poems = SourceStream(corpora.sources["poems"], 1, VOCABULARY, ShardMaps())
        orders = [
            stream_of(corpora).read(0, 120)[0],
            stream_of(corpora).read(120, 120)[0],
            stream_of(corpora, seed=2).read(0, 120)[0],
            poems.read(0, 120)[0],
        ]
    assert len({tuple(order_N.tolist()) for order_N in orders}) == len(orders)


def test_tokens_over_65535_are_read() -> None:
    """Fails if the buffer is always uint16."""
    with opened([40, 40], 7, first=69_000) as stream:
        read_N, _ = stream.read(0, 80)
    assert read_N.dtype == np.uint32
    assert sorted(read_N.tolist()) == list(range(69_000, 69_080))


def test_read_returns_a_writable_copy() -> None:
    with opened([20], 4) as stream:
        read_N: NDArray[np.unsignedinteger] = stream.read(0, 20)[0]
        read_N[:] = 7
        assert stream.read(0, 20)[0].tolist() != read_N.tolist()


def test_the_least_recently_used_map_is_closed() -> None:
    """Fails if the newest map is closed instead."""
    with corpora_of({"books": counted([10] * 6)}, chunk_tokens=3) as corpora:
        source = corpora.sources["books"]
        maps = ShardMaps(limit=2)
        narrow, wide = stream_of(corpora, maps=maps).read(0, 130), stream_of(corpora).read(0, 130)
        kept, newer = maps.open(source.train[0]), maps.open(source.train[1])
        assert maps.open(source.train[0]) is kept
        assert maps.open(source.train[2]) is not newer  # closes number 1
        assert maps.open(source.train[0]) is kept
        assert maps.open(source.train[1]) is not newer
    assert np.array_equal(narrow[0], wide[0])


@contextmanager
def two_builds(other: Made, **settings: object) -> Iterator[tuple[SourceStream, Path]]:
    """Yield a fresh stream whose shard was replaced with that of another build, and the path of the shard."""
    with TemporaryDirectory() as temporary:
        folder = write(Path(temporary) / "ours", {"books": counted([64])}, chunk_tokens=8)
        theirs = write(Path(temporary) / "theirs", {"books": other}, chunk_tokens=8, **settings)  # type: ignore[arg-type]
        shard = "shards/books-train-000.arrow"
        (theirs / shard).replace(folder / shard)
        yield stream_of(open_corpora({"main": str(folder)})), folder / shard


def test_a_shard_of_another_tokenizer_is_rejected() -> None:
    """Fails if only the number of tokens is compared."""
    with (
        two_builds(counted([64]), tokenizer="ab" * 32) as (stream, path),
        pytest.raises(TrainerError, match=r"tokenizer abababababab; the manifest says 64 of .*corpus verify") as caught,
    ):
        stream.read(0, 5)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_shard_of_another_length_is_rejected() -> None:
    """Fails if only the tokenizer is compared: a stream would run over the shard's end."""
    with (
        two_builds(counted([63])) as (stream, _),
        pytest.raises(TrainerError, match=r"holds 63 tokens .* the manifest says 64 "),
    ):
        stream.read(0, 5)


def test_a_shard_of_wider_tokens_is_rejected() -> None:
    """Fails if the type is not checked: numpy truncates uint32 to uint16 silently."""
    with (
        two_builds(documents([[64]]), vocabulary=LARGE) as (stream, _),
        pytest.raises(
            TrainerError, match=r"found uint32 tokens, expected uint16 for the manifest's vocabulary: .*corpus verify"
        ),
    ):
        stream.read(0, 5)


@pytest.mark.parametrize("keep", [None, 0, 10, 700])
def test_a_missing_or_truncated_shard_is_named(keep: int | None) -> None:
    """Fails if shards are mapped without the checks of `open_token_shard`."""
    with two_builds(counted([64])) as (stream, path):
        content = path.read_bytes()
        path.unlink()
        if keep is not None:
            path.write_bytes(content[:keep])
        with pytest.raises(CorpusError, match="token shard") as caught:
            stream.read(0, 5)
    assert str(path) in str(caught.value)

"""A source's sequences as they are read from its shards, for shards of any sizes.

Token ids of a `counted` source are their positions in it, so that a sequence shows what was read.
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

from corpus.errors import CorpusError
from tests.trainer.made_corpus import ON_DISK, VOCABULARY, Made, corpora_of, counted, documents, write
from trainer.data.corpora import Corpora, open_corpora
from trainer.data.cursor import first_cursor
from trainer.data.reading_order import reading_order
from trainer.data.stream import ShardMaps, SourceStream
from trainer.errors import TrainerError

CUTS = st.lists(st.integers(1, 40), min_size=1, max_size=6)  # tokens of each shard
CHUNKS = st.integers(1, 50)
PAD = 65_535  # in place of EOS
LARGE = 70_000  # a vocabulary of uint32


def stream_of(corpora: Corpora, width: int = 8, maps: ShardMaps | None = None) -> SourceStream:
    source = corpora.sources["books"]
    order = reading_order(source.layout, 1, first_cursor(source.train_tokens), width)
    return SourceStream(source, order, PAD, corpora.tokenizer.vocabulary, maps or ShardMaps())


@contextmanager
def opened(cuts: list[int], chunk_tokens: int, width: int = 8, first: int = 0) -> Iterator[SourceStream]:
    """The stream of a counted source."""
    vocabulary = VOCABULARY if first + sum(cuts) <= VOCABULARY else LARGE
    with corpora_of({"books": counted(cuts, first)}, chunk_tokens=chunk_tokens, vocabulary=vocabulary) as corpora:
        yield stream_of(corpora, width)


@ON_DISK
@given(CUTS, CHUNKS, st.integers(1, 30), st.lists(st.integers(0, 300), min_size=1, max_size=12))
@example([1, 1, 1, 1, 1], 2, 2, [0, 1, 2, 3])  # shards smaller than a chunk
@example([40, 40], 80, 10, [0, 1, 2, 3, 4, 5, 6, 7])  # sequences that end at a shard's end, or lie across it
def test_sequences_are_read_in_order(cuts: list[int], chunk: int, width: int, sequences: list[int]) -> None:
    """Fails if a range continues in the next shard at the offset where it left the previous one, if the first token is
    a seam, or if what a short sequence lacks is not filled up behind a seam."""
    starts = {f"books-train-{number:03d}.arrow": sum(cuts[:number]) for number in range(len(cuts))}
    with opened(cuts, chunk, width) as stream:
        tokens_NW, row_S, column_S = stream.read(np.array(sequences))
        for row, sequence in enumerate(sequences):
            (epoch,), (position,) = stream.order.locate(np.array([sequence]))
            runs = stream.order.runs(int(epoch), int(position))
            expected = [offset for run in runs for offset in range(run.start, run.stop)]
            seams = [at for at, (a, b) in enumerate(pairwise(expected), 1) if b != a + 1]
            if len(expected) <= width:
                seams.append(len(expected))
            assert tokens_NW[row].tolist() == expected + [PAD] * (width + 1 - len(expected))
            assert column_S[row_S == row].tolist() == seams
            located = [
                (column + place - piece.first, starts[piece.shard.path.name] + place)
                for column, piece in stream.slices(sequence)
                for place in range(piece.first, piece.last)
            ]
            assert located == list(enumerate(expected))


@ON_DISK
@given(CUTS, CHUNKS, st.integers(1, 30))
def test_each_token_is_a_target_once_an_epoch_unless_a_seam_is_before_it(
    cuts: list[int], chunk: int, width: int
) -> None:
    """Fails if sequences of T + 1 tokens have a stride of T + 1: their first tokens would never be targets."""
    tokens = sum(cuts)
    with opened(cuts, chunk, width) as stream:
        tokens_NW, row_S, column_S = stream.read(np.arange(-(-tokens // width)))
    seams = set(zip(row_S.tolist(), column_S.tolist(), strict=True))
    targets = [
        token
        for row, tokens_W in enumerate(tokens_NW.tolist())
        for column, token in enumerate(tokens_W)
        if column and (row, column) not in seams and token != PAD
    ]
    assert len(set(targets)) == len(targets)
    chunks = -(-tokens // chunk)
    assert tokens - chunks <= len(targets) < tokens


def test_tokens_over_65535_are_read() -> None:
    """Fails if the buffer is always uint16."""
    with opened([40, 40], 7, first=69_000) as stream:
        tokens_NW, _, _ = stream.read(np.arange(10))
    assert tokens_NW.dtype == np.uint32
    assert sorted(tokens_NW[:, :-1].ravel().tolist()) == list(range(69_000, 69_080))


def test_read_returns_a_writable_copy() -> None:
    with opened([20], 4) as stream:
        tokens_NW = stream.read(np.arange(2))[0]
        tokens_NW[:] = 7
        assert stream.read(np.arange(2))[0].tolist() != tokens_NW.tolist()


def test_the_least_recently_used_map_is_closed() -> None:
    """Fails if the newest map is closed instead."""
    with corpora_of({"books": counted([10] * 6)}, chunk_tokens=3) as corpora:
        source = corpora.sources["books"]
        maps = ShardMaps(limit=2)
        narrow, wide = (stream_of(corpora, 8, each).read(np.arange(16)) for each in (maps, ShardMaps()))
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
        folder = write(Path(temporary) / "ours", {"books": counted([64])})
        theirs = write(Path(temporary) / "theirs", {"books": other}, **settings)  # type: ignore[arg-type]
        shard = "shards/books-train-000.arrow"
        corpora = open_corpora({"main": str(folder)})  # which compares sizes
        (theirs / shard).replace(folder / shard)
        yield stream_of(corpora), folder / shard


def test_a_shard_of_another_tokenizer_is_rejected() -> None:
    """Fails if only the number of tokens is compared."""
    with (
        two_builds(counted([64]), tokenizer="ab" * 32) as (stream, path),
        pytest.raises(TrainerError, match=r"tokenizer abababababab; the manifest says 64 of .*corpus verify") as caught,
    ):
        stream.read(np.arange(8))
    assert str(caught.value).startswith(f"{path}: ")


def test_a_shard_of_another_length_is_rejected() -> None:
    """Fails if only the tokenizer is compared: a stream would run over the shard's end."""
    with (
        two_builds(counted([63])) as (stream, _),
        pytest.raises(TrainerError, match=r"holds 63 tokens .* the manifest says 64 "),
    ):
        stream.read(np.arange(8))


def test_a_shard_of_wider_tokens_is_rejected() -> None:
    """Fails if the type is not checked: numpy truncates uint32 to uint16 silently."""
    with (
        two_builds(documents([[64]]), vocabulary=LARGE) as (stream, _),
        pytest.raises(
            TrainerError, match=r"found uint32 tokens, expected uint16 for the manifest's vocabulary: .*corpus verify"
        ),
    ):
        stream.read(np.arange(8))


@pytest.mark.parametrize("keep", [None, 0, 10, 700])
def test_a_missing_or_truncated_shard_is_named(keep: int | None) -> None:
    """Fails if shards are mapped without the checks of `open_token_shard`."""
    with two_builds(counted([64])) as (stream, path):
        content = path.read_bytes()
        path.unlink()
        if keep is not None:
            path.write_bytes(content[:keep])
        with pytest.raises(CorpusError, match="token shard") as caught:
            stream.read(np.arange(8))
    assert str(path) in str(caught.value)

"""Spans of `trace` against the text shards, looked up by document id."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from corpus.store.token_shards import open_token_shard
from tests.small_build import built
from tests.trainer.made_corpus import EOS, ON_DISK, Made, corpora_of, curriculum, documents, phase_of_steps
from trainer.data.corpora import Corpora, TokenShardFile, open_corpora
from trainer.data.curriculum import Curriculum
from trainer.data.loader import IGNORED, Batch, Batches
from trainer.inspect.trace import DocumentSpan, documents_of, trace


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def corpora(build: Path) -> Corpora:
    return open_corpora({"main": str(build)})


@pytest.fixture(scope="module")
def curriculum_over_it(corpora: Corpora) -> Curriculum:
    """Return two phases with different sequences and shares; the second continues in one source's second epoch."""
    shares = {"books": 0.75, "web": 0.25}
    return curriculum(
        corpora, phase_of_steps(20, 96, 8, "one"), phase_of_steps(5, 515, 6, "two", shares=shares), seed=12
    )


@pytest.fixture(scope="module")
def texts(build: Path) -> dict[str, dict[str, str]]:
    """Return the text of each training document, by source and id."""
    found: dict[str, dict[str, str]] = {}
    for source in ("books", "web"):
        tables = [
            pq.read_table(path, columns=["id", "text", "split"]).to_pylist()
            for path in build.glob(f"jobs/text.{source}-*/text-*.parquet")
        ]
        found[source] = {row["id"]: row["text"] for table in tables for row in table if row["split"] == "train"}
    return found


def windows(batch: Batch) -> list[list[int]]:
    """Return the T + 1 tokens of each row; the last is IGNORED if it is no target."""
    ends = batch.targets_BT[:, -1:]
    return np.concatenate([batch.inputs_BT, ends], axis=1).tolist()


def by_row(spans: Iterator[DocumentSpan], rows: int) -> list[list[DocumentSpan]]:
    found: list[list[DocumentSpan]] = [[] for _ in range(rows)]
    for span in spans:
        found[span.row].append(span)
    return found


STEPS = [1, 13, 19, 21, 25]


@pytest.mark.parametrize("step", STEPS)
def test_each_span_is_found_in_the_text_shard(
    step: int, corpora: Corpora, curriculum_over_it: Curriculum, texts: dict[str, dict[str, str]]
) -> None:
    """Encoding the document's text gives the tokens in the batch; decoding them gives a part of the text.

    Fails if `document_first` is counted from the start of the shard.
    """
    tokenizer = Tokenizer.from_file(str(corpora.tokenizer.path))
    tokenizer.encode_special_tokens = True
    phase = curriculum_over_it.phase_of(step)
    rows = windows(Batches(corpora, phase)[step])
    spans = by_row(trace(corpora, phase, step), phase.batch_sequences)
    for row, mine in zip(rows, spans, strict=True):
        for span in mine:
            text = texts[span.source][span.id]
            document = [*tokenizer.encode(text, add_special_tokens=False).ids, corpora.tokenizer.eos_id]
            assert len(document) == span.document_tokens
            expected = document[span.document_first : span.document_first + span.last - span.first]
            held = row[span.first : span.last]
            assert held == expected or (held[-1] == IGNORED and held[:-1] == expected[:-1])
            ended = expected[-1] == corpora.tokenizer.eos_id
            assert tokenizer.decode(expected[: len(expected) - ended], skip_special_tokens=False) in text
    assert sum(map(len, spans)) > len(rows)  # some sequences hold several documents


@pytest.mark.parametrize("step", STEPS)
def test_the_spans_of_a_row_cover_it(step: int, corpora: Corpora, curriculum_over_it: Curriculum) -> None:
    """Fails if the last token (only a target) is missing, or if a span passes the end of its document."""
    phase = curriculum_over_it.phase_of(step)
    batch = Batches(corpora, phase)[step]
    spans = list(trace(corpora, phase, step))
    assert spans == sorted(spans, key=lambda span: (span.row, span.first))
    for source, mine in zip(batch.sources, by_row(iter(spans), phase.batch_sequences), strict=True):
        covered = [place for span in mine for place in range(span.first, span.last)]
        assert covered == list(range(phase.sequence_tokens + 1))
        assert {span.source for span in mine} == {source}
        assert all(span.document_first + span.last - span.first <= span.document_tokens for span in mine)
        assert all(span.last > span.first and span.document_first >= 0 for span in mine)


LENGTHS = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=6), min_size=1, max_size=3)


def name_at(shard: TokenShardFile, place: int) -> str:
    opened = open_token_shard(shard.path)
    number = next(each for each in range(len(opened)) if opened.offsets_D1[each + 1] > place)
    return opened.ids_D16[number].tobytes().hex()


@ON_DISK
@given(LENGTHS, st.integers(1, 30), st.integers(2, 12), st.integers(1, 12), st.booleans())
def test_spans_are_correct_for_any_corpus(
    lengths: list[list[int]], chunk: int, width: int, step: int, whole: bool
) -> None:
    """Documents of one token, chunks that cut them, epochs that join.

    Fails if a document is confused with the one before it at their boundary (`side="left"`), or if `document_first` is
    the position in the sequence.
    """
    made = Made(documents(lengths, first=1).train)
    with corpora_of({"books": made}, chunk_tokens=chunk) as corpora:
        plan = curriculum(corpora, phase_of_steps(12, width, 3, whole_documents=whole)).phases[0]
        batches, spans = Batches(corpora, plan), by_row(trace(corpora, plan, step), 3)
        shards = {shard.path.name: shard for shard in corpora.sources["books"].train}
        for (row, source, sequence), mine in zip(batches.rows(step), spans, strict=True):
            pieces = batches.streams[source].slices(sequence)
            expected = [
                (name_at(piece.shard, place), piece.shard.path.name)
                for _, piece in pieces
                for place in range(piece.first, piece.last)
            ]
            assert all(span.first < span.last for span in mine)
            told = [(span.id, span.shard) for span in mine for _ in range(span.first, span.last)]
            assert told == expected
            opened = {name: open_token_shard(shard.path) for name, shard in shards.items()}
            read = list[tuple[int, int]]()  # column and token
            for span in mine:
                shard = opened[span.shard]
                ids = [each.tobytes().hex() for each in shard.ids_D16]
                begin = int(shard.offsets_D1[ids.index(span.id)]) + span.document_first
                read += enumerate(shard.tokens_N[begin : begin + span.last - span.first].tolist(), span.first)
            (tokens_W,) = batches.streams[source].read(np.array([sequence]))[0].tolist()
            assert read == [each for each in enumerate(tokens_W) if each[0] in dict(read)]
            assert {column: token for column, token in enumerate(tokens_W) if column not in dict(read)}.items() <= {
                (column, EOS) for column in range(width + 1)
            }
            assert tokens_W[:-1] == batches[step].inputs_BT[row].tolist()


def test_documents_of_a_step_are_named(corpora: Corpora, curriculum_over_it: Curriculum) -> None:
    """Fails if other rows are named, or a document twice."""
    phase = curriculum_over_it.phases[1]
    spans = list(trace(corpora, phase, 22))
    mine = list(dict.fromkeys(f"{span.source} {span.id}" for span in spans if span.row in (1, 4)))
    assert documents_of(corpora, phase, 22, (1, 4), max_named=100) == ", ".join(mine)
    everything = list(dict.fromkeys(f"{span.source} {span.id}" for span in spans))
    told = documents_of(corpora, phase, 22, (), max_named=3)
    assert told == f"{', '.join(everything[:3])} and {len(everything) - 3} more documents"

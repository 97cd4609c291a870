"""Bits per byte against a slow reference, and independence of batches and processes."""

import math
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import trainer.inspect.evaluate
from tests.trainer.inspect.scored import (
    EOS,
    GOLDEN,
    TEXT_BYTES,
    VOCABULARY,
    Documents,
    Uniform,
    evaluation_row,
    holdout_of,
    made,
    read_back,
    scored,
    tokens_of,
)
from trainer.data.corpora import Corpora, TokenSource, open_corpora
from trainer.data.holdout import open_holdouts, windows
from trainer.data.loader import IGNORED
from trainer.engine.distributed import Distributed
from trainer.errors import TrainerError
from trainer.inspect.metrics import EvaluationRow, SourceScore
from trainer.model.llama.model import LlamaModel
from trainer.model.llama.settings import LlamaConfig
from trainer.model.transformer import initialize


def transformer(vocabulary: int = VOCABULARY) -> LlamaModel:
    """Return a small float64 model with initial weights large enough for tokens to matter."""
    model = LlamaModel(LlamaConfig(2, 16, 2, 1, 8, 24, vocabulary, 10_000.0, 1e-5, False))
    initialize(model, seed=3, initializer_range=0.5)
    return model.double()


def oracle_bits(model: torch.nn.Module, documents: Documents, sequence_tokens: int) -> list[float]:
    """Return the bits of each document, scored one window part at a time; 0 if all is EOS."""
    found, at = [], 0  # `at` is the place in the stream of the EOS before the document
    for document in documents:
        stream = [EOS, *document, EOS]
        bits, first = 0.0, 0
        while first < len(stream) - 1:
            last = min(len(stream) - 1, ((at + first) // sequence_tokens + 1) * sequence_tokens - at)
            with torch.no_grad():
                logits_TV = model(torch.tensor([stream[first:last]]), None)[0]
            for place in range(first, last):
                chances_V = logits_TV[place - first].softmax(dim=0)
                bits -= math.log2(chances_V[stream[place + 1]].item())
            first = last
        found.append(bits if any(token != EOS for token in document) else 0.0)
        at += len(document) + 1
    return found


@pytest.fixture(scope="module")
def golden() -> Corpora:
    return open_corpora({"golden": str(GOLDEN)})


def test_a_uniform_model_needs_log2_of_the_vocabulary_per_token(golden: Corpora) -> None:
    evaluation = scored(Uniform(), golden, sequence_tokens=100)
    assert list(evaluation) == ["books", "code", "web"]
    for name, score in evaluation.items():
        held = holdout_of(golden, name)
        assert (score.tokens, score.bytes) == (held.tokens, held.bytes)
        assert (score.documents, score.holdout_documents, score.overwritten) == (held.documents, held.documents, 0)
        assert score.bits_per_byte == pytest.approx(math.log2(384) * score.tokens / score.bytes, rel=1e-6)
        assert score.bits_per_token == pytest.approx(math.log2(384), rel=1e-6)
    assert {name: score.thin for name, score in evaluation.items()} == {
        "books": True,
        "code": False,
        "web": True,
    }
    tokens, text = (sum(getattr(each, key) for each in evaluation.values()) for key in ("tokens", "bytes"))
    assert evaluation_row(0, "before", evaluation).bits_per_byte == pytest.approx(
        math.log2(384) * tokens / text, rel=1e-6
    )


@pytest.mark.parametrize("sequence_tokens", [2000, 64, 17])
def test_scores_match_the_oracle_document_by_document(golden: Corpora, sequence_tokens: int) -> None:
    """Fails with a mask of None in `_row_losses`, with segments counted after EOS, and with `stride - 1`."""
    model = transformer(384)
    evaluation = scored(model, golden, sequence_tokens=sequence_tokens, batch_sequences=3)
    for name, source in golden.sources.items():
        expected = sum(oracle_bits(model, read_back(source), sequence_tokens))
        assert evaluation[name].bits == pytest.approx(expected, rel=1e-9)


documents_of_any_length = st.lists(st.lists(st.integers(1, VOCABULARY - 1), max_size=9), min_size=1, max_size=6)


@given(shards=st.lists(documents_of_any_length, min_size=1, max_size=3), sequence_tokens=st.integers(1, 12))
def test_every_token_is_a_target_once_and_sees_only_its_own_document(
    shards: list[list[list[int]]], sequence_tokens: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    documents = [each for shard in shards for each in shard]
    holdouts = open_holdouts(made(tmp_path_factory.mktemp("corpus"), {"made": shards}), None)
    expected = [token for each in tokens_of(documents) if len(each) > 1 for token in each]
    if not expected:
        assert holdouts == ()
        return
    (held,) = holdouts
    rows = windows([(held, at) for at in range(held.window_count(sequence_tokens))], sequence_tokens, EOS)
    targets = rows.targets_BT.flatten()
    assert targets[targets != IGNORED].tolist() == expected
    assert (held.tokens, held.bytes) == (len(expected), TEXT_BYTES * sum(map(len, documents)))
    assert rows.targets_BT.shape[0] == -(-sum(len(each) + 1 for each in documents) // sequence_tokens)
    starts = rows.inputs_BT == EOS
    assert (np.diff(rows.segments_BT, axis=1) == starts[:, 1:]).all()
    assert (rows.segments_BT[:, 0] == starts[:, 0]).all()


def test_batch_size_and_order_of_sources_do_not_change_the_result(golden: Corpora) -> None:
    model = transformer(384)
    expected = scored(model, golden, batch_sequences=1)
    for batch_sequences in (2, 7, 1000):
        found = scored(model, golden, batch_sequences=batch_sequences)
        assert near(found, expected)
    turned = Corpora(dict(reversed(golden.sources.items())), golden.tokenizer, golden.manifests)
    assert near(scored(model, turned), expected)


def near(found: dict[str, SourceScore], expected: dict[str, SourceScore]) -> bool:
    """Return True if equal up to rounding."""
    return {name: score.bits for name, score in found.items()} == pytest.approx(
        {name: score.bits for name, score in expected.items()}, rel=1e-12
    )


@pytest.mark.parametrize(("world", "batch_sequences"), [(2, 3), (3, 1), (5, 100)])
def test_processes_share_the_work_in_equally_many_batches(
    golden: Corpora, monkeypatch: pytest.MonkeyPatch, world: int, batch_sequences: int
) -> None:
    """Threads stand for processes. Gathering weights would hang if one ran fewer batches."""
    barrier, said = threading.Barrier(world, timeout=60), {}

    def sums(distributed: Distributed, values: list[float]) -> list[float]:
        said[distributed.rank] = values
        barrier.wait()
        total = [sum(column) for column in zip(*said.values(), strict=True)]
        barrier.wait()
        return total

    monkeypatch.setattr(trainer.inspect.evaluate, "sums", sums)
    found: dict[int, dict[str, SourceScore]] = {}
    shapes: dict[int, list[torch.Size]] = {rank: [] for rank in range(world)}

    def work(rank: int) -> None:
        model = transformer(384)
        model.register_forward_pre_hook(lambda _, given: shapes[rank].append(given[0].shape))
        distributed = Distributed(rank, world, rank, world, rank, torch.device("cpu"), None)
        found[rank] = scored(
            model, golden, sequence_tokens=100, batch_sequences=batch_sequences, distributed=distributed
        )

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monkeypatch.undo()
    assert len(found) == world and all(each == found[0] for each in found.values())
    assert near(found[0], scored(transformer(384), golden, sequence_tokens=100))
    assert all(each == shapes[0] for each in shapes.values()) and len(set(shapes[0])) == 1
    windows_there, batches, rows = sum(-(-each // 100) for each in (870, 726, 1086)), len(shapes[0]), shapes[0][0][0]
    assert rows <= batch_sequences and 0 <= batches * rows - -(-windows_there // world) < batches  # few rows to spare


def test_tokens_per_source_selects_whole_documents_from_the_start(tmp_path: Path) -> None:
    first, second, third, fourth = [1] * 4, [2, 3], [4] * 5, [5]  # 5, 3, 6 and 2 tokens with EOS
    corpora = made(tmp_path, {"made": [[first, second], [third, fourth]]})
    model = transformer()
    bits = oracle_bits(model, [first, second, third, fourth], 100)
    for limit, documents in ((1, 1), (5, 1), (7, 1), (8, 2), (13, 2), (14, 3), (15, 3), (16, 4), (99, 4), (None, 4)):
        (score,) = scored(model, corpora, sequence_tokens=100, tokens_per_source=limit).values()
        assert (score.documents, score.holdout_documents) == (documents, 4), limit
        assert score.bits == pytest.approx(sum(bits[:documents]), rel=1e-9)
        assert score.bytes == TEXT_BYTES * sum(map(len, [first, second, third, fourth][:documents]))


@pytest.mark.parametrize("gone", [(0,), (2,), (4,), (1, 2), (0, 1)])
def test_a_takedown_removes_its_document_and_does_not_change_the_others(tmp_path: Path, gone: tuple[int, ...]) -> None:
    """Fails if bytes of removed documents count, or if EOS after EOS is scored."""
    documents = [[1, 2, 3, 4], [5, 6], [7], [8, 9, 10, 1, 2, 3], [4, 5]]
    left = [[EOS] * len(each) if at in gone else each for at, each in enumerate(documents)]
    model = transformer()
    corpora = made(tmp_path, {"made": [left[:3], left[3:]]})
    (score,) = scored(model, corpora, sequence_tokens=5).values()
    expected = [bits for at, bits in enumerate(oracle_bits(model, documents, 5)) if at not in gone]
    assert score.bits == pytest.approx(sum(expected), rel=1e-9)
    assert (score.documents, score.overwritten) == (5 - len(gone), len(gone))
    assert score.bytes == TEXT_BYTES * sum(len(each) for at, each in enumerate(documents) if at not in gone)


def test_at_least_one_document_is_scored(tmp_path: Path) -> None:
    shards = [[[EOS, EOS], [EOS]], [[EOS], [1, 2, 3], [4]]]
    (score,) = scored(Uniform(), made(tmp_path, {"made": shards}), tokens_per_source=1).values()
    assert (score.documents, score.overwritten, score.tokens) == (1, 3, 4)


def test_a_source_without_a_holdout_is_left_out(tmp_path: Path) -> None:
    corpora = made(tmp_path, {"empty": [], "gone": [[[EOS, EOS]]], "there": [[[1]]]})
    assert list(scored(transformer(), corpora)) == ["there"]
    nothing = scored(transformer(), made(tmp_path, {"empty": []}))
    assert nothing == {} and evaluation_row(0, "before", nothing).bits_per_byte is None


def test_an_evaluation_round_trips_through_json(golden: Corpora) -> None:
    row = evaluation_row(0, "before", scored(Uniform(), golden, tokens_per_source=300))
    assert EvaluationRow.model_validate_json(row.model_dump_json()) == row


def test_training_mode_is_restored_and_progress_reaches_the_total(golden: Corpora) -> None:
    told: list[tuple[int, int]] = []
    modes = []
    model = Uniform()
    model.register_forward_pre_hook(lambda module, _: modes.append(module.training))
    scored(model, golden, batch_sequences=7, progress=lambda done, total: told.append((done, total)))
    assert model.training and not any(modes)
    assert told == sorted(set(told)) and told[-1][0] == told[-1][1] == sum(-(-each // 16) for each in (870, 726, 1086))
    scored(model.eval(), golden)
    assert not model.training


def test_weights_that_are_not_finite_are_an_error(tmp_path: Path) -> None:
    model = transformer()
    with torch.no_grad():
        model.norm.weight.fill_(math.nan)
    with pytest.raises(TrainerError, match="source made: the score is nan bits"):
        scored(model, made(tmp_path, {"made": [[[1, 2]]]}))


def test_a_damaged_shard_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match="has EOS inside a document"):
        scored(Uniform(), made(tmp_path, {"made": [[[1, EOS, EOS, 2]]]}))
    corpora = made(tmp_path, {"made": [[[1, 2]]]})
    source = corpora.sources["made"]
    files = tuple(replace(file, tokenizer="u" * 64) for file in source.holdout)
    other = TokenSource("made", "made", 64, source.train, files, holdout_thin=False)
    with pytest.raises(TrainerError, match="corpus verify"):
        scored(Uniform(), Corpora({"made": other}, corpora.tokenizer, {}))

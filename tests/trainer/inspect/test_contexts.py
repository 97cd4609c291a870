"""Contexts of phases: seams and mean contexts at usual lengths, with documents as long as real ones."""

import bz2
import gzip
import io
import json
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow.parquet as pq
import pytest
import zstandard

from tests.trainer.made_corpus import curriculum, phase
from trainer.config import read_training
from trainer.data.corpora import Corpora, TokenizerFile, TokenShardFile, TokenSource
from trainer.data.curriculum import Curriculum, PhasePlan
from trainer.data.cursor import chunk_tokens
from trainer.data.documents import DocumentStarts
from trainer.inspect.contexts import Contexts, contexts, mean_contexts, problems

RECIPE = Path(__file__).parents[3] / "recipes/train.yaml"
TOKENS = {"web": 1.4e9, "wikipedia": 0.6e9, "arxiv": 0.3e9, "books": 0.4e9, "code": 0.4e9}
SCALE = 10  # the recipe's phases are so many times longer


def made_source(name: str, lengths: Sequence[int]) -> tuple[TokenSource, DocumentStarts]:
    """A source with documents of these lengths, without its shards."""
    starts = np.concatenate([[0], np.cumsum(lengths)])
    tokens = int(starts[-1])
    shard = TokenShardFile(Path(name), tokens, len(lengths), "")
    source = TokenSource(name, name, chunk_tokens(tokens), (shard,), (), False)
    return source, DocumentStarts([tokens], lambda _: starts)


@contextmanager
def resolved(
    sources: Mapping[str, tuple[TokenSource, DocumentStarts]], *phases: dict[str, object]
) -> Iterator[Curriculum]:
    """The phases over made sources, as long as the block lasts."""
    corpora = Corpora({name: source for name, (source, _) in sources.items()}, TokenizerFile(Path(), "", 9, 0, ""), {})
    with patch("trainer.data.curriculum.document_starts", lambda source, maps: sources[source.name][1]):
        yield curriculum(corpora, *phases)


@pytest.fixture(scope="module")
def real_lengths(data: Path) -> dict[str, list[int]]:
    """Lengths of real documents by source, at four bytes a token."""

    def records(*names: str) -> list[int]:
        lines = [line for name in names for line in (data / "records" / name).read_text().splitlines()]
        return [len(json.loads(line)["text"].encode()) for line in lines]

    books = zstandard.ZstdDecompressor().stream_reader((data / "books/classic-books.jsonl.zst").read_bytes())
    (dump,) = (data / "wikipedia").glob("enwiki-latest*.bz2")
    pages = re.findall(r"<text[^>]*>([^<]*)", bz2.decompress(dump.read_bytes()).decode())
    code = [
        text for name in ("a", "b") for text in pq.read_table(data / f"code/{name}.parquet")["contents"].to_pylist()
    ]
    with tarfile.open(data / "arxiv/arXiv_src_1911_001.tar") as archive:
        members = [archive.extractfile(each) for each in archive if each.name.endswith(".gz")]
        sources = [gzip.decompress(member.read()) for member in members if member]
    papers = [len(source) for source in sources if source.startswith(b"\\")]  # of one file, not an archive
    sizes = {
        "books": [len(json.loads(line)["text"]) for line in io.TextIOWrapper(books, encoding="utf-8")],
        "wikipedia": [len(page) for page in pages],
        "code": [len(text) for text in code],
        "arxiv": [*records("arxiv.jsonl"), *papers],
        "web": records("redpajama-cc-2023-06-refined.jsonl", "redpajama-c4-refined.jsonl"),
    }
    return {name: [max(2, size // 4) for size in each] for name, each in sizes.items()}


@pytest.fixture(scope="module")
def real_sources(real_lengths: dict[str, list[int]]) -> dict[str, tuple[TokenSource, DocumentStarts]]:
    rng, made = np.random.default_rng(1), {}
    for name, lengths in real_lengths.items():
        count = int(TOKENS[name] / np.quantile(lengths, np.linspace(0, 1, 1000)).mean())
        # Between the real lengths too: some sources have a dozen, of which no sequence can be filled exactly.
        made[name] = made_source(name, np.quantile(lengths, rng.random(count)).astype(np.int64))
    return made


def phases_of_recipe(whole: bool) -> list[dict[str, object]]:
    """The recipe's phases, shorter; the last one once more with sequences of 32,768 tokens."""
    phases = []
    for each in read_training(RECIPE).curriculum:
        sizes = {"tokens": each.tokens // SCALE, "sequence_tokens": each.sequence_tokens, "batch_tokens": 2**18}
        written = {"shares": dict(each.shares or {}), "max_epochs": 4, "whole_documents": whole, **sizes}
        phases.append(phase(each.name, **written))
    return [*phases, {**phases[-1], "name": "longest", "sequence_tokens": 2**15}]


def of_phase(plan: PhasePlan, sources: Mapping[str, tuple[TokenSource, DocumentStarts]]) -> dict[str, Contexts]:
    return contexts(plan, {name: documents for name, (_, documents) in sources.items()})


def phase_mean(plan: PhasePlan, sources: Mapping[str, tuple[TokenSource, DocumentStarts]]) -> Contexts:
    found = of_phase(plan, sources)
    return mean_contexts(list(found.values()), [plan.shares[name] for name in found])


def test_sequences_of_usual_lengths_are_not_cut(
    real_sources: dict[str, tuple[TokenSource, DocumentStarts]],
) -> None:
    """Fails if chunks end within sequences, or if longer ones begin between the pieces of shorter ones."""
    with resolved(real_sources, *phases_of_recipe(whole=False)) as curriculum:
        assert {plan.sequence_tokens for plan in curriculum.phases} == {2048, 8192, 32_768}
        for plan in curriculum.phases:
            mean = phase_mean(plan, real_sources)
            assert mean.cut < 0.02 and mean.context == pytest.approx(mean.uncut, rel=0.05), (plan.name, mean)


def test_whole_documents_are_not_cut_and_padding_is_small(
    real_sources: dict[str, tuple[TokenSource, DocumentStarts]],
) -> None:
    """Fails if a document that lies across two chunks is cut, or if short documents do not fill up sequences."""
    for width in (2048, 8192, 32_768):
        shares = dict.fromkeys(real_sources, 0.2)
        one = phase(tokens=2**27, sequence_tokens=width, batch_tokens=2**18, shares=shares, whole_documents=True)
        with resolved(real_sources, one) as curriculum:
            (plan,) = curriculum.phases
        mean = phase_mean(plan, real_sources)
        assert mean.padding < 0.02 and mean.context > 0.95 * mean.uncut, mean
        for name, (source, documents) in real_sources.items():
            starts_D1 = np.append(documents.between(0, source.train_tokens), source.train_tokens)
            order = plan.orders[name]
            for place in zip(*order.locate(np.arange(50)), strict=True):
                for run in order.runs(*map(int, place)):
                    document = np.searchsorted(starts_D1, run.start, "right")
                    length = starts_D1[document] - starts_D1[document - 1]
                    assert length > width or run.stop - run.start == length


def test_whole_documents_are_read_after_a_phase_that_cut_them(
    real_sources: dict[str, tuple[TokenSource, DocumentStarts]],
) -> None:
    """Fails if the pieces that an earlier phase has left are read before documents of which nothing was read."""
    *cut, last, _ = phases_of_recipe(whole=False)
    with resolved(real_sources, *cut, {**last, "whole_documents": True}) as curriculum:
        plan = curriculum.phases[-1]
        mean = phase_mean(plan, real_sources)
    assert mean.padding < 0.02 and mean.context > 0.95 * mean.uncut, mean


def test_poor_contexts_are_reported() -> None:
    """Fails if a source whose chunks are shorter than the sequences is not named, or padding is not."""
    small = {"small": made_source("small", [1500] * 40)}  # chunks of 1,024
    sizes = {"tokens": 3 * 4096, "sequence_tokens": 4096, "batch_tokens": 4096}
    with resolved(small, phase(**sizes)) as curriculum:
        (told,) = problems(curriculum.phases[0], of_phase(curriculum.phases[0], small))
    assert "100% of the sequences of `small` are cut by a seam" in told and "whole_documents: true" in told
    with resolved(small, phase("padded", whole_documents=True, **sizes)) as curriculum:
        (told,) = problems(curriculum.phases[0], of_phase(curriculum.phases[0], small))
    assert told.startswith("phase `padded`: 26.8% of the tokens of `small` are padding")

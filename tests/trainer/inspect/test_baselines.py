"""Baselines against counting by hand and the xz command, and the table of evaluations."""

import importlib.util
import lzma
import math
import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

import trainer.inspect.baselines
from corpus.store.token_shards import open_token_shard
from tests.trainer.inspect.scored import (
    EOS,
    GOLDEN,
    VOCABULARY,
    Uniform,
    evaluation_row,
    holdout_of,
    made,
    read_back,
    score,
    scored,
    tokens_of,
)
from trainer.data.corpora import Corpora, open_corpora
from trainer.errors import TrainerError
from trainer.inspect.baselines import UNIGRAM, XZ, Baselines, SourceBaseline, measure_baselines
from trainer.inspect.eval_table import evaluation_table, rich_table
from trainer.inspect.metrics import EvaluationRow


@pytest.fixture(scope="module")
def golden() -> Corpora:
    return open_corpora({"golden": str(GOLDEN)})


@pytest.fixture(scope="module")
def baselines(golden: Corpora) -> Baselines:
    return measure_baselines(golden, None)


def held_out_texts(golden: Corpora, source: str) -> list[str]:
    """Return the texts that the golden corpus was made from, in the order of the shards."""
    spec = importlib.util.spec_from_file_location("make_golden", GOLDEN.parent / "make_golden.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    texts = {name: text for name, text, _ in module.documents(source)}
    shards = [open_token_shard(shard.path) for shard in golden.sources[source].holdout]
    return [texts[document.tobytes().hex()] for shard in shards for document in shard.ids_D16]


def by_hand(train: list[list[int]], held_out: list[list[int]], vocabulary: int) -> float:
    """Return the bits of the held-out tokens under add-one counts."""
    counts = Counter(token for document in train for token in document)
    total = sum(counts.values()) + vocabulary
    return sum(-math.log2((counts[token] + 1) / total) for document in held_out for token in document)


def test_unigram_bits_match_a_calculation_by_hand(tmp_path: Path) -> None:
    # Training 1 1 2 EOS: p(1) = 3/15, p(2) = 2/15, p(3) = 1/15, p(EOS) = 2/15.
    corpora = made(tmp_path, {"made": [[[1, 3], [2]]]}, train=[[1, 1, 2]])
    bits = measure_baselines(corpora, None).sources["made"].unigram_bits
    assert bits == pytest.approx(-math.log2(3 / 15 * 1 / 15 * 2 / 15 * 2 / 15 * 2 / 15), rel=1e-12)


def test_unigram_bits_do_not_depend_on_the_block_size(
    golden: Corpora, baselines: Baselines, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, source in golden.sources.items():
        train = read_back(replace(source, holdout=source.train))
        expected = by_hand(tokens_of(train), tokens_of(read_back(source)), 384)
        assert baselines.sources[name].unigram_bits == pytest.approx(expected, rel=1e-12)
        assert baselines.levels([name])[UNIGRAM] == pytest.approx(expected / holdout_of(golden, name).bytes, rel=1e-12)
    monkeypatch.setattr(trainer.inspect.baselines, "BLOCK_TOKENS", 7)
    assert measure_baselines(golden, None) == baselines


def test_documents_removed_by_a_takedown_do_not_count(tmp_path: Path) -> None:
    """Fails if its EOS count, in training or in the holdout."""
    gone = [EOS] * 9
    corpora = made(tmp_path, {"made": [[gone, [1, 3]], [gone, [2]]]}, train=[[1, 1, 2], gone, [4]])
    bits = measure_baselines(corpora, None).sources["made"].unigram_bits
    expected = by_hand([[1, 1, 2, EOS], [4, EOS]], [[1, 3, EOS], [2, EOS]], VOCABULARY)
    assert bits == pytest.approx(expected, rel=1e-12)


def test_baselines_read_the_documents_that_are_scored(golden: Corpora) -> None:
    limited = measure_baselines(golden, 300)
    for name, source in golden.sources.items():
        score = scored(Uniform(), golden, tokens_per_source=300)[name]
        found = limited.sources[name]
        assert (found.documents, found.holdout_documents, found.bytes) == (
            score.documents,
            holdout_of(golden, name).documents,
            score.bytes,
        )
        text = "".join(held_out_texts(golden, name)[: score.documents]).encode()
        assert (len(text), len(lzma.compress(text, preset=9))) == (found.bytes, found.xz_bytes)
        train = read_back(replace(source, holdout=source.train))
        held_out = tokens_of(read_back(source)[: score.documents])
        assert found.unigram_bits == pytest.approx(by_hand(tokens_of(train), held_out, 384), rel=1e-12)


def test_xz_bytes_match_the_xz_command(golden: Corpora, baselines: Baselines) -> None:
    if shutil.which("xz") is None:
        pytest.skip("needs the command xz: apt-get install xz-utils")
    for name, found in baselines.sources.items():
        text = "".join(held_out_texts(golden, name)).encode()
        packed = subprocess.run(["xz", "-9", "-T1", "-c"], input=text, stdout=subprocess.PIPE, check=True).stdout
        assert found.xz_bytes == len(packed) and found.xz_missing is None
        assert baselines.levels([name])[XZ] == 8 * len(packed) / len(text)


def test_xz_is_missing_if_the_text_does_not_round_trip(tmp_path: Path) -> None:
    found = measure_baselines(made(tmp_path, {"made": [[[66, 67], [68]]]}, vocabulary=384), None).sources["made"]
    assert found.xz_bytes is None
    assert found.xz_missing == "a document decodes to 2 bytes, but its shard says 6"


def test_a_token_beyond_the_vocabulary_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match="token 40 in a vocabulary of 11"):
        measure_baselines(made(tmp_path, {"made": [[[1]]]}, train=[[40]]), None)


def test_progress_reaches_the_total(golden: Corpora) -> None:
    told: list[tuple[int, int]] = []
    measure_baselines(golden, None, progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told) and told[-1][0] == told[-1][1]
    assert told[-1][1] == sum(
        source.train_tokens + holdout_of(golden, name).tokens for name, source in golden.sources.items()
    )


def test_baselines_round_trip_through_json(baselines: Baselines) -> None:
    assert Baselines.model_validate_json(baselines.model_dump_json()) == baselines


def evaluation(after: str, **rates: float) -> EvaluationRow:
    """Return an evaluation of sources of 1,000 and 3,000 bytes; the second is thin."""
    sizes = dict(zip(rates, (1000, 3000), strict=True))
    sources = {name: score(sizes[name], rate, thin=sizes[name] == 3000) for name, rate in rates.items()}
    return evaluation_row(0, after, sources)


def baseline(size: int, unigram: float, xz_bytes: int | None) -> SourceBaseline:
    missing = None if xz_bytes else "a document decodes to 2 bytes, but its shard says 6"
    return SourceBaseline(
        documents=8,
        holdout_documents=20,
        bytes=size,
        unigram_bits=unigram * size,
        xz_bytes=xz_bytes,
        xz_missing=missing,
    )


MEASURED = Baselines(sources={"books": baseline(1000, 3.0, 250), "web": baseline(3000, 2.0, None)})


def test_levels_are_weighted_by_bytes_and_need_every_source() -> None:
    assert MEASURED.levels(["books"]) == {UNIGRAM: 3.0, XZ: 2.0}
    assert MEASURED.levels(["books", "web"]) == {UNIGRAM: 9000 / 4000, XZ: None}
    assert MEASURED.levels(["books", "code"]) == MEASURED.levels([]) == {UNIGRAM: None, XZ: None}
    both = Baselines(sources={"books": baseline(1000, 3.0, 250), "web": baseline(3000, 2.0, 450)})
    assert both.levels(["web", "books"]) == {UNIGRAM: 9000 / 4000, XZ: 8 * 700 / 4000}


def test_the_table_marks_scores_below_the_unigram() -> None:
    evaluations = [evaluation("before", books=5.0, web=4.0), evaluation("after broad", books=2.0, web=3.0)]
    found = evaluation_table(evaluations, MEASURED)
    assert found.columns == ["source", "holdout", "before", "after broad", "unigram", "xz -9", "against unigram"]
    assert found.rows == [
        ["books", "1 kB", "5.000", "2.000*", "3.000", "2.000", "−33.3%"],
        ["web (thin)", "3 kB", "4.000", "3.000", "2.000", "–", "+50.0%"],
        ["all", "4 kB", "4.250", "2.750", "2.250", "–", "+22.2%"],
    ]
    assert found.note.startswith("Windows of 512 tokens") and "* better than a unigram" in found.note
    assert "* better" not in evaluation_table(evaluations[:1], MEASURED).note
    assert "No xz of web: a document decodes" in found.note and "thin" in found.note and "up to" not in found.note
    limited = [row.model_copy(update={"tokens_per_source": 20_000}) for row in evaluations]
    assert "of a holdout: up to 20,000 tokens, and at least one document." in evaluation_table(limited, MEASURED).note


def test_a_source_missing_from_an_evaluation_is_a_dash() -> None:
    rows = [evaluation_row(0, "before", {}), evaluation_row(9, "after", {"books": score(1000, 2.0)})]
    assert evaluation_table(rows, Baselines()).rows == [["books", "1 kB", "–", "2.000", "–", "–", "–"]]


@pytest.mark.parametrize(("width", "lines"), [(80, 2), (120, 1)])
def test_the_table_fits_a_terminal_and_only_headings_wrap(width: int, lines: int) -> None:
    names = ("books", "code", "papers", "stack_exchange", "web_docs", "wikipedia")
    rows = [
        evaluation_row(step, after, {name: score(123_456_789, 12.3456, name[0] == "s") for name in names})
        for step, after in enumerate(("before", "after broad", "after curated"))
    ]
    printed = StringIO()
    baselines = Baselines(sources={name: baseline(123_456_789, 13.0, 30_000_000) for name in names})
    Console(file=printed, width=width).print(rich_table(rows, baselines))
    found = [line.rstrip() for line in printed.getvalue().splitlines()]
    assert max(map(len, found)) <= width
    values = ["12.346*"] * 3 + ["13.000", "1.944"]
    for name in names:
        shown = [name, "(thin)"] if name[0] == "s" else [name]
        assert [*shown, "123", "MB", *values] in [line.split() for line in found]
    assert found[0] == "Bits per byte of the holdouts" and set(found[1 + lines]) == {"─"}
    headings = ("source", "holdout", "before", "after", "broad", "after", "curated", "unigram", "xz", "-9")
    assert sorted(" ".join(found[1 : 1 + lines]).split()) == sorted(headings)


def test_the_table_works_without_baselines_and_with_hostile_names() -> None:
    name = "[bold]\x1b[31mred\n" + "x" * 60
    only = evaluation("now", **{name: 5.0, "web": 4.0})
    found = evaluation_table([only], Baselines())
    assert [row[0] for row in found.rows] == ["[bold]\\u001b[31mred⏎" + "x" * 60, "web (thin)", "all"]
    assert [row[2:] for row in found.rows] == [[bits, "–", "–", "–"] for bits in ("5.000", "4.000", "4.250")]
    printed = StringIO()
    Console(file=printed, width=60, force_terminal=True).print(rich_table([only], Baselines()))
    assert "\x1b[31m" not in printed.getvalue() and "5.000" in printed.getvalue()
    assert evaluation_table([], Baselines()).rows == []

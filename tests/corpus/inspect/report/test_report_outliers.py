"""Outliers: the shards and parts that were made different, and no others."""

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.inspect.report.counts import ComparedPart, outliers, outlying_parts, outlying_shards
from corpus.inspect.report.summary import Summary
from corpus.store.corpus_manifest import ShardEntry


def parts(values: list[float], documents: int = 1000) -> list[ComparedPart]:
    return [ComparedPart(documents, {"mean bytes": value}) for value in values]


def test_the_score_is_the_robust_z() -> None:
    values = [100.0, 104, 96, 108, 92, 112, 88, 110, 300]
    (*others, last) = outliers(parts(values))
    assert others == [()] * 8
    assert last is not None
    (found,) = last
    mad = sorted(abs(value - 104) for value in values)[4]
    assert found.score == pytest.approx(0.6745 * (300 - 104) / mad, rel=1e-3)
    assert (found.measure, found.value, found.median) == ("mean bytes", 300, 104)


def test_parts_that_are_nearly_alike_mark_none_of_themselves() -> None:
    assert outliers(parts([100.0] * 11 + [106])) == [()] * 12
    assert outliers(parts([100.0] * 11 + [108]))[-1]
    assert outliers(parts([0.0] * 12)) == [()] * 12


def test_shares_within_their_sampling_error_are_not_marked() -> None:
    draw = random.Random(1)
    for documents in (100, 1000, 10_000):
        made = [sum(draw.random() < 0.03 for _ in range(documents)) / documents for _ in range(40)]
        found = outliers([ComparedPart(documents, {"de share": share}) for share in made])
        assert sum(bool(each) for each in found) <= 1
        found = outliers(
            [ComparedPart(documents, {"de share": 0.0})] * 20 + [ComparedPart(documents, {"de share": 1 / documents})]
        )
        assert not any(found), "one document among none"
        assert outliers(
            [ComparedPart(documents, {"de share": 0.0})] * 20 + [ComparedPart(documents, {"de share": 0.2})]
        )[-1]
    alike = [ComparedPart(1000, {"de share": 0.5})] * 20
    assert not outliers([*alike, ComparedPart(1000, {"de share": 0.54})])[-1]
    assert outliers([*alike, ComparedPart(1000, {"de share": 0.57})])[-1]


def test_few_or_small_parts_are_not_compared() -> None:
    assert outliers(parts([1.0] * 6 + [100])) == [None] * 7
    assert outliers(parts([1.0] * 20 + [100], documents=99)) == [None] * 21
    small = outliers([*parts([1.0] * 8), ComparedPart(400, {"mean bytes": 100.0})])
    assert small == [()] * 8 + [None], "under half of what is usual"
    assert outliers([]) == []


def test_a_shard_of_another_language_and_length_is_marked(summary: Summary) -> None:
    shard = summary.shards[0]
    update = {"documents": 1000, "tokens": 500_000, "bytes": 2_000_000, "languages": {"en": 990, "de": 10}}
    stated = shard.model_dump(include=set(ShardEntry.model_fields))
    usual = ShardEntry(**{**stated, **update, "length_quantiles": shard.length_quantiles})
    odd = usual.model_copy(update={"tokens": 900_000, "bytes": 3_600_000, "languages": {"en": 400, "fr": 600}})
    found = outlying_shards([*[usual] * 9, odd])
    assert found[:9] == [()] * 9 and found[9] is not None
    assert [each.measure for each in found[9]] == ["mean tokens", "en share"]
    assert found[9][0].score > 0 > found[9][1].score


def test_a_part_of_the_input_that_was_mostly_dropped_is_marked(tmp_path: Path) -> None:
    pairs = []
    for number in range(9):
        kept = 150 if number != 4 else 20
        for name, rows in (("kept", kept), ("dropped", 200 - kept)):
            table = pa.table({"language": pa.array(["en"] * rows, pa.string()), "text_bytes": [1000 + number] * rows})
            pq.write_table(table, tmp_path / f"{name}-{number}")
        pairs.append((tmp_path / f"kept-{number}", tmp_path / f"dropped-{number}"))
    compared, (odd,) = outlying_parts(pairs)
    assert (compared, odd.part, odd.documents) == (9, 4, 200)
    assert [each.measure for each in odd.outliers] == ["kept share"]
    assert outlying_parts([]) == (0, ())

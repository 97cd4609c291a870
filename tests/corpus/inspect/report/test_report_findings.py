"""Hosts, rules that fail together, duplicates side by side: compared with plain recounts of the shards."""

from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.dedup.shingles import shingles
from corpus.inspect.report import counts as report_counts
from corpus.inspect.report.charts import signal
from corpus.inspect.report.collect import Evidence, collect
from corpus.inspect.report.counts import host_counts
from corpus.inspect.report.rules import histograms
from corpus.inspect.report.shared_words import TextWindow, side_by_side, words
from corpus.inspect.report.summary import Summary
from corpus.quality.rule import Rule
from tests.made_report import HOSTILE, PROSE


def rows_of(evidence: Evidence, source: str) -> list[tuple[bool, dict[str, object]]]:
    pairs = evidence.clean_shards[source]
    return [
        (not number, row)
        for pair in pairs
        for number, path in enumerate(pair)
        for row in pq.read_table(path).to_pylist()
    ]


def urls(folder: Path, name: str, texts: list[str | None]) -> Path:
    path = folder / name
    pq.write_table(pa.table({"url": pa.array(texts, pa.string())}), path)
    return path


def test_hosts_are_a_recount_of_the_addresses(summary: Summary, evidence: Evidence) -> None:
    for source in summary.sources:
        found = source.hosts
        assert found is not None
        rows = rows_of(evidence, source.name)
        counts: Counter[tuple[str, bool]] = Counter()
        for kept, row in rows:
            if row["url"]:
                counts[urlsplit(str(row["url"])).hostname or "", kept] += 1
        names = {host for host, _ in counts}
        assert {each.host: (each.kept, each.dropped) for each in found.top} == {
            host: (counts[host, True], counts[host, False]) for host in names
        }
        assert names == {"example.org", "www.example.org", "books.example", "<b>evil<"}
        assert [each.kept + each.dropped for each in found.top] == sorted(
            (counts[host, True] + counts[host, False] for host in names), reverse=True
        )
        assert (found.different, found.without) == (len(names), sum(row["url"] is None for _, row in rows))
        assert found.kept + found.dropped + found.without == len(rows)


def test_what_is_no_address_has_no_host(tmp_path: Path) -> None:
    texts = [
        None,
        "",
        "no address",
        "http://",
        "//a.example/b",
        "mailto:a@b",
        "http://\x00x\n/",
        "http://a b/",
        "x" * 10**6,
    ]
    good = [
        "HTTPS://A.Example:8443/x?y#z",
        "http://u:p@a.example",
        "s3://bucket/key",
        "http://[2001:DB8::1]:80/",
        "http://a.example\\b",
    ]
    path = urls(tmp_path, "kept.parquet", [*texts, *good, f"http://{'a' * 254}/"])
    found = host_counts([(path, True)])
    assert found is not None
    counted = {each.host: each.kept for each in found.top}
    assert counted == {"a.example": 3, "bucket": 1, "[2001:db8::1]": 1}
    assert host_counts([(urls(tmp_path, "none.parquet", list(texts[:6])), True)]) is None


def test_more_hosts_than_are_counted_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_counts, "COUNTED_HOSTS", 20)
    shards = []
    for number in range(10):
        many: list[str | None] = [f"http://{number}-{each}.example/" for each in range(30)]
        shards.append(
            urls(tmp_path, f"{number}.parquet", [*many, *["http://often.example/"] * 12, "http://rare.example"])
        )
    found = host_counts([(path, number < 7) for number, path in enumerate(shards)])
    assert found is not None
    assert (found.top[0].host, found.top[0].kept, found.top[0].dropped) == ("often.example", 84, 36)
    assert found.different is None and len(found.top) <= 20
    assert (found.kept, found.dropped) == (7 * 43, 3 * 43)


def test_pairs_of_rules_that_refuse_together(summary: Summary, evidence: Evidence) -> None:
    order = [rule.name for rule in PROSE]
    for source in summary.sources:
        expected: Counter[tuple[str, str]] = Counter()
        for kept, row in rows_of(evidence, source.name):
            if not kept:
                expected.update(combinations(sorted(row["failed_rules"], key=order.index), 2))  # type: ignore[call-overload]
        assert {(pair.first, pair.second): pair.documents for pair in source.together} == expected and expected
        counts = [pair.documents for pair in source.together]
        assert counts == sorted(counts, reverse=True)


def test_a_signal_that_is_yes_or_no_has_two_bars(tmp_path: Path) -> None:
    for name, values in (("kept", [0, 0, 0, None]), ("dropped", [1, 1])):
        pq.write_table(pa.table({"robots_noai": pa.array(values, pa.int64())}), tmp_path / name)
    rule = Rule("robots.noai", "robots_noai", at_most=0)
    (drawn,) = histograms([(tmp_path / "kept", True), (tmp_path / "dropped", False)], [rule])
    assert drawn.yes_or_no and drawn.not_measured == 1
    assert (drawn.kept, drawn.dropped) == ((3, 0), (0, 2))
    (row,) = signal(drawn)
    *bars, shaded, line = row.boxes
    assert [bar.title for bar in bars] == ["no, kept: 3", "yes, dropped: 2"]
    assert (shaded.x, shaded.width, shaded.opacity < 1) == (0.5, 0.5, True), "the rule drops the bar of yes"
    assert line.x < 0.5 < line.x + line.width


def test_duplicates_are_shown_beside_what_stayed(summary: Summary, evidence: Evidence) -> None:
    texts = {str(row["id"]): str(row["text"]) for name in ("books", "web") for _, row in rows_of(evidence, name)}
    for source in summary.sources:
        decisions = [row for path in evidence.decisions[source.name] for row in pq.read_table(path).to_pylist()]
        for reason, most in (("near", 2), ("exact", 1)):
            chosen = [pair for pair in source.duplicates if pair.reason == reason]
            first = sorted((row for row in decisions if row["reason"] == reason), key=lambda row: row["id"])[:most]
            assert [pair.removed.id for pair in chosen] == [row["id"] for row in first]
            for pair, row in zip(chosen, first, strict=True):
                assert (pair.survivor.id, pair.survivor.source) == (row["survivor"], row["survivor_source"])
                assert (pair.intersection, pair.union) == (row["intersection"], row["union"])
                for side in (pair.removed, pair.survivor):
                    shown = "".join(text for text, _ in side.pieces)
                    assert shown in texts[side.id] and "window.pwned=1" in shown


def test_a_survivor_that_is_nowhere_leaves_its_pair_out(evidence: Evidence, tmp_path: Path) -> None:
    table = pq.read_table(evidence.decisions["web"][0])
    column = table.schema.get_field_index("survivor")
    path = tmp_path / "decisions"
    pq.write_table(table.set_column(column, "survivor", pa.array(["f" * 32] * len(table))), path)
    decisions = {**evidence.decisions, "web": [path, evidence.decisions["web"][1]]}
    found = collect(replace(evidence, decisions=decisions)).sources[1]
    assert len(found.duplicates) < 3


@pytest.mark.parametrize(
    "text",
    [
        "",
        "one",
        "one two",
        f"a {HOSTILE} z",
        "Ｈｅｌｌｏ, it's 中文字 e\u0301a soft\u00adhy",
        "ไทย x\u200by \ufeffz\U000e0041",
        "\n.\n" * 9,
    ],
)
def test_words_are_those_of_dedup(text: str) -> None:
    spans = list(words(text))
    again = " ".join(text[start:end] for start, end in spans)
    for size in (1, 2, 5):
        assert shingles(text, size).tolist() == shingles(again, size).tolist()
    if len(spans) > 1:
        assert all(shingles(text[start:end], 1).size == 1 for start, end in spans)


def marked(window: TextWindow) -> list[str]:
    return [text for text, shared in window.pieces if shared]


def test_shared_spans_are_the_words_in_shared_n_grams() -> None:
    one = [f"w{number}" for number in range(60)]
    other = [*one[:30], "otherwise", *one[31:]]
    left, right = side_by_side(" ".join(one), " ".join(other), 5)
    assert left.from_word == right.from_word == 18 and not left.more
    assert marked(left) == marked(right) == [" ".join(one[18:30]), " ".join(one[31:])]
    assert [text for text, shared in right.pieces if not shared] == [" otherwise "]
    left, right = side_by_side(" ".join(["x", *one]), " ".join(one), 5)
    assert left.pieces[0] == ("x ", False) and marked(left) == marked(right) == [" ".join(one)]


def test_a_shared_word_outside_any_shared_n_gram_is_not_marked() -> None:
    left, right = side_by_side("a b c d e", "e d c b a", 5)
    assert marked(left) == marked(right) == []
    assert marked(side_by_side("a b", "a b", 5)[0]) == ["a b"], "a short text is one n-gram"


def test_what_only_the_survivor_has_is_shown_too() -> None:
    one = [f"w{number}" for number in range(80)]
    left, right = side_by_side(" ".join(one[:70]), " ".join(one), 5)
    assert (left.from_word, right.from_word) == (58, 58)
    assert right.pieces[-1] == (" " + " ".join(one[70:]), False)


def test_excerpts_are_short_whatever_the_texts() -> None:
    text = ("word " * 300 + "x" * 10_000 + "\n" * 5000) * 3
    for window in side_by_side(text, "y" * 10_000 + text, 5):
        assert sum(len(piece) for piece, _ in window.pieces) < 1300
    assert side_by_side("", "", 5)[0] == TextWindow(0, (), False)

"""Every number of the summary, compared with a plain recount of the shards, one document at a time."""

import hashlib
import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.errors import CorpusError, InputError
from corpus.inspect.report.collect import Evidence, collect
from corpus.inspect.report.examples import dropped_examples, excerpt, kept_examples
from corpus.inspect.report.report_page import report_page
from corpus.inspect.report.summary import REVISION, SourceSummary, Summary, read_summary
from corpus.quality.rule import failing
from corpus.store.ledger import Ledger
from corpus.store.token_shards import open_token_shard
from tests.made_report import HOSTILE, PROSE, RULE_SETS

# Of the summary and of the page. Where they change, raise REVISION and add what is found.
GOLDEN = {
    1: ("1d6172866b9c49d4", "ee3d534266965c16"),
    2: ("12aa85d2ac18a296", "c787283f93fab51f"),
    3: ("12aa85d2ac18a296", "3ff140d44521c15d"),  # a document twice in a source: one example
    4: ("6b9dfccb2bbad640", "36f3d9b559d60132"),  # templates, fewer charts next to tables of the same numbers
    5: ("6b9dfccb2bbad640", "d3c13859481dfd02"),  # charts without scripts, the tables of `corpus stats`
    6: ("74ff5a7edfa0000e", "69770993d6b71d61"),  # bytes lost beside records, files without a checksum
}


def rows_of(evidence: Evidence, source: str, *, kept: bool) -> list[dict[str, object]]:
    return [row for pair in evidence.clean_shards[source] for row in pq.read_table(pair[0 if kept else 1]).to_pylist()]


def each(summary: Summary) -> list[SourceSummary]:
    assert [source.name for source in summary.sources] == ["books", "web"]
    return list(summary.sources)


def test_funnel_is_what_the_ledgers_say(summary: Summary, evidence: Evidence) -> None:
    for source in each(summary):
        ledgers = {stage: evidence.ledgers[f"{stage}.{source.name}"] for stage in ("clean", "text", "mix")}
        assert source.records_read == ledgers["clean"].total("records") == 126
        assert source.input_bytes == ledgers["clean"].total("input_bytes") == 120_577
        kept = [ledger.total("records", outcome="kept") for ledger in ledgers.values()]
        assert source.left(summary.titles) == [source.records_read, *kept]
        assert source.used == ledgers["mix"].total("records", outcome="kept")
        assert 0 < source.used < kept[1] < kept[0] < source.records_read
        entries = [(stage, entry[1:]) for stage, ledger in ledgers.items() for entry in ledger.entries()]
        assert entries == [(row.stage, tuple(row.model_dump().values())[1:]) for row in source.outcomes]


def test_every_record_ends_once(summary: Summary) -> None:
    for source in each(summary):
        ends = source.ends()
        assert sum(ends.values()) == source.records_read
        assert (ends["skipped"], ends["failed"], ends["over quota"]) == (5, 1, 3)


def test_rules_count_credited_and_all_refusals(summary: Summary, evidence: Evidence) -> None:
    for source in each(summary):
        rows = rows_of(evidence, source.name, kept=False)
        credited = Counter(row["rule"] for row in rows)
        refused = Counter(rule for row in rows for rule in row["failed_rules"])  # type: ignore[attr-defined]
        alone = Counter(names[0] for row in rows if len(names := row["failed_rules"]) == 1)  # type: ignore[index, arg-type]
        assert {rule.name: (rule.dropped, rule.failing, rule.alone) for rule in source.rules} == {
            rule.name: (credited[rule.name], refused[rule.name], alone[rule.name]) for rule in PROSE
        }
        assert 0 < alone.total() < len(rows)
        assert [rule.bound for rule in source.rules] == ["50..100000", "3..10", "<= 0.1"]
        assert refused.total() > credited.total() > 0


def test_a_gate_before_the_rules_is_listed_first(evidence: Evidence) -> None:
    ledgers = {name: Ledger.of([ledger.json()]) for name, ledger in evidence.ledgers.items()}
    ledgers["clean.web"].add("web", "dropped", "language", records=4)
    source = collect(replace(evidence, ledgers=ledgers)).sources[1]
    gate = source.rules[0]
    assert (gate.name, gate.bound, gate.dropped) == ("language", "", 4) and "language" in gate.stated_by


def test_other_rule_sets_agree_with_each_document_asked_alone(summary: Summary, evidence: Evidence) -> None:
    for source in each(summary):
        rows = [row for kept in (True, False) for row in rows_of(evidence, source.name, kept=kept)]
        for counted in source.rule_sets:
            refused = sum(bool(failing(RULE_SETS[counted.name], row)) for row in rows)  # type: ignore[arg-type]
            known = sum(any(rule.value(row) is not None for rule in RULE_SETS[counted.name]) for row in rows)  # type: ignore[arg-type]
            assert (counted.would_drop, counted.documents) == (refused, known)
        assert [(counted.name, counted.rules_in_use) for counted in source.rule_sets] == [("light", 0), ("prose", 3)]
        assert source.rule_sets[1].would_drop == sum(rule.dropped for rule in source.rules)


def test_histograms_hold_every_measured_document(summary: Summary, evidence: Evidence) -> None:
    for source in each(summary):
        for rule, drawn in zip(PROSE, source.signals, strict=True):
            assert list(drawn.edges) == sorted(set(drawn.edges)) and len(drawn.edges) == 41
            missing = 0
            for kept, counts in ((True, drawn.kept), (False, drawn.dropped)):
                rows = rows_of(evidence, source.name, kept=kept)
                values = [rule.value(row) for row in rows]  # type: ignore[arg-type]
                known = [value for value in values if value is not None]
                missing += len(values) - len(known)
                expected = [0] * 40
                for value in known:
                    place = sum(value >= edge for edge in drawn.edges[1:-1])
                    expected[place] += 1
                assert list(counts) == expected
            assert drawn.not_measured == missing > 0
            bounds = {bound for bound in (rule.at_least, rule.at_most) if bound is not None}
            assert bounds & set(drawn.edges), "a bound lies on an edge, so that no bar stands astride"
        assert [drawn.logarithmic for drawn in source.signals] == [True, False, False]


def test_languages_and_lengths_are_recounts(summary: Summary, evidence: Evidence) -> None:
    for source, stated in zip(each(summary), evidence.manifest.sources, strict=True):
        languages = Counter(str(row["language"] or "und") for row in rows_of(evidence, source.name, kept=True))
        assert source.languages == dict(languages)
        assert list(source.languages.values()) == sorted(source.languages.values(), reverse=True)
        for split, totals in (("train", stated.train), ("holdout", stated.holdout)):
            assert sum(getattr(bucket, split) for bucket in source.lengths) == totals.documents
        for shard in stated.shards:
            offsets = open_token_shard(evidence.root / shard.file).offsets_D1.tolist()
            lengths = [end - start for start, end in pairwise(offsets)]
            for bucket in source.lengths:
                inside = sum(bucket.at_least <= length < 2 * bucket.at_least for length in lengths)
                assert getattr(bucket, shard.split) == inside
    assert summary.sources[1].languages["und"] > 0


def test_shares_asked_got_and_missing(summary: Summary, evidence: Evidence) -> None:
    assert sum(source.tokens_asked or 0 for source in summary.sources) == evidence.manifest.tokens_asked
    for source in each(summary):
        assert source.tokens_asked is not None
        assert source.tokens_short == max(0, source.tokens_asked - source.train.tokens)
    everything = evidence.manifest.model_copy(update={"tokens_asked": None})
    assert collect(replace(evidence, manifest=everything)).sources[0].tokens_short is None


def test_merges_name_source_survivor_and_reason(summary: Summary, evidence: Evidence) -> None:
    for source in each(summary):
        merges = [merge for merge in summary.merges if merge.source == source.name]
        assert {merge.survivor_source for merge in merges} == {"books"}
        assert [merge.reason for merge in merges] == ["exact", "near"]
        for merge in merges:
            assert merge.documents > 0
            assert merge.documents == sum(row.records for row in source.outcomes if row.reason == merge.reason)


def test_shards_state_their_part_of_the_split(summary: Summary) -> None:
    for source in each(summary):
        for split in ("train", "holdout"):
            shares = [s.share_of_split for s in summary.shards if (s.source, s.split) == (source.name, split)]
            assert sum(shares) == pytest.approx(1)


def test_examples_are_the_documents_of_smallest_id(summary: Summary, evidence: Evidence) -> None:
    source = summary.sources[1]
    kept = sorted(str(row["id"]) for row in rows_of(evidence, "web", kept=True))
    assert [example.id for example in source.kept_examples] == kept[:3]
    for rule in source.rules:
        rows = [row for row in rows_of(evidence, "web", kept=False) if row["rule"] == rule.name]
        first = sorted(rows, key=lambda row: str(row["id"]))[:2]
        stated = next(each for each in PROSE if each.name == rule.name)
        for row, example in zip(first, rule.examples, strict=True):
            assert example.id == row["id"] and example.origin == f"pages.warc.gz@{row['origin_start']}"
            assert example.value == pytest.approx(stated.value(row), rel=1e-5)  # type: ignore[arg-type]
            assert example.excerpt and example.excerpt.startswith(HOSTILE)


def test_a_document_that_stands_there_twice_is_one_example(evidence: Evidence, tmp_path: Path) -> None:
    kept, dropped = zip(*evidence.clean_shards["web"], strict=True)
    rules = {rule.name: rule for rule in PROSE}
    for number, paths in enumerate((kept, dropped)):
        table = pa.concat_tables([pq.read_table(path) for path in paths])
        twice = tmp_path / f"{number}.parquet"  # in one shard, and in another
        pq.write_table(pa.concat_tables([table, table]), twice)
        if paths is kept:
            assert kept_examples([*paths, twice, *paths]) == kept_examples(paths)
        else:
            assert dropped_examples([*paths, twice], rules) == dropped_examples(paths, rules)


def test_excerpt_is_one_short_line() -> None:
    assert excerpt(" a\n\n b\t c ") == "a b c"
    assert len(excerpt("word " * 1000)) <= 281 and excerpt("word " * 1000).endswith("…")
    assert len(excerpt("x" * 10**6)) == 281


def test_json_round_trip(summary: Summary, tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(summary.text(), encoding="utf-8")
    assert read_summary(tmp_path) == summary


def test_an_older_summary_is_read(summary: Summary, tmp_path: Path) -> None:
    old = {**json.loads(summary.text()), "format_version": 1}
    del old["steps"]
    new_fields = ("together", "hosts", "duplicates", "parts_compared", "outlying_parts")
    for source in old["sources"]:
        source["fates"] = source.pop("outcomes")
        for name in new_fields:
            del source[name]
        for rule in source["rules"]:
            del rule["alone"]
        for signal in source["signals"]:
            del signal["yes_or_no"]
    for shard in old["shards"]:
        del shard["compared"], shard["outliers"]
    (tmp_path / "summary.json").write_text(json.dumps(old), encoding="utf-8")
    read = read_summary(tmp_path)
    assert read.ends() == summary.ends() and read.steps == summary.steps and read.sources[0].hosts is None
    assert "<figure" in report_page(read)


def test_unreadable_summaries_are_explained(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="corpus build` again"):
        read_summary(tmp_path)
    (tmp_path / "summary.json").write_text('{"format_version": 4}')
    with pytest.raises(InputError, match="expected a summary of format_version 1 to 3"):
        read_summary(tmp_path)


@pytest.mark.parametrize("job", ["clean.web", "text.web", "mix.web"])
def test_ledgers_that_do_not_balance_stop_the_report(evidence: Evidence, job: str) -> None:
    ledgers = {name: Ledger.of([ledger.json()]) for name, ledger in evidence.ledgers.items()}
    ledgers[job].add("web", "kept", "train" if job != "clean.web" else "")
    with pytest.raises(CorpusError, match="web do not balance"):
        collect(replace(evidence, ledgers=ledgers))


def test_output_changes_only_with_the_revision(summary: Summary) -> None:
    plain = {"sha256": "0" * 64, "file_bytes": 0}  # not ours, but of the library that writes shards
    shards = tuple(shard.model_copy(update=plain) for shard in summary.shards)
    summary = summary.model_copy(update={"shards": shards})
    found = tuple(hashlib.sha256(text.encode()).hexdigest()[:16] for text in (summary.text(), report_page(summary)))
    assert found == GOLDEN[REVISION], "the report changed: raise REVISION in corpus/inspect/report/summary.py"

"""`corpus stats` and what follows a build: the same numbers on a terminal."""

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.errors import CorpusError, InputError
from corpus.inspect.find_build import find_build
from corpus.inspect.report.collect import Evidence
from corpus.inspect.report.summary import OutcomeCount, Summary
from corpus.inspect.stats import show_build, show_stats


@pytest.fixture
def build(tmp_path: Path, summary: Summary) -> Path:
    folder = tmp_path / "build" / "made"
    (folder / "jobs").mkdir(parents=True)
    (folder / "summary.json").write_text(summary.text(), encoding="utf-8")
    (folder / "report.html").write_text("page")
    return folder


def test_after_a_build_come_funnel_shards_and_the_reports_path(
    build: Path, summary: Summary, capsys: pytest.CaptureFixture[str]
) -> None:
    show_build(build)
    output = capsys.readouterr().out
    for source in summary.sources:
        steps = (*source.left(["clean", "text"]), source.train.documents)
        assert re.search(rf"{source.name} .*" + ".* ".join(map(str, steps)), output)
    for shard in summary.shards:
        assert shard.file.rpartition("/")[2] in output and shard.sha256[:8] in output
    assert output.endswith(f"Report: {build / 'report.html'}\n")
    assert max(map(len, output.splitlines()[:-1])) <= 100


def test_unfinished_builds_are_explained(build: Path) -> None:
    (build / "report.html").unlink()
    with pytest.raises(CorpusError, match=r"report\.html"):
        show_build(build)
    (build / "summary.json").unlink()
    with pytest.raises(InputError, match="corpus build` again"):
        show_stats(build, False)


def test_stats_of_a_build(build: Path, summary: Summary, capsys: pytest.CaptureFixture[str]) -> None:
    show_stats(build, False)
    output = capsys.readouterr().out
    rule = summary.sources[0].rules[0]
    assert re.search(rf"books +{rule.name} +50\.\.100000 +{rule.dropped} +{rule.failing}\b", output)
    assert f"{summary.sources[1].tokens_short:,}" in output and "thin" in output
    assert max(map(len, output.splitlines()[:-1])) <= 100
    show_stats(build, True)
    assert json.loads(capsys.readouterr().out) == json.loads(summary.text())


def test_what_came_from_outside_cannot_steer_the_terminal(
    build: Path, summary: Summary, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "a\x1b[31mb\u202ec[bold]d\n"
    first = summary.sources[0]
    row = OutcomeCount(stage="clean", outcome="skipped", reason=evil, records=0, input_bytes=0, text_bytes=0)
    changed = first.model_copy(update={"name": evil, "outcomes": (*first.outcomes, row), "languages": {evil: 3}})
    hostile = summary.model_copy(update={"sources": (changed, *summary.sources[1:])})
    (build / "summary.json").write_text(hostile.text(), encoding="utf-8")
    for as_json in (False, True):
        show_stats(build, as_json)
        output = capsys.readouterr().out
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", output)
    assert "[bold]" in output


def test_stats_of_a_token_shard(evidence: Evidence, capsys: pytest.CaptureFixture[str]) -> None:
    entry = evidence.manifest.sources[1].shards[0]
    show_stats(evidence.root / entry.file, True)
    facts = json.loads(capsys.readouterr().out)
    stated = entry.model_dump(include={"split", "documents", "tokens", "bytes", "file_bytes", "sha256", "languages"})
    assert {name: facts[name] for name in stated} == stated
    assert facts["length_quantiles"] == entry.length_quantiles.model_dump()
    assert (facts["source"], facts["tokenizer"], facts["share_of_split"]) == ("web", "cd" * 32, 1.0)
    show_stats(evidence.root / entry.file, False)
    output = capsys.readouterr().out
    assert re.search(rf"documents +{entry.documents:,}\n", output) and entry.sha256 in output


def test_a_token_shard_away_from_its_manifest(
    evidence: Evidence, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "alone.arrow"
    copy.write_bytes((evidence.root / evidence.manifest.sources[0].shards[0].file).read_bytes())
    (tmp_path / "manifest.json").write_text("not a manifest")
    show_stats(copy, True)
    facts = json.loads(capsys.readouterr().out)
    assert facts["documents"] > 0 and "sha256" not in facts and "languages" not in facts


def test_stats_of_a_text_shard(evidence: Evidence, capsys: pytest.CaptureFixture[str]) -> None:
    path = evidence.clean_shards["web"][0][0]
    rows = pq.read_table(path).to_pylist()
    assert 0 < len(rows) < 120
    show_stats(path, True)
    facts = json.loads(capsys.readouterr().out)
    assert facts["documents"] == len(rows) and facts["bytes"] == sum(row["text_bytes"] for row in rows)
    assert facts["languages"]["und"] == sum(row["language"] is None for row in rows)
    assert set(facts["signal_means"]) == {"characters", "words", "lines", "hashes"}
    words = [row["words"] for row in rows if row["words"] is not None]
    assert facts["signal_means"]["words"] == pytest.approx(sum(words) / len(words), rel=1e-5)
    show_stats(path, False)
    assert "signal means" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["x.arrow", "x.parquet", "x.txt", "other.parquet", "missing.arrow"])
def test_what_is_no_shard_is_refused(tmp_path: Path, name: str) -> None:
    if not name.startswith("missing"):
        (tmp_path / name).write_bytes(b"ARROW1 or PAR1, but not really")
    if name == "other.parquet":
        pq.write_table(pa.table({"a": [1]}), tmp_path / name)
    with pytest.raises(CorpusError, match=re.escape(name)):
        show_stats(tmp_path / name, False)


def test_a_file_that_is_no_shard_is_distinguished_from_a_missing_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^/dev/null: not a shard; expected"):
        show_stats(Path("/dev/null"), False)
    with pytest.raises(InputError, match="no such file"):
        show_stats(tmp_path / "missing", False)


def test_the_only_build_is_found(build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(build.parents[1])
    (build.parent / "cache").mkdir()
    assert find_build(None) == Path("build/made")
    assert find_build(build) == build


def test_no_build_or_several_are_explained(build: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(build.parents[1])
    (build.parent / "second").mkdir()
    (build.parent / "second" / "build.json").write_text("{}")
    with pytest.raises(InputError, match=r"2 builds.*\n  build/made\n  build/second"):
        find_build(None)
    with pytest.raises(InputError, match=r"holds no build.*\n  build/made"):
        find_build(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        find_build(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"not a build's folder.*\n  build/made"):
        find_build(build / "summary.json")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(InputError, match=r"corpus build RECIPE"):
        find_build(None)

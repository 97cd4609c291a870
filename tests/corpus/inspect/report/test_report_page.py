"""The report page without a browser; tests/end_to_end/test_report_browser.py opens it in one."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from corpus.inspect.report.collect import Evidence, collect
from corpus.inspect.report.report_page import report_page
from corpus.inspect.report.summary import Summary
from corpus.store.ledger import Ledger
from corpus.units import human_bytes
from tests.made_report import HOSTILE, make_evidence


def test_it_says_the_summarys_numbers(summary: Summary) -> None:
    text = report_page(summary)
    shown = [count for source in summary.sources for count in source.ends().values()]
    shown += [count for source in summary.sources for count in source.left(summary.titles)] + [summary.records_read]
    for number in shown:
        assert f">{number:,}<" in text
    for loss in (loss for source in summary.sources for loss in source.losses):
        assert human_bytes(loss.lost_bytes) in text and ", ".join(loss.reasons) in text
    assert "Input that could not be read" in text and "Files without a checksum" in text
    for shard in summary.shards:
        assert f"{shard.tokens:,}" in text and shard.sha256[:10] in text


def test_hostile_text_is_escaped_and_there(summary: Summary) -> None:
    text = report_page(summary)
    assert "<script" not in text
    assert HOSTILE.replace("<", "&lt;").replace(">", "&gt;") in text
    assert HOSTILE not in report_page(summary)


def test_a_page_of_empty_sources(evidence: Evidence, tmp_path: Path) -> None:
    empty = make_evidence(tmp_path, ("web",), 10)
    nothing = {name: Ledger() for name in empty.ledgers}
    source = empty.manifest.sources[0]
    none = source.train.model_copy(update={"documents": 0, "tokens": 0, "bytes": 0})
    blank = source.model_copy(update={"train": none, "holdout": none, "shards": (), "share_got": 0.0})
    manifest = empty.manifest.model_copy(update={"sources": (blank,), "tokens_got": 0})
    shards: dict[str, list[tuple[Path, Path]]] = {"web": []}
    bare = replace(empty, ledgers=nothing, manifest=manifest, clean_shards=shards, decisions={"web": []})
    text = report_page(collect(bare))
    assert "No rule dropped anything." in text and "Nothing was a duplicate." in text


def test_same_bytes_in_another_process_and_folder(summary: Summary, tmp_path: Path) -> None:
    code = (
        "import sys, hashlib; from pathlib import Path; sys.path.insert(0, sys.argv[1]);"
        "from made_report import make_evidence; from corpus.inspect.report.collect import collect;"
        "from corpus.inspect.report.report_page import report_page;"
        "summary = collect(make_evidence(Path(sys.argv[2])));"
        "print(hashlib.sha256((summary.text() + report_page(summary)).encode()).hexdigest())"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parents[3]), str(tmp_path)]
    other = subprocess.run(command, env={"PYTHONHASHSEED": "22"}, capture_output=True, text=True, check=True).stdout
    assert hashlib.sha256((summary.text() + report_page(summary)).encode()).hexdigest() == other.strip()
    assert str(tmp_path) not in report_page(summary)

"""No damage to a file is silent, and no text of it is kept garbled unless the file carries no checksum.

Verified to fail if pieces of a compressed stream are handed on before its checksum was seen, if a WARC member of many
records is not checked ahead, and if a Parquet file's page checksums are not verified.
"""

import io
import json
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from corpus.document import Failed, plain_text
from corpus.errors import CorpusError
from corpus.formats import compressed, lz4_frames, warc_streams
from corpus.formats.checksums import missing_checksum
from corpus.inspect.report.summary import read_summary
from corpus.sources.base import catalog
from corpus.store.ledger import Ledger
from corpus.units import human_bytes
from pipelines.build import build
from pipelines.engine.executors.local import Local
from tests.corpus.formats.tiles import read_cut, read_whole, records
from tests.faults.damaged_files import DOCUMENTS, SEED, Damageable, is_sound, mutants, sound_files

FILES = sound_files()
SAMPLED, ALL = 10, 200  # mutants of each file
HANG_S = 60  # for a file that is read in some milliseconds
EXTRA_BYTES = 500_000_000  # above what the process holds when reading begins
BUILDS = 5


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read in small pieces, so that a small file has as many as a large one."""
    monkeypatch.setattr(compressed, "BLOCK_BYTES", 1 << 9)
    monkeypatch.setattr(compressed, "OUTPUT_BYTES", 1 << 12)
    monkeypatch.setattr(warc_streams, "_STEP_BYTES", 1 << 9)
    monkeypatch.setattr(warc_streams, "PIECE_BYTES", 1 << 12)
    monkeypatch.setattr(lz4_frames, "PIECE_BYTES", 1 << 12)


@contextmanager
def watchdog() -> Iterator[None]:
    """Fail after `HANG_S` seconds of CPU time, however busy the machine is."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"not done after {HANG_S} s")

    before = signal.signal(signal.SIGVTALRM, ring)
    signal.setitimer(signal.ITIMER_VIRTUAL, HANG_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def resident_bytes(field: str) -> int:
    """Return a figure of this process: `VmRSS` now, or `VmHWM`, the most since `forget_peak`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def attack(file: Damageable, path: Path, count: int, first: int = 0) -> Counter[str]:
    """Read mutants and check what each must give; return how they ended."""
    reader, settings = catalog()[file.reader], file.settings()
    path.write_bytes(file.content)
    sound = Counter(record.content for record in records(read_whole(reader, path, settings)))
    assert sound.total() == DOCUMENTS and (missing_checksum(path) is None) == file.checked
    ends = Counter[str]()
    for how, mutant in mutants(file.content, count, SEED + first):
        path.unlink()  # a disk may wait for a file that is written over
        path.write_bytes(mutant)
        forget_peak()
        idle = resident_bytes("VmRSS")
        with watchdog():  # each reading is checked to tile the file, so the bytes kept and lost add up to its size
            readings = read_whole(reader, path, settings), read_cut(reader, path, [len(mutant) // 2], settings)
        assert resident_bytes("VmHWM") < idle + EXTRA_BYTES, how
        for spans in readings:
            found = Counter(record.content for record in records(spans))
            garbled, lost = found.keys() - sound.keys(), sound - found
            failed = sum(span.end - span.start for span in spans if isinstance(span, Failed))
            silent = lost and not failed and not is_sound(file.name, mutant)
            assert not (file.checked and garbled), f"{how}: {len(garbled)} texts differ from those of the sound file"
            assert not (file.checked and silent), f"{how}: {lost.total()} documents were lost, and nothing failed"
        ends["garbled" if garbled else "lost" if lost else "failed" if failed else "unharmed"] += 1
        ends["lost documents"] += lost.total()
        ends["garbled documents"] += len(garbled)
    return ends


@pytest.mark.parametrize("name", FILES)
def test_a_reader_keeps_no_garbled_text(tmp_path: Path, name: str) -> None:
    attack(FILES[name], tmp_path / name, SAMPLED)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_reader_keeps_no_garbled_text_of_many_mutants(tmp_path: Path, name: str) -> None:
    print(name, dict(sorted(attack(FILES[name], tmp_path / name, ALL, first=1).items())))


def run_build(folder: Path, files: list[Damageable], contents: list[bytes], max_failed: str) -> str:
    """Build a corpus with a source for each file, in the same folder each time; return the terminal's output."""
    sources, percent = [], 100 // len(files)
    for number, (file, content) in enumerate(zip(files, contents, strict=True)):
        place = folder / str(number)
        place.mkdir(parents=True, exist_ok=True)
        (place / file.name).write_bytes(content)
        sources.append(
            {
                **file.source,
                "name": f"s{number}",
                "paths": [f"{number}/{file.name}"],
                "share": f"{percent if number else 100 - percent * (len(files) - 1)}%",
            }
            | {"max_failed": max_failed}
        )
    tokenizer = {"train": {"vocabulary": 300, "sample_bytes": "40kB"}}
    recipe = {"format_version": 1, "name": "damaged", "sources": sources, "tokenizer": tokenizer, "mix": {}}
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    said = Console(file=io.StringIO(), width=200)
    profile = Local(workers=2, cache=str(folder / "cache"))
    build(folder / "recipe.yaml", out=folder / "out", profile=profile, console=said)
    assert isinstance(said.file, io.StringIO)
    return said.file.getvalue()


def kept_texts(folder: Path, source: str) -> set[str]:
    tables = list((folder / "out").glob(f"jobs/clean.{source}-*/kept-*.parquet"))
    assert tables
    return {text for table in tables for text in pq.read_table(table, columns=["text"])["text"].to_pylist()}


def test_a_build_that_loses_input_stops_or_says_so(tmp_path: Path) -> None:
    file = FILES["one.jsonl.zst"]
    broken = bytearray(file.content)
    broken[len(broken) // 10] ^= 1
    files, contents = [file, FILES["bare.parquet"]], [bytes(broken), FILES["bare.parquet"].content]
    # One frame is one failed record, which would be accepted if bytes were not counted.
    with pytest.raises(CorpusError, match=rf"1 of 1 records .*{len(broken):,} of {len(broken):,} bytes") as stopped:
        run_build(tmp_path, files, contents, "1%")
    assert f"one.jsonl.zst@0..{len(broken)}: bad_zstd" in str(stopped.value)
    said = run_build(tmp_path, files, contents, "100%")
    size = human_bytes(len(broken))
    assert "warning: no document of s0 is kept: 1 failed (bad_zstd)" in said
    assert f"warning: s0: {size} (100.00%) of the input could not be read, in 1 file:" in said
    assert f"one.jsonl.zst: 0 B read, {size} (100.00%) lost (bad_zstd)" in said
    assert "s1: no checksum in 1 of 1 file (Parquet 1)" in said
    summary = read_summary(tmp_path / "out")
    assert [source.lost_bytes for source in summary.sources] == [len(broken), 0]
    assert [dict(source.without_checksum) for source in summary.sources] == [{}, {"Parquet": 1}]
    (loss,) = summary.sources[0].losses
    assert (loss.file, loss.lost_bytes, loss.reasons) == ("one.jsonl.zst", len(broken), ("bad_zstd",))


def test_a_build_that_loses_everything_says_why(tmp_path: Path) -> None:
    file = FILES["one.jsonl.zst"]
    with pytest.raises(CorpusError, match=r"no document is left of any source:\n  s0: 1 failed \(truncated\)"):
        run_build(tmp_path, [file], [file.content[:-9]], "100%")


@pytest.mark.slow
@pytest.mark.parametrize("number", range(BUILDS))
def test_builds_over_mutants_of_every_container(tmp_path: Path, number: int) -> None:
    files = list(FILES.values())
    hows, contents = zip(*(mutants(file.content, number + 1, SEED + 100)[number] for file in files), strict=True)
    said = run_build(tmp_path, files, list(contents), "100%")
    for index, (file, how, content) in enumerate(zip(files, hows, contents, strict=True)):
        reader, settings, path = catalog()[file.reader], file.settings(), tmp_path / file.name
        path.write_bytes(file.content)
        spans = records(read_whole(reader, path, settings))
        sound = {plain_text(reader.document(record, settings).text) for record in spans}
        found, job = kept_texts(tmp_path, f"s{index}"), next((tmp_path / "out").glob(f"jobs/clean.s{index}-*/job.json"))
        ledger = Ledger.of([json.loads(job.read_text())["ledger"]])
        lost = ledger.total("input_bytes", outcome="failed")
        assert ledger.total("input_bytes") == len(content), (file.name, how)
        assert found <= sound or not file.checked, (file.name, how)
        assert (f"{file.name}: " in said.partition(f"s{index}: ")[2]) == (lost > 0), (file.name, how)
        assert found == sound or lost or not file.checked or is_sound(file.name, content), (file.name, how)
        path.write_bytes(content)
        assert (f"s{index}: no checksum in 1 of 1 file" in said) == (missing_checksum(path) is not None), (
            file.name,
            how,
        )
    with pytest.raises(CorpusError, match="could not be read"):  # more than 1 % of some file
        run_build(tmp_path, files, list(contents), "1%")

"""No damage to a file is silent, and no text of it is kept garbled unless the file carries no checksum.

Verified to fail if pieces of a compressed stream are handed on before its checksum was seen, if a WARC member of many
records is not checked ahead, if a Parquet file's page checksums are not verified, and if a zip's two headers are not
compared.
"""

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from corpus.document import Failed
from corpus.formats.checksums import missing_checksum
from corpus.sources.base import catalog
from tests.corpus.formats.tiles import read_cut, read_whole, records
from tests.faults.damaged_files import DOCUMENTS, SEED, Damageable, is_sound, mutants, sound_files

FILES = sound_files()
SAMPLED, ALL = 10, 200  # mutants of each file
HANG_S = 60  # for a file that is read in some milliseconds
EXTRA_BYTES = 500_000_000  # above what the process holds when reading begins
BUILDS = 5


@contextmanager
def watchdog() -> Iterator[None]:
    """Fail after `HANG_S` seconds."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"not done after {HANG_S} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(HANG_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


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

"""Hostile and broken archives: memory, time and paths are bounded, and spans cover every byte."""

import gzip
import io
import json
import random
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpus.formats.archive_member import REPOSITORY_LIMITS
from corpus.sources.code import READER
from tests.corpus.formats.archive_files import COMPRESS, KINDS, SETTINGS, packed, special, tar, zipped
from tests.corpus.formats.tiles import outcomes, read_whole, records

GOOD = {"a/good.py": b"good = 1\n"}
LAST = {"a/last.py": b"last = 1\n"}
MAX_GROWTH_BYTES = 300_000_000
CHILD = """
import json, sys
from collections import Counter
from pathlib import Path
import zstandard
from corpus.document import Record
from corpus.sources.code import READER, CodeSettings
settings = CodeSettings.model_validate_json(sys.argv[2])
path, said, at = Path(sys.argv[1]), Counter(), 0
def peak():  # ru_maxrss would begin with what the parent had
    [line] = [line for line in open("/proc/self/status") if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024
idle = peak()
for found in READER.read(path, 0, path.stat().st_size, settings):
    assert found.start == at <= found.end
    at = found.end
    said["record" if isinstance(found, Record) else found.reason] += 1
assert at == path.stat().st_size
print(json.dumps([said, peak() - idle]))
"""


def outcomes_in(folder: Path, content: bytes) -> Counter[str]:
    """Return the outcomes of an archive, after checking its spans."""
    path = folder / "a"
    path.write_bytes(content)
    return outcomes(read_whole(READER, path, SETTINGS))


def outcomes_in_child(folder: Path, content: bytes) -> dict[str, int]:
    """Return the outcomes in a child process whose memory must grow by less than the bound."""
    path = folder / "a"
    path.write_bytes(content)
    command = [sys.executable, "-c", CHILD, str(path), SETTINGS.model_dump_json()]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    said, growth = json.loads(ended.stdout)
    assert growth < MAX_GROWTH_BYTES
    return dict(said)


@pytest.mark.parametrize(
    "name", ["../x.py", "a/../../x.py", "/etc/x.py", "a/..", "..\\x.py", "\\x.py", "a/" * 3000 + "x.py"]
)
@pytest.mark.parametrize("kind", [".tar.gz", ".zip"])
def test_names_outside_the_folder_are_skipped(tmp_path: Path, kind: str, name: str) -> None:
    assert outcomes_in(tmp_path, packed(kind, {**GOOD, name: b"bad = 1\n", **LAST})) == {"record": 2, "unsafe_name": 1}


def test_names_that_are_not_text_are_skipped(tmp_path: Path) -> None:
    bad = [b"a/caf\xe9.py".decode("utf-8", "surrogateescape"), "a/b\nc.py", "a/\x1b[2J.py"]
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        content = tar({**GOOD, **dict.fromkeys(bad, b"bad = 1\n"), **LAST}, form=form)
        assert outcomes_in(tmp_path, content) == {"record": 2, "name_not_text": 3}
    nul = tar({**GOOD, "a/" + "b" * 120 + "c.py": b"bad = 1\n"}).replace(b"path=a/bb", b"path=a/b\0")
    assert outcomes_in(tmp_path, nul) == {"record": 1, "unsafe_name": 1}
    latin = zipped({**GOOD, "a/cafX.py": b"bad = 1\n"}).replace(b"cafX", b"caf\xe9")
    assert outcomes_in(tmp_path, latin) == {"record": 1, "name_not_text": 1}


def test_links_and_devices_are_skipped(tmp_path: Path) -> None:
    infos = [
        special("a/passwd.py", tarfile.SYMTYPE, "/etc/passwd"),
        special("a/hard.py", tarfile.LNKTYPE, "a/good.py"),
        special("a/fifo.py", tarfile.FIFOTYPE),
        special("a/zero.py", tarfile.CHRTYPE),
        special("a/disk.py", tarfile.BLKTYPE),
    ]
    for content in (tar(GOOD, *infos), gzip.compress(tar(GOOD, *infos))):
        assert outcomes_in(tmp_path, content) == {"record": 1, "link": 2, "special": 3}
    assert outcomes_in(tmp_path, zipped(GOOD, links={"a/passwd.py": "/etc/passwd"})) == {"record": 1, "link": 1}


def test_sparse_files_are_skipped_with_their_maps_and_data(tmp_path: Path) -> None:
    info = tarfile.TarInfo("a/huge.py")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(10**15)}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info.size = 512
        archive.addfile(info, io.BytesIO(b"1\n0\n10\n".ljust(512, b"\0")))
    assert outcomes_in(tmp_path, buffer.getvalue() + tar(GOOD)) == {"special": 1, "record": 1}
    old = tarfile.TarInfo("a/old.py")
    old.type, old.size = tarfile.GNUTYPE_SPARSE, 600
    header = bytearray(old.tobuf(tarfile.GNU_FORMAT))
    header[482] = 1  # another block of its map follows, and another
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:]) + 256)
    maps = bytes(504) + b"\1" + bytes(7) + bytes(512)
    assert outcomes_in(tmp_path, bytes(header) + maps + b"x" * 1024 + tar(GOOD)) == {"special": 1, "record": 1}


@pytest.mark.parametrize("kind", [".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst"])
def test_bombs_are_not_read_to_the_end(tmp_path: Path, kind: str) -> None:
    size = 100 * REPOSITORY_LIMITS.unpacked_bytes
    huge = tarfile.TarInfo("a/huge.bin")
    huge.size = size
    header = tar(GOOD)[:1024] + huge.tobuf()
    zeros = COMPRESS[kind](bytes(size // 1000))
    said = outcomes_in_child(tmp_path, COMPRESS[kind](header) + zeros * 1000 + COMPRESS[kind](tar(LAST)))
    assert said == {"record": 1, "bomb": 1}


def test_large_file_of_zeros_is_not_a_bomb(tmp_path: Path) -> None:
    assert outcomes_in(
        tmp_path, gzip.compress(tar({"a/zeros.bin": bytes(REPOSITORY_LIMITS.unpacked_bytes // 2), **LAST}))
    ) == {
        "not_source": 1,
        "record": 1,
    }


def test_zip_bombs_are_not_read_to_the_end(tmp_path: Path) -> None:
    blanks = zipped({**GOOD, **{f"a/{number}.py": b" " * 25_000_000 for number in range(8)}})
    assert outcomes_in_child(tmp_path, blanks) == {"record": 1, "empty": 4, "bomb": 1}
    assert outcomes_in(tmp_path, zipped({"a/inner.zip": blanks, **LAST})) == {"not_source": 1, "record": 1}


def entry(name: bytes, crc: int, packed_size: int, size: int, offset: int, method: int = 8) -> bytes:
    """An entry of a zip's directory."""
    fields = (b"PK\1\2", 20, 20, 0, method, 0, 0, crc, packed_size, size, len(name), 0, 0, 0, 0, 0, offset)
    return struct.pack("<4s6H3I5H2I", *fields) + name


def local(name: bytes, method: int = 8) -> bytes:
    """A member's own header."""
    return struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, method, 0, 0, 0, 0, 0, len(name), 0) + name


def end(entries: bytes, count: int, offset: int) -> bytes:
    """The end of a zip."""
    return entries + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count & 0xFFFF, count & 0xFFFF, len(entries), offset, 0)


def deflated(data: bytes) -> bytes:
    """Raw deflate data."""
    squeezed = zlib.compressobj(9, wbits=-15)
    return squeezed.compress(data) + squeezed.flush()


def test_members_that_share_bytes_are_refused(tmp_path: Path) -> None:
    data = b"x = 1\n" * 4_000_000
    body = local(b"a/x.py") + deflated(data)
    one = entry(b"a/x.py", zlib.crc32(data), len(body) - 36, len(data), 0)
    assert outcomes_in_child(tmp_path, body + end(one * 3000, 3000, len(body))) == {"record": 1, "overlapping": 2999}
    inner = local(b"a/y.py", 0) + b"y = 1\n"  # lies within what is stored of another
    outer = local(b"a/x.py", 0) + inner
    entries = entry(b"a/x.py", zlib.crc32(inner), len(inner), len(inner), 0, 0)
    entries += entry(b"a/y.py", zlib.crc32(b"y = 1\n"), 6, 6, 36, 0)
    assert outcomes_in(tmp_path, outer + end(entries, 2, len(outer))) == {"binary": 1, "overlapping": 1}


def test_zip_with_false_sizes_or_names_fails(tmp_path: Path) -> None:
    data = b" " * 50_000_000 + b"x"
    packed_data, crc = deflated(data), zlib.crc32(data)
    body = local(b"a/x.py") + packed_data
    good = zipped(GOOD)

    def lie(name: bytes = b"a/x.py", size: int = len(packed_data), unpacked: int = 100, method: int = 8) -> bytes:
        return body + end(entry(name, crc, size, unpacked, 0, method), 1, len(body))

    assert outcomes_in_child(tmp_path, lie()) == {"bad_zip": 1}  # it unpacks to more than it says
    assert outcomes_in_child(tmp_path, lie(unpacked=32_000_000)) == {"bad_zip": 1}
    assert outcomes_in(tmp_path, lie(unpacked=2**32 - 2)) == {"too_large": 1}
    assert outcomes_in(tmp_path, lie(size=2**32 - 2)) == {"bad_header": 1}
    assert outcomes_in(tmp_path, lie(name=b"a/y.py")) == {"bad_header": 1}
    assert outcomes_in(tmp_path, lie(method=9)) == {"bad_header": 1}  # the member's own header says 8
    deflate64 = lie(method=9)
    deflate64 = deflate64[:8] + b"\t\0" + deflate64[10:]
    assert outcomes_in(tmp_path, deflate64) == {"unsupported_compression": 1}
    assert outcomes_in(tmp_path, good.replace(b"good = 1", b"evil = 1")) == {
        "record": 1
    }  # deflated: nothing to replace
    stored = zipped({**GOOD, **LAST}, method=zipfile.ZIP_STORED)
    assert outcomes_in(tmp_path, stored.replace(b"good = 1", b"evil = 1")) == {"bad_zip": 1, "record": 1}
    directory = stored.rindex(b"PK\1\2")
    assert outcomes_in(tmp_path, stored[:directory] + b"XX" + stored[directory + 2 :]) == {
        "record": 1,
        "bad_directory": 1,
    }
    assert outcomes_in(tmp_path, stored[:-6] + b"\xff\xff\xff\x7f\0\0") == {"bad_directory": 1}


@pytest.mark.parametrize("offset", [2**64 - 1, 2**62, 10**6])
def test_zip_offsets_behind_the_end_fail(tmp_path: Path, offset: int) -> None:
    body, extra = local(b"a/x.py"), struct.pack("<HHQ", 1, 8, offset)
    far = bytearray(entry(b"a/x.py", 0, 0, 0, 0xFFFFFFFF) + extra)
    struct.pack_into("<H", far, 30, len(extra))
    assert outcomes_in(tmp_path, body + end(bytes(far), 1, len(body))) == {"bad_header": 1}


def test_extended_headers_are_bounded(tmp_path: Path) -> None:
    comment = tarfile.TarInfo("a/x.py")
    comment.pax_headers = {"comment": random.Random(1).randbytes(20_000_000).hex()}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(comment)
    assert outcomes_in_child(tmp_path, tar(GOOD) + buffer.getvalue() + tar(LAST)) == {
        "record": 2,
        "bad_header": 1,
    }
    giant = tarfile.TarInfo("././@LongLink")
    giant.type, giant.size = tarfile.GNUTYPE_LONGNAME, 8_000_000_000
    assert outcomes_in(tmp_path, tar(GOOD)[:1024] + giant.tobuf(tarfile.GNU_FORMAT) + bytes(2048)) == {
        "record": 1,
        "truncated": 1,
    }
    small = tarfile.TarInfo("././@LongLink")
    small.type, small.size = tarfile.GNUTYPE_LONGNAME, 3
    chain = (small.tobuf(tarfile.GNU_FORMAT) + b"abc".ljust(512, b"\0")) * 20_000
    assert outcomes_in(tmp_path, chain + tar(GOOD)) == {"not_source": 1}


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_archives_are_read_up_to_the_end_unless_a_checksum_is_missing(tmp_path: Path, kind: str) -> None:
    noise = random.Random(2)
    files = {f"a/{number}.py": noise.randbytes(20_000).hex().encode() for number in range(30)}
    whole = packed(kind, files)
    said = outcomes_in(tmp_path, whole[: len(whole) // 2])
    assert said["truncated"] == 1 and sum(said.values()) == said["record"] + 1
    assert (said["record"] > 8) if kind == ".tar" else (said["record"] == 0)
    assert outcomes_in(tmp_path, whole[:10]) == {"truncated": 1}


def test_reading_resumes_after_a_broken_header(tmp_path: Path) -> None:
    data = bytearray(
        tar({"a/one.py": b"1" * 3000, "a/two.py": b"2" * 3000, "a/three.py": b"3" * 3000}, form=tarfile.USTAR_FORMAT)
    )
    data[3584 + 10] ^= 0xFF
    path = tmp_path / "a.tar"
    for content in (bytes(data), gzip.compress(data)):
        path.write_bytes(content)
        found = read_whole(READER, path, SETTINGS)
        assert [each.identity for each in records(found)] == ["a one.py", "a three.py"]
        assert outcomes(found) == {"record": 2, "bad_header": 1}
    path.write_bytes(data)
    assert [each.start for each in read_whole(READER, path, SETTINGS)] == [0, 3584, 7168]


def test_files_that_are_no_archives_fail(tmp_path: Path) -> None:
    for content in (
        b"just a text\n" * 100,
        gzip.compress(b"just a text\n" * 100),
        b"PK" * 600,
        b"7z\xbc\xaf\x27\x1c" * 100,
    ):
        assert outcomes_in(tmp_path, content) == {"not_an_archive": 1}


def test_many_members_take_little_memory(tmp_path: Path) -> None:
    count = 40_000
    body = b"".join(local(b"a/%06d.bin" % number, 0) for number in range(count))
    entries = b"".join(entry(b"a/%06d.bin" % number, 0, 0, 0, number * 42, 0) for number in range(count))
    assert outcomes_in_child(tmp_path, body + end(entries, count, len(body))) == {"not_source": count}


def _hostile(folder: Path, kind: str, spoil: Callable[[bytes], bytes]) -> None:
    files = {**GOOD, "a/LICENSE": b"MIT License", "a/" + "b" * 120 + ".c": b"int x;" * 50, **LAST}
    path = folder / "a"
    path.write_bytes(spoil(packed(kind, files)))
    read_whole(READER, path, SETTINGS)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(KINDS), at=st.floats(0, 1), junk=st.binary(max_size=40), keep=st.booleans())
def test_hostile_bytes_never_raise(tmp_path: Path, kind: str, at: float, junk: bytes, keep: bool) -> None:
    def spoil(whole: bytes) -> bytes:
        place = int(at * len(whole))
        return whole[:place] + junk + whole[place + (0 if keep else len(junk)) :]

    _hostile(tmp_path, kind, spoil)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 511), block=st.integers(0, 3), junk=st.binary(min_size=1, max_size=12))
def test_hostile_headers_with_a_valid_checksum_never_raise(tmp_path: Path, at: int, block: int, junk: bytes) -> None:
    def spoil(whole: bytes) -> bytes:
        header = bytearray(whole[block * 512 : block * 512 + 512])
        header[at : at + len(junk)] = junk
        header = header[:512].ljust(512, b"\0")
        header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:]) + 256)
        return whole[: block * 512] + bytes(header) + whole[block * 512 + 512 :]

    _hostile(tmp_path, ".tar", spoil)

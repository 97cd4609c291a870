"""Extraction from packages' archives, honest and hostile."""

import bz2
import gzip
import hashlib
import io
import lzma
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from corpus.errors import CorpusError, InputError
from corpus.formats import package_archive as archives
from corpus.formats.budget import Limits
from corpus.formats.package_archive import ExtractedFile, extract, glob
from tests.corpus.fetch.fake_package_index import tar_gz, wheel

FILES = {"Pkg-1.0/a.txt": b"one", "Pkg-1.0/docs/b.txt": b"two", "Pkg-1.0/docs/deep/c.txt": b"three"}


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def names(archive: Path) -> list[str]:
    folder = archive.parent / "names"
    shutil.rmtree(folder, ignore_errors=True)
    return [file.name for file in extract(archive, "**", folder)]


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("*.txt", ["a.txt"]),
        ("**/*.txt", ["a.txt", "docs/b.txt", "docs/deep/c.txt"]),
        ("docs/**", ["docs/b.txt", "docs/deep/c.txt"]),
        ("docs/*", ["docs/b.txt"]),
        ("docs/?.txt", ["docs/b.txt"]),
        ("**/deep/*", ["docs/deep/c.txt"]),
        ("docs/[b].txt", []),
        ("a+txt", []),
    ],
)
def test_patterns_match_within_folders_unless_doubled(pattern: str, matches: list[str]) -> None:
    assert [n for n in ("a.txt", "docs/b.txt", "docs/deep/c.txt") if glob(pattern).fullmatch(n)] == matches


@pytest.mark.parametrize("suffix", [".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip"])
def test_the_top_folder_of_each_kind_of_sdist_is_left_off(tmp_path: Path, suffix: str) -> None:
    plain = gzip.decompress(tar_gz(FILES))
    content = {
        ".tar.gz": gzip.compress(plain),
        ".tgz": gzip.compress(plain),
        ".tar.bz2": bz2.compress(plain),
        ".tar.xz": lzma.compress(plain),
        ".zip": wheel(FILES),
    }
    archive = written(tmp_path, f"pkg-1.0{suffix}", content[suffix])
    files = extract(archive, "**", tmp_path / "out")
    assert [(file.name, file.size) for file in files] == [("a.txt", 3), ("docs/b.txt", 3), ("docs/deep/c.txt", 5)]
    assert [(tmp_path / "out" / file.name).read_bytes() for file in files] == [b"one", b"two", b"three"]


def test_a_wheel_keeps_its_paths(tmp_path: Path) -> None:
    archive = written(tmp_path, "pkg-1.0-py3-none-any.whl", wheel({"pkg-1.0.dist-info/x": b"", "pkg/y": b""}))
    assert names(archive) == ["pkg-1.0.dist-info/x", "pkg/y"]


def test_matching_files_are_extracted_with_sizes_and_hashes(tmp_path: Path) -> None:
    archive = written(tmp_path, "pkg-1.0.tar.gz", tar_gz(dict(reversed(FILES.items()))))
    folder = tmp_path / "out" / "pkg==1.0"
    expected = [
        ExtractedFile("docs/b.txt", 3, hashlib.sha256(b"two").hexdigest()),
        ExtractedFile("docs/deep/c.txt", 5, hashlib.sha256(b"three").hexdigest()),
    ]
    for _ in range(2):  # what stands there is written anew
        assert extract(archive, "docs/**", folder) == expected
        assert {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()} == {
            "docs/b.txt": b"two",
            "docs/deep/c.txt": b"three",
        }
        (folder / "docs/b.txt").write_bytes(b"else")


def test_the_error_for_no_match_lists_similar_files(tmp_path: Path) -> None:
    archive = written(tmp_path, "pkg-1.0.tar.gz", tar_gz(FILES))
    with pytest.raises(InputError, match=r"pkg-1\.0\.tar\.gz: no file matches `docs/\*\.text`.*docs/b\.txt"):
        extract(archive, "docs/*.text", tmp_path / "out")


@pytest.mark.parametrize("name", ["../x", "pkg-1.0/../../x", "/etc/x", "a/..", "..\\x"])
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_names_outside_the_folder_are_refused(tmp_path: Path, name: str, kind: str) -> None:
    content = {"pkg-1.0/ok.txt": b"ok", name: b"bad"}
    archive = (
        written(tmp_path, "pkg-1.0.tar.gz", tar_gz(content))
        if kind == "tar"
        else written(tmp_path, "pkg-1.0-py3-none-any.whl", wheel(content))
    )
    with pytest.raises(CorpusError, match="leads out of its folder"):
        extract(archive, "**", tmp_path / "out" / "in")
    outside = [p for p in tmp_path.rglob("*") if p.is_file() and not p.is_relative_to(tmp_path / "out" / "in")]
    assert outside == [archive]


def test_links_devices_and_names_that_are_not_text_are_passed_over(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    content = tar_gz(
        {"pkg-1.0/a.txt": b"a", "pkg-1.0/b\nc.txt": b"b"},
        link("pkg-1.0/passwd", "/etc/passwd"),
        link("pkg-1.0/hard", "pkg-1.0/a.txt", tarfile.LNKTYPE),
        link("pkg-1.0/fifo", "", tarfile.FIFOTYPE),
        link("pkg-1.0/device", "", tarfile.CHRTYPE),
    )
    assert names(written(tmp_path, "pkg-1.0.tar.gz", content)) == ["a.txt"]
    buffer = io.BytesIO(wheel({"a.txt": b"a"}))
    with zipfile.ZipFile(buffer, "a") as opened:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        opened.writestr(info, str(outside))
    assert names(written(tmp_path, "pkg-1.0-py3-none-any.whl", buffer.getvalue())) == ["a.txt"]


def test_links_in_the_target_folder_are_not_followed(tmp_path: Path) -> None:
    archive = written(tmp_path, "pkg-1.0.tar.gz", tar_gz(FILES))
    (tmp_path / "outside").mkdir()
    for name, target in (("a.txt", tmp_path / "outside" / "a.txt"), ("docs", tmp_path / "outside")):
        folder = tmp_path / f"out-{name}"
        folder.mkdir()
        (folder / name).symlink_to(target)
        if name == "docs":
            with pytest.raises(CorpusError, match="leads out of"):
                extract(archive, "**", folder)
        else:
            extract(archive, "**", folder)
    assert list((tmp_path / "outside").iterdir()) == []


def test_the_first_of_two_members_of_one_name_is_used(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for content in (b"first", b"second"):
            info = tarfile.TarInfo("pkg-1.0/./a.txt")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    extract(written(tmp_path, "pkg-1.0.tar.gz", buffer.getvalue()), "**", tmp_path / "out")
    assert (tmp_path / "out" / "a.txt").read_bytes() == b"first"


def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "PACKAGE_LIMITS", Limits(3_000_000, 0, 100, header_bytes=100_000))
    zeros = bytes(1_000_000)
    many = {f"pkg-1.0/{index}": zeros for index in range(4)}
    comment = io.BytesIO()
    with tarfile.open(fileobj=comment, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("pkg-1.0/first.txt"))
        info = tarfile.TarInfo("pkg-1.0/a.txt")
        info.pax_headers = {"comment": "x" * 1_000_000}
        archive.addfile(info)
    for name, content, reason in (
        ("pkg-1.0.tar.gz", tar_gz(many), "refused: it unpacks to more than"),
        ("pkg-1.0-py3-none-any.whl", wheel(many), "refused: it unpacks to more than"),
        ("pax-1.0.tar.gz", comment.getvalue(), "damaged, or not a wheel or sdist .*: bad_header"),
    ):
        with pytest.raises(CorpusError, match=reason):
            extract(written(tmp_path, name, content), "**", tmp_path / "out")
    monkeypatch.setattr(archives, "PACKAGE_LIMITS", Limits(5_000_000, 0, 100))
    assert len(extract(tmp_path / "pkg-1.0.tar.gz", "**", tmp_path / "out")) == 4


def test_a_sparse_file_is_passed_over(tmp_path: Path) -> None:
    info = tarfile.TarInfo("pkg-1.0/huge")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(10**15)}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        content = b"1\n0\n10\n".ljust(512, b"\0")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    with pytest.raises(InputError, match="among its 0 files"):
        extract(written(tmp_path, "pkg-1.0.tar.gz", buffer.getvalue()), "**", tmp_path / "out")


@pytest.mark.parametrize("name", ["pkg-1.0.tar.gz", "pkg-1.0.tar.bz2", "pkg-1.0.tar.xz", "pkg-1.0-py3-none-any.whl"])
def test_damaged_archives_are_errors(tmp_path: Path, name: str) -> None:
    content = wheel(FILES) if name.endswith("whl") else tar_gz({"pkg-1.0/a": hashlib.sha512(b"").digest() * 2000})
    cut = content[: len(content) // 2]
    for body in (b"", b"nothing of the kind" * 40, cut):
        with pytest.raises(CorpusError):
            extract(written(tmp_path, name, body), "**", tmp_path / "out")


def test_a_file_in_place_of_a_folder_is_an_error(tmp_path: Path) -> None:
    archive = written(tmp_path, "pkg-1.0.tar.gz", tar_gz({"pkg-1.0/a": b"", "pkg-1.0/a/b": b""}))
    with pytest.raises(CorpusError, match="cannot write"):
        extract(archive, "**", tmp_path / "out")

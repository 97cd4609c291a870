"""Archives of repositories, made for tests."""

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable, Mapping

import zstandard

from corpus.sources.code import CodeSettings

PLAIN = {"name": "code", "reader": "code", "paths": ("x",), "share": 1.0, "license": "unknown"}
SETTINGS = CodeSettings.model_validate(PLAIN)
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".tar": bytes,
    ".tar.gz": lambda data: gzip.compress(data, mtime=0),
    ".tar.bz2": lambda data: bz2.compress(data, 1),
    ".tar.xz": lzma.compress,
    ".tar.zst": zstandard.ZstdCompressor().compress,
}
KINDS = [*COMPRESS, ".zip"]

Files = Mapping[str, bytes]


def tar(files: Files, *infos: tarfile.TarInfo, form: int = tarfile.PAX_FORMAT) -> bytes:
    """Make a plain tar of the files, then of members without data."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form, errors="surrogateescape") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in infos:
            archive.addfile(info)
    return buffer.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    """A link or a device."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zipped(files: Files, *, links: Mapping[str, str] = {}, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of the files, and of symbolic links."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        for name, target in links.items():
            info = zipfile.ZipInfo(name)
            info.external_attr, info.create_system = (stat.S_IFLNK | 0o777) << 16, 3
            archive.writestr(info, target)
    return buffer.getvalue()


def packed(kind: str, files: Files) -> bytes:
    """An archive of one of KINDS."""
    return zipped(files) if kind == ".zip" else COMPRESS[kind](tar(files))

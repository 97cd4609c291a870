"""Submissions and bulk tars of arXiv, made for tests."""

import gzip
import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from corpus.sources.arxiv import ArxivSettings

SETTINGS = ArxivSettings.model_validate(
    {"name": "papers", "reader": "arxiv", "paths": ("*.tar",), "share": 1.0, "license": "unknown"}
)
BULK = "arxiv/arXiv_src_1911_001.tar"
STACKS = [f"1911.9000{number}" for number in range(8)]
S2ORC = "1911.02782"


def info(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    """A member's header."""
    made = tarfile.TarInfo(name)
    made.size, made.type, made.linkname = size, kind, target
    return made


def packed(members: Iterable[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """A tar of these, ended as tar ends it."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.GNU_FORMAT) as made:
        for each, content in members:
            each.size = len(content)
            made.addfile(each, io.BytesIO(content))
    return target.getvalue()


def submitted(files: Mapping[str, bytes]) -> bytes:
    """A submission of several files."""
    return gzip.compress(packed((info(name), content) for name, content in files.items()), mtime=0)


def bulk(path: Path, members: Mapping[str, bytes]) -> Path:
    """A bulk tar of these."""
    path.write_bytes(packed((info(name), content) for name, content in members.items()))
    return path


def paper(words: str, preamble: str = "") -> bytes:
    """A small paper."""
    return rf"\documentclass{{article}}{preamble}\begin{{document}}{words}\end{{document}}".encode()


def unpacked(data: Path, identity: str) -> dict[str, bytes]:
    """The files of a real submission, by the standard library."""
    with tarfile.open(data / BULK) as outer:
        member = outer.extractfile(f"1911/{identity}.gz")
        assert member is not None
        content = gzip.decompress(member.read())
    if identity in STACKS:
        return {"main.tex": content}
    with tarfile.open(fileobj=io.BytesIO(content)) as inner:
        opened = {each.name: inner.extractfile(each) for each in inner}
        return {name: file.read() for name, file in opened.items() if file is not None}

"""Content hashes of local files, kept under path, size and modification time, so that a plan is quick to make again."""

import contextlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.progress import Progress

from corpus.store.products import canonical, sha256_file, write_text

BAR_ABOVE_BYTES = 500_000_000  # below that hashing takes well under a second


class Digests:
    """A small cache in a file; losing it costs time only."""

    def __init__(self, cache: Path) -> None:
        self._path = cache / "digests.json"
        try:
            loaded = json.loads(self._path.read_text())
        except (OSError, ValueError):
            loaded = {}
        self._known: dict[str, str] = loaded if isinstance(loaded, dict) else {}
        self._changed = False

    def of(self, paths: list[Path]) -> list[str]:
        """SHA-256 of each file, hashed on several threads where not known yet."""
        keys = [_key(path) for path in paths]
        new = [(key, path) for key, path in zip(keys, paths, strict=True) if key not in self._known]
        size = sum(path.stat().st_size for _, path in new)
        with Progress(disable=size < BAR_ABOVE_BYTES, transient=True) as bars, ThreadPoolExecutor() as threads:
            bar = bars.add_task("hashing local files", total=size)
            digests = threads.map(lambda each: sha256_file(each[1], lambda n: bars.advance(bar, n)), new)
            for (key, _), digest in zip(new, digests, strict=True):
                self._known[key] = digest
        self._changed |= bool(new)
        return [self._known[key] for key in keys]

    def save(self) -> None:
        """Writes what was learned, if anything."""
        if self._changed:
            with contextlib.suppress(OSError):
                write_text(self._path, canonical(dict(self._known)), self._path.parent)


def _key(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size}:{status.st_mtime_ns}:{path}"

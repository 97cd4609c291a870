"""Content hashes of local files, cached by path, size and modification time, so that plans are made quickly."""

import contextlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.progress import Progress

from corpus.store.products import canonical, sha256_file, write_text

BAR_ABOVE_BYTES = 500_000_000  # less is hashed in well under a second


class Digests:
    """A cache in a small file; losing it costs only time."""

    def __init__(self, cache: Path) -> None:
        self._path = cache / "digests.json"
        try:
            loaded = json.loads(self._path.read_text())
        except (OSError, ValueError):
            loaded = {}
        self._known: dict[str, str] = loaded if isinstance(loaded, dict) else {}
        self._changed = False

    def of(self, paths: list[Path]) -> list[str]:
        """Return the SHA-256 of each file; new files are hashed on several threads."""
        keys = [_key(path) for path in paths]
        new = [(key, path) for key, path in zip(keys, paths, strict=True) if key not in self._known]
        size = sum(path.stat().st_size for _, path in new)
        with Progress(disable=size < BAR_ABOVE_BYTES, transient=True) as bars, ThreadPoolExecutor() as threads:
            bar = bars.add_task("hashing local files", total=size)
            digests = threads.map(lambda file: sha256_file(file[1], lambda n: bars.advance(bar, n)), new)
            for (key, _), digest in zip(new, digests, strict=True):
                self._known[key] = digest
        self._changed |= bool(new)
        return [self._known[key] for key in keys]

    def save(self) -> None:
        """Write the cache if it has changed."""
        if self._changed:
            with contextlib.suppress(OSError):
                write_text(self._path, canonical(dict(self._known)), self._path.parent)


def _key(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size}:{status.st_mtime_ns}:{path}"

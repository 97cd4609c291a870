"""A task: products under temporary names, then renamed, then its manifest. What exists is whole."""

import os
import platform
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from corpus.fetch.output import open_output
from corpus.settings import Json
from corpus.store.ledger import Ledger
from corpus.store.products import Product, canonical, publish, sha256_file

if TYPE_CHECKING:
    from pipelines.engine.job import Done, Job

REPORT_EVERY_S = 0.3
HOST = platform.node()  # several may share a disk, and have processes of one number


class Task:
    """The hand that a job's `work` writes with."""

    def __init__(self, out: Path, job: "Job", index: int) -> None:
        self.out, self.job, self.index = out, job, index
        self.folder = out / job.folder
        self.ledger = Ledger()
        self.facts: dict[str, Json] = {}
        self._products: list[str] = []
        self.temporary = self.folder / "tmp" / f"{index:05d}-{HOST}.{os.getpid()}"
        self._progress = _Progress(out, job, index)

    def new(self, name: str) -> Path:
        """Where to write the product that will be called `name` in the job's folder; inside `temporary`."""
        path = self.temporary / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._products.append(name)
        return path

    def input(self, job: "Job") -> "Done":
        """What an input job wrote."""
        from pipelines.engine.job import Done

        return Done(self.out, job)

    def progress(self, documents: int, size_bytes: int = 0) -> None:
        """Tells whoever watches that this much more is done."""
        self._progress.add(documents, size_bytes)

    def run(self) -> None:
        """Does the work and commits it, unless that was done before."""
        manifest = self.input(self.job).manifest_path(self.index)
        if manifest.is_file():
            return
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.temporary.mkdir(parents=True)
        try:
            self.job.work(self)
            self._commit(manifest)
        finally:
            shutil.rmtree(self.temporary, ignore_errors=True)  # left behind, it says that its process was killed
        self._progress.write()

    def _commit(self, manifest: Path) -> None:
        """Each product reaches the disk, then gets its name; the manifest that vouches for them comes last."""
        products = []
        for name in sorted(self._products):
            written = self.temporary / name
            products.append(Product(name, written.stat().st_size, sha256_file(written)))
            publish(written, self.folder / name)
        body: dict[str, Json] = {
            "format_version": 1,
            "job": self.job.fingerprint,
            "task": self.index,
            "products": [dict(product._asdict()) for product in products],
            "ledger": self.ledger.json(),
            "facts": self.facts,
        }
        output = open_output(self.out)
        output.push(self.folder / product.name for product in products)
        output.write(manifest, canonical(body), self.temporary)


class _Progress:
    """A counter in a small file, so that any executor's tasks can be watched from the outside."""

    def __init__(self, out: Path, job: "Job", index: int) -> None:
        self._path = out / "logs" / "progress" / job.folder.removeprefix("jobs/") / f"{index:05d}"
        self._documents = self._bytes = 0
        self._next = 0.0

    def add(self, documents: int, size_bytes: int) -> None:
        self._documents += documents
        self._bytes += size_bytes
        if time.monotonic() >= self._next:
            self.write()

    def write(self) -> None:
        self._next = time.monotonic() + REPORT_EVERY_S
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_name(f".{self._path.name}.{HOST}.{os.getpid()}")
        temporary.write_text(f"{self._documents} {self._bytes}")
        temporary.replace(self._path)

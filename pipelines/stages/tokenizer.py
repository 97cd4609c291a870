"""tokenizer: the one given, or a byte-level BPE trained on a sample of the training documents, drawn by share."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from corpus import document
from corpus.errors import CorpusError
from corpus.settings import Json
from corpus.store.products import sha256_file
from corpus.tokens import train_bpe
from corpus.tokens.settings import Tokenizer
from pipelines.engine.job import Job, versions
from pipelines.engine.task import Task
from pipelines.stages.text import TextJob


class _Size(NamedTuple):
    id: str
    split: str
    text_bytes: int


class _Text(NamedTuple):
    id: str
    text: str


@dataclass(frozen=True)
class TokenizerJob(Job):
    """One task; its product is tokenizer.json."""

    tokenizer: Tokenizer
    given: tuple[str, str] | None  # path and SHA-256 of a tokenizer that the recipe names
    shares: tuple[tuple[str, float], ...]
    seed: int

    def settings(self) -> Json:
        if self.given:
            return {"sha256": self.given[1], "eos": self.tokenizer.eos}
        how = self.tokenizer.train or train_bpe.Train()
        return {
            "train": how.model_dump(mode="json"),
            "shares": [list(share) for share in self.shares],
            "seed": self.seed,
        }

    def deciders(self) -> Mapping[str, Json]:
        from corpus.tokens import encode

        trained: dict[str, Json] = {} if self.given else {"train": train_bpe.REVISION, "keys": document.REVISION}
        return {**trained, "encode": encode.REVISION, **versions({*train_bpe.LIBRARIES, *encode.LIBRARIES})}

    def work(self, task: Task) -> None:
        from corpus.tokens.encode import Encoder

        product = task.new("tokenizer.json")
        if self.given:
            self._copy(Path(self.given[0]), product)
        else:
            product.write_bytes(train_bpe.train(self._sample(task), self.tokenizer.train or train_bpe.Train()))
        encoder = Encoder(product, self.tokenizer.eos)
        task.facts.update(
            sha256=encoder.sha256,
            vocabulary=encoder.vocabulary,
            eos=encoder.eos,
            eos_id=encoder.eos_id,
            dtype=encoder.dtype.name,
        )

    def _copy(self, given: Path, product: Path) -> None:
        assert self.given is not None
        shutil.copyfile(given, product)
        if sha256_file(product) != self.given[1]:
            raise CorpusError(f"{given}: changed since the build began; build again")

    def _sample(self, task: Task) -> Iterator[str]:
        """The texts of the chosen training documents."""
        from corpus.store.text_shards import read_rows

        jobs = [job for job in self.inputs if isinstance(job, TextJob)]
        shards = {
            job.of_source: [task.input(job).path(f"text-{n:05d}.parquet") for n in range(job.tasks)] for job in jobs
        }
        documents = {
            source: [
                (row.id, row.text_bytes) for path in paths for row in read_rows(path, _Size) if row.split == "train"
            ]
            for source, paths in shards.items()
        }
        how = self.tokenizer.train or train_bpe.Train()
        chosen = train_bpe.sample(documents, dict(self.shares), how.sample_bytes, self.seed)
        for source, paths in shards.items():
            wanted = set(chosen[source])
            for path in paths:
                for row in read_rows(path, _Text):
                    if row.id in wanted:
                        task.progress(1, len(row.text))
                        yield row.text

"""tokenizer: copy the given one, or train a byte-level BPE on a sample of the training documents, drawn by share."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from corpus import document
from corpus.errors import CorpusError
from corpus.settings import Json, Strict
from corpus.store.corpus_manifest import Eos, TokenizerEntry
from corpus.store.products import sha256_file
from corpus.tokens import encode, train_bpe
from corpus.tokens.encode import Encoder
from corpus.tokens.train_bpe import Sized
from pipelines.engine.job import Task, versions
from pipelines.engine.job_output import JobOutput
from pipelines.input_account import nothing_kept
from pipelines.stages.stage import DocumentStage, Stage
from pipelines.stages.text import TextStage

FILE_NAME = "tokenizer.json"


class TokenizerFacts(Strict):
    """Facts of the tokenizer task."""

    sha256: str
    vocabulary: int
    eos: str
    eos_id: int
    dtype: Literal["uint16", "uint32"]


class _TextSize(NamedTuple):
    id: str
    split: str
    text_bytes: int
    language: str | None


class _IdAndText(NamedTuple):
    id: str
    text: str


@dataclass(frozen=True)
class TokenizerStage(Stage):
    """One task; its product is tokenizer.json."""

    given: tuple[str, str] | None  # path and SHA-256 of a tokenizer that the recipe names

    kind = "tokenizer"

    def settings(self) -> Json:
        if self.given:
            return {"sha256": self.given[1], "eos": self.recipe.tokenizer.eos}
        return {
            "train": self._training.model_dump(mode="json"),
            "shares": [list(share) for share in self.shares.items()],
            "seed": self.recipe.seed,
        }

    def version_keys(self) -> dict[str, Json]:
        trained: dict[str, Json] = {} if self.given else {"train": train_bpe.REVISION, "keys": document.REVISION}
        return {**trained, "encode": encode.REVISION, **versions({*train_bpe.LIBRARIES, *encode.LIBRARIES})}

    @property
    def _training(self) -> train_bpe.Train:
        return self.recipe.tokenizer.train or train_bpe.Train()

    def work(self, task: Task) -> None:
        product = task.new(FILE_NAME)
        if self.given:
            path, sha256 = self.given
            shutil.copyfile(path, product)
            if sha256_file(product) != sha256:
                raise CorpusError(f"{path}: changed since the build began; build again")
        else:
            self._check_texts(task)
            product.write_bytes(train_bpe.train(self._sample(task), self._training))
        encoder = Encoder(product, self.recipe.tokenizer.eos)
        task.facts = TokenizerFacts(
            sha256=encoder.sha256,
            vocabulary=encoder.vocabulary,
            eos=encoder.eos,
            eos_id=encoder.eos_id,
            dtype="uint16" if encoder.dtype.itemsize == 2 else "uint32",
        )

    def path(self, output: JobOutput) -> Path:
        """Return the path of the tokenizer."""
        return output.path(FILE_NAME)

    def entry(self, output: JobOutput) -> TokenizerEntry:
        """Return the tokenizer's entry in the manifest."""
        facts = output.facts(TokenizerFacts)
        return TokenizerEntry(
            file=f"{self.folder}/{FILE_NAME}",
            sha256=facts.sha256,
            vocabulary=facts.vocabulary,
            eos=Eos(token=facts.eos, id=facts.eos_id),
            dtype=facts.dtype,
        )

    def _check_texts(self, task: Task) -> None:
        """Raise CorpusError if no source keeps a document, with the outcomes of their records."""
        texts = self.inputs_of(TextStage)
        if not any(task.input(job).ledger().total("records", outcome="kept") for job in texts):
            ledgers = {job.source_name: task.input(job.input(DocumentStage)).ledger() for job in texts}
            raise CorpusError(f"no document is left of any source:\n{nothing_kept(ledgers)}")

    def _sample(self, task: Task) -> Iterator[str]:
        """Yield the texts of the chosen training documents."""
        tables = {job.source_name: task.input(job).text for job in self.inputs_of(TextStage)}
        sizes = {
            source: [
                Sized(row.id, row.text_bytes, row.language or "und")
                for row in table.rows(_TextSize)
                if row.split == "train"
            ]
            for source, table in tables.items()
        }
        chosen = train_bpe.sample(sizes, self.shares, self._training, self.recipe.seed)
        for source, table in tables.items():
            wanted = set(chosen[source])
            for row in table.rows(_IdAndText):
                if row.id in wanted:
                    task.progress(1, len(row.text))
                    yield row.text

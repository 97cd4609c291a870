"""tokenize: text shards to token runs, each in the order of a keyed hash of the id."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from corpus import document
from corpus.errors import CorpusError
from corpus.settings import Json
from corpus.store.token_shards import Split
from pipelines.engine.job import Done, Job, versions
from pipelines.engine.task import Task

BATCH_DOCUMENTS = 64
CHECKED_EVERY = 100  # of the documents, one in so many is decoded again and compared


class _TextRow(NamedTuple):
    id: str
    text: str
    split: Split
    language: str | None
    text_bytes: int


@dataclass(frozen=True)
class Tokenize(Job):
    """Task n encodes task n of text."""

    eos: str | None
    seed: int

    def settings(self) -> Json:
        return {"eos": self.eos, "seed": self.seed}

    def deciders(self) -> Mapping[str, Json]:
        from corpus.tokens import encode, runs

        revisions: dict[str, Json] = {"encode": encode.REVISION, "runs": runs.REVISION, "keys": document.REVISION}
        return {**revisions, **versions([*encode.LIBRARIES, "pyarrow"])}

    def work(self, task: Task) -> None:
        from corpus.tokens.encode import Encoder
        from corpus.tokens.runs import RunHeader, RunWriter

        encoder = Encoder(task.input(self.input("tokenizer")).path("tokenizer.json"), self.eos)
        run = RunWriter(RunHeader(self.of_source, encoder.sha256, encoder.vocabulary, self.seed))
        totals: dict[str, list[int]] = {"train": [0, 0, 0], "holdout": [0, 0, 0]}
        passed = changed = 0
        for rows in self._batches(task):
            for row, tokens in zip(rows, encoder.encode([row.text for row in rows]), strict=True):
                run.add(row.id, row.split, row.language or "und", row.text_bytes, tokens)
                counts = (1, len(tokens), row.text_bytes)
                totals[row.split] = [a + b for a, b in zip(totals[row.split], counts, strict=True)]
                size = row.text_bytes
                task.ledger.add(self.of_source, "kept", row.split, input_bytes=size, text_bytes=size)
                changed += passed % CHECKED_EVERY == 0 and encoder.decode(tokens) != row.text
                passed += 1
            task.progress(len(rows), sum(row.text_bytes for row in rows))
        task.facts["changed_by_tokenizer"] = changed  # of one document in CHECKED_EVERY
        task.facts["totals"] = {split: list(each) for split, each in totals.items()}  # documents, tokens, bytes
        run.write(task.new(f"run-{task.index:05d}.arrow"))

    def warning(self, done: Done) -> str | None:
        """A tokenizer that loses text is the user's to choose, but not unknowingly."""
        changed = sum(int(str(facts["changed_by_tokenizer"])) for facts in done.all_facts())
        told = f"the tokenizer does not give back the text of {changed} documents (one in {CHECKED_EVERY} was tried)"
        return f"{self.of_source}: {told}" if changed else None

    def _batches(self, task: Task) -> Iterator[list[_TextRow]]:
        from corpus.store.text_shards import read_rows

        path = task.input(self.input(f"text.{self.of_source}")).path(f"text-{task.index:05d}.parquet")
        batch: list[_TextRow] = []
        for row in read_rows(path, _TextRow):
            if row.id is None:
                raise CorpusError(f"{path}: damaged: a row without an id")
            batch.append(row)
            if len(batch) == BATCH_DOCUMENTS:
                yield batch
                batch = []
        yield batch

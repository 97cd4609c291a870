"""tokenize: encode text shards to token runs, each in the order of a keyed hash of the id."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from corpus import document
from corpus.errors import CorpusError
from corpus.settings import Json, Strict
from corpus.store.corpus_manifest import Split, Totals
from corpus.store.text_shards import read_rows
from corpus.tokens import encode, runs
from corpus.tokens.encode import Encoder
from corpus.tokens.run_set import BinTokens, RunIndex
from corpus.tokens.runs import RunHeader, RunWriter, TokenRun
from pipelines.engine.job import Task, versions
from pipelines.engine.job_output import JobOutput, Table
from pipelines.stages.stage import Stage
from pipelines.stages.text import TextStage
from pipelines.stages.tokenizer import TokenizerStage

BATCH_DOCUMENTS = 64
CHECKED_EVERY = 100  # one document in so many is decoded and compared


@lru_cache(maxsize=1)
def _encoder(path: Path, eos: str | None) -> Encoder:
    """Load the tokenizer once for all tasks of this process. Another one has another path: the job's fingerprint."""
    return Encoder(path, eos)


class TokenizeFacts(Strict):
    """Facts of a tokenize task."""

    changed_by_tokenizer: int  # of the documents that were decoded again
    totals: dict[Split, Totals]
    bins: BinTokens | None = None  # of its run; None: of a release that did not record it


class _TextRow(NamedTuple):
    id: str
    text: str
    split: Split
    language: str | None
    text_bytes: int


@dataclass(frozen=True)
class TokenizeStage(Stage):
    """Task n encodes the text shard of task n."""

    kind = "tokenize"
    run = Table("run", ".arrow")
    index_name = "runs.json"

    def settings(self) -> Json:
        return {"eos": self.recipe.tokenizer.eos, "seed": self.recipe.seed}

    def version_keys(self) -> dict[str, Json]:
        revisions: dict[str, Json] = {"encode": encode.REVISION, "runs": runs.REVISION, "keys": document.REVISION}
        return {**revisions, **versions([*encode.LIBRARIES, "pyarrow"])}

    def work(self, task: Task) -> None:
        tokenizer, path = self.input(TokenizerStage), task.input(self.input(TextStage)).text[task.index]
        encoder = _encoder(tokenizer.path(task.input(tokenizer)), self.recipe.tokenizer.eos)
        run = RunWriter(RunHeader(self.source_name, encoder.sha256, encoder.vocabulary, self.recipe.seed))
        counts: dict[Split, list[int]] = {"train": [0, 0, 0], "holdout": [0, 0, 0]}
        done = changed = 0
        rows = read_rows(path, _TextRow)
        while batch := list(islice(rows, BATCH_DOCUMENTS)):
            if any(row.id is None for row in batch):
                raise CorpusError(f"{path}: damaged: a row without an id")
            for row, tokens in zip(batch, encoder.encode([row.text for row in batch]), strict=True):
                size = row.text_bytes
                run.add(row.id, row.split, row.language or "und", size, tokens)
                counts[row.split] = [a + b for a, b in zip(counts[row.split], (1, len(tokens), size), strict=True)]
                task.book(self.source_name, "kept", row.split, size)
                changed += done % CHECKED_EVERY == 0 and encoder.decode(tokens) != row.text
                done += 1
        run.write(task.new_table(self.run))
        totals = {
            split: Totals(documents=documents, tokens=tokens, bytes=size)
            for split, (documents, tokens, size) in counts.items()
        }
        bins = BinTokens.of(run.bins().tokens_SB)
        task.facts = TokenizeFacts(changed_by_tokenizer=changed, totals=totals, bins=bins)

    def index(self, output: JobOutput) -> RunIndex:
        """Return the tokens of all runs by key bin."""
        if index := output.index(RunIndex):
            return index
        return RunIndex.of(
            [
                facts.bins.counts() if facts.bins else TokenRun(output.run[number]).bins.tokens_SB
                for number, facts in enumerate(output.all_facts(TokenizeFacts))
            ]
        )

    def warning(self, output: JobOutput) -> str | None:
        """Warn when decoding does not return the text: users may choose a lossy tokenizer, but should know."""
        changed = sum(facts.changed_by_tokenizer for facts in output.all_facts(TokenizeFacts))
        if not changed:
            return None
        return (
            f"{self.source_name}: the tokenizer does not reproduce the text of {changed} documents "
            f"(one in {CHECKED_EVERY} was checked)"
        )

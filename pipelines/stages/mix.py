"""mix: write a source's quota of tokens in shuffled order, and its holdout, as token shards."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from corpus.settings import Json, Strict
from corpus.store.corpus_manifest import ShardEntry, Split
from corpus.tokens import token_quotas
from corpus.tokens.token_quotas import Mix, partition_keys, quotas
from pipelines.engine.job import Job, versions
from pipelines.engine.job_output import JobOutput
from pipelines.engine.task import Task
from pipelines.stages.tokenize import TokenizeFacts, TokenizeStage

if TYPE_CHECKING:
    from corpus.tokens.merge import Cut


class MixFacts(Strict):
    """Facts of a mix task: its shards, and how the source's tokens were limited."""

    shards: tuple[ShardEntry, ...]
    quota: int
    available: int


@dataclass(frozen=True)
class MixStage(Job):
    """Task p writes the shards of partition p of the key space. A shard's table is its split."""

    mix: Mix
    shares: tuple[tuple[str, float], ...]

    kind: ClassVar[str] = "mix"
    step: ClassVar[str | None] = "Quota"

    def settings(self) -> Json:
        mix = self.mix.model_dump(mode="json", exclude={"chunk_tokens"})
        return {"source": self.source_name, "mix": mix, "shares": [list(share) for share in self.shares]}

    def version_keys(self) -> Mapping[str, Json]:
        from corpus.tokens.merge import REVISION

        return {"merge": REVISION, "quotas": token_quotas.REVISION, **versions(["pyarrow"])}

    def work(self, task: Task) -> None:
        from corpus.tokens.merge import EVERYTHING, threshold

        runs = task.input(self.input(TokenizeStage, self.source_name)).run[:]
        available = {job.source_name: _train_tokens(task.input(job)) for job in self.inputs_of(TokenizeStage)}
        quota = quotas(dict(self.shares), available, self.mix.tokens, self.mix.shortfall)[self.source_name]
        takes_all = quota >= available[self.source_name]
        cut = EVERYTHING if takes_all else threshold(runs, quota)
        train = self._write(task, runs, "train", cut)
        holdout = self._write(task, runs, "holdout", EVERYTHING)
        task.facts = MixFacts(shards=(*train, *holdout), quota=quota, available=available[self.source_name])
        if not takes_all:
            self._book_over_quota(task, runs, train)

    def _write(self, task: Task, runs: list[Path], split: Split, cut: "Cut") -> list[ShardEntry]:
        from corpus.store.token_shards import shard_entry, write_token_shard
        from corpus.tokens.merge import merge

        keys = partition_keys(task.index, self.tasks)
        shards: list[ShardEntry] = []
        for merged in merge(runs, self.fingerprint, split, keys, cut, self.mix.shard_bytes):
            name = f"{self.source_name}-{split}-{task.index:05d}-{len(shards):03d}.arrow"
            path = task.new(name, table=split)
            write_token_shard(path, merged.shard)
            shard = shard_entry(path, name, merged.shard, merged.languages)
            shards.append(shard)
            task.ledger.add(
                self.source_name,
                "kept",
                split,
                records=shard.documents,
                input_bytes=shard.bytes,
                text_bytes=shard.bytes,
            )
            task.progress(shard.documents, shard.bytes)
        return shards

    def _book_over_quota(self, task: Task, runs: list[Path], train: list[ShardEntry]) -> None:
        """Enter the training documents of this partition beyond the quota in the ledger, as skipped."""
        from corpus.tokens.runs import count_documents

        documents, size = count_documents(runs, "train", partition_keys(task.index, self.tasks))
        documents -= sum(shard.documents for shard in train)
        size -= sum(shard.bytes for shard in train)
        if documents:
            task.ledger.add(self.source_name, "skipped", "over_quota", records=documents, input_bytes=size)


def _train_tokens(output: JobOutput) -> int:
    return sum(facts.totals["train"].tokens for facts in output.all_facts(TokenizeFacts))

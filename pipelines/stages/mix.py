"""mix: a source's quota of tokens, in shuffled order, and its holdout, as token shards."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from corpus.settings import Json
from corpus.store.token_shards import Split
from corpus.tokens import token_quotas
from corpus.tokens.token_quotas import Mix, partition_keys, quotas
from pipelines.engine.job import Done, Job, versions
from pipelines.engine.task import Task

if TYPE_CHECKING:
    from corpus.tokens.merge import Cut


@dataclass(frozen=True)
class MixJob(Job):
    """Task p writes the shards of partition p of the key space."""

    mix: Mix
    shares: tuple[tuple[str, float], ...]

    def settings(self) -> Json:
        mix = self.mix.model_dump(mode="json", exclude={"chunk_tokens"})
        return {"source": self.of_source, "mix": mix, "shares": [list(share) for share in self.shares]}

    def deciders(self) -> Mapping[str, Json]:
        from corpus.tokens.merge import REVISION

        return {"merge": REVISION, "quotas": token_quotas.REVISION, **versions(["pyarrow"])}

    def work(self, task: Task) -> None:
        from corpus.tokens.merge import EVERYTHING, threshold

        own = self.input(f"tokenize.{self.of_source}")
        runs = [task.input(own).path(f"run-{index:05d}.arrow") for index in range(own.tasks)]
        available = {job.of_source: self._tokens(task.input(job)) for job in self.inputs_of("tokenize")}
        quota = quotas(dict(self.shares), available, self.mix.tokens, self.mix.shortfall)[self.of_source]
        everything = quota >= available[self.of_source]
        cut = EVERYTHING if everything else threshold(runs, quota)
        shards = self._write(task, runs, "train", cut) + self._write(task, runs, "holdout", EVERYTHING)
        task.facts.update(shards=cast(list[Json], shards), quota=quota, available=available[self.of_source])
        if not everything:
            self._book_rest(task, runs, shards)

    def _tokens(self, done: Done) -> int:
        total = 0
        for facts in done.all_facts():
            totals = cast(dict[str, list[int]], facts["totals"])
            total += totals["train"][1]
        return total

    def _write(self, task: Task, runs: list[Path], split: Split, cut: "Cut") -> list[dict[str, Json]]:
        from corpus.store.shard_entry import entry
        from corpus.store.token_shards import write_token_shard
        from corpus.tokens.merge import merge

        keys = partition_keys(task.index, self.tasks)
        shards: list[dict[str, Json]] = []
        for merged in merge(runs, self.fingerprint, split, keys, cut, self.mix.shard_bytes):
            name = f"{self.of_source}-{split}-{task.index:05d}-{len(shards):03d}.arrow"
            path = task.new(name)
            write_token_shard(path, merged.shard)
            shard = entry(path, name, merged.shard, merged.languages)
            shards.append(shard.model_dump(mode="json"))
            counted = {"records": shard.documents, "input_bytes": shard.bytes, "text_bytes": shard.bytes}
            task.ledger.add(self.of_source, "kept", split, **counted)
            task.progress(shard.documents, shard.bytes)
        return shards

    def _book_rest(self, task: Task, runs: list[Path], shards: list[dict[str, Json]]) -> None:
        """Training documents of this partition beyond the quota are out of scope, by count and bytes."""
        from corpus.tokens.runs import count_documents

        documents, size = count_documents(runs, "train", partition_keys(task.index, self.tasks))
        taken = [shard for shard in shards if shard["split"] == "train"]
        documents -= sum(cast(int, shard["documents"]) for shard in taken)
        size -= sum(cast(int, shard["bytes"]) for shard in taken)
        if documents:
            task.ledger.add(self.of_source, "skipped", "over_quota", records=documents, input_bytes=size)

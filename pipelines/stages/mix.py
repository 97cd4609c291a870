"""mix: write a source's quota of tokens in shuffled order, and its holdout, as token shards."""

from dataclasses import dataclass

from corpus.settings import Json, Strict
from corpus.store.corpus_manifest import ShardEntry, Split
from corpus.store.token_shards import shard_entry, write_token_shard
from corpus.tokens import token_quotas
from corpus.tokens.merge import EVERYTHING, REVISION, Cut, merge, threshold
from corpus.tokens.run_set import RunSet
from corpus.tokens.token_quotas import partition_keys, quotas
from pipelines.engine.job import Task, versions
from pipelines.engine.job_output import JobOutput
from pipelines.stages.stage import Stage
from pipelines.stages.tokenize import TokenizeStage


class MixFacts(Strict):
    """Facts of a mix task: its shards, and how the source's tokens were limited."""

    shards: tuple[ShardEntry, ...]
    quota: int
    available: int


@dataclass(frozen=True)
class MixStage(Stage):
    """Task p writes the shards of partition p of the key space. A shard's table is its split."""

    kind = "mix"
    step = "Quota"

    def settings(self) -> Json:
        mix = self.recipe.mix.model_dump(mode="json")
        return {"source": self.source_name, "mix": mix, "shares": [list(share) for share in self.shares.items()]}

    def version_keys(self) -> dict[str, Json]:
        return {"merge": REVISION, "quotas": token_quotas.REVISION, **versions(["pyarrow"])}

    def work(self, task: Task) -> None:
        indexes = {job.source_name: job.index(task.input(job)) for job in self.inputs_of(TokenizeStage)}
        available = {source: index.train_tokens() for source, index in indexes.items()}
        runs = RunSet(task.input(self.input(TokenizeStage, self.source_name)).run, indexes[self.source_name])
        quota = quotas(self.shares, available, self.recipe.mix.tokens, self.recipe.mix.shortfall)[self.source_name]
        takes_all = quota >= available[self.source_name]
        cut = EVERYTHING if takes_all else threshold(runs, quota)
        train = self._write(task, runs, "train", cut)
        holdout = self._write(task, runs, "holdout", EVERYTHING)
        task.facts = MixFacts(shards=(*train, *holdout), quota=quota, available=available[self.source_name])
        if not takes_all:
            self._book_over_quota(task, runs, train)

    def shards(self, output: JobOutput) -> list[ShardEntry]:
        """Return the entries of all shards, with paths relative to the output folder."""
        return [
            shard.model_copy(update={"file": f"{self.folder}/{shard.file}"})
            for facts in output.all_facts(MixFacts)
            for shard in facts.shards
        ]

    def _write(self, task: Task, runs: RunSet, split: Split, cut: Cut) -> list[ShardEntry]:
        keys = partition_keys(task.index, self.tasks)
        shards: list[ShardEntry] = []
        for merged in merge(runs, self.fingerprint, split, keys, cut, self.recipe.mix.shard_bytes):
            name = f"{self.source_name}-{split}-{task.index:05d}-{len(shards):03d}.arrow"
            path = task.new(name, table=split)
            write_token_shard(path, merged.shard)
            shard = shard_entry(path, name, merged.shard, merged.languages)
            shards.append(shard)
            task.book(self.source_name, "kept", split, shard.bytes, shard.documents)
        return shards

    def _book_over_quota(self, task: Task, runs: RunSet, train: list[ShardEntry]) -> None:
        """Enter the training documents of this partition beyond the quota in the ledger, as skipped."""
        documents, size = runs.count_documents("train", partition_keys(task.index, self.tasks))
        documents -= sum(shard.documents for shard in train)
        size -= sum(shard.bytes for shard in train)
        if documents:
            task.ledger.add(self.source_name, "skipped", "over_quota", records=documents, input_bytes=size)

"""manifest: write manifest.json, which says what the corpus holds, and recipe.json, the recipe as it was understood."""

from dataclasses import dataclass
from fractions import Fraction
from typing import cast

from corpus.errors import CorpusError
from corpus.settings import Json
from corpus.sources.base import SourceSettings
from corpus.store.corpus_manifest import Manifest, ShardEntry, SourceEntry, open_manifest, total, write_manifest
from corpus.store.products import canonical
from pipelines.engine.job import Task
from pipelines.engine.job_output import JobOutput
from pipelines.input_account import nothing_kept
from pipelines.stages.mix import MixStage
from pipelines.stages.stage import DocumentStage, Stage
from pipelines.stages.text import TextStage
from pipelines.stages.tokenizer import TokenizerStage

SHARE_TOLERANCE = 0.01  # a share further from the requested one is worth a warning


@dataclass(frozen=True)
class ManifestStage(Stage):
    """One task. Paths in the manifest are relative to the output folder, where a copy of it is published."""

    kind = "manifest"
    published = ("manifest.json", "recipe.json")

    def settings(self) -> Json:
        recipe = self.recipe.model_dump(mode="json", exclude={"out", "contact"})
        for source, settings in zip(recipe["sources"], self.recipe.sources, strict=True):
            for name in settings.location_fields:  # the content of the files is in the inputs' fingerprints
                del source[name]
        del recipe["tokenizer"]["file"]
        return cast(Json, recipe)

    def work(self, task: Task) -> None:
        tokenizer = self.input(TokenizerStage)
        shards = {job.source_name: job.shards(task.input(job)) for job in self.inputs_of(MixStage)}
        tokens = sum(shard.tokens for entries in shards.values() for shard in entries if shard.split == "train")
        manifest = Manifest(
            name=self.recipe.name,
            recipe=self.fingerprint,
            seed=self.recipe.seed,
            tokens_asked=self.recipe.mix.tokens,
            tokens_got=tokens,
            shortfall=self.recipe.mix.shortfall,
            tokenizer=tokenizer.entry(task.input(tokenizer)),
            sources=tuple(self._source(source, shards[source.name], tokens) for source in self.recipe.sources),
            fingerprints={job.name: job.fingerprint for job in self.inputs},
        )
        if not manifest.tokens_got:
            texts = self.inputs_of(TextStage)
            ledgers = {job.source_name: task.input(job.input(DocumentStage)).ledger() for job in texts}
            raise CorpusError(f"no document is left to train on:\n{nothing_kept(ledgers)}")
        write_manifest(task.new("manifest.json"), manifest)
        task.new("recipe.json").write_text(canonical(self.settings()), encoding="utf-8", newline="\n")

    def warning(self, output: JobOutput) -> str | None:
        """Warn when actual shares or token counts miss the request."""
        manifest = open_manifest(output.folder)
        empty = [source.name for source in manifest.sources if source.share_asked and not source.train.tokens]
        warnings = [f"no training tokens from {', '.join(empty)}"] if empty else []
        off = [source for source in manifest.sources if abs(source.share_got - source.share_asked) > SHARE_TOLERANCE]
        if off and self.recipe.mix.tokens is None and self.recipe.mix.shortfall == "accept":
            warnings.append("all tokens of all sources are taken, so shares do not hold: set mix.tokens")
        elif manifest.tokens_asked and manifest.tokens_got < manifest.tokens_asked:
            got = {source.name: round(source.share_got * manifest.tokens_got) for source in off}
            asked = {source.name: round(source.share_asked * manifest.tokens_asked) for source in off}
            short = [f"{name} has {got[name]:,} of {asked[name]:,}" for name in got if got[name] < asked[name]]
            reason = ", ".join(short) or "some sources are too small"
            warnings.append(f"{manifest.tokens_got:,} of the {manifest.tokens_asked:,} requested tokens: {reason}")
        wanted = {source.name for source in self.recipe.sources if source.holdout and self.recipe.holdout.share}
        without = [source.name for source in manifest.sources if source.train.tokens and not source.holdout.documents]
        if without := [name for name in without if name in wanted]:
            warnings.append(f"no document of {', '.join(without)} is held out: raise holdout.share to evaluate on them")
        return "; ".join(warnings) or None

    def _source(self, source: SourceSettings, shards: list[ShardEntry], all_tokens: int) -> SourceEntry:
        train, holdout = (total([shard for shard in shards if shard.split == split]) for split in ("train", "holdout"))
        limits = self.recipe.holdout
        return SourceEntry(
            name=source.name,
            license=source.license,
            priority=source.priority,
            share_asked=source.share,
            share_got=float(Fraction(train.tokens, all_tokens)) if all_tokens else 0.0,
            train=train,
            holdout=holdout,
            holdout_thin=holdout.documents < limits.thin_documents or holdout.bytes < limits.thin_bytes,
            shards=tuple(shards),
        )

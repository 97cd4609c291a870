"""manifest: write manifest.json, which says what the corpus holds, and recipe.json, the recipe as it was understood."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, cast

from corpus.errors import CorpusError
from corpus.recipe import Recipe
from corpus.settings import Json
from corpus.store.corpus_manifest import (
    Eos,
    Manifest,
    ShardEntry,
    SourceEntry,
    TokenizerEntry,
    Totals,
    open_manifest,
    total,
    write_manifest,
)
from corpus.store.products import canonical
from pipelines.engine.job import Job
from pipelines.engine.job_output import JobOutput
from pipelines.engine.task import Task
from pipelines.stages.mix import MixFacts, MixStage
from pipelines.stages.tokenizer import FILE_NAME, TokenizerFacts, TokenizerStage

SHARE_TOLERANCE = 0.01  # a share further from the requested one is worth a warning


@dataclass(frozen=True)
class ManifestStage(Job):
    """One task. Paths in the manifest are relative to the output folder, where a copy of it is published."""

    recipe: Recipe

    kind: ClassVar[str] = "manifest"
    published: ClassVar[tuple[str, ...]] = ("manifest.json", "recipe.json")

    def settings(self) -> Json:
        recipe = self.recipe.model_dump(mode="json", exclude={"out", "contact"})
        for source, settings in zip(recipe["sources"], self.recipe.sources, strict=True):
            for name in settings.location_fields:  # the content of the files is in the inputs' fingerprints
                del source[name]
        del recipe["tokenizer"]["file"]
        return cast(Json, recipe)

    def work(self, task: Task) -> None:
        shards = {job.source_name: _shards(task.input(job)) for job in self.inputs_of(MixStage)}
        tokens = {
            name: total([shard for shard in entries if shard.split == "train"]).tokens
            for name, entries in shards.items()
        }
        manifest = Manifest(
            name=self.recipe.name,
            recipe=self.fingerprint,
            seed=self.recipe.seed,
            chunk_tokens=self.recipe.mix.chunk_tokens,
            tokens_asked=self.recipe.mix.tokens,
            tokens_got=sum(tokens.values()),
            shortfall=self.recipe.mix.shortfall,
            tokenizer=_tokenizer(task.input(self.input(TokenizerStage))),
            sources=tuple(self._source(name, shards[name], tokens) for name in sorted(shards)),
            fingerprints={job.name: job.fingerprint for job in self.inputs},
        )
        if not manifest.tokens_got:
            raise CorpusError(
                "no document is left to train on; `corpus stats --json` and the ledgers show what removed them"
            )
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

    def _source(self, name: str, shards: list[ShardEntry], tokens: Mapping[str, int]) -> SourceEntry:
        settings = next(source for source in self.recipe.sources if source.name == name)
        holdout = total([shard for shard in shards if shard.split == "holdout"])
        all_tokens = sum(tokens.values())
        return SourceEntry(
            name=name,
            license=settings.license,
            priority=settings.priority,
            share_asked=settings.share,
            share_got=float(Fraction(tokens[name], all_tokens)) if all_tokens else 0.0,
            train=total([shard for shard in shards if shard.split == "train"]),
            holdout=holdout,
            holdout_thin=self._is_thin(holdout),
            shards=tuple(shards),
        )

    def _is_thin(self, holdout: Totals) -> bool:
        wanted = self.recipe.holdout
        return holdout.documents < wanted.thin_documents or holdout.bytes < wanted.thin_bytes


def _shards(mix: JobOutput) -> list[ShardEntry]:
    return [
        shard.model_copy(update={"file": f"{mix.job.folder}/{shard.file}"})
        for facts in mix.all_facts(MixFacts)
        for shard in facts.shards
    ]


def _tokenizer(output: JobOutput) -> TokenizerEntry:
    facts = output.facts(TokenizerFacts)
    return TokenizerEntry(
        file=f"{output.job.folder}/{FILE_NAME}",
        sha256=facts.sha256,
        vocabulary=facts.vocabulary,
        eos=Eos(token=facts.eos, id=facts.eos_id),
        dtype=facts.dtype,
    )

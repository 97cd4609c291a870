"""manifest: what the corpus holds, for the trainer and for people; and the recipe as it was understood."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

from corpus.errors import CorpusError
from corpus.recipe import Recipe
from corpus.settings import Json
from corpus.store.corpus_manifest import (
    Eos,
    Manifest,
    Shard,
    Source,
    Tokenizer,
    Totals,
    open_manifest,
    total,
    write_manifest,
)
from corpus.store.products import canonical
from pipelines.engine.job import Done, Job
from pipelines.engine.task import Task

SHARE_OFF = 0.01  # a share further than this from what was asked is worth a word


@dataclass(frozen=True)
class ManifestJob(Job):
    """One task; its paths are relative to the output folder, where a copy of the manifest is put."""

    recipe: Recipe

    def settings(self) -> Json:
        recipe = self.recipe.model_dump(mode="json", exclude={"out", "contact"})
        for source, settings in zip(recipe["sources"], self.recipe.sources, strict=True):
            for name in settings.location_fields:  # what the files hold is in the inputs' fingerprints
                del source[name]
        del recipe["tokenizer"]["file"]
        return cast(Json, recipe)

    def work(self, task: Task) -> None:
        mixes = {job.of_source: task.input(job) for job in self.inputs_of("mix")}
        shards = {name: self._shards(done) for name, done in mixes.items()}
        tokens = {
            name: total([shard for shard in each if shard.split == "train"]).tokens for name, each in shards.items()
        }
        manifest = Manifest(
            name=self.recipe.name,
            recipe=self.fingerprint,
            seed=self.recipe.seed,
            chunk_tokens=self.recipe.mix.chunk_tokens,
            tokens_asked=self.recipe.mix.tokens,
            tokens_got=sum(tokens.values()),
            shortfall=self.recipe.mix.shortfall,
            tokenizer=self._tokenizer(task.input(self.input("tokenizer"))),
            sources=tuple(self._source(name, shards[name], tokens) for name in sorted(shards)),
            fingerprints={job.name: job.fingerprint for job in self.inputs},
        )
        if not manifest.tokens_got:
            raise CorpusError(
                "no document is left to train on: `corpus stats --json` and the ledgers say where they went"
            )
        write_manifest(task.new("manifest.json"), manifest)
        task.new("recipe.json").write_text(canonical(self.settings()), encoding="utf-8", newline="\n")

    def warning(self, done: Done) -> str | None:
        """Where what was got is not what was asked for."""
        manifest = open_manifest(done.folder)
        empty = [each.name for each in manifest.sources if each.share_asked and not each.train.tokens]
        told = [f"nothing is left of {', '.join(empty)}"] if empty else []
        off = [each for each in manifest.sources if abs(each.share_got - each.share_asked) > SHARE_OFF]
        if off and self.recipe.mix.tokens is None and self.recipe.mix.shortfall == "accept":
            told.append("all there is was taken, whatever its share: set mix.tokens for the shares to hold")
        elif manifest.tokens_asked and manifest.tokens_got < manifest.tokens_asked:
            got = {each.name: round(each.share_got * manifest.tokens_got) for each in off}
            asked = {each.name: round(each.share_asked * manifest.tokens_asked) for each in off}
            small = [f"{name} has {got[name]:,} of {asked[name]:,}" for name in got if got[name] < asked[name]]
            why = ", ".join(small) or "some sources are too small"
            told.append(f"{manifest.tokens_got:,} of {manifest.tokens_asked:,} tokens asked for: {why}")
        asked_for = {each.name for each in self.recipe.sources if each.holdout and self.recipe.holdout.share}
        unseen = [each.name for each in manifest.sources if each.train.tokens and not each.holdout.documents]
        if unseen := [name for name in unseen if name in asked_for]:
            told.append(f"nothing is held out of {', '.join(unseen)}: raise holdout.share to measure by them")
        return "; ".join(told) or None

    def _shards(self, mix: Done) -> list[Shard]:
        found = []
        for facts in mix.all_facts():
            for shard in cast(list[dict[str, Json]], facts["shards"]):
                found.append(Shard.model_validate({**shard, "file": f"{mix.job.folder}/{shard['file']}"}))
        return found

    def _tokenizer(self, done: Done) -> Tokenizer:
        facts = cast(Mapping[str, str], done.facts())
        return Tokenizer.model_validate(
            {
                "file": f"{done.job.folder}/tokenizer.json",
                "sha256": facts["sha256"],
                "vocabulary": facts["vocabulary"],
                "eos": Eos.model_validate({"token": facts["eos"], "id": facts["eos_id"]}),
                "dtype": facts["dtype"],
            }
        )

    def _source(self, name: str, shards: list[Shard], tokens: Mapping[str, int]) -> Source:
        settings = next(source for source in self.recipe.sources if source.name == name)
        train = total([shard for shard in shards if shard.split == "train"])
        holdout = total([shard for shard in shards if shard.split == "holdout"])
        whole = sum(tokens.values())
        return Source(
            name=name,
            license=settings.license,
            priority=settings.priority,
            share_asked=settings.share,
            share_got=float(Fraction(tokens[name], whole)) if whole else 0.0,
            train=train,
            holdout=holdout,
            holdout_thin=self._thin(holdout),
            shards=tuple(shards),
        )

    def _thin(self, holdout: Totals) -> bool:
        asked = self.recipe.holdout
        return holdout.documents < asked.thin_documents or holdout.bytes < asked.thin_bytes

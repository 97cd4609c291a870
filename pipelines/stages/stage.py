"""Bases of the stages."""

from dataclasses import dataclass

from corpus.recipe import Recipe
from pipelines.engine.job import Job
from pipelines.engine.job_output import Table


@dataclass(frozen=True)
class Stage(Job):
    """A step of a recipe's build. Its settings are those parts of the recipe that affect its own output."""

    recipe: Recipe

    @property
    def shares(self) -> dict[str, float]:
        """Share of the training tokens by source."""
        return {source.name: source.share for source in self.recipe.sources}


class DocumentStage(Stage):
    """A stage that writes the documents which later stages read. Its table `kept` is a text shard of each task."""

    kept = Table("kept")

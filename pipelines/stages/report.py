"""report: the page for people, and the same numbers for programs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from corpus.dedup.settings import Near
from corpus.inspect.report.summary import REVISION
from corpus.quality.catalog import rule_sets
from corpus.recipe import Recipe
from corpus.settings import Json
from corpus.store.corpus_manifest import open_manifest
from pipelines.engine.job import Job, versions
from pipelines.engine.task import Task
from pipelines.stages.clean import Clean
from pipelines.stages.fetch import files_of

if TYPE_CHECKING:
    from corpus.inspect.report.collect import Evidence


@dataclass(frozen=True)
class ReportJob(Job):
    """One task; reads what all others left behind."""

    recipe: Recipe

    def settings(self) -> Json:
        rules = [rule for rules in rule_sets().values() for rule in rules]
        return [[rule.name, rule.signal, rule.per, rule.at_least, rule.at_most, rule.source] for rule in rules]

    def deciders(self) -> Mapping[str, Json]:
        named = versions(["altair", "numpy", "pyarrow", "vl-convert-python"])
        return {"report": REVISION, **named}

    def work(self, task: Task) -> None:
        from corpus.inspect.report.collect import collect
        from corpus.inspect.report.render import render

        summary = collect(self._evidence(task))
        for name, text in (("summary.json", summary.text()), ("report.html", render(summary))):
            task.new(name).write_text(text, encoding="utf-8", newline="\n")

    def _evidence(self, task: Task) -> "Evidence":
        from corpus.inspect.report.collect import Evidence

        cleans = {job.of_source: cast(Clean, job) for job in self.inputs_of("clean")}
        dedup = task.input(self.input("dedup"))
        booked = [job for kind in ("clean", "text", "mix") for job in self.inputs_of(kind)]
        for mix in self.inputs_of("mix"):
            task.input(mix).bring()  # the manifest names them from the output folder
        acquires = {name: self.input(f"acquire.{name}") for name in cleans}
        return Evidence(
            manifest=open_manifest(task.input(self.input("manifest")).path("manifest.json")),
            root=task.out,
            ledgers={job.name: task.input(job).ledger() for job in booked},
            clean_shards={
                name: [
                    (done.path(f"kept-{part:05d}.parquet"), done.path(f"dropped-{part:05d}.parquet"))
                    for part in range(clean.tasks)
                ]
                for name, clean in cleans.items()
                for done in (task.input(clean),)
            },
            decisions={
                name: [dedup.path(f"decisions/{name}-{part:05d}.parquet") for part in range(clean.tasks)]
                for name, clean in cleans.items()
            },
            rules={name: clean.rules for name, clean in cleans.items()},
            rule_sets=rule_sets(),
            files={name: len(files_of(job, task.input(job))) for name, job in acquires.items()},
            dedup_counts=cast(dict[str, int], dedup.facts()["counts"]),
            ngram_words=(self.recipe.dedup.near or Near()).ngram_words,
        )

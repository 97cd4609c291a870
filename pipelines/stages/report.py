"""report: write the report page for people, and its numbers as JSON for programs."""

from collections import Counter
from dataclasses import dataclass

from corpus.dedup.settings import Near
from corpus.inspect.report.collect import Evidence, collect
from corpus.inspect.report.report_page import report_page
from corpus.inspect.report.summary import REVISION
from corpus.quality.catalog import rule_sets
from corpus.settings import Json
from corpus.store.corpus_manifest import open_manifest
from pipelines.engine.job import Task, versions
from pipelines.stages.clean import CleanStage
from pipelines.stages.dedup import DedupFacts, DedupStage
from pipelines.stages.fetch import FetchStage
from pipelines.stages.manifest import ManifestStage
from pipelines.stages.mix import MixStage
from pipelines.stages.stage import Stage


@dataclass(frozen=True)
class ReportStage(Stage):
    """One task; reads the products of all earlier stages."""

    kind = "report"
    published = ("report.html", "summary.json")

    def settings(self) -> Json:
        rules = [rule for rules in rule_sets().values() for rule in rules]
        return [[rule.name, rule.signal, rule.per, rule.at_least, rule.at_most, rule.source] for rule in rules]

    def version_keys(self) -> dict[str, Json]:
        return {"report": REVISION, **versions(["jinja2", "numpy", "pyarrow"])}

    def work(self, task: Task) -> None:
        summary = collect(self._evidence(task))
        for name, text in (("summary.json", summary.text()), ("report.html", report_page(summary))):
            task.new(name).write_text(text, encoding="utf-8", newline="\n")

    def _evidence(self, task: Task) -> Evidence:
        cleans = {job.source_name: job for job in self.inputs_of(CleanStage)}
        outputs = {name: task.input(job) for name, job in cleans.items()}
        dedup = task.input(self.input(DedupStage))
        for mix in self.inputs_of(MixStage):
            task.input(mix).download()  # the manifest names the shards by path
        fetches = {name: self.input(FetchStage, name) for name in cleans}
        return Evidence(
            manifest=open_manifest(task.input(self.input(ManifestStage)).path("manifest.json")),
            root=task.out,
            steps={job.kind: job.step for job in self.inputs if job.step},
            ledgers={job.name: task.input(job).ledger() for job in self.inputs if job.step},
            clean_shards={
                name: list(zip(output.kept, output.dropped, strict=True)) for name, output in outputs.items()
            },
            decisions={name: list(dedup.decisions.of_source(name, job.tasks)) for name, job in cleans.items()},
            rules={name: job.rules for name, job in cleans.items()},
            rule_sets=rule_sets(),
            files={name: len(job.files(task.input(job))) for name, job in fetches.items()},
            losses={name: job.losses(outputs[name]) for name, job in cleans.items()},
            without_checksum={
                name: Counter(job.without_checksum(outputs[name]).values()) for name, job in cleans.items()
            },
            dedup_counts=dedup.facts(DedupFacts).counts,
            ngram_words=(self.recipe.dedup.near or Near()).ngram_words,
        )

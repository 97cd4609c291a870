"""clean: records become documents with signals and verdicts; every span of every file is accounted for."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from corpus import document as documents
from corpus.document import (
    Document,
    Failed,
    Origin,
    Skipped,
    Span,
    UnreadableError,
    document_id,
    keyed_hash,
    plain_text,
)
from corpus.errors import CorpusError
from corpus.quality.catalog import select
from corpus.quality.datatrove_chain import REVISION as CHAIN_REVISION
from corpus.quality.datatrove_chain import Chain
from corpus.quality.datatrove_steps import load, step_versions
from corpus.quality.language import SCORE_ONE
from corpus.quality.rule import Rule, failing
from corpus.settings import Json
from corpus.sources.base import Language, SourceSettings, catalog
from pipelines.engine.job import Done, Job, versions
from pipelines.engine.task import Task
from pipelines.split_points import ranges_of
from pipelines.stages.fetch import InputFile, files_of, lists_of

if TYPE_CHECKING:
    from corpus.quality.language import LanguageModel
    from corpus.store.text_shards import DocumentWriter, RecordWriter

SAMPLE_SHARE = 0.01  # of dropped documents whose text stays, where not all do
NOT_DECIDING = {"share", "priority", "holdout", "max_failed"}  # what clean does not look at
SHOWN_FAILURES = 5


@dataclass(frozen=True)
class Clean(Job):
    """Reads the parts that acquire laid out; a part is a task."""

    source: SourceSettings
    keep_dropped: Literal["all", "signals", "sample"]
    seed: int
    sample_per_million: int | None  # of its records, where not its files were sampled

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """The source's rules with the recipe's own bounds."""
        return select(self.source.rules, self.source.bounds)

    def settings(self) -> Json:
        not_deciding = NOT_DECIDING | self.source.location_fields | {"rules", "bounds", "steps"}
        source = self.source.model_dump(mode="json", exclude=set(not_deciding))
        rules: list[Json] = [[rule.name, rule.signal, rule.per, rule.at_least, rule.at_most] for rule in self.rules]
        steps: list[Json] = [each.json() for each in load(self.source.steps)]
        return {"source": source, "rules": rules, "steps": steps, "keep_dropped": self.keep_dropped,
                "seed": self._sample_seed, "sample_per_million": self.sample_per_million}  # fmt: skip

    @property
    def _sample_seed(self) -> int | None:
        return self.seed if self.keep_dropped == "sample" or self.sample_per_million else None

    def deciders(self) -> Mapping[str, Json]:
        import unicodedata

        from corpus.quality import signals

        reader = catalog()[self.source.reader]
        found: dict[str, Json] = {
            "reader": reader.revision,
            "signals": signals.REVISION,
            "ids": documents.REVISION,
            "text": documents.TEXT_REVISION,
            "unicode": unicodedata.unidata_version,
            **versions(sorted({*reader.libraries, "numba", "pyarrow"})),
        }
        if self.source.identify_language:
            from corpus.quality import language

            found |= {"language": language.REVISION, **versions(["fasttext-wheel"])}
        if self.source.steps:
            found["steps"] = {"chain": CHAIN_REVISION, **step_versions(load(self.source.steps))}
        return found

    def takes(self, identity: str) -> bool:
        """Whether the record that has this id is one of the sample."""
        share = self.sample_per_million
        return share is None or keyed_hash(self.seed, "sample", identity) * 1_000_000 < share * 2**64

    def work(self, task: Task) -> None:
        from corpus.quality.signals import CARRIER_SIGNALS, SIGNALS
        from corpus.store.text_shards import DocumentWriter, RecordWriter

        acquire = self.inputs[0]
        files = files_of(acquire, task.input(acquire))
        signals, part = (*SIGNALS, *CARRIER_SIGNALS), f"{task.index:05d}.parquet"
        with (
            DocumentWriter(task.new(f"kept-{part}"), signals) as kept,
            DocumentWriter(task.new(f"dropped-{part}"), signals) as dropped,
            RecordWriter(task.new(f"records-{part}")) as records,
        ):
            source, model, chain = self._with_lists(task), self._language_model(task), Chain(self.source.steps)
            cleaner = _Cleaner(self, source, task, model, chain, kept, dropped, records)
            ranges = ranges_of(task.index, [(file.size, file.first_part, file.cuts) for file in files])
            task.facts["ranges"] = [cleaner.read(files[each.file], each.start, each.end) for each in ranges]
        task.facts["signals"] = list(signals)

    def _with_lists(self, task: Task) -> SourceSettings:
        """The source's settings, with its lists as files of this machine."""
        lists = tuple(each.path() for each in lists_of(self.inputs[0], task.input(self.inputs[0])))
        return self.source.model_copy(update={"list_files": lists}) if lists else self.source

    def _language_model(self, task: Task) -> "LanguageModel | None":
        if not self.source.identify_language:
            return None
        from corpus.quality.language import MODEL_SHA256, LanguageModel

        models = self.input("acquire.models")
        model = files_of(models, task.input(models))[0]
        if model.sha256 != MODEL_SHA256:
            raise CorpusError(f"{model.name}: its SHA-256 is {model.sha256}, not {MODEL_SHA256}: not the model we know")
        return LanguageModel(model.path())

    def check(self, done: Done) -> None:
        """Every file's spans add up to its size, and not too much of the source is unreadable."""
        self._check_spans(done)
        ledger = done.ledger()
        read, failed = ledger.total("records"), ledger.total("records", outcome="failed")
        if failed > max(1, int(self.source.max_failed * read)):
            raise CorpusError(
                f"{self.name}: {failed} of {read} records could not be read, more than max_failed "
                f"{self.source.max_failed:g} allows:\n{self._failures(done)}\n"
                f"  Look at these files, or raise sources.{self.source.name}.max_failed to accept the loss."
            )

    def warning(self, done: Done) -> str | None:
        """Where nothing is left of a source: what became of its records."""
        ledger = done.ledger()
        if ledger.total("records", outcome="kept"):
            return None
        fates = [f"{each.records:,} {each.outcome} ({each.reason})" for each in ledger.entries()]
        return f"nothing is kept of {self.source.name}: {', '.join(fates) or 'its files hold no record'}"

    def _check_spans(self, done: Done) -> None:
        acquire = self.inputs[0]
        reached: dict[str, int] = {}
        for facts in done.all_facts():
            ranges = facts["ranges"]
            assert isinstance(ranges, list)
            for row in ranges:
                assert isinstance(row, dict)
                name, start, end = str(row["file"]), row["start"], row["end"]
                assert isinstance(start, int) and isinstance(end, int)
                if row["records"] and start != reached.get(name, 0):
                    raise CorpusError(f"{name}: bytes {reached.get(name, 0)}..{start} are accounted for twice or never")
                reached[name] = max(end, reached.get(name, 0)) if row["records"] else reached.get(name, 0)
        for file in files_of(acquire, Done(done.folder.parent.parent, acquire)):
            if reached.get(file.name, 0) != file.size:
                raise CorpusError(f"{file.name}: accounted for up to byte {reached.get(file.name, 0)} of {file.size}")

    def _failures(self, done: Done) -> str:
        from corpus.store.text_shards import RecordRow, read_rows

        lines: list[str] = []
        more = 0
        for index in range(self.tasks):
            for row in read_rows(done.path(f"records-{index:05d}.parquet"), RecordRow):
                if row.outcome == "failed" and len(lines) < SHOWN_FAILURES:
                    lines.append(f"  {row.file}@{row.start}..{row.end}: {row.reason}")
                elif row.outcome == "failed":
                    more += 1
        return "\n".join([*lines, f"  and {more} more"] if more else lines)


@dataclass
class _Cleaner:
    """What one task carries from record to record."""

    job: Clean
    source: SourceSettings  # with its lists at hand
    task: Task
    model: "LanguageModel | None"
    chain: Chain
    kept: "DocumentWriter"
    dropped: "DocumentWriter"
    records: "RecordWriter"

    def read(self, file: InputFile, start: int, end: int) -> dict[str, Json]:
        """Reads one range; returns what it covered."""
        file.refuse_changed()
        reader = catalog()[self.job.source.reader]
        first, reached, count = start, start, 0
        for found in reader.read(self._named(file), start, end, self.source):
            first = found.start if not count else first
            if (count and found.start != reached) or found.end < found.start:
                raise CorpusError(
                    f"{file.name}: the reader's spans do not join at byte {reached}: a bug in {self.job.source.reader}"
                )
            reached, count = found.end, count + 1
            self._book(file, found)
            self.task.progress(1, found.end - found.start)
        file.refuse_changed()
        return {"file": file.name, "start": first, "end": reached, "records": count}

    def _named(self, file: InputFile) -> Path:
        """The file under its own name, by which some readers know a document: the cache's copy may have another."""
        path, name = file.path(), PurePosixPath(file.name).name
        if path.name == name or not isinstance(path, Path):
            return path
        link = self.task.temporary / "named" / name
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(path.resolve())
        return link

    def _book(self, file: InputFile, span: Span) -> None:
        """Enter a span's outcome in the ledgers."""
        outcome, reason, identity, text_bytes = self._outcome(file, span)
        size = span.end - span.start
        self.task.ledger.add(self.job.source.name, outcome, reason, input_bytes=size, text_bytes=text_bytes)
        self.records.add(file.name, span.start, span.end, outcome, reason, identity)

    def _outcome(self, file: InputFile, span: Span) -> tuple[str, str, str | None, int]:
        """Return outcome, reason, document id and bytes of text."""
        source = self.job.source
        if isinstance(span, Skipped):
            return "skipped", span.reason, None, 0
        if isinstance(span, Failed):
            return "failed", span.reason, None, 0
        identity = document_id(source.name, span.identity, span.content)
        if not self.job.takes(identity):
            return "skipped", "not_sampled", identity, 0
        try:
            document = catalog()[source.reader].document(span, source)
        except UnreadableError as error:
            return "failed", error.reason, None, 0
        except (MemoryError, RecursionError):
            return "failed", "extractor_exhausted", None, 0
        except Exception:  # hostile bytes in a parser: this record alone is lost, and max_failed bounds how many are
            return "failed", "extractor_error", None, 0
        document = replace(
            document,
            id=identity,
            text=plain_text(document.text),
            source=source.name,
            license=document.license or source.license,
            origin=Origin(file.name, span.start, span.end),
        )
        try:
            return self._judge(document)
        except UnreadableError as error:  # a datatrove step failed; the reason names it
            return "failed", error.reason, None, 0

    def _judge(self, document: Document) -> tuple[str, str, str, int]:
        """Write the document to the kept or the dropped table; return its outcome."""
        document = replace(document, text=plain_text(self.chain.edit(document.text, document.id)))
        measured = self._measure(document)
        failed_rules = self._failed_rules(measured)
        if not failed_rules:
            answer = self.chain.judge(measured)
            failed_rules, text = [answer.dropped] if answer.dropped else [], plain_text(answer.text)
            if text != document.text:  # some filters edit what they keep: the final text is measured and judged again
                measured = self._measure(replace(document, text=text))
                failed_rules = self._failed_rules(measured)
        text_bytes = len(measured.text.encode())
        if not failed_rules:
            self.kept.add(measured)
            return "kept", "", measured.id, text_bytes
        self.dropped.add(measured, failed_rules, keep_text=self._keeps_text(measured.id))
        return "dropped", failed_rules[0], measured.id, text_bytes

    def _measure(self, document: Document) -> Document:
        """Return the document with its language and all signals; those of the reader win over measured ones."""
        from corpus.quality.signals import CARRIER_SIGNALS, measure

        language, score = self.model.identify(document.text) if self.model else (document.language, None)
        signals = {**dict.fromkeys(CARRIER_SIGNALS), **measure(document.text), **document.signals}
        return replace(document, language=language, signals={"language_score": score, **signals})

    def _failed_rules(self, document: Document) -> list[str]:
        """Return the names of the rules that fail, in the order in which drops are credited."""
        failed = [rule.name for rule in failing(self.job.rules, document.signals)]
        if not document.text:
            failed.insert(0, "empty")
        if self.job.source.language and not _in_language(document, self.job.source.language):
            failed.insert(0, "language")
        return failed

    def _keeps_text(self, identity: str) -> bool:
        """Return True if the text of a dropped document is stored."""
        if self.job.keep_dropped == "sample":
            return keyed_hash(self.job.seed, "dropped", identity) < SAMPLE_SHARE * 2**64
        return self.job.keep_dropped == "all"


def _in_language(document: Document, wanted: Language) -> bool:
    score = document.signals["language_score"]
    return document.language in wanted.keep and (score is None or score >= wanted.at_least * SCORE_ONE)

"""clean: turn records into documents with signals and verdicts, and account for every span of every file."""

import itertools
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from corpus import document as documents
from corpus import parse_limits
from corpus.document import Document, Failed, Origin, Record, Skipped, Span, UnreadableError
from corpus.errors import CorpusError
from corpus.quality import datatrove_chain, language, signals
from corpus.quality.catalog import select
from corpus.quality.datatrove_chain import Chain
from corpus.quality.datatrove_steps import load, step_versions
from corpus.quality.kernels.measure import measure
from corpus.quality.language import SCORE_ONE, LanguageModel
from corpus.quality.rule import Rule, failing
from corpus.quality.signals import CARRIER_SIGNALS, SIGNALS
from corpus.settings import Json
from corpus.sources.base import SourceSettings, catalog
from corpus.store.ledger import FileLoss
from corpus.store.text_shards import RECORD_SCHEMA, DocumentWriter, RecordRow, TableWriter
from pipelines.engine.exhausted import MAX_VERDICTS, ExhaustedError, ParseGuard, all_verdicts
from pipelines.engine.job import Task, versions
from pipelines.engine.job_output import JobOutput, Table
from pipelines.input_account import (
    CleanFacts,
    ReadRange,
    check_spans,
    exceeds,
    files_lost,
    files_without_checksum,
    formats_without_checksum,
    losses_of,
    outcomes,
)
from pipelines.split_points import CutFile, ranges_of
from pipelines.stages.fetch import MODELS, FetchStage
from pipelines.stages.stage import DocumentStage

SAMPLE_SHARE = 0.01  # of dropped documents, the share whose text is stored with `keep_dropped: sample`
NOT_IN_FINGERPRINT = {"share", "priority", "holdout", "max_failed"}  # settings that this stage does not use
SHOWN_FAILURES = 5


@dataclass(frozen=True)
class CleanStage(DocumentStage):
    """Reads the parts that the fetch stage laid out, one per task."""

    source: SourceSettings
    keep_dropped: Literal["all", "signals", "sample"]
    sample_per_million: int | None  # of the records, if the recipe's sample is not one of files

    kind = "clean"
    step = "Rules"
    dropped = Table("dropped")
    records = Table("records")

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """The source's rules, with the recipe's own bounds."""
        return select(self.source.rules, self.source.bounds)

    def settings(self) -> Json:
        excluded = NOT_IN_FINGERPRINT | self.source.location_fields | {"rules", "bounds", "steps"}
        source = self.source.model_dump(mode="json", exclude=set(excluded))
        rules: list[Json] = [[rule.name, rule.signal, rule.per, rule.at_least, rule.at_most] for rule in self.rules]
        return {
            "source": source,
            "rules": rules,
            "steps": [step.json() for step in load(self.source.steps)],
            "keep_dropped": self.keep_dropped,
            "seed": self.recipe.seed if self.keep_dropped == "sample" or self.sample_per_million else None,
            "sample_per_million": self.sample_per_million,
        }

    def version_keys(self) -> dict[str, Json]:
        reader = catalog()[self.source.reader]
        keys: dict[str, Json] = {
            "reader": reader.revision,
            "signals": signals.REVISION,
            "ids": documents.REVISION,
            "text": documents.TEXT_REVISION,
            "parse_limits": {"cpu_s": parse_limits.CPU_S, "memory_bytes": parse_limits.MEMORY_BYTES},
            "unicode": unicodedata.unidata_version,
            **versions(sorted({*reader.libraries, "numba", "pyarrow"})),
        }
        if self.source.identify_language:
            keys["language"] = language.REVISION
        if self.source.steps:
            keys["steps"] = {"chain": datatrove_chain.REVISION, **step_versions(load(self.source.steps))}
        return keys

    def takes(self, identity: str) -> bool:
        """Return True if the record with this id is in the sample."""
        share = self.sample_per_million
        return share is None or documents.keyed_hash(self.recipe.seed, "sample", identity) * 1_000_000 < share * 2**64

    def work(self, task: Task) -> None:
        # open the source's files, with its lists as local files
        fetch = self.input(FetchStage, self.source_name)
        fetched = task.input(fetch)
        files, lists = fetch.files(fetched), tuple(file.path() for file in fetch.files(fetched, "list"))
        source = self.source.model_copy(update={"list_files": lists}) if lists else self.source
        cuts = [CutFile(file.fetched.size, file.fetched.first_part, file.fetched.cuts) for file in files]
        # read this task's parts of them
        reader, names = catalog()[source.reader], (*SIGNALS, *CARRIER_SIGNALS)
        covered, without = list[ReadRange](), dict[str, str]()
        with (
            DocumentWriter(task.new_table(self.kept), names) as kept,
            DocumentWriter(task.new_table(self.dropped), names) as dropped,
            TableWriter(task.new_table(self.records), RECORD_SCHEMA) as records,
            ParseGuard(task.output, task.index, task.temporary.name) as guard,
        ):
            model, chain = self._language_model(task), Chain(self.source.steps) if self.source.steps else None
            cleaner = _Cleaner(self, source, task, guard, model, chain, kept, dropped, records)
            for part in ranges_of(task.index, cuts):
                file, name = files[part.file], files[part.file].fetched.name
                with file.opened(task.temporary / "named") as path:
                    covered.append(cleaner.read(name, path, part.start, part.end))
                    if part.start == 0 and not file.was_checked and (form := reader.missing_checksum(path)):
                        without[name] = form
        facts = CleanFacts(ranges=tuple(covered), signals=names)
        task.facts = facts.model_copy(update={"without_checksum": without}) if without else facts

    def _language_model(self, task: Task) -> LanguageModel | None:
        if not self.source.identify_language:
            return None
        models = self.input(FetchStage, MODELS)
        file = models.files(task.input(models))[0]
        if file.fetched.sha256 != language.MODEL_SHA256:
            raise CorpusError(
                f"{file.fetched.name}: its SHA-256 is {file.fetched.sha256}; expected {language.MODEL_SHA256}"
            )
        return LanguageModel(file.path())

    def check(self, output: JobOutput) -> None:
        """Check that every file's spans add up to its size, and that few enough records and bytes are unreadable."""
        check_spans(output.all_facts(CleanFacts), self._file_sizes(output))
        ledger, share = output.ledger(), self.source.max_failed
        read, failed = ledger.total("records"), ledger.total("records", outcome="failed")
        size, lost = ledger.total("input_bytes"), ledger.total("input_bytes", outcome="failed")
        too_many, too_much = failed > 1 and exceeds(failed, read, share), exceeds(lost, size, share)
        # One record that fails never stops a build; a stretch of a file that is lost as one is no record.
        if too_many or (too_much and (failed > 1 or lost > self._largest_record(output))):
            raise CorpusError(
                f"{self.name}: {failed:,} of {read:,} records could not be read, with {lost:,} of {size:,} bytes, "
                f"more than max_failed {100 * share:g}% allows:\n{self._failures(output)}\n"
                f"  Look at these files, or raise sources.{self.source.name}.max_failed to accept the loss."
            )

    def losses(self, output: JobOutput) -> list[FileLoss]:
        """Return the files that lost bytes, the largest losses first."""
        return losses_of(output.all_facts(CleanFacts))

    def without_checksum(self, output: JobOutput) -> dict[str, str]:
        """Return the formats of the files whose data carry no checksum, by name."""
        return formats_without_checksum(output.all_facts(CleanFacts))

    def warning(self, output: JobOutput) -> str | None:
        """Warn of input that was lost or that exhausted a parser, and of a source without documents."""
        ledger, warnings = output.ledger(), list[str]()
        if not ledger.total("records", outcome="kept"):
            warnings.append(f"no document of {self.source.name} is kept: {outcomes(ledger)}")
        if losses := self.losses(output):
            warnings.append(files_lost(self.source.name, losses, ledger))
        if found := all_verdicts(output):
            lines = [
                f"{verdict.place.file}@{verdict.place.start}: {parse_limits.LIMIT_TEXTS[verdict.limit]}"
                for verdict in found
            ]
            warnings.append(
                f"{self.source.name}: {len(found):,} records exhausted or crashed a parser, and failed. Another "
                f"machine may decide otherwise; this build keeps its verdicts:\n{_first_lines(lines)}"
            )
        if count := sum(entry.records for entry in ledger.entries() if entry.reason == "not_parsed"):
            warnings.append(
                f"{self.source.name}: {count:,} records were not parsed: {MAX_VERDICTS} before them in the same task "
                "exhausted or crashed a parser"
            )
        return "\n    warning: ".join(warnings) or None

    def notice(self, output: JobOutput) -> str | None:
        """Say which files carry no checksum, and if this system cannot limit the memory of parsers."""
        notices = list[str]()
        if not parse_limits.HAS_MEMORY_LIMIT:
            notices.append("this system cannot limit the memory of parsers; hostile input may exhaust it")
        if formats := self.without_checksum(output):
            notices.append(files_without_checksum(self.source.name, formats, len(self._file_sizes(output))))
        return "\n              ".join(notices) or None

    def _file_sizes(self, output: JobOutput) -> dict[str, int]:
        fetch = self.input(FetchStage, self.source_name)
        return {file.fetched.name: file.fetched.size for file in fetch.files(JobOutput(output.out, fetch))}

    def _largest_record(self, output: JobOutput) -> int:
        """Return the bytes of the largest record that could be read; 0 if there is none."""
        rows = output.records.rows(RecordRow)
        return max((row.end - row.start for row in rows if row.outcome != "failed"), default=0)

    def _failures(self, output: JobOutput) -> str:
        """Return the first unreadable records, a line each."""
        failed = [row for row in output.records.rows(RecordRow) if row.outcome == "failed"]
        return _first_lines([f"{row.file}@{row.start}..{row.end}: {row.reason}" for row in failed])


def _first_lines(lines: Sequence[str]) -> str:
    """Return the first of these lines, indented, and how many more there are."""
    more = [f"and {len(lines) - SHOWN_FAILURES:,} more"] if len(lines) > SHOWN_FAILURES else []
    return "\n".join(f"  {line}" for line in (*lines[:SHOWN_FAILURES], *more))


@dataclass
class _Cleaner:
    """State that one task carries from record to record."""

    job: CleanStage
    source: SourceSettings  # with its lists as local files
    task: Task
    guard: ParseGuard
    model: LanguageModel | None
    chain: Chain | None  # the datatrove steps, if there are any
    kept: DocumentWriter
    dropped: DocumentWriter
    records: TableWriter

    def read(self, file: str, path: Path, start: int, end: int) -> ReadRange:
        """Read the records that begin in bytes [start, end), and book their outcomes; return the range they cover."""
        source = self.job.source
        first, reached, count, lost = start, start, 0, Counter[str]()
        for span in self._spans(file, path, start, end):
            first = span.start if not count else first
            if (count and span.start != reached) or span.end < span.start:
                raise CorpusError(f"{file}: the reader's spans do not join at byte {reached}: a bug in {source.reader}")
            size = span.end - span.start
            outcome, reason, identity, text_bytes = self._outcome(file, span, count)
            self.task.ledger.add(source.name, outcome, reason, input_bytes=size, text_bytes=text_bytes)
            if outcome == "failed":
                lost[reason] += size
            self.records.write((file, span.start, span.end, outcome, reason, identity))
            self.task.progress(1, size)
            reached, count = span.end, count + 1
        covered = ReadRange(file=file, start=first, end=reached, records=count)
        return covered.model_copy(update={"lost": dict(sorted(lost.items()))}) if lost else covered

    def _spans(self, file: str, path: Path, start: int, end: int) -> Iterator[Span]:
        """Yield the reader's spans. If a step exhausts it, the rest of the part fails."""
        spans = catalog()[self.source.reader].read(path, start, end, self.source)
        reached = start
        for number in itertools.count():
            try:
                with self.guard.at("read", file, reached, number):
                    span = next(spans, None)
            except ExhaustedError as error:
                if reached < end or not number:
                    yield Failed(reached, end, error.reason)
                return
            if span is None:
                return
            yield span
            reached = span.end

    def _outcome(self, file: str, span: Span, number: int) -> tuple[str, str, str | None, int]:
        """Return outcome, reason, document id and bytes of text of a part's span of this number."""
        if isinstance(span, Skipped):
            return "skipped", span.reason, None, 0
        if isinstance(span, Failed):
            return "failed", span.reason, None, 0
        identity = documents.document_id(self.job.source.name, span.identity, span.content)
        if not self.job.takes(identity):
            return "skipped", "not_sampled", identity, 0
        try:
            return self._judge(self._extract(file, span, identity, number))
        except UnreadableError as error:  # in the extractor or in a datatrove step; the reason names it
            return "failed", error.reason, None, 0

    def _extract(self, file: str, record: Record, identity: str, number: int) -> Document:
        """Return the record's document. Raises UnreadableError."""
        source = self.job.source
        reader = catalog()[source.reader]
        try:
            with self.guard.at("document", file, record.start, number) if reader.extracts else nullcontext():
                document = reader.document(record, source)
        except UnreadableError:
            raise
        except Exception:  # hostile bytes in a parser: this record alone is lost, and max_failed bounds how many are
            raise UnreadableError("extractor_error") from None
        return replace(
            document,
            id=identity,
            text=documents.plain_text(document.text),
            source=source.name,
            license=document.license or source.license,
            origin=Origin(file, record.start, record.end),
        )

    def _judge(self, document: Document) -> tuple[str, str, str, int]:
        """Write the document to the kept or the dropped table; return its outcome."""
        if self.chain:
            document = replace(document, text=documents.plain_text(self.chain.edit(document.text, document.id)))
        measured = self._measure(document)
        failed_rules = self._failed_rules(measured)
        if self.chain and not failed_rules:
            answer = self.chain.judge(measured)
            failed_rules, text = [answer.dropped] if answer.dropped else [], documents.plain_text(answer.text)
            if text != document.text:  # some filters edit what they keep: the final text is measured and judged again
                measured = self._measure(replace(document, text=text))
                failed_rules = self._failed_rules(measured)
        text_bytes = len(measured.text.encode())
        if not failed_rules:
            self.kept.add(measured, text_bytes)
            return "kept", "", measured.id, text_bytes
        self.dropped.add(measured, text_bytes, failed_rules, keep_text=self._keeps_text(measured.id))
        return "dropped", failed_rules[0], measured.id, text_bytes

    def _measure(self, document: Document) -> Document:
        """Return the document with its language and all signals; those of the reader win over measured ones."""
        code, score = self.model.identify(document.text) if self.model else (document.language, None)
        measured = {**dict.fromkeys(CARRIER_SIGNALS), **measure(document.text), **document.signals}
        return replace(document, language=code, signals={"language_score": score, **measured})

    def _failed_rules(self, document: Document) -> list[str]:
        """Return the names of the rules that fail, in the order in which drops are credited."""
        failed = [rule.name for rule in failing(self.job.rules, document.signals)]
        if not document.text:
            failed.insert(0, "empty")
        if wanted := self.job.source.language:
            score = document.signals["language_score"]
            if document.language not in wanted.keep or (score is not None and score < wanted.at_least * SCORE_ONE):
                failed.insert(0, "language")
        return failed

    def _keeps_text(self, identity: str) -> bool:
        """Return True if the text of a dropped document is stored."""
        if self.job.keep_dropped == "sample":
            return documents.keyed_hash(self.job.recipe.seed, "dropped", identity) < SAMPLE_SHARE * 2**64
        return self.job.keep_dropped == "all"

"""What a build will take: bytes on disk and time, from what its sample took."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from corpus.recipe import Recipe
from corpus.store.token_shards import ROW_BYTES
from pipelines.commands.forecast.sampling import Sampled, seconds
from pipelines.engine.job import Job

ROW_OF_DOCUMENT = 250  # bytes of a document's signals and names in a text shard, as the quickstart's weigh
ROW_OF_RUN = ROW_BYTES + 10  # the key, the split and the language
REPORT_BYTES = 2_100_000  # the page, twice, with the tokenizer and the manifests, as two sources' weigh
REPORT_S, REPORT_S_A_DOCUMENT = 3.0, 2e-4
WAVE_S = 0.8  # to start the workers of a wave
WAVES = 10
TOKENS_A_SECOND = 1_000_000  # of a byte-level BPE, one core
MERGED_TOKENS_A_SECOND = 10_000_000
TRAINED_BYTES_A_SECOND = 5_000_000
DISK_FACTOR = 1.05  # how far a forecast size may be off, either way, beside what the sample leaves open
TIME_FACTOR = 1.6  # how far a forecast time may be off, either way


class Totals(NamedTuple):
    """What a source may add up to."""

    kept: float  # documents
    kept_text: float  # bytes
    left: float  # documents that are no duplicates
    left_text: float
    left_tokens: float
    shard_tokens: float  # for training and held out
    shard_documents: float


@dataclass(frozen=True)
class SourceRates:
    """How a source's products grow with it."""

    files: float  # bytes that acquire writes
    records: float  # bytes of the record ledgers
    empty: float  # bytes of all its text shards before any text is in them
    text: float  # bytes in a shard a byte of text
    sketch: float  # bytes a document
    dropped: float  # bytes of what was dropped
    read_s: float  # processor time that does not depend on what is kept
    text_s: float  # a byte of text that is kept

    def disk(self, totals: Totals, token_bytes: int) -> float:
        """Bytes of the source's products."""
        shards = self.text * (totals.kept_text + totals.left_text) + ROW_OF_DOCUMENT * (totals.kept + totals.left)
        tokens = token_bytes * (totals.left_tokens + totals.shard_tokens)
        rows = ROW_OF_RUN * totals.left + ROW_BYTES * totals.shard_documents
        return (
            self.files + self.records + self.empty + self.dropped + shards + self.sketch * totals.kept + tokens + rows
        )


def rates(
    sampled: Sampled, part: Mapping[str, float], dropped_text: Mapping[str, float], keep_all: bool
) -> dict[str, SourceRates]:
    """The rates of each source; `part` is the share of its bytes that was sampled."""
    folder = sampled.folder
    empty = min(_sizes(sampled, job, "kept-")[1] for job in sampled.cleans.values())
    found = {}
    for name, clean in sampled.cleans.items():
        census = sampled.censuses.get(name)
        scale = 1 / max(1e-9, part[name])
        of_files = 1.0 if census else scale
        size, _ = _sizes(sampled, clean, "kept-")
        ledger = sampled.done(sampled.texts[name]).ledger()
        kept, text = ledger.total("records"), ledger.total("text_bytes")
        per_text = max(0.1, (size - empty * clean.tasks - ROW_OF_DOCUMENT * kept) / text) if text else 0.4
        sketch, _ = _sizes(sampled, sampled.sketches[name], "")
        files, _ = _sizes(sampled, sampled.acquires[name], "")
        tasks = clean.tasks * of_files
        read_s = seconds(folder, census) if census else 0.0
        clean_s = max(0.0, seconds(folder, clean) - read_s) * scale
        text_s = seconds(folder, sampled.sketches[name]) + seconds(folder, sampled.texts[name])
        found[name] = SourceRates(
            files=files * of_files,
            records=_sizes(sampled, census or clean, "records-")[0] * of_files,
            empty=3 * empty * tasks,
            text=per_text,
            sketch=min(400.0, sketch / kept) if kept else 150.0,
            dropped=per_text * dropped_text[name] if keep_all else 0.0,
            read_s=read_s + clean_s + seconds(folder, sampled.acquires[name]) * of_files,
            text_s=text_s / text if text else 0.0,
        )
    return found


def _sizes(sampled: Sampled, job: Job, prefix: str) -> tuple[int, int]:
    """Bytes of a job's products whose names begin so: all together, and of the smallest."""
    done = sampled.done(job)
    sizes = [each.bytes for n in range(job.tasks) for each in done.products(n) if each.name.startswith(prefix)]
    return sum(sizes), min(sizes, default=0)


def time(
    rates: Mapping[str, SourceRates], totals: Mapping[str, Totals], recipe: Recipe, dedup_s: float, workers: int
) -> float:
    """Seconds of a whole build here, after what is not in the cache was fetched."""
    spread = sum(rates[name].read_s + rates[name].text_s * totals[name].kept_text for name in rates)
    tokens = sum(each.left_tokens for each in totals.values())
    spread += tokens / TOKENS_A_SECOND + sum(each.shard_tokens for each in totals.values()) / MERGED_TOKENS_A_SECOND
    trained = 0.0
    if recipe.tokenizer.file is None:
        asked = recipe.tokenizer.train.sample_bytes if recipe.tokenizer.train else 100_000_000
        trained = min(asked, sum(each.left_text for each in totals.values())) / TRAINED_BYTES_A_SECOND
    documents = sum(each.kept for each in totals.values())
    return spread / workers + trained + dedup_s + REPORT_S + REPORT_S_A_DOCUMENT * documents + WAVE_S * WAVES

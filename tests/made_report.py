"""A made build's remains, written with the real writers, so that a report can be collected without running a build."""

import hashlib
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from corpus.inspect.report.collect import Evidence
from corpus.quality.rule import Rule, failing
from corpus.store.corpus_manifest import (
    Eos,
    Manifest,
    ShardEntry,
    SourceEntry,
    Split,
    TokenizerEntry,
    length_quantiles,
    total,
    write_manifest,
)
from corpus.store.ledger import FileLoss, Ledger
from corpus.store.text_shards import VERDICT_COLUMNS, TableWriter, document_schema
from corpus.store.token_shards import ShardHeader, TokenShard, write_token_shard

SIGNALS = ("characters", "words", "lines", "hashes")
PROSE = (
    Rule("prose.words", "words", at_least=50, at_most=100_000, source="A paper, table 1"),
    Rule("prose.mean_word_length", "characters", per="words", at_least=3, at_most=10, source="A paper, table 1"),
    Rule("prose.hashes", "hashes", per="words", at_most=0.1, source="A paper, table 2"),
)
LIGHT = (Rule("light.words", "words", at_least=10, source="Ours"),)
RULE_SETS = {"light": LIGHT, "prose": PROSE}
HOSTILE = "<script>window.pwned=1</script>"
HOSTS = ("example.org", "WWW.Example.org", "user@books.example:8080", "<b>evil</b>")
SEED = 7
PARTS = range(2)  # tasks of clean


def make_evidence(folder: Path, names: tuple[str, ...] = ("books", "web"), documents: int = 120) -> Evidence:
    """Sources of made documents: most are kept, some dropped, some skipped, some duplicates of the first source's."""
    made: list[_Made] = []
    for number, name in enumerate(names):
        made.append(_Made(folder, number, name, documents, made[0] if made else None))
    tokens = sum(each.train_tokens for each in made)
    manifest = Manifest(
        name="made",
        recipe="ab" * 32,
        seed=SEED,
        tokens_asked=2 * tokens,
        tokens_got=tokens,
        shortfall="accept",
        tokenizer=TokenizerEntry(
            file="tokenizer.json", sha256="cd" * 32, vocabulary=500, eos=Eos(token="<eos>", id=0), dtype="uint16"
        ),
        sources=tuple(each.source(1 / len(names), tokens) for each in sorted(made, key=lambda each: each.name)),
        fingerprints={},
    )
    write_manifest(folder / "manifest.json", manifest)
    return Evidence(
        manifest=manifest,
        root=folder,
        steps={"clean": "Rules", "text": "Duplicates", "mix": "Quota"},
        ledgers={f"{stage}.{each.name}": ledger for each in made for stage, ledger in each.ledgers.items()},
        clean_shards={
            each.name: [(each.path("kept", part), each.path("dropped", part)) for part in PARTS] for each in made
        },
        decisions={each.name: [each.path("decisions", part) for part in PARTS] for each in made},
        rules={each.name: PROSE for each in made},
        rule_sets=RULE_SETS,
        files=dict.fromkeys(names, 2),
        losses={name: [FileLoss(f"{name}-{HOSTILE}.zst", 9_000, 8_000, ("bad_zstd", "bad_json"))] for name in names},
        without_checksum={name: {"Parquet": 2} for name in names},
        ngram_words=5,
        dedup_counts={"exact": sum(each.merged for each in made), "near": 0, "candidates": 12},
    )


class _Made:
    def __init__(self, folder: Path, number: int, name: str, documents: int, first: "_Made | None") -> None:
        self.folder, self.number, self.name, self.merged = folder, number, name, 0
        self.ledgers = {stage: Ledger() for stage in ("clean", "text", "mix")}
        self.random = random.Random(f"{SEED}:{number}")
        self.shards: list[ShardEntry] = []
        self.stayed: list[str] = []  # ids
        self.first = first or self
        stay: list[tuple[dict[str, object], str]] = []
        for part in PARTS:
            rows = [self._row(index) for index in range(documents) if index % len(PARTS) == part]
            stay += self._dedup(self._clean(rows, part), part)
        self.ledgers["clean"].add(self.name, "skipped", f"redirect {HOSTILE}", records=5, input_bytes=500)
        self.ledgers["clean"].add(self.name, "failed", "truncated", records=1, input_bytes=77)
        self._tokens(stay)

    def path(self, what: str, part: int) -> Path:
        return self.folder / f"{what}-{self.number}-{part}.parquet"

    def _row(self, index: int) -> dict[str, object]:
        words = int(self.random.lognormvariate(5.5, 1.3)) + 1
        characters = int(words * self.random.uniform(2.7, 8))
        if index % 20 == 6:
            words, characters = 200, 1020  # 256 tokens, which is where a bucket begins
        hashes = self.random.choice([0, 0, 0, 0, words // 5])
        text = f"{HOSTILE} document {index} of {self.name} " + "word " * min(words, 30)
        return {
            "id": hashlib.sha256(f"{self.number}:{index}".encode()).hexdigest()[:32],
            "text": text,
            "url": f"https://{HOSTS[index % 7 // 2]}/{HOSTILE}" if index % 2 else None,
            "language": [None, "en", "en", "en", "de", "fr"][index % 6] if self.number else "en",
            "source": self.name,
            "origin_file": "pages.warc.gz",
            "origin_start": index * 1000,
            "origin_end": index * 1000 + 1000,
            "text_bytes": len(text.encode()),
            "characters": characters,
            "words": None if index % 10 == 0 else 0 if index % 20 == 3 else words,
            "lines": words // 10,
            "hashes": hashes,
        }

    def _clean(self, rows: list[dict[str, object]], part: int) -> list[dict[str, object]]:
        schema, kept, ledger = document_schema(SIGNALS, VERDICT_COLUMNS), [], self.ledgers["clean"]
        with (
            TableWriter(self.path("kept", part), schema) as keeps,
            TableWriter(self.path("dropped", part), schema) as drops,
        ):
            for row in rows:
                reasons = [rule.name for rule in failing(PROSE, row)]  # type: ignore[arg-type]
                size = int(str(row["text_bytes"]))
                if reasons:
                    judged = {**row, "rule": reasons[0], "failed_rules": reasons}
                    drops.write([judged.get(name) for name in schema.names])
                    ledger.add(self.name, "dropped", reasons[0], input_bytes=1000, text_bytes=size)
                else:
                    judged = {**row, "failed_rules": []}
                    keeps.write([judged.get(name) for name in schema.names])
                    kept.append(row)
                    ledger.add(self.name, "kept", "", input_bytes=1000, text_bytes=size)
        return kept

    def _dedup(self, kept: list[dict[str, object]], part: int) -> list[tuple[dict[str, object], str]]:
        decisions, stay = [], []
        for index, row in enumerate(kept):
            size = int(str(row["text_bytes"]))
            copy = index % 9 == 4
            split = None if copy else "holdout" if index % 10 == 0 else "train"
            decisions.append(
                {
                    "id": row["id"],
                    "split": split,
                    "survivor": self.first.stayed[index // 9] if copy else None,
                    "survivor_source": self.first.name if copy else None,
                    "intersection": 4 if copy else None,
                    "union": 5 if copy else None,
                    "reason": ("near" if index % 2 else "exact") if copy else None,
                }
            )
            if split is None:
                self.merged += 1
                self.ledgers["text"].add(self.name, "merged", str(decisions[-1]["reason"]), text_bytes=size)
            else:
                stay.append((row, split))
                self.stayed.append(str(row["id"]))
                self.ledgers["text"].add(self.name, "kept", split, text_bytes=size)
        counts = dict.fromkeys(("intersection", "union"), pa.int64())
        schema = pa.schema([(name, counts.get(name, pa.string())) for name in decisions[0]])
        pq.write_table(pa.Table.from_pylist(decisions, schema=schema), self.path("decisions", part))
        return stay

    def _tokens(self, stay: list[tuple[dict[str, object], str]]) -> None:
        for split in ("train", "holdout"):
            rows = [row for row, each in stay if each == split]
            if split == "train":
                over, rows = rows[-3:], rows[:-3]
                for row in over:
                    self.ledgers["mix"].add(self.name, "skipped", "over_quota", input_bytes=int(str(row["text_bytes"])))
            self._shard(rows, split)  # type: ignore[arg-type]

    def _shard(self, rows: list[dict[str, object]], split: Split) -> None:
        lengths = np.array([1 + int(str(row["characters"])) // 4 for row in rows], np.int64)
        offsets = np.concatenate([np.zeros(1, np.int64), lengths.cumsum()])
        tokens = np.ones(int(offsets[-1]), np.uint16)
        tokens[offsets[1:] - 1] = 0
        ids = np.frombuffer(bytes.fromhex("".join(str(row["id"]) for row in rows)), np.uint8).reshape(-1, 16)
        sizes = np.array([row["text_bytes"] for row in rows], np.int64)
        shard = TokenShard(ShardHeader("cd" * 32, "ab" * 32, self.name, split), ids, tokens, offsets, sizes)
        file = f"shards/{self.number}-{split}-00000.arrow"
        path = self.folder / file
        path.parent.mkdir(exist_ok=True)
        write_token_shard(path, shard)
        languages: dict[str, int] = {}
        for row in rows:
            languages[str(row["language"] or "und")] = languages.get(str(row["language"] or "und"), 0) + 1
            self.ledgers["mix"].add(self.name, "kept", split, text_bytes=int(str(row["text_bytes"])))
        self.shards.append(
            ShardEntry(
                file=file,
                split=split,
                documents=len(rows),
                tokens=len(tokens),
                bytes=int(sizes.sum()),
                file_bytes=path.stat().st_size,
                sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
                length_quantiles=length_quantiles(lengths.tolist()),
                languages=languages,
            )
        )

    @property
    def train_tokens(self) -> int:
        return total([shard for shard in self.shards if shard.split == "train"]).tokens

    def source(self, share: float, tokens: int) -> SourceEntry:
        return SourceEntry(
            name=self.name,
            license="CC-BY-4.0",
            priority=self.number,
            share_asked=share,
            share_got=self.train_tokens / tokens,
            train=total([shard for shard in self.shards if shard.split == "train"]),
            holdout=total([shard for shard in self.shards if shard.split == "holdout"]),
            holdout_thin=True,
            shards=tuple(self.shards),
        )

"""Make tests/golden/corpus, a small build for tests of readers. All of its text is written or generated here.

Run: python tests/golden/make_golden.py [FOLDER]. The same code and libraries give the same bytes.
"""

import hashlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from corpus.document import document_id, keyed_hash
from corpus.store.corpus_manifest import Eos, Manifest, ShardEntry, SourceEntry, TokenizerEntry, total, write_manifest
from corpus.store.token_shards import SPLITS, shard_entry, write_token_shard
from corpus.tokens.encode import Encoder
from corpus.tokens.merge import EVERYTHING, merge, threshold
from corpus.tokens.run_set import RunSet
from corpus.tokens.runs import RunHeader, RunWriter
from corpus.tokens.token_quotas import Mix, partition_keys, quotas
from corpus.tokens.train_bpe import Sized, Train, sample, train

FOLDER = Path(__file__).parent / "corpus"
SEED = 7
SHARES = {"books": 0.3, "code": 0.3, "web": 0.4}
MIX = Mix(tokens=7_000, shard_bytes=4_000, partitions=2)  # code has too few tokens, which is accepted
RECIPE = hashlib.sha256(b"golden").hexdigest()
DOCUMENTS = {"books": 22, "code": 36, "web": 50}

WHO = ("The miller", "Her sister", "An old heron", "Nobody", "The ferryman", "A stranger", "The younger clerk")
DID = ("counted", "carried", "had forgotten", "painted", "would not sell", "listened for", "mended")
WHAT = ("the empty sacks", "a bell without a tongue", "forty-two barrels", "the north wall", "every third stone")
WHEN = ("before the rain came", "at dusk", "in the year of the flood", "while the wheel turned", "for no one's sake")
OTHERS = {
    "de": "Das Mühlrad dreht sich langsam, und der Müller zählt die Säcke.",
    "fr": "La roue tourne lentement ; le meunier compte les sacs de blé.",
    "el": "Ο τροχός γυρίζει αργά και ο μυλωνάς μετράει τα σακιά.",
    "zh": "水车慢慢地转，磨坊主数着麻袋。",
    "ar": "تدور العجلة ببطء ويعدّ الطحّان الأكياس.",
}
ODD = (
    "A page that says <|endoftext|> and </s> in its text.",
    "\tTabs,  spaces \r\n and a smile: 😀👩‍🌾 e\u0301 \u200b\x00 end ",
    "x",
)


def pick(options: tuple[str, ...], *place: object) -> str:
    """Return one of the options by hash; random modules may change between versions."""
    return options[hashlib.sha256(repr(place).encode()).digest()[0] % len(options)]


def sentences(source: str, number: int, count: int) -> str:
    """Return prose of `count` sentences."""
    parts = (
        (pick(options, source, number, each, i) for i, options in enumerate((WHO, DID, WHAT, WHEN)))
        for each in range(count)
    )
    return " ".join(" ".join(words) + "." for words in parts)


def text(source: str, number: int) -> tuple[str, str]:
    """Return the text of a document and its language."""
    length = 1 + keyed_hash(SEED, source, f"{number:032x}") % 9
    if source == "code":
        steps = "\n".join(f"    total += {number * each} * grain[{each}]" for each in range(length))
        return f"def grind_{number}(grain):\n    total = 0\n{steps}\n    return total\n", "en"
    if source == "books":
        return f"CHAPTER {number}\n\n" + "\n\n".join(sentences(source, number + i, 3) for i in range(length)), "en"
    if number < len(ODD):
        return ODD[number], "en"
    language = pick((*OTHERS, "en", "en"), number)
    opening = OTHERS.get(language, f"Welcome to mill number {number}!")
    return f"{opening}\n{sentences(source, number, length)}", language


def documents(source: str) -> Iterator[tuple[str, str, str]]:
    """Yield the id, text and language of each document."""
    for number in range(DOCUMENTS[source]):
        content, language = text(source, number)
        yield document_id(source, str(number), content.encode()), content, language


def shards(runs: list[Path], folder: Path, source: str, quota: int) -> Iterator[ShardEntry]:
    """Write the token shards of a source, and yield their manifest entries."""
    for split in SPLITS:
        cut = threshold(RunSet(runs), quota) if split == "train" else EVERYTHING
        for partition in range(MIX.partitions):
            keys = partition_keys(partition, MIX.partitions)
            for number, merged in enumerate(merge(RunSet(runs), RECIPE, split, keys, cut, MIX.shard_bytes)):
                file = f"shards/{source}-{split}-{partition:02d}-{number:03d}.arrow"
                write_token_shard(folder / file, merged.shard)
                yield shard_entry(folder / file, file, merged.shard, merged.languages)


def tokenize(source: str, encoder: Encoder, folder: Path) -> list[Path]:
    """Write two token runs of a source; about one document in eight is in the holdout."""
    writers = [RunWriter(RunHeader(source, encoder.sha256, encoder.vocabulary, SEED)) for _ in range(2)]
    for number, (name, content, language) in enumerate(documents(source)):
        tokens = encoder.encode([content])[0]
        split = "holdout" if keyed_hash(SEED, "holdout", name) % 8 == 0 else "train"
        writers[number % 2].add(name, split, language, len(content.encode()), tokens)
    paths = [folder / f"{source}-{number}.arrow" for number in range(2)]
    for writer, path in zip(writers, paths, strict=True):
        writer.write(path)
    return paths


def main(folder: Path) -> None:
    """Write tokenizer, shards and manifest to `folder`."""
    (folder / "shards").mkdir(parents=True, exist_ok=True)
    for old in (folder / "shards").iterdir():
        old.unlink()
    texts = {name: content for source in SHARES for name, content, _ in documents(source)}
    sizes = {
        source: [Sized(name, len(content.encode()), language) for name, content, language in documents(source)]
        for source in SHARES
    }
    settings = Train(vocabulary=384, sample_bytes=30_000, reserved_tokens=False)
    chosen = sample(sizes, SHARES, settings, SEED)
    (folder / "tokenizer.json").write_bytes(train([texts[each] for ids in chosen.values() for each in ids], settings))
    encoder = Encoder(folder / "tokenizer.json")
    with tempfile.TemporaryDirectory() as temporary:
        runs = {source: tokenize(source, encoder, Path(temporary)) for source in SHARES}
        available = {source: int(RunSet(paths).tokens("train").sum()) for source, paths in runs.items()}
        asked = quotas(SHARES, available, MIX.tokens, MIX.shortfall)
        made = {source: tuple(shards(runs[source], folder, source, asked[source])) for source in sorted(SHARES)}
    sums = {
        source: {split: total([shard for shard in found if shard.split == split]) for split in SPLITS}
        for source, found in made.items()
    }
    got = sum(totals["train"].tokens for totals in sums.values())
    manifest = Manifest(
        name="golden",
        recipe=RECIPE,
        seed=SEED,
        tokens_asked=MIX.tokens,
        tokens_got=got,
        shortfall=MIX.shortfall,
        tokenizer=TokenizerEntry(
            file="tokenizer.json",
            sha256=encoder.sha256,
            vocabulary=encoder.vocabulary,
            eos=Eos(token=encoder.eos, id=encoder.eos_id),
            dtype="uint16",
        ),
        sources=tuple(
            SourceEntry(
                name=source,
                license="apache-2.0",
                priority=0,
                share_asked=SHARES[source],
                share_got=totals["train"].tokens / got,
                holdout_thin=totals["holdout"].documents < 8,
                shards=made[source],
                **totals,
            )
            for source, totals in sums.items()
        ),
        fingerprints={job: hashlib.sha256(job.encode()).hexdigest() for job in ("mix", "tokenize", "tokenizer")},
    )
    write_manifest(folder / "manifest.json", manifest)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)

"""Small build over generated text with every kind of outcome, for tests of commands that read a finished build."""

import gzip
import json
import random
import shutil
from functools import lru_cache
from pathlib import Path

from rich.console import Console

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
HOSTILE = "\x1b[2J[bold]\u202e<script>alert(1)</script>"


def prose(seed: int, words: int = 220) -> str:
    """Return generated sentences that pass the prose rules and differ for each seed."""
    draw = random.Random(seed)
    syllables = ("ka", "lo", "mi", "ten", "dar", "so", "vel", "ru", "pin", "ga", "sto", "er")
    tokens = []
    for number in range(words):
        word = draw.choice(STOP_WORDS) if number % 4 == 0 else "".join(draw.choices(syllables, k=draw.randint(2, 3)))
        tokens.append(word + ("." if number % 11 == 10 else "") + ("\n" if number % 55 == 54 else ""))
    return " ".join(tokens)


def near_duplicate(text: str) -> str:
    """Return the text with one word changed."""
    words = text.split(" ")
    return " ".join([*words[:100], "otherwise", *words[101:]])


def write_sources(folder: Path) -> None:
    """Write the files of two sources: `books` is prose, `web` has duplicates and records to drop, skip or fail."""
    folder.mkdir(parents=True)
    books = [{"id": f"book-{n}", "text": prose(n), "url": f"https://books.example/{n}"} for n in range(90)]
    _write(folder / "books.jsonl", [json.dumps(book) for book in books])
    web = [
        json.dumps({"id": f"page-{n}", "text": prose(1000 + n), "date": "2024-05-01", "lang": "en"}) for n in range(60)
    ]
    web[3] = json.dumps({"id": "copy", "lang": "en", "text": prose(3)})  # exact duplicate of a book
    web[7] = json.dumps(
        {"id": "near", "lang": "en", "text": near_duplicate(prose(7)), "url": "https://web.example/near"}
    )
    web[11] = json.dumps({"id": "short", "lang": "en", "text": f"Too short to be prose. {HOSTILE}"})
    web[13] = '{"id": "broken", "text": '
    web[17] = json.dumps({"id": "no text at all"})
    web[19] = json.dumps(
        {"id": "hostile", "lang": "en", "text": f"{HOSTILE} {prose(5000)}", "url": f"https://x.example/{HOSTILE}"}
    )
    web[21] = json.dumps({"id": "foreign", "lang": "de", "text": prose(1021)})
    web[23] = web[22]  # the same record twice
    _write(folder / "web-a.jsonl", web[:30])
    with gzip.GzipFile(folder / "web-b.jsonl.gz", "wb", mtime=0) as file:
        file.write("".join(f"{line}\n" for line in web[30:]).encode())


def _write(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_recipe(folder: Path) -> Path:
    """Write a recipe over these files. It is JSON, which YAML 1.2 includes."""
    common = {"reader": "records", "id_field": "id", "url_field": "url", "identify_language": False}
    rules = ["gopher_quality"]
    sources = [
        {"name": "books", **common, "paths": ["files/books.jsonl"], "share": 0.5, "license": "cc0-1.0",
         "priority": 2, "rules": rules, "bounds": {"gopher_quality.words": {"at_least": 40}}},
        {"name": "web", **common, "paths": ["files/web-*"], "share": 0.5, "license": "unknown", "date_field": "date",
         "max_failed": "10%", "rules": rules, "language_field": "lang", "language": {"keep": ["en"]}},
    ]  # fmt: skip
    recipe = {
        "format_version": 1,
        "name": "tiny",
        "sources": sources,
        "holdout": {"share": "10%"},
        "tokenizer": {"train": {"vocabulary": 400, "sample_bytes": "60kB"}},
        "mix": {"partitions": 2, "tokens": "30k"},
        "task_bytes": 50_000,
    }
    path = folder / "tiny.yaml"
    path.write_text(json.dumps(recipe, indent=1))
    return path


@lru_cache(maxsize=1)
def built(base: Path) -> Path:
    """Build once in a folder of `base`, and return the output folder. Tests that change it must copy it first."""
    from pipelines.build import build
    from pipelines.engine.executors.local import Local

    folder = base / "small-build"
    write_sources(folder / "files")
    profile = Local(workers=1, cache=str(folder / "cache"))
    return build(write_recipe(folder), out=folder / "out", profile=profile, console=Console(quiet=True))


def copy_build(build: Path, target: Path) -> Path:
    """Copy a build without its logs, and return the copy."""
    shutil.copytree(build, target, ignore=shutil.ignore_patterns("logs"))
    return target

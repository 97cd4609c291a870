"""`corpus plan --dry-run`: list where every source comes from, and under which license.

No socket is opened and no file of a source is read. Numbers come from the recipe, from the names and sizes of local
files, and from package releases in the cache; all others are unknown (null in JSON).
"""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from corpus.display.terminal import plain_console, print_line
from corpus.errors import InputError
from corpus.fetch import client
from corpus.fetch.base_store import display_url
from corpus.fetch.local_files import local_path
from corpus.fetch.package_index import known_archive, parse_address
from corpus.quality import language
from corpus.recipe import Recipe, local_files, read_recipe
from corpus.settings import Json
from corpus.sources.base import SourceSettings
from corpus.tokens.shares import apportion, exact
from corpus.tokens.train_bpe import Train
from pipelines.engine.profile import read_profile
from pipelines.inputs import models_of

UNKNOWN = ("files", "bytes", "documents")


class InputLocation(NamedTuple):
    """One path or address of a recipe; None is unknown."""

    address: str  # as written, or as the settings make it
    at: str  # where that is
    files: int | None
    bytes: int | None
    paths: tuple[Path, ...] = ()  # of local files

    def json(self) -> dict[str, Json]:
        """All fields but the paths."""
        return {"address": self.address, "at": self.at, "files": self.files, "bytes": self.bytes}


def show_dry_run(recipe: Path, on: str | None, assignments: Sequence[str], as_json: bool) -> None:
    """Print a preview of the build, as YAML or as JSON."""
    known = preview(read_recipe(recipe, assignments), recipe.parent, read_profile(on).cache_folder)
    if as_json:
        print(json.dumps(known, indent=1))
        return
    for line in yaml.safe_dump(_readable(known), sort_keys=False, allow_unicode=True, width=10_000).splitlines():
        print_line(plain_console(), line)


def preview(recipe: Recipe, folder: Path, cache: Path) -> dict[str, Json]:
    """Return everything that is known before a connection or a source is opened, seen from the recipe's folder."""
    shares = exact({source.name: source.share for source in recipe.sources})
    tokens = apportion(recipe.mix.tokens, shares) if recipe.mix.tokens else {}
    about = {"license": language.MODEL_LICENSE, "sha256": language.MODEL_SHA256}
    train, file = recipe.tokenizer.train or Train(), recipe.tokenizer.file
    return {
        "name": recipe.name,
        "contact": recipe.contact,
        "sample": recipe.sample.model_dump(mode="json") if recipe.sample else None,
        "sources": [_source(source, folder, cache, tokens.get(source.name)) for source in recipe.sources],
        "models": [{**_location(model, folder, cache).json(), **about} for model in models_of(recipe)],
        "tokenizer": {"file": file, "eos": recipe.tokenizer.eos} if file else {"train": train.model_dump(mode="json")},
        "tokens_asked": recipe.mix.tokens,
        "shortfall": recipe.mix.shortfall,
    }


def _source(source: SourceSettings, folder: Path, cache: Path, tokens: int | None) -> dict[str, Json]:
    locations = [_location(path, folder, cache) for path in dict.fromkeys(source.paths)] + _crawl_lists(source)
    files, size = _sums(locations)
    # Settings of the reader and locations of its files, as far as the recipe sets them.
    written = source.model_dump(mode="json", exclude_defaults=True)
    own = (set(type(source).model_fields) - set(SourceSettings.model_fields)) | source.location_fields
    return {
        "name": source.name,
        "reader": source.reader,
        "from": [location.json() for location in locations],
        "lists": [_location(path, folder, cache).json() for path in source.lists],
        "files": files,
        "bytes": size,
        "documents": None,
        "license": source.license,
        "settings": {name: value for name, value in written.items() if name in own and name != "paths"},
        "rules": list(source.rules),
        "steps": [str(step) for step in source.steps],
        "language": source.language.model_dump(mode="json") if source.language else None,
        "share": source.share,
        "tokens_asked": tokens,
    }


def _location(written: str, folder: Path, cache: Path) -> InputLocation:
    package = parse_address(written)
    if package is not None:
        archive = known_archive(package, cache)
        at, size = (archive.url, archive.size) if archive else (package.page, None)
        return InputLocation(written, at, None, size)
    path = _local_path(written)
    if client.is_remote(written) and path is None:
        return InputLocation(display_url(written), display_url(written), None if set("*?[") & set(written) else 1, None)
    paths = tuple(local_files(str(path or written), folder))
    where = "this machine" if path else str(folder.resolve())
    return InputLocation(written, where, len(paths), _file_bytes(paths), paths)


def _local_path(written: str) -> Path | None:
    """Path of a file:// address."""
    try:
        return local_path(written) if client.is_remote(written) else None
    except InputError:
        return None


def _crawl_lists(source: SourceSettings) -> list[InputLocation]:
    """Lists of files that the crawls in the settings publish. They are not read here."""
    at, crawls = getattr(source, "at", None), getattr(source, "crawls", ())
    segments = getattr(source, "segments", None)
    files = segments if isinstance(segments, int) and not source.selects and len(crawls) == 1 else None
    kind = "cc-index-table" if source.selects else getattr(source, "files", "warc")
    addresses = [display_url(f"{at}/crawl-data/{crawl}/{kind}.paths.gz") for crawl in crawls]
    return [InputLocation(crawl, url, files, None) for crawl, url in zip(crawls, addresses, strict=True)]


def _sums(locations: Sequence[InputLocation]) -> tuple[int | None, int | None]:
    """Files and bytes of all locations; a file that two patterns match is counted once."""
    paths = {path for location in locations for path in location.paths}
    others = [location for location in locations if not location.paths]
    files = [len(paths), *(location.files for location in others)]
    sizes = [_file_bytes(paths), *(location.bytes for location in others)]
    return _sum(files), _sum(sizes)


def _file_bytes(paths: Collection[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


def _sum(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _readable(value: Json) -> Json:
    """Drop settings that are not set, and write unknown numbers as `unknown`."""
    if isinstance(value, dict):
        items = [(name, inner) for name, inner in value.items() if inner not in (None, [], {}) or name in UNKNOWN]
        return {name: "unknown" if inner is None else _readable(inner) for name, inner in items}
    return [_readable(inner) for inner in value] if isinstance(value, list) else value

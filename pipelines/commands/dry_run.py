"""`corpus plan --dry-run`: list where every source comes from, and under which license.

No socket is opened and no file of a source is read. Numbers come from the recipe, from the names and sizes of local
files, and from package releases in the cache; all others are unknown (null in JSON).
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

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
from corpus.units import human_bytes
from pipelines.engine.read_profile import read_profile


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


@dataclass(frozen=True)
class SourcePreview:
    """A source as far as it is known before anything is fetched."""

    source: SourceSettings
    locations: list[InputLocation]
    lists: list[InputLocation]
    files: int | None
    bytes: int | None
    settings: dict[str, Json]  # of the reader, as far as the recipe sets them
    tokens_asked: int | None

    def json(self) -> dict[str, Json]:
        """The preview as JSON."""
        source = self.source
        return {
            "name": source.name,
            "reader": source.reader,
            "from": [location.json() for location in self.locations],
            "lists": [location.json() for location in self.lists],
            "files": self.files,
            "bytes": self.bytes,
            "documents": None,
            "license": source.license,
            "settings": self.settings,
            "rules": list(source.rules),
            "steps": [str(step) for step in source.steps],
            "language": source.language.model_dump(mode="json") if source.language else None,
            "share": source.share,
            "tokens_asked": self.tokens_asked,
        }


def show_dry_run(recipe: Path, on: str | None, assignments: Sequence[str], as_json: bool) -> None:
    """Print the preview of a recipe, as text or as JSON."""
    checked, cache = read_recipe(recipe, assignments), read_profile(on).cache_folder
    sources = preview(checked, recipe.parent, cache)
    asks_language = any(source.identify_language for source in checked.sources)
    models = [_location(language.MODEL, recipe.parent, cache)] if asks_language else []
    if as_json:
        print(json.dumps(_json(checked, sources, models), indent=1))
    else:
        _print(checked, sources, models)


def preview(recipe: Recipe, folder: Path, cache: Path) -> list[SourcePreview]:
    """Look up all sources of a recipe in `folder`, without opening a file or a connection."""
    shares = exact({source.name: source.share for source in recipe.sources})
    tokens = apportion(recipe.mix.tokens, shares) if recipe.mix.tokens else {}
    previews = []
    for source in recipe.sources:
        locations = [_location(path, folder, cache) for path in dict.fromkeys(source.paths)] + _crawl_lists(source)
        lists = [_location(path, folder, cache) for path in source.lists]
        files, size = _sums(locations)
        previews.append(
            SourcePreview(source, locations, lists, files, size, _reader_settings(source), tokens.get(source.name))
        )
    return previews


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
    at = str(folder.resolve()) if path is None else "this machine"
    return InputLocation(written, at, len(paths), _file_bytes(paths), paths)


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
    return [
        InputLocation(crawl, display_url(f"{at}/crawl-data/{crawl}/{kind}.paths.gz"), files, None) for crawl in crawls
    ]


def _reader_settings(source: SourceSettings) -> dict[str, Json]:
    """Settings of the reader and locations of its files, as far as the recipe sets them."""
    written = source.model_dump(mode="json", exclude_defaults=True)
    own = (set(type(source).model_fields) - set(SourceSettings.model_fields)) | source.location_fields
    return {name: value for name, value in written.items() if name in own and name != "paths"}


def _sums(locations: Sequence[InputLocation]) -> tuple[int | None, int | None]:
    """Files and bytes of all locations; a file that two patterns match is counted once."""
    paths = {path for location in locations for path in location.paths}
    known = [(location.files, location.bytes) for location in locations if not location.paths]
    known += [(len(paths), _file_bytes(paths))] if paths else []
    return _sum([files for files, _ in known]), _sum([size for _, size in known])


def _file_bytes(paths: Collection[Path]) -> int | None:
    try:
        return sum(path.stat().st_size for path in paths)
    except OSError:
        return None


def _sum(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def _tokenizer(recipe: Recipe) -> Json:
    if recipe.tokenizer.file is not None:
        return {"file": recipe.tokenizer.file, "eos": recipe.tokenizer.eos}
    return {"train": (recipe.tokenizer.train or Train()).model_dump(mode="json")}


def _json(recipe: Recipe, sources: Sequence[SourcePreview], models: Sequence[InputLocation]) -> Json:
    about = {"license": language.MODEL_LICENSE, "sha256": language.MODEL_SHA256}
    return {
        "name": recipe.name,
        "contact": recipe.contact,
        "sample": recipe.sample.model_dump(mode="json") if recipe.sample else None,
        "sources": [source.json() for source in sources],
        "models": [{**model.json(), **about} for model in models],
        "tokenizer": _tokenizer(recipe),
        "tokens_asked": recipe.mix.tokens,
        "shortfall": recipe.mix.shortfall,
    }


def _print(recipe: Recipe, sources: Sequence[SourcePreview], models: Sequence[InputLocation]) -> None:
    lines = [f"{recipe.name}: nothing is fetched, and no source is read"]
    for preview in sources:
        source = preview.source
        tokens = f", {preview.tokens_asked:,} tokens" if preview.tokens_asked else ""
        lines += ["", source.name, f"  {source.reader}, {100 * source.share:g} %{tokens}; license {source.license}"]
        for location in (*preview.locations, *preview.lists):
            lines.append(f"  from      {location.address}")
            if location.at != location.address:
                lines.append(f"            {location.at}")
            lines.append(f"            files {_known(location.files)}, size {_size(location.bytes)}")
        lines += [f"  {name:9} {json.dumps(value)}" for name, value in preview.settings.items()]
        lines.append(f"  rules     {', '.join([*source.rules, *map(str, source.steps)]) or 'none'}")
        chosen = source.language.model_dump(mode="json") if source.language else None
        lines.append(f"  language  {json.dumps(chosen) if chosen else 'any'}")
    lines.append("")
    for model in models:
        lines += [f"model       {model.address}", f"            {model.at}, size {_size(model.bytes)}"]
        lines.append(f"            {language.MODEL_LICENSE}")
    lines.append(f"tokenizer   {json.dumps(_tokenizer(recipe))}")
    lines.append(f"tokens      {f'{recipe.mix.tokens:,}' if recipe.mix.tokens else 'all available'}")
    lines.append("documents, disk, time: unknown; `corpus plan --forecast` estimates them from a sample")
    console = plain_console()
    for line in lines:
        print_line(console, line)


def _known(count: int | None) -> str:
    return "unknown" if count is None else f"{count:,}"


def _size(size: int | None) -> str:
    return "unknown" if size is None else human_bytes(size)

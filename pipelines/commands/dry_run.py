"""`corpus plan --dry-run`: where everything would come from, and under which license; what nobody told is `unknown`.

No socket is opened and no source's file is read: what is said follows from the recipe, from the names and sizes of
local files, and from what the cache knows of packages from before.
"""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from corpus.display.terminal import printable
from corpus.errors import InputError
from corpus.fetch import client, local
from corpus.fetch.base_store import display_url
from corpus.fetch.package_index import known_archive, parse_address
from corpus.quality import language
from corpus.recipe import Recipe, local_files, read_recipe
from corpus.settings import Json
from corpus.sources.base import SourceSettings
from corpus.tokens.shares import apportion, exact
from corpus.units import human_bytes
from pipelines.engine.read_profile import read_profile


class Origin(NamedTuple):
    """What one address stands for, as far as that is known."""

    address: str  # as written, or as the settings make it
    at: str  # where that is
    files: int | None
    bytes: int | None
    paths: tuple[Path, ...] = ()  # of local files

    def told(self) -> dict[str, Json]:
        """All but the paths."""
        return {"address": self.address, "at": self.at, "files": self.files, "bytes": self.bytes}


def show_dry_run(recipe: Path, on: str | None, assignments: Sequence[str], as_json: bool) -> None:
    """Prints it, for people or as JSON."""
    checked = read_recipe(recipe, assignments)
    told = describe(checked, recipe.parent, read_profile(on).cache_folder)
    if as_json:
        print(json.dumps(told, indent=1))
        return
    _print(checked, told)


def describe(recipe: Recipe, folder: Path, cache: Path) -> dict[str, Json]:
    """All that is known beforehand; null is what is not."""
    tokens = recipe.mix.tokens
    asked = apportion(tokens, exact({source.name: source.share for source in recipe.sources})) if tokens else {}
    sources: list[Json] = []
    for source in recipe.sources:
        origins = [_origin(each, folder, cache) for each in dict.fromkeys(source.paths)] + _listed(source, folder)
        lists = [_origin(written, folder, cache) for written in source.lists]
        files, size = _whole(origins)
        sources.append({
            "name": source.name,
            "reader": source.reader,
            "from": [each.told() for each in origins],
            "lists": [each.told() for each in lists],
            "files": files,
            "bytes": size,
            "documents": None,
            "license": source.license,
            "settings": _own_settings(source),
            "rules": list(source.rules),
            "steps": [str(step) for step in source.steps],
            "language": source.language.model_dump(mode="json") if source.language else None,
            "share": source.share,
            "tokens_asked": asked.get(source.name),
        })  # fmt: skip
    models: list[Json] = []
    if any(source.identify_language for source in recipe.sources):
        origin = _origin(language.MODEL, folder, cache)
        models.append({**origin.told(), "license": language.MODEL_LICENSE, "sha256": language.MODEL_SHA256})
    sample = recipe.sample.model_dump(mode="json") if recipe.sample else None
    return {"name": recipe.name, "contact": recipe.contact, "sample": sample, "sources": sources, "models": models,
            "tokenizer": _tokenizer(recipe), "tokens_asked": tokens, "shortfall": recipe.mix.shortfall}  # fmt: skip


def _origin(written: str, folder: Path, cache: Path) -> Origin:
    package = parse_address(written)
    if package is not None:
        archive = known_archive(package, cache)
        return Origin(written, archive.url if archive else package.page, None, archive.size if archive else None)
    path = _local(written)
    if client.is_remote(written) and path is None:
        return Origin(display_url(written), display_url(written), None if set("*?[") & set(written) else 1, None)
    paths = tuple(local_files(str(path or written), folder))
    return Origin(written, f"{folder.resolve()}" if path is None else "this machine", len(paths), _bytes(paths), paths)


def _local(written: str) -> Path | None:
    """The path behind a file:// address."""
    try:
        return local.local_path(written) if client.is_remote(written) else None
    except InputError:
        return None


def _listed(source: SourceSettings, folder: Path) -> list[Origin]:
    """The crawls that the settings name: each publishes a list of its files, which is not read now."""
    at, crawls = getattr(source, "at", None), getattr(source, "crawls", ())
    wanted = getattr(source, "segments", None)
    files = wanted if isinstance(wanted, int) and not source.selects else None
    kind = "cc-index-table" if source.selects else getattr(source, "files", "warc")
    names = [display_url(f"{at}/crawl-data/{crawl}/{kind}.paths.gz") for crawl in crawls]
    return [
        Origin(crawl, name, files if len(names) == 1 else None, None) for crawl, name in zip(crawls, names, strict=True)
    ]


def _own_settings(source: SourceSettings) -> dict[str, Json]:
    """The reader's own settings, and those that say where its files are, as far as the recipe sets them."""
    told = source.model_dump(mode="json", exclude_defaults=True)
    own = (set(type(source).model_fields) - set(SourceSettings.model_fields)) | source.location_fields
    return {name: value for name, value in told.items() if name in own and name != "paths"}


def _whole(origins: Sequence[Origin]) -> tuple[int | None, int | None]:
    """Files and bytes of all of them; a file that two patterns match is read once."""
    here = {path for each in origins for path in each.paths}
    known = [(each.files, each.bytes) for each in origins if not each.paths]
    known += [(len(here), _bytes(here))] if here else []
    return _sum([files for files, _ in known]), _sum([size for _, size in known])


def _bytes(paths: Collection[Path]) -> int | None:
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
    from corpus.tokens.train_bpe import Train

    return {"train": (recipe.tokenizer.train or Train()).model_dump(mode="json")}


def _print(recipe: Recipe, told: dict[str, Json]) -> None:
    """A line each; what was written elsewhere is plain text."""
    console = Console(soft_wrap=True, highlight=False)

    def say(line: str, bold: str = "") -> None:
        console.print(Text.assemble((printable(bold), "bold"), printable(line)))

    say(": nothing is fetched, and no source is read", bold=recipe.name)
    for source in _rows(told["sources"]):
        tokens = f", {source['tokens_asked']:,} tokens asked" if source["tokens_asked"] else ""
        share = f"{100 * float(str(source['share'])):g} %{tokens}"
        say("")
        say(f"  {source['reader']}, {share}; license {source['license']}", bold=str(source["name"]))
        for origin in (*_rows(source["from"]), *_rows(source["lists"])):
            say(f"  from      {origin['address']}")
            if origin["at"] != origin["address"]:
                say(f"            {origin['at']}")
            say(f"            files {_known(origin['files'])}, size {_size(origin['bytes'])}")
        settings = source["settings"]
        assert isinstance(settings, dict)
        for name, value in settings.items():
            say(f"  {name:9} {json.dumps(value)}")
        rules, steps = source["rules"], source["steps"]
        assert isinstance(rules, list) and isinstance(steps, list)
        say(f"  rules     {', '.join(map(str, [*rules, *steps])) or 'none'}")
        say(f"  language  {json.dumps(source['language']) if source['language'] else 'any'}")
        say("  documents unknown")
    say("")
    for model in _rows(told["models"]):
        say(f"model       {model['license']}")
        say(f"            {model['address']}")
        say(f"            {model['at']}, size {_size(model['bytes'])}")
    say(f"tokenizer   {json.dumps(told['tokenizer'])}")
    asked = told["tokens_asked"]
    say(f"tokens      {f'{asked:,} asked' if isinstance(asked, int) else 'all there are'}; to be had: unknown")
    say("disk, time  unknown; `corpus plan --forecast` builds a sample to tell")


def _rows(value: Json) -> list[dict[str, Json]]:
    assert isinstance(value, list)
    return [row for row in value if isinstance(row, dict)]


def _known(value: Json) -> str:
    return f"{value:,}" if isinstance(value, int) else "unknown"


def _size(value: Json) -> str:
    return human_bytes(value) if isinstance(value, int) else "unknown"

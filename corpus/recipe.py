"""The recipe: the definition of a corpus. Where and how fast it is built is a profile's business."""

import os
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Union

from pydantic import BeforeValidator, Field, SerializeAsAny, create_model

from corpus import settings, units
from corpus.dedup.settings import Dedup
from corpus.errors import InputError
from corpus.fetch import client
from corpus.quality import catalog as rules
from corpus.quality import datatrove_steps as steps
from corpus.settings import KeyPath, Quantity, Share, Strict
from corpus.sources.base import Name, SourceSettings, catalog
from corpus.tokens.settings import Tokenizer
from corpus.tokens.token_quotas import Mix
from corpus.validation import validate


class Holdout(Strict):
    """Share of duplicate clusters that is never trained on, and the sizes below which a holdout is too thin."""

    share: Annotated[Share, Field(lt=1)] = 0.01
    thin_documents: Annotated[int, Field(ge=0)] = 8
    thin_bytes: Quantity = 64_000


class Sample(Strict):
    """A stable part of each source: a number of files, or a share of its files or records."""

    files: Annotated[int, Field(ge=1)] | None = None
    parts_per_million: Annotated[int, Field(ge=1, le=1_000_000)] = 1_000_000


def _sample(value: object) -> object:
    """Parse `5%`, `0.05`, or `20` for a number of files."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return Sample(files=value)
    if not isinstance(value, str | int | float):
        return value
    try:
        share = units.share(value)
    except InputError as error:
        raise ValueError(f"{error}; or a number of files, such as 20") from None
    if not share:
        raise ValueError("the sample is empty; expected a share such as 5%, or a number of files such as 20")
    return Sample(parts_per_million=max(1, round(share * 1_000_000)))


class Recipe(Strict):
    """A checked recipe file. Its sources are sorted by name, because their order in the file has no effect."""

    format_version: Literal[1]
    name: Name
    out: str | None = None  # default build/<name>
    contact: Annotated[str, Field(max_length=200)] | None = None  # sent to the servers that files are downloaded from
    sample: Annotated[Sample, BeforeValidator(_sample)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1
    sources: Annotated[tuple[SerializeAsAny[SourceSettings], ...], Field(min_length=1)]
    dedup: Dedup = Dedup()
    holdout: Holdout = Holdout()
    tokenizer: Tokenizer = Tokenizer()
    mix: Mix = Mix()
    keep_dropped: Literal["all", "signals", "sample", "auto"] = "auto"
    task_bytes: Annotated[Quantity, Field(ge=1000)] = 256_000_000  # of input per task; input files are cut at this size


@cache
def recipe_model() -> type[Recipe]:
    """Return Recipe with `sources` narrowed to the union of all readers' settings, discriminated by `reader`."""
    readers = tuple(reader.settings for reader in catalog().values())
    union = Annotated[Union[readers], Field(discriminator="reader")]  # type: ignore[valid-type]  # noqa: UP007
    field = Annotated[tuple[union, ...], Field(min_length=1)]
    return create_model("Recipe", __base__=Recipe, sources=(field, ...))


def read_recipe(path: Path, assignments: Sequence[str] = ()) -> Recipe:
    """Read a recipe, apply assignments, and check it. Raises InputError that lists every mistake with its line."""
    document = settings.override(settings.read_yaml(path, what="recipe"), assignments)
    recipe = validate(recipe_model(), document, lambda checked: _problems(checked, path))
    fields = {name: getattr(recipe, name) for name in Recipe.model_fields}
    fields["sources"] = tuple(sorted(recipe.sources, key=lambda source: source.name))
    return Recipe.model_construct(**fields)  # the plain class, because the generated one cannot be pickled


def _problems(recipe: Recipe, path: Path) -> list[tuple[KeyPath, str]]:
    """Return mistakes that no single field shows: sums, repeated names, unknown rules, missing files."""
    problems: list[tuple[KeyPath, str]] = []
    total = sum(Fraction(str(source.share)) for source in recipe.sources)
    if total != 1:
        problems.append((("sources",), f"the sources' shares sum to {float(total):g}; they must sum to 1"))
    names = [source.name for source in recipe.sources]
    for index, source in enumerate(recipe.sources):
        key: KeyPath = ("sources", index)
        if source.name in names[:index]:
            problems.append(((*key, "name"), f"two sources are named `{source.name}`"))
        problems += [
            ((*key, "rules"), f"`{source.name}`: {text}") for text in rules.problems(source.rules, source.bounds)
        ]
        for number, step in enumerate(source.steps):
            problems += [((*key, "steps", number), f"`{source.name}`: {text}") for text in steps.problems(step)]
        if source.language and not source.identify_language and not _states_language(source):
            message = f"`{source.name}`: with identify_language: false no language is known; all would be dropped"
            problems.append(((*key, "language"), message))
        for number, written in enumerate(source.paths):
            if text := _path_problem(written, path.parent):
                problems.append(((*key, "paths", number), f"`{source.name}`: {text}"))
        for written in source.lists:
            text = "a list must be a file or an address, not a package" if written.startswith("pypi") else None
            if text := text or _path_problem(written, path.parent):
                problems.append((key, f"`{source.name}`: {written}: {text}"))
    if not recipe.dedup.exact and recipe.holdout.share:
        message = "without exact dedup, copies of held-out documents would be trained on; set holdout.share to 0"
        problems.append((("dedup", "exact"), message))
    file = recipe.tokenizer.file
    if file is not None and not (path.parent / os.path.expanduser(file)).is_file():  # noqa: PTH111
        problems.append((("tokenizer", "file"), f"no such file: {path.parent / file}"))
    return problems


def _states_language(source: SourceSettings) -> bool:
    """Return True if the records themselves may state their language."""
    return getattr(source, "language_field", None) is not None or getattr(source, "files", None) == "wet"


def _path_problem(written: str, folder: Path) -> str | None:
    try:
        if client.is_address(written):
            return None
    except InputError as error:
        return str(error)
    files = local_files(written, folder)
    if misnamed := [path for path in files if not _is_text(path)]:
        return f"the name of {str(misnamed[0])!a} is not UTF-8; rename it"
    if not files and (folder / written).is_dir():
        return f"{written} is a folder; `{written.rstrip('/')}/**/*` are the files in it"
    return None if files else f"no file matches {written} (relative to {folder.resolve()})"


def _is_text(path: Path) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in str(path))


def local_files(written: str, folder: Path) -> list[Path]:
    """Return the files that a path or glob of a recipe matches, relative to the recipe's folder, sorted."""
    import glob

    start = glob.escape(str(folder)) + "/"
    if written.startswith(("/", "~")):
        written, start = os.path.expanduser(written), ""  # noqa: PTH111  (keeps the `~` of an unknown user)
    matches = glob.glob(start + written, recursive=True)  # noqa: PTH207  (patterns may be absolute)
    return [Path(path) for path in sorted(_real_paths(matches))]


def _real_paths(paths: Iterable[str]) -> Iterator[str]:
    """Yield the paths of files without symbolic links. Each folder is resolved once, since there may be many files."""
    real_folder = cache(os.path.realpath)
    for path in paths:
        folder, name = os.path.split(path)
        if os.path.isfile(path):  # noqa: PTH113
            is_link = os.path.islink(path)  # noqa: PTH114
            yield str(os.path.realpath(path)) if is_link else os.path.join(real_folder(folder), name)  # noqa: PTH118

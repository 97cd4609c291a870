"""The build that tests of killed and stopped builds compare with."""

from pathlib import Path

import pytest

from tests.end_to_end.builds import products
from tests.faults.kills import Build, write_recipe


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Return a recipe, and the digests of its products."""
    folder = tmp_path_factory.mktemp("built")
    recipe = write_recipe(folder)
    ended = Build(recipe, folder / "out").end()
    assert ended.status == 0, ended.output
    return recipe, products(folder / "out")

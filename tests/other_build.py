"""Second build of the files of `small_build` with other settings, for tests that compare builds."""

import json
from functools import lru_cache
from pathlib import Path

from rich.console import Console

from tests.small_build import built

BOUND = 5.2  # lower bound of the mean word length in `books`; the published bound is 3


def other_recipe(folder: Path) -> Path:
    """Write the recipe of the small build with a stricter rule, no web-b, a smaller vocabulary and fewer tokens."""
    recipe = json.loads((folder / "tiny.yaml").read_text())
    books, web = recipe["sources"]
    books["bounds"]["gopher_quality.mean_word_length"] = {"at_least": BOUND}
    web["paths"] = ["files/web-a.jsonl"]
    recipe["tokenizer"]["train"]["vocabulary"] = 380
    recipe["mix"]["tokens"] = "20k"
    path = folder / "other.yaml"
    path.write_text(json.dumps(recipe, indent=1))
    return path


@lru_cache(maxsize=1)
def other_built(base: Path) -> Path:
    """Build once in a folder of `base`, and return the output folder."""
    from pipelines.build import build
    from pipelines.engine.executors.local import Local

    folder = built(base).parent
    profile = Local(workers=1, cache=str(folder / "cache"))
    return build(other_recipe(folder), out=folder / "other", profile=profile, console=Console(quiet=True))

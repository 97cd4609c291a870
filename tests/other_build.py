"""A second small build beside that of `small_build`, with other settings and other files: for what compares builds."""

import json
from functools import lru_cache
from pathlib import Path

from rich.console import Console

from tests.small_build import built

BOUND = 5.2  # of books' mean word length, at least; published: 3


def other_recipe(folder: Path) -> Path:
    """The small build's recipe with a stricter rule, no web-b, a smaller vocabulary and fewer tokens."""
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
    """The folder of the finished second build, made once below `base`."""
    from pipelines.build import build
    from pipelines.engine.executors.local import Local

    folder = built(base).parent
    place = Local(workers=1, cache=str(folder / "cache"))
    return build(other_recipe(folder), out=folder / "other", profile=place, console=Console(quiet=True))

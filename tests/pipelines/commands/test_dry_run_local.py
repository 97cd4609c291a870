"""A dry run over local files: each is counted once, and no file name can steer a terminal."""

import json
import unicodedata
from pathlib import Path
from typing import Any, cast

import pytest

from corpus.recipe import read_recipe
from pipelines.commands.dry_run import preview, show_dry_run
from tests.small_build import HOSTILE

TITLE = "mit\x1b]0;pwned\x07\x1b[2J :smile: [bold]\\"


def recipe_over(folder: Path, *paths: str, **more: object) -> Path:
    """A recipe of one source; JSON is YAML."""
    source = {"name": "web", "reader": "records", "share": 1, "license": "cc0-1.0", **more, "paths": paths}
    path = folder / "made.yaml"
    path.write_text(json.dumps({"format_version": 1, "name": "made", "sources": [source]}))
    return path


def preview_of(recipe: Path) -> dict[str, Any]:
    """Preview of the only source."""
    known: dict[str, Any] = preview(read_recipe(recipe, []), recipe.parent, recipe.parent / "cache")
    (source,) = known["sources"]
    return cast(dict[str, Any], source)


def test_a_file_that_two_patterns_match_is_counted_once(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    for name, size in (("web-a.jsonl", 10), ("web-b.jsonl", 100)):
        (tmp_path / "files" / name).write_bytes(b" " * size)
    same = f"file://{tmp_path}/files/web-b.jsonl"
    source = preview_of(recipe_over(tmp_path, "files/*.jsonl", "files/web-a.jsonl", "files/*.jsonl", same))
    assert (source["files"], source["bytes"]) == (2, 110)
    assert [(each["files"], each["bytes"]) for each in source["from"]] == [(2, 110), (1, 10), (1, 100)]


def test_a_remote_file_is_counted_once_and_its_size_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b" " * 10)
    b, c = "https://files.example/b.jsonl", "https://files.example/c.jsonl"
    source = preview_of(recipe_over(tmp_path, "a.jsonl", b, b, c))
    assert (source["files"], source["bytes"]) == (3, None)


def test_nothing_in_a_recipe_or_a_path_steers_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "\x1b[31mred\u202e"
    folder.mkdir()
    name = HOSTILE.replace("/", "")
    (folder / f"{name}.jsonl").write_text("{}\n")
    recipe = recipe_over(folder, "*.jsonl", f"{name}.jsonl".replace("[", "[[]"), license=TITLE)
    show_dry_run(recipe, None, [], as_json=False)
    output = capsys.readouterr().out
    assert not [each for each in output.replace("\n", "") if unicodedata.category(each)[0] == "C"]
    license = r'license: "mit\e]0;pwned\a\e[2J :smile: [bold]\\"'
    for text in (f"{license}\n", r"\e[31mred\u202e", "[bold]"):
        assert text in output
    show_dry_run(recipe, None, [], as_json=True)
    assert json.loads(capsys.readouterr().out)["sources"][0]["license"] == TITLE

"""The output folder of a build."""

from pathlib import Path

import pytest

from corpus.errors import InputError
from corpus.recipe import Recipe
from pipelines.build import out_folder


def recipe(out: str | None = None) -> Recipe:
    return Recipe.model_construct(name="small", out=out)


def test_as_asked_else_as_the_recipe_says_else_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert out_folder(recipe("there"), Path("here")) == tmp_path / "here"
    assert out_folder(recipe("there"), None) == tmp_path / "there"
    assert out_folder(recipe(), None) == tmp_path / "build/small"
    assert out_folder(recipe(), Path()) == tmp_path


def test_a_tilde_is_ones_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert out_folder(recipe("~/built"), None) == out_folder(recipe(), Path("~/built")) == tmp_path / "built"


@pytest.mark.parametrize("name", ["gs://b/x", "S3://b/x", "https://b/x"])
def test_what_reads_like_an_address_is_no_folder(name: str) -> None:
    with pytest.raises(InputError, match="s3://BUCKET/FOLDER"):
        out_folder(recipe(), name)


def test_a_name_that_no_folder_can_have_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    for name in ("a\0b", "a\ud800", "~\0/a", str(tmp_path / "a")):
        with pytest.raises(InputError, match="--out"):
            out_folder(recipe(name), None)
        with pytest.raises(InputError, match="--out"):
            out_folder(recipe(), Path(name))

"""The documentation matches the code: links, files, commands, settings and examples exist and are valid."""

import importlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_files_exist(page: Path) -> None:
    for name in re.findall(
        r"`((?:corpus|pipelines|trainer|recipes|tests|benchmarks|docs)/[\w/.-]+\.\w+)`", page.read_text()
    ):
        assert (ROOT / name).exists(), f"{page.name}: {name}"


@pytest.mark.parametrize("tool", ["corpus", "trainer"])
def test_readme_lists_exactly_the_existing_commands(tool: str) -> None:
    app = importlib.import_module(f"{tool}.cli").app
    commands = {command.callback.__name__.strip("_") for command in app.registered_commands if command.callback}
    named = set(re.findall(rf"^{tool} (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert named == commands


def test_make_targets_of_the_readme_exist() -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = set(re.findall(r"^make ([\w-]+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert named and named <= set(targets)


def test_every_dependency_is_explained() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    page = (ROOT / "docs" / "dependencies.md").read_text().lower()
    extras = [name for group in project["optional-dependencies"].values() for name in group]
    for requirement in [*project["dependencies"], *extras]:
        name = re.split(r"[<>=\[]", requirement)[0]
        assert name.lower() in page or name == "types-PyYAML", name


def test_design_page_lists_the_stages_of_the_code() -> None:
    named = re.findall(r"^\| (\w+) \| (?:a source|all) \|", (ROOT / "docs" / "design.md").read_text(), re.MULTILINE)
    files = {path.stem for path in (ROOT / "pipelines" / "stages").glob("*.py")} - {"__init__", "stage"}
    assert set(named) == files


RECIPES = [
    (page, text)
    for page in PAGES
    if page.name != "training.md"
    for text in re.findall(r"```yaml\n(format_version.*?)```", page.read_text(), re.DOTALL)
]


def write_example(folder: Path, text: str) -> Path:
    """Write the recipe, and an empty file for each local path or glob that it names."""
    recipe = folder / "recipe.yaml"
    recipe.write_text(text)
    settings = yaml.safe_load(text)
    named = [path for source in settings["sources"] for path in source["paths"]]
    for path in [*named, settings.get("tokenizer", {}).get("file", "tokenizer.json")]:
        if not path.startswith("pypi"):
            file = folder / path.replace("**/", "").replace("*", "x")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    return recipe


def test_recipes_page_shows_two_recipes() -> None:
    assert sum(page.name == "recipes.md" for page, _ in RECIPES) == 2


@pytest.mark.parametrize(("page", "text"), RECIPES, ids=lambda each: getattr(each, "name", ""))
def test_shown_recipes_are_valid(page: Path, text: str, tmp_path: Path) -> None:
    from corpus.recipe import read_recipe

    assert read_recipe(write_example(tmp_path, text)).sources


def test_example_commands_set_valid_settings(tmp_path: Path) -> None:
    from corpus.recipe import read_recipe

    page, text = next((page, text) for page, text in RECIPES if "name: web_and_books" in text)
    calls = re.findall(r"^corpus build web_and_books.yaml (.*)", page.read_text(), re.MULTILINE)
    recipe = write_example(tmp_path, text)
    assert calls
    for call in calls:
        assert read_recipe(recipe, [each for each in shlex.split(call) if each != "--set"]) != read_recipe(recipe)


def test_shown_and_shipped_training_files_are_valid(tmp_path: Path) -> None:
    from trainer.config import read_training

    (shown,) = re.findall(r"```yaml\n(format_version.*?)```", (ROOT / "docs" / "training.md").read_text(), re.DOTALL)
    (tmp_path / "train.yaml").write_text(shown)
    for path in [tmp_path / "train.yaml", *(ROOT / "recipes").glob("train*.yaml")]:
        assert read_training(path).curriculum


def test_every_training_setting_is_documented() -> None:
    from corpus.settings import Strict
    from trainer import config
    from trainer.model.family import families

    page = (ROOT / "docs" / "training.md").read_text()
    models = [each for each in vars(config).values() if isinstance(each, type) and issubclass(each, Strict)]
    models += families().values()
    fields = {name for model in models for name in model.model_fields} - {"format_version"}
    assert [name for name in sorted(fields) if f"`{name}`" not in page] == []


def test_every_recipe_setting_and_rule_is_documented() -> None:
    from corpus.quality.catalog import rule_sets
    from corpus.sources.base import SourceSettings, catalog

    page = (ROOT / "docs" / "recipes.md").read_text()
    shared = set(SourceSettings.model_fields)
    assert [field for field in shared if f"`{field}`" not in page] == []
    for reader, source in catalog().items():
        assert f"| `{reader}` |" in page
        own = {name for name, field in source.settings.model_fields.items() if not field.exclude} - shared
        assert [field for field in own if f"| `{reader}` | `{field}` |" not in page] == []
    assert [name for name in rule_sets() if f"| `{name}` |" not in page] == []


def test_measured_figures_name_their_result_file() -> None:
    readme = (ROOT / "README.md").read_text()
    section = readme.partition("## Measured")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ") and "| from |" not in line]
    assert rows
    for row in rows:
        (name,) = re.findall(r"benchmarks/results/[\w.-]+", row)
        assert {"command", "machine", "versions", "date"} <= set(json.loads((ROOT / name).read_text()))


def test_package_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "corpus", "--help"], capture_output=True, text=True, check=True)
    assert "explain" in done.stdout

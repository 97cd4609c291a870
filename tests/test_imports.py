"""Import rules that need no change for a new source or rule set."""

import ast
from pathlib import Path

import pytest

from corpus.quality.catalog import rule_sets
from corpus.sources.base import catalog

ROOT = Path(__file__).parents[1]


def imported_modules(path: Path) -> set[str]:
    """Return every module that a file imports, including inside functions."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return modules


@pytest.mark.parametrize("name", sorted(catalog()))
def test_sources_do_not_import_each_other(name: str) -> None:
    others = {f"corpus.sources.{other}" for other in catalog() if other != name}
    assert not imported_modules(ROOT / f"corpus/sources/{name}.py") & others


@pytest.mark.parametrize("name", sorted(rule_sets()))
def test_rule_sets_do_not_import_each_other(name: str) -> None:
    others = {f"corpus.quality.rules.{other}_rules" for other in rule_sets() if other != name}
    assert not imported_modules(ROOT / f"corpus/quality/rules/{name}_rules.py") & others


def test_init_files_are_empty() -> None:
    for path in [file for name in ("corpus", "pipelines", "trainer") for file in ROOT.glob(f"{name}/**/__init__.py")]:
        assert not path.read_text().strip(), path

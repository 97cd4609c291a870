"""Rules of the code that a reader relies on: plain docstrings, one name for one thing."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("corpus", "pipelines", "trainer")
QUESTION = re.compile(r"(What|Which|Who|Whose|Where|Whether|How|When|Why)\b")
REPEATED_FILES = {"__init__", "__main__", "cli", "errors", "settings"}  # one of each in several packages
REPEATED_CLASSES: set[str] = set()


def modules(folders: tuple[str, ...] = PACKAGES) -> Iterator[tuple[Path, ast.Module]]:
    for package in folders:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT), ast.parse(path.read_text(encoding="utf-8"))


def test_no_docstring_begins_with_a_question_word() -> None:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [
        f"{path}:{getattr(node, 'lineno', 1)}: {docstring.splitlines()[0]}"
        for path, module in modules((*PACKAGES, "tests", "benchmarks"))
        for node in ast.walk(module)
        if isinstance(node, documented) and (docstring := ast.get_docstring(node)) and QUESTION.match(docstring)
    ]
    assert not found, "\n".join(found)


def test_every_class_has_a_name_of_its_own() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path, module in modules():
        for node in ast.walk(module):
            if isinstance(node, ast.ClassDef) and node.name not in REPEATED_CLASSES:
                places[node.name].append(f"{path}:{node.lineno}")
    repeated = {name: where for name, where in places.items() if len(where) > 1}
    assert not repeated, repeated


def test_every_file_has_a_name_of_its_own() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    families = ROOT / "trainer" / "model"
    for path, _ in modules():
        in_family = (ROOT / path).parent.parent == families  # the folders of all families hold the same files
        if path.stem not in REPEATED_FILES and not in_family:
            places[path.stem].append(str(path))
    repeated = {name: where for name, where in places.items() if len(where) > 1}
    assert not repeated, repeated

"""Bad recipes are refused with every mistake in one message, and nothing is written."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from corpus.errors import InputError
from corpus.recipe import read_recipe

GOOD = """\
format_version: 1
name: good
sources:
  - name: a
    reader: records
    paths: [a.jsonl]
    share: 60%
    license: cc0-1.0
  - name: b
    reader: records
    paths: ["*.jsonl"]
    share: 0.4
    license: cc0-1.0
    rules: [gopher_quality]
    bounds: {gopher_quality.words: {at_least: 10}}
"""


def write(tmp_path: Path, text: str | bytes) -> Path:
    (tmp_path / "a.jsonl").write_text("{}\n")
    path = tmp_path / "recipe.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def error_message(tmp_path: Path, text: str | bytes) -> str:
    with pytest.raises(InputError) as error:
        read_recipe(write(tmp_path, text))
    return str(error.value)


def test_sources_are_sorted_by_name(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path, GOOD.replace("name: a", "name: z")))
    assert [source.name for source in recipe.sources] == ["b", "z"]
    assert recipe.sources[0].bounds["gopher_quality.words"].at_least == 10


def test_percentages_sum_exactly_and_glob_characters_in_folders_are_literal(tmp_path: Path) -> None:
    folder = tmp_path / "a[1] b"
    folder.mkdir()
    text = GOOD.replace("share: 60%", "share: 33.3%").replace("share: 0.4", "share: 66.7%")
    assert [source.share for source in read_recipe(write(folder, text)).sources] == [0.333, 0.667]


MANY = (
    GOOD.replace("share: 60%", "share: 70%")
    .replace("name: b", "name: a")
    .replace("[a.jsonl]", "[missing.jsonl]")
    .replace("[gopher_quality]", "[gofer_quality]")
    .replace("gopher_quality.words", "gopher_quality.wordz")
)


def test_mistakes_across_fields_are_all_reported(tmp_path: Path) -> None:
    message = error_message(tmp_path, MANY)
    for line, text in [
        (3, "shares sum to 1.1; they must sum to 1"),
        (9, "two sources are named `a`"),
        (6, "no file matches missing.jsonl"),
        (14, "gofer_quality"),
        (14, "gopher_quality.wordz"),
    ]:
        assert any(text in row and f"line {line}:" in row for row in message.splitlines()), (line, text, message)
    assert "did you mean" in message


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("reader: records", "reader: recods"), ["line 5", "recods", "records", "wikipedia"]),
        (("share: 60%", "share: lots"), ["line 7", "lots"]),
        (("name: good", "name: ../../etc"), ["line 2", "etc"]),
        (("name: good", "name: good\nminhash: {}"), ["line 3", "`minhash` is not a setting"]),
        (("name: good", "name: good\ndedup: {near: {bands: 3}}"), ["line 3", "bands x rows"]),
        (("license: cc0-1.0", "licence: cc0-1.0"), ["did you mean `license`", "`sources.0.license` is required"]),
        (("license: cc0-1.0", "license: ' '"), ["line 8", "at least 1 character"]),
        (("name: good", "name: good\nholdout: {share: 100%}"), ["line 3", "less than 1"]),
        (("format_version: 1", "format_version: 2"), ["line 1"]),
        (("    reader: records\n", ""), ["line 4", "`sources.0.reader` is required"]),
        (("paths: [a.jsonl]", "paths: ['~nosuchuser/x']"), ["line 6", "no file matches"]),
        (("license: cc0-1.0", "license: cc0-1.0\n    max_record_bytes: 0"), ["line 9", "greater than or equal to 1"]),
        (("license: cc0-1.0", "license: cc0-1.0\n    max_record_bytes: -1"), ["line 9", "-1"]),
        (("license: cc0-1.0", "license: cc0-1.0\n    language: {keep: []}"), ["line 9", "at least 1 item"]),
        (("license: cc0-1.0", "license: cc0-1.0\n    language: {keep: [english]}"), ["line 9", "english"]),
        (
            ("license: cc0-1.0", "license: cc0-1.0\n    identify_language: false\n    language: {keep: [en]}"),
            ["line 10", "all would be dropped"],
        ),
        (("name: good", "name: good\ndedup: {exact: false}"), ["line 3", "held-out"]),
        (("name: good", "name: good\nsample: 0"), ["line 3", "the sample is empty", "a number of files"]),
        (("name: good", "name: good\nsample: -5"), ["line 3", "between 0 and 1", "a number of files"]),
        (("name: good", "name: good\nsample: 0%"), ["line 3", "the sample is empty"]),
        (("paths: [a.jsonl]", "paths: a.jsonl"), ["line 6", "array"]),
        (("paths: [a.jsonl]", "paths: ['pypi:numpy/**']"), ["line 6", "pypi"]),
        (("name: a\n", "name: !!python/object/apply:os.system ['touch pwned']\n"), ["line 4"]),
        (
            ("name: good", "name: good\nmix: {tokens: 6M, chunk_tokens: 2048}"),
            ["line 3: `mix.chunk_tokens` is no longer a setting: the trainer chooses the size of the chunks"],
        ),
    ],
)  # fmt: skip
def test_single_mistakes_are_reported(tmp_path: Path, change: tuple[str, str], expected: list[str]) -> None:
    message = error_message(tmp_path, GOOD.replace(*change, 1))
    for text in expected:
        assert text in message


@pytest.mark.parametrize("text", ["", b"\x00\xff\xfe\x80", "- 1\n", MANY, GOOD.replace("share: 60%", "share: 70%")])
def test_command_exits_2_and_writes_nothing(tmp_path: Path, text: str | bytes) -> None:
    path = write(tmp_path, text)
    before = sorted(tmp_path.rglob("*"))
    for command in ("build", "plan"):
        done = subprocess.run(
            [sys.executable, "-m", "corpus", command, str(path), "--out", str(tmp_path / "out")],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr and str(path) in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_help_loads_no_heavy_library() -> None:
    heavy = ["torch", "pyarrow", "numba", "datatrove", "fasttext", "tokenizers", "resiliparse", "fastwarc", "jinja2"]
    code = (
        "import sys, json\nfrom typer.testing import CliRunner\nfrom corpus.cli import app\n"
        "result = CliRunner().invoke(app, ['build', '--help'])\nassert result.exit_code == 0\n"
        f"print(json.dumps([name for name in {heavy} if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_recipes_of_the_repository_are_valid() -> None:
    folder = Path(__file__).parents[2] / "recipes"
    recipes = sorted(path for path in folder.glob("*.yaml") if not path.name.startswith("train"))
    assert {path.stem for path in recipes} >= {"quickstart", "web_books_code"}
    for path in recipes:
        read_recipe(path)

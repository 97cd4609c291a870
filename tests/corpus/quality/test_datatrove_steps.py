"""Steps allowed in a recipe. Mistakes are reported when it is read, or before the build starts."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from corpus.errors import InputError
from corpus.quality.datatrove_chain import try_out
from corpus.quality.datatrove_steps import Step, load, problems, step_versions
from corpus.recipe import read_recipe

FILTERS, FORMATTERS = "datatrove.pipeline.filters.", "datatrove.pipeline.formatters."


def step(use: str, **arguments: object) -> Step:
    return Step.model_validate({"use": use, "with": arguments})


@pytest.mark.parametrize(
    ("use", "arguments", "expected"),
    [
        ("os.system", {}, "standard library"),
        ("../evil.py", {}, "not an import path"),
        ("C4QualityFilter", {}, "not an import path"),
        ("own_steps.not_a_class", {}, "not a subclass"),
        ("datatrove.data.Document", {}, "not a subclass"),
        ("datatrove.pipeline.dedup.MinhashDedupFilter", {}, "not a subclass"),
        ("own_steps.Stream", {}, "overrides `run`"),
        (FILTERS + "C4QualtyFilter", {}, "did you mean `C4QualityFilter`?"),
        ("no_such_module.Filter", {}, "No module named 'no_such_module'; install it"),
        (FILTERS + "base_filter.BaseFilter", {}, "abstract"),
        (FILTERS + "RegexFilter", {}, "`regex_exp` is required"),
        (FILTERS + "RegexFilter", {"regex": "x"}, "has no argument `regex`; did you mean `regex_exp`?"),
        (FILTERS + "C4QualityFilter", {"exclusion_writer": "x"}, "cannot be set"),
        (FILTERS + "LambdaFilter", {}, "a function, which YAML cannot hold"),
        (FILTERS + "LambdaFilter", {"filter_function": "print"}, "a function, which YAML cannot hold"),
        (FILTERS + "SamplerFilter", {"rate": 0.5}, "give a `seed`"),
        (FILTERS + "GopherQualityFilter", {"language": "klingon"}, "klingon"),
    ],
)
def test_mistakes_in_a_step_are_named(use: str, arguments: dict[str, object], expected: str) -> None:
    lines = problems(step(use, **arguments))
    assert any(expected in line for line in lines), lines


def test_a_missing_library_is_reported_in_the_words_of_datatrove(monkeypatch: pytest.MonkeyPatch) -> None:
    from datatrove.pipeline.formatters import FTFYFormatter

    monkeypatch.setattr(FTFYFormatter, "_requires_dependencies", ["no_such_library"])
    (problem,) = problems(step(FORMATTERS + "FTFYFormatter"))
    assert "Please install `no_such_library` to use FTFYFormatter (`pip install no_such_library`)" in problem


@pytest.mark.parametrize(
    ("use", "arguments", "expected"),
    [
        (FILTERS + "RegexFilter", {"regex_exp": "("}, "cannot be made: error: missing )"),
        (FILTERS + "GopherRepetitionFilter", {"dup_line_frac": "lots"}, "type_error, on a plain document"),
        ("own_steps.Spoils", {}, "type_error, on a plain document: the text became NoneType"),
        ("own_steps.Unseen", {}, "`own_steps.Unseen` gives another verdict when the same document comes again"),
        ("own_steps.Draws", {}, "`own_steps.Draws` draws at random but takes no `seed`"),
    ],
)
def test_steps_that_fail_on_documents_are_refused(use: str, arguments: dict[str, object], expected: str) -> None:
    assert problems(step(use, **arguments)) == []
    with pytest.raises(InputError) as error:
        try_out("web", [step(use, **arguments)])
    assert expected in str(error.value) and str(error.value).startswith("web: steps: ")


def test_lists_become_tuples_if_the_class_takes_tuples() -> None:
    (loaded,) = load([step("own_steps.Takes", pair=["a"], many=["b"], either=["c", "d"])])
    assert loaded.kind(**loaded.arguments).kinds == ["tuple", "list", "list"]


def test_versions_and_files_are_in_the_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import version

    theirs = step_versions(load([step(FILTERS + "SamplerFilter", seed=1)]))
    assert theirs["datatrove"] == version("datatrove") and theirs["numpy"] == version("numpy")
    monkeypatch.syspath_prepend(tmp_path)
    own = shutil.copy(Path(__file__).with_name("own_steps.py"), tmp_path / "steps_that_change.py")
    before = step_versions(load([step("steps_that_change.Loud")]))
    own.write_text(own.read_text().replace("upper", "lower"))
    after = step_versions(load([step("steps_that_change.Loud")]))
    assert {key for key in before if before[key] != after[key]} == {"file of steps_that_change"}
    model = tmp_path / "model.bin"
    model.write_text("1")
    named = [step(FILTERS + "RegexFilter", regex_exp=str(model))]  # any argument that is a file
    first = step_versions(load(named))
    model.write_text("2")
    assert step_versions(load(named))[f"file of {model}"] != first[f"file of {model}"]


def test_files_at_any_depth_are_in_the_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    names = ["listed", "mapped", "home", "key"]
    for name in names:
        (tmp_path / name).write_text("1")
    written = ["~/home", "~nobody-at-all/x", "/" + "x" * 300, "/\0", {"a": {str(tmp_path / "key"): 1}}]
    steps = load([step("own_steps.Takes", pair=[str(tmp_path / "listed")], many=[{"x": [str(tmp_path / "mapped")]}],
                       either=written)])  # fmt: skip
    for name in names:
        before = step_versions(steps)
        (tmp_path / name).write_text("2")
        changed = {key for key, value in step_versions(steps).items() if before[key] != value}
        assert len(changed) == 1 and changed.pop().endswith(f"/{name}")


def test_a_file_by_a_relative_path_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = step("own_steps.Takes", pair=[], many=[{"x": "words.txt"}], either=[])
    assert problems(given) == []
    (tmp_path / "words.txt").write_text("1")
    (problem,) = problems(given)
    assert "`many` names the file 'words.txt'" in problem


RECIPE = """\
format_version: 1
name: steps
sources:
  - name: a
    reader: records
    paths: [a.jsonl]
    share: 100%
    license: cc0-1.0
    identify_language: false
    steps:
      - datatrove.pipeline.filters.C4QualityFilter
      - use: datatrove.pipeline.formatters.PIIFormatter
        with: {remove_ips: false}
"""


def write(folder: Path, text: str) -> Path:
    (folder / "a.jsonl").write_text("{}\n")
    path = folder / "recipe.yaml"
    path.write_text(text)
    return path


def test_a_recipe_lists_steps_with_and_without_arguments(tmp_path: Path) -> None:
    pytest.importorskip("spacy")
    (source,) = read_recipe(write(tmp_path, RECIPE)).sources
    assert [step.use.rpartition(".")[2] for step in source.steps] == ["C4QualityFilter", "PIIFormatter"]
    written = source.model_dump(mode="json")["steps"]
    assert written[1] == {"use": "datatrove.pipeline.formatters.PIIFormatter", "with": {"remove_ips": False}}
    assert tuple(map(Step.model_validate, written)) == source.steps


def test_mistakes_are_reported_with_their_lines(tmp_path: Path) -> None:
    text = RECIPE.replace("remove_ips", "remove_ipps").replace("C4Quality", "C4Qualty")
    with pytest.raises(InputError) as error:
        read_recipe(write(tmp_path, text))
    rows = str(error.value).splitlines()
    assert any("line 11" in row and "did you mean `C4QualityFilter`" in row for row in rows), rows
    assert any("line 12" in row and "did you mean `remove_ips`" in row for row in rows), rows
    with pytest.raises(InputError, match=r"line 13.*did you mean `with`"):
        read_recipe(write(tmp_path, RECIPE.replace("with:", "wiht:")))


@pytest.mark.parametrize("steps", [True, False])
def test_a_recipe_without_steps_loads_nothing_of_datatrove(tmp_path: Path, steps: bool) -> None:
    path = write(
        tmp_path, RECIPE.replace("C4QualityFilter", "RegexFilter") if steps else RECIPE.partition("    steps:")[0]
    )
    path.write_text(path.read_text().replace("filters.RegexFilter", "filters.C4ParagraphFilter"))
    code = (
        "import sys\nfrom pathlib import Path\nfrom corpus.recipe import read_recipe\n"
        f"read_recipe(Path({str(path)!r}))\nprint('datatrove' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(steps)

"""A repeated or changed build runs only the jobs whose inputs or settings changed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.builds import finish, products, start, write_recipe


def corpus(*arguments: str, code: int = 0) -> str:
    """Run a `corpus` command, assert its exit code, and return its output."""
    done = subprocess.run([sys.executable, "-m", "corpus", *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def built(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("rebuild")
    recipe = write_recipe(folder, data)
    finish(start(recipe, folder / "out"))
    return recipe, folder / "out"


def modification_times(out: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and path.name != ".lock"}


def test_second_build_changes_no_file(built: tuple[Path, Path]) -> None:
    recipe, out = built
    before = modification_times(out)
    assert "up to date" in corpus("build", str(recipe), "--out", str(out))
    assert modification_times(out) == before


def test_changed_threshold_runs_the_planned_downstream_jobs_only(built: tuple[Path, Path]) -> None:
    recipe, out = built
    change = ["--set", 'sources.records.bounds={"gopher_quality.words": {"at_least": 100}}']
    output = corpus("plan", str(recipe), "--out", str(out), *change)
    to_do = {line.split()[0] for line in output.splitlines() if line.rstrip().endswith(" to do")}
    assert to_do == {
        "clean.records", "minhash.records", "dedup", "text.web", "text.records", "tokenizer",
        "tokenize.web", "tokenize.records", "mix.web", "mix.records", "manifest", "report",
    }  # fmt: skip
    before = {path.name for path in out.glob("jobs/*")}
    corpus("build", str(recipe), "--out", str(out), *change)
    new = {path.name.rpartition("-")[0] for path in out.glob("jobs/*") if path.name not in before}
    assert new == to_do
    assert f"{len(to_do)} to do" in output
    first = products(out)
    assert "up to date" in corpus("build", str(recipe), "--out", str(out), *change)
    corpus("build", str(recipe), "--out", str(out))  # back to the first settings: nothing is lost
    assert set(products(out)) == set(first)


@pytest.mark.parametrize("change", ["sources.web.max_failed=60%", "name=other"])
def test_setting_that_affects_no_document_rebuilds_only_manifest_and_report(
    built: tuple[Path, Path], change: str
) -> None:
    recipe, out = built
    output = corpus("plan", str(recipe), "--out", str(out), "--set", change)
    assert "2 to do" in output, "only the manifest and the report contain the recipe"


def test_second_build_in_the_same_folder_is_refused(built: tuple[Path, Path]) -> None:
    import fcntl

    recipe, out = built
    with (out / ".lock").open("w") as handle:
        fcntl.lockf(handle, fcntl.LOCK_EX)
        assert "another build is at work here" in corpus("build", str(recipe), "--out", str(out), code=1)


def recipe_of_lines(folder: Path, data: Path, lines: list[str]) -> Path:
    """Write a file of records, and a recipe over it alone."""
    (folder / "own.jsonl").write_text("\n".join(lines) + "\n")
    source = {
        "name": "own",
        "reader": "records",
        "paths": ["own.jsonl"],
        "share": 1,
        "license": "cc0-1.0",
        "identify_language": False,
    }
    return write_recipe(folder, data, sources=[source], mix={})


def test_changed_input_file_is_built_again(data: Path, tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"document number {n} of a small file"}) for n in range(50)]
    recipe = recipe_of_lines(tmp_path, data, lines)
    corpus("build", str(recipe), "--out", str(tmp_path / "out"))
    (tmp_path / "own.jsonl").write_text("\n".join(lines[:-1]) + "\n")
    corpus("build", str(recipe), "--out", str(tmp_path / "out"))
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert sum(manifest["sources"][0][split]["documents"] for split in ("train", "holdout")) == 49


def test_too_many_unreadable_records_stop_the_build_and_are_listed(data: Path, tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"document number {n} of a small file"}) for n in range(50)]
    lines[10], lines[20] = "{broken", "{broken too"
    recipe = recipe_of_lines(tmp_path, data, lines)
    output = corpus("build", str(recipe), "--out", str(tmp_path / "out"), code=1)
    offset = sum(len(line) + 1 for line in lines[:10])
    assert "2 of 50 records could not be read" in output
    assert f"own.jsonl@{offset}" in output and "max_failed" in output
    assert "2 of 50" in corpus("build", str(recipe), "--out", str(tmp_path / "out"), code=1), (
        "the second run must report it again"
    )
    corpus("build", str(recipe), "--out", str(tmp_path / "out"), "--set", "sources.own.max_failed=5%")


def test_missed_shares_and_token_counts_are_warned_about(data: Path, tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text(
        "".join(json.dumps({"text": f"document {n} of many"}) + "\n" for n in range(50))
    )
    common = {"reader": "records", "paths": ["own.jsonl"], "license": "cc0-1.0", "identify_language": False}
    sources = [
        {"name": "right", **common, "share": 0.5},
        {"name": "wrong", **common, "share": 0.5, "text_field": "txet"},
    ]
    recipe = write_recipe(tmp_path, data, sources=sources, mix={"tokens": "1M"})
    output = corpus("build", str(recipe), "--out", str(tmp_path / "out"))
    assert "warning: no document of wrong is kept: 50 skipped (" in output
    assert "warning: no training tokens from wrong" in output and "of the 1,000,000 requested tokens" in output
    output = corpus("build", str(recipe), "--out", str(tmp_path / "out"), "--set", "mix={}")
    assert "so shares do not hold: set mix.tokens" in output
    for source in sources:
        source["text_field"] = "txet"
    recipe = write_recipe(tmp_path, data, name="none", sources=sources)
    output = corpus("build", str(recipe), "--out", str(tmp_path / "none"), code=1)
    assert "no document is left of any source:\n" in output and "wrong: 50 skipped (no_text)" in output

"""What runs again, and what does not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.builds import finish, products, start, write_recipe


def corpus(*words: str, code: int = 0) -> str:
    """The output of a command that must end with `code`."""
    done = subprocess.run([sys.executable, "-m", "corpus", *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def built(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("rebuild")
    recipe = write_recipe(folder, data)
    finish(start(recipe, folder / "out"))
    return recipe, folder / "out"


def stamps(out: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and path.name != ".lock"}


def test_a_second_build_does_nothing(built: tuple[Path, Path]) -> None:
    recipe, out = built
    before = stamps(out)
    assert "up to date" in corpus("build", str(recipe), "--out", str(out))
    assert stamps(out) == before


def test_a_changed_threshold_runs_just_the_jobs_behind_it_as_the_plan_said(built: tuple[Path, Path]) -> None:
    recipe, out = built
    change = ["--set", 'sources.records.bounds={"gopher_quality.words": {"at_least": 100}}']
    said = corpus("plan", str(recipe), "--out", str(out), *change)
    to_do = {line.split()[1] for line in said.splitlines() if line.startswith("│") and "to do" in line}
    assert to_do == {
        "clean.records", "minhash.records", "dedup", "text.web", "text.records", "tokenizer",
        "tokenize.web", "tokenize.records", "mix.web", "mix.records", "manifest", "report",
    }  # fmt: skip
    before = {path.name for path in out.glob("jobs/*")}
    corpus("build", str(recipe), "--out", str(out), *change)
    new = {path.name.rpartition("-")[0] for path in out.glob("jobs/*") if path.name not in before}
    assert new == to_do
    assert f"{len(to_do)} to do" in said
    first = products(out)
    assert "up to date" in corpus("build", str(recipe), "--out", str(out), *change)
    corpus("build", str(recipe), "--out", str(out))  # and back: nothing is lost
    assert set(products(out)) == set(first)


@pytest.mark.parametrize("change", ["sources.web.max_failed=60%", "name=other"])
def test_what_decides_no_document_repeats_no_work(built: tuple[Path, Path], change: str) -> None:
    recipe, out = built
    said = corpus("plan", str(recipe), "--out", str(out), "--set", change)
    assert "2 to do" in said, "the manifest and the report repeat the recipe, and nothing else is made anew"


def test_two_builds_at_once_are_refused(built: tuple[Path, Path]) -> None:
    import fcntl

    recipe, out = built
    with (out / ".lock").open("w") as handle:
        fcntl.lockf(handle, fcntl.LOCK_EX)
        assert "another build is at work here" in corpus("build", str(recipe), "--out", str(out), code=1)


def test_a_file_that_changed_is_planned_anew(data: Path, tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"document number {n} of a small file"}) for n in range(50)]
    (tmp_path / "own.jsonl").write_text("\n".join(lines) + "\n")
    source = {
        "name": "own",
        "reader": "records",
        "paths": ["own.jsonl"],
        "share": 1,
        "license": "cc0-1.0",
        "identify_language": False,
    }
    recipe = write_recipe(tmp_path, data, sources=[source], mix={})
    corpus("build", str(recipe), "--out", str(tmp_path / "out"))
    (tmp_path / "own.jsonl").write_text("\n".join(lines[:-1]) + "\n")
    corpus("build", str(recipe), "--out", str(tmp_path / "out"))
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert sum(manifest["sources"][0][split]["documents"] for split in ("train", "holdout")) == 49


def test_too_many_unreadable_records_stop_the_build_and_are_named(data: Path, tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"document number {n} of a small file"}) for n in range(50)]
    lines[10], lines[20] = "{broken", "{broken too"
    (tmp_path / "own.jsonl").write_text("\n".join(lines) + "\n")
    source = {
        "name": "own",
        "reader": "records",
        "paths": ["own.jsonl"],
        "share": 1,
        "license": "cc0-1.0",
        "identify_language": False,
    }
    recipe = write_recipe(tmp_path, data, sources=[source], mix={})
    said = corpus("build", str(recipe), "--out", str(tmp_path / "out"), code=1)
    offset = sum(len(line) + 1 for line in lines[:10])
    assert "2 of 50 records could not be read" in said
    assert f"own.jsonl@{offset}" in said and "max_failed" in said
    assert "2 of 50" in corpus("build", str(recipe), "--out", str(tmp_path / "out"), code=1), (
        "and again the second time"
    )
    corpus("build", str(recipe), "--out", str(tmp_path / "out"), "--set", "sources.own.max_failed=5%")


def test_what_was_not_got_as_asked_is_told(data: Path, tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text(
        "".join(json.dumps({"text": f"document {n} of many"}) + "\n" for n in range(50))
    )
    common = {"reader": "records", "paths": ["own.jsonl"], "license": "cc0-1.0", "identify_language": False}
    sources = [
        {"name": "right", **common, "share": 0.5},
        {"name": "wrong", **common, "share": 0.5, "text_field": "txet"},
    ]
    recipe = write_recipe(tmp_path, data, sources=sources, mix={"tokens": "1M"})
    said = corpus("build", str(recipe), "--out", str(tmp_path / "out"))
    assert "warning: nothing is kept of wrong: 50 skipped (" in said and "warning: nothing is left of wrong" in said
    assert "of 1,000,000 tokens asked for" in said
    said = corpus("build", str(recipe), "--out", str(tmp_path / "out"), "--set", "mix={}")
    assert "set mix.tokens for the shares to hold" in said
    for source in sources:
        source["text_field"] = "txet"
    recipe = write_recipe(tmp_path, data, name="none", sources=sources)
    assert "no text to train a tokenizer on" in corpus("build", str(recipe), "--out", str(tmp_path / "none"), code=1)

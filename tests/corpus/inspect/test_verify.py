"""`corpus verify` on a small real build: sound, with bytes changed, with files gone, with counts that lie."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from corpus.inspect.verify import verify_build
from corpus.store.products import canonical
from tests.resealed import error_lines, verify_error
from tests.small_build import built, copy_build


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def copy(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy in which a test puts right again what it changed."""
    return copy_build(build, tmp_path_factory.mktemp("verify") / "out")


@pytest.fixture
def own(build: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return copy_build(build, tmp_path / "out")


def files(build: Path) -> list[Path]:
    """All that `verify` answers for, as seen from the build's folder."""
    top = ["build.json", "manifest.json", "recipe.json", "report.html", "summary.json"]
    found = [path.relative_to(build) for path in sorted(build.glob("jobs/*/**/*")) if path.is_file()]
    return [*map(Path, top), *found]


def kind(path: Path) -> str:
    """Files of one kind differ in source, task and fingerprint only."""
    return re.sub(r"-[0-9a-f]{12}(?=/)|\d+|books|web|train|holdout", "", str(path))


def said_of(build: Path, path: Path, place: int, byte: int) -> str:
    """Return the output of verify while one byte of a file is changed."""
    good = (build / path).read_bytes()
    try:
        (build / path).write_bytes(good[:place] + bytes([byte]) + good[place + 1 :])
        return verify_error(build)
    finally:
        (build / path).write_bytes(good)


def test_a_sound_build(build: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verify_build(build)
    said = capsys.readouterr()
    manifest = json.loads((build / "manifest.json").read_text())
    parts = [source[split] for source in manifest["sources"] for split in ("train", "holdout")]
    assert said.out.count("\n") == 1 and said.err == ""
    assert f"{sum(part['documents'] for part in parts):,} documents" in said.out
    assert f"{sum(part['tokens'] for part in parts):,} tokens" in said.out
    assert "150 records" in said.out


def test_any_changed_byte_is_named(copy: Path) -> None:
    """Every file of the build, at its ends and its middle; those of a kind that was seen, at one place."""
    seen: set[str] = set()
    for path in files(copy):
        good = (copy / path).read_bytes()
        places = {0, len(good) // 3, len(good) // 2, len(good) - 1} if kind(path) not in seen else {len(good) // 2}
        seen.add(kind(path))
        for place in sorted(places):
            named = error_lines(said_of(copy, path, place, good[place] ^ 1))
            assert len(named) == 1 and str(path) in re.split(r":?\s", named[0]), (path, place, named)
    verify_build(copy)


def test_any_missing_file_is_named(copy: Path) -> None:
    for path in files(copy):
        (copy / path).rename(copy / "away")
        try:
            named = error_lines(verify_error(copy))
        finally:
            (copy / "away").rename(copy / path)
        assert any(line.startswith(f"{path}: ") and "missing" in line for line in named), (path, named)
    verify_build(copy)


def test_what_to_do_is_told(own: Path) -> None:
    next(own.glob("jobs/mix.web-*/*.arrow")).unlink()
    assert "run `corpus build` again to make them anew." in verify_error(own)


def test_all_of_the_files_that_describe_the_build_counts(copy: Path) -> None:
    """No hash stands for these, so each of their bytes must be held by something else."""
    for path in (Path("build.json"), next(copy.glob("jobs/mix.web-*/job.json")).relative_to(copy)):
        good = (copy / path).read_bytes()
        for place in range(0, len(good), 29):
            assert error_lines(said_of(copy, path, place, ord("7") if good[place] != ord("7") else ord("8")))


def test_all_bad_files_are_named_at_once(own: Path) -> None:
    bad = [next(own.glob(f"jobs/{job}-*/{stem}-00000.parquet")) for job, stem in
           (("clean.web", "kept"), ("clean.books", "records"), ("text.web", "text"))]  # fmt: skip
    for path in bad:
        path.write_bytes(path.read_bytes()[:-1])
    (own / "report.html").unlink()
    named = [line.partition(":")[0] for line in error_lines(verify_error(own))]
    assert named == [*sorted(str(path.relative_to(own)) for path in bad), "report.html"]


def test_the_command_exits_1_and_says_so_on_stderr(own: Path) -> None:
    shard = next(own.glob("jobs/mix.web-*/*.arrow"))
    shard.unlink()
    done = subprocess.run([sys.executable, "-m", "corpus", "verify", str(own)], capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""
    assert f"{shard.relative_to(own)}: missing" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("job", "said"), [("dedup", "its input dedup is not the one in build.json"), ("report", "no job report")]
)
def test_a_job_that_build_json_leaves_out(own: Path, job: str, said: str) -> None:
    index = json.loads((own / "build.json").read_text())
    index["jobs"] = [each for each in index["jobs"] if not each.startswith(f"jobs/{job}-")]
    (own / "build.json").write_text(canonical(index))
    assert said in verify_error(own)


def test_what_is_no_build(tmp_path: Path) -> None:
    assert "build.json: missing" in verify_error(tmp_path)
    (tmp_path / "build.json").write_text(canonical({"format_version": 1, "jobs": ["jobs/../../etc-0123456789ab"]}))
    assert error_lines(verify_error(tmp_path))[0].startswith("build.json: damaged: jobs.0: ")

"""`corpus prune` removes exactly the folders that no plan needs; nothing during a build, and nothing behind a link."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from corpus.cli import app
from corpus.errors import CorpusError, InputError
from corpus.inspect.verify import verify_build
from pipelines.build import build_lock
from pipelines.commands.prune import needed, show_prune, unused_folders
from pipelines.engine.executors.local import Local
from tests.small_build import built

ROOT = Path(__file__).parents[3]
OLD = "clean.web-0123456789ab"


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.getbasetemp())


@pytest.fixture
def own(build: Path, tmp_path: Path) -> Path:
    """A copy of the build, with a job of an older plan, an unfinished one, and their progress files."""
    out = tmp_path / "out"
    shutil.copytree(build, out)
    for name in (OLD, "dedup-ffffffffffff"):
        (out / "jobs" / name / "tasks").mkdir(parents=True)
        (out / "jobs" / name / "kept-00000.parquet").write_bytes(b"x" * 1000)
        progress = out / "logs" / "progress" / name
        progress.mkdir(parents=True)
        (progress / "00000").write_text("1 2")
    (out / "jobs" / OLD / "job.json").write_text("{}")
    return out


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_only_unused_folders_are_removed(own: Path, build: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_prune(str(own), [], None, [], True)
    output = capsys.readouterr().out
    assert f"1 kB  jobs/{OLD}" in output and "Removed 2 folders, 2 kB" in output
    assert files(own) == files(build)
    verify_build(own)
    show_prune(str(own), [], None, [], True)
    assert "Nothing to remove" in capsys.readouterr().out


def test_files_of_killed_tasks_are_removed(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = next(own.glob("jobs/clean.books-*"))
    (job / "tmp" / "00000.123").mkdir(parents=True)
    (job / "tmp" / "00000.123" / "half").write_bytes(b"x" * 500)
    show_prune(str(own), [], None, [], True)
    assert "left by a killed task" in capsys.readouterr().out
    assert not (job / "tmp").exists() and (job / "job.json").is_file()


def test_jobs_of_a_recipe_are_kept(own: Path, build: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = build.parent / "tiny.yaml"
    all_jobs = set(json.loads((own / "build.json").read_text())["jobs"])
    (own / "build.json").write_text(json.dumps({"format_version": 1, "jobs": []}))
    place = Local(cache=str(build.parent / "cache"))
    assert {f"jobs/{name}" for name in needed(own, [recipe], place)} == all_jobs
    assert {each.path.name for each in unused_folders(own, needed(own, [recipe], place))} == {OLD, "dedup-ffffffffffff"}
    changed = needed(own, [recipe], place, ["holdout.share=20%"])
    assert {name.partition("-")[0] for name in changed - needed(own, [recipe], place)} >= {"dedup", "manifest"}
    assert {name for name in changed if name.startswith("clean.")} <= {each.removeprefix("jobs/") for each in all_jobs}


def test_a_recipe_with_unknown_jobs_is_refused(own: Path, build: Path, tmp_path: Path) -> None:
    recipe = json.loads((build.parent / "tiny.yaml").read_text())
    recipe["sources"][0]["paths"] = ["new.jsonl"]
    recipe["sources"][1]["paths"] = [str(build.parent / "files" / "web-*")]
    (tmp_path / "new.jsonl").write_text('{"id": "1", "text": "a"}\n')
    (tmp_path / "new.yaml").write_text(json.dumps(recipe))
    before = files(own)
    with pytest.raises(InputError, match="are unknown until its sources are fetched"):
        show_prune(str(own), [tmp_path / "new.yaml"], None, [], True)
    assert files(own) == before


def test_without_yes_and_without_a_terminal_folders_are_only_listed(own: Path) -> None:
    before = files(own)
    done = CliRunner().invoke(app, ["prune", str(own)], catch_exceptions=False)
    assert done.exit_code == 0 and OLD in done.output and "--yes" in done.output
    assert files(own) == before


@pytest.mark.parametrize(("answer", "gone"), [(True, True), (False, False)])
def test_a_terminal_is_asked(own: Path, monkeypatch: pytest.MonkeyPatch, answer: bool, gone: bool) -> None:
    asked = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda text: asked.append(text) or answer)
    show_prune(str(own), [], None, [], False)
    assert asked and (own / "jobs" / OLD).exists() is not gone


def test_a_running_build_is_an_error(own: Path) -> None:
    before = files(own)
    program = (
        "import sys; from pathlib import Path; from pipelines.build import build_lock\n"
        "with build_lock(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(own)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(CorpusError, match="at work"):
            show_prune(str(own), [], None, [], True)
        holder.communicate("")
    assert files(own) == before
    with build_lock(own):
        pass


def test_links_are_not_followed(own: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "deep").mkdir(parents=True)
    (elsewhere / "deep" / "precious").write_text("all of it")
    (own / "jobs" / "text.web-aaaaaaaaaaaa").symlink_to(elsewhere)
    (own / "jobs" / OLD / "inside").symlink_to(elsewhere)
    shutil.rmtree(own / "logs" / "progress")
    (elsewhere / OLD).mkdir()
    (own / "logs" / "progress").symlink_to(elsewhere)
    job = next(path for path in own.glob("jobs/text.web-*") if not path.is_symlink())
    (job / "tmp").symlink_to(elsewhere)
    show_prune(str(own), [], None, [], True)
    assert not (own / "jobs" / OLD).exists()
    assert (elsewhere / "deep" / "precious").read_text() == "all of it" and (elsewhere / OLD).is_dir()
    assert (own / "jobs" / "text.web-aaaaaaaaaaaa").is_symlink() and (job / "tmp").is_symlink()


def test_a_jobs_folder_that_is_a_link_is_left_alone(own: Path, tmp_path: Path) -> None:
    (own / "jobs").rename(tmp_path / "moved")
    (own / "jobs").symlink_to(tmp_path / "moved")
    before = files(tmp_path / "moved")
    show_prune(str(own), [], None, [], True)
    assert files(tmp_path / "moved") == before


def test_the_output_folder_may_be_a_link(own: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(own)
    show_prune(str(tmp_path / "link"), [], None, [], True)
    assert not (own / "jobs" / OLD).exists()


def test_folders_with_other_names_are_kept(own: Path) -> None:
    unknown = ("notes", "clean.web-0123456789AB", "clean.web-0123456789abc", ".hidden-0123456789ab", "a b-0123456789ab")
    for name in unknown:
        (own / "jobs" / name).mkdir()
    (own / "jobs" / "clean.web-00000000000f").write_text("a file")
    show_prune(str(own), [], None, [], True)
    left = {path.name for path in (own / "jobs").iterdir()}
    assert {*unknown, "clean.web-00000000000f"} <= left


def test_a_folder_without_a_finished_build_needs_a_recipe(own: Path, build: Path) -> None:
    (own / "build.json").unlink()
    with pytest.raises(InputError, match="--recipe"):
        show_prune(str(own), [], None, [], True)
    show_prune(str(own), [build.parent / "tiny.yaml"], None, [], True)
    assert not (own / "jobs" / OLD).exists() and list(own.glob("jobs/clean.web-*"))


def test_a_damaged_build_file_removes_nothing(own: Path) -> None:
    before = files(own)
    (own / "build.json").write_text('{"format_version": 1, "jobs": ["../../etc"]}')
    with pytest.raises(CorpusError, match="damaged"):
        show_prune(str(own), [], None, [], True)
    assert {**files(own), "build.json": b""} == {**before, "build.json": b""}


def test_a_bucket_is_refused() -> None:
    with pytest.raises(InputError, match="local folders only"):
        show_prune("s3://bucket/folder", [], None, [], True)

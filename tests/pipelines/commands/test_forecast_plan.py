"""Forecasts of small builds, compared with the builds."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from corpus.cli import app
from corpus.errors import InputError
from corpus.inspect.report.summary import read_summary
from pipelines.commands.show_plan import show_plan
from tests.small_build import built, prose, write_recipe, write_sources


def place_file(folder: Path) -> str:
    """A profile with a cache of its own."""
    path = folder / "place.yaml"
    path.write_text(json.dumps({"executor": "local", "workers": 1, "cache": str(folder / "cache")}))
    return str(path)


def planned(recipe: Path, out: Path, *more: str) -> dict[str, Any]:
    """Output of `corpus plan --json`."""
    done = CliRunner().invoke(
        app, ["plan", str(recipe), "--out", str(out), "--on", place_file(recipe.parent), "--json", *more],
        catch_exceptions=False,
    )  # fmt: skip
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def files(folder: Path) -> dict[str, int]:
    """Files in a folder, with their times of change."""
    return {str(path): path.stat().st_mtime_ns for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe over two small sources."""
    folder = tmp_path_factory.mktemp("forecast")
    write_sources(folder / "files")
    return write_recipe(folder)


def test_a_forecast_is_near_the_build(small: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    out = small.parent / "out"
    forecast = planned(small, out, "--forecast", "5%")["forecast"]
    assert not out.exists(), "the output folder is not touched"
    summary = read_summary(built(tmp_path_factory.getbasetemp()))
    for real in summary.sources:
        source, train = forecast["sources"][real.name], real.train
        assert source["records"] == real.records_read
        assert source["sampled"] > 50, "more than 5 %, because sources are small"
        assert source["sampled_bytes_share"] == 1 and source["merged"] == real.count("text", "merged")
        for figure, value in (("documents", train.documents), ("tokens", train.tokens), ("text_bytes", train.bytes)):
            assert source[figure]["value"] == pytest.approx(value, rel=0.15), (real.name, figure)
            assert source[figure]["low"] <= value <= source[figure]["high"], (real.name, figure)
    assert forecast["sources"]["all"]["records"] == sum(source.records_read for source in summary.sources)


def test_the_output_folder_is_about_as_large_as_forecast(small: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    size = planned(small, small.parent / "out", "--forecast", "5%")["forecast"]["out_bytes"]
    out = built(tmp_path_factory.getbasetemp())
    real = sum(path.stat().st_size for path in out.rglob("*") if path.is_file() and path.parent.name != "logs")
    assert size["low"] <= real <= size["high"] <= 1.1 * real, (size, real)
    assert size["value"] == pytest.approx(real, rel=0.1)


def test_the_same_forecast_builds_nothing_twice(small: Path) -> None:
    first = planned(small, small.parent / "out", "--forecast", "20%")
    jobs = {path: time for path, time in files(small.parent / "cache" / "forecasts").items() if "/jobs/" in path}
    assert planned(small, small.parent / "out", "--forecast", "20%") == first
    planned(small, small.parent / "out", "--forecast", "20%", "--set", "mix.tokens=20k")
    after = {path: time for path, time in files(small.parent / "cache" / "forecasts").items() if "/jobs/" in path}
    assert after == jobs, "another quota uses the same sample"


def test_a_plan_forecasts_only_if_asked(small: Path) -> None:
    assert set(planned(small, small.parent / "out")) == {"name", "out", "jobs"}


def test_a_plan_of_a_sample_lists_the_jobs_of_that_build(small: Path) -> None:
    """`plan --sample` means what `build --sample` means."""
    out = small.parent / "out"
    sampled, whole = planned(small, out, "--sample", "5%"), planned(small, out)
    assert sampled == planned(small, out, "--set", "sample=5%") and "forecast" not in sampled
    assert sampled["jobs"] != whole["jobs"] or sampled == whole
    clean = [[job["fingerprint"] for job in plan["jobs"]] for plan in (sampled, planned(small, out, "--sample", "1"))]
    assert clean[0] != clean[1], "one file a source is another build than 5 % of the records"


def test_of_many_files_only_a_share_is_read(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    for number in range(120):
        lines = [json.dumps({"id": f"{number}-{n}", "text": prose(number * 10 + n)}) for n in range(3)]
        (tmp_path / "files" / f"{number:03d}.jsonl").write_text("\n".join(lines) + "\n")
    recipe = json.loads(write_recipe(tmp_path).read_text())
    recipe["sources"] = [{**recipe["sources"][0], "paths": ["files/*.jsonl"], "share": 1}]
    path = tmp_path / "many.yaml"
    path.write_text(json.dumps(recipe))
    found = planned(path, tmp_path / "out", "--forecast", "10%")["forecast"]
    source = found["sources"]["books"]
    assert source["sampled"] == 36
    assert source["records"] == pytest.approx(360, rel=0.02)
    assert source["sampled_bytes_share"] == pytest.approx(0.1, rel=0.1)
    assert source["tokens"]["value"] == pytest.approx(30_000, rel=0.05), "the quota"
    records = list((tmp_path / "cache").glob("forecasts/*/jobs/fetch.books-*/tasks/*.json"))
    assert len(records) == 12, "other files are not opened"


def test_forecasts_that_cannot_be_made_are_refused(small: Path) -> None:
    run = {"out": None, "on": place_file(small.parent), "as_json": True}
    for share in ("20", "0%", "-1%", "nonsense"):
        with pytest.raises(InputError, match="expected a share "):
            show_plan(small, assignments=[], forecast=share, **run)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="estimates the full build; leave out --sample"):
        show_plan(small, assignments=["sample=5%"], forecast="", **run)  # type: ignore[arg-type]


def test_the_share_may_be_left_out_before_the_recipe_too(small: Path) -> None:
    """`--forecast RECIPE` must not take the recipe for a share."""
    options = ["--out", str(small.parent / "out"), "--on", place_file(small.parent), "--json"]
    for arguments in (["--forecast", str(small)], [str(small), "--forecast"], [str(small), "--forecast", "5%"]):
        run = CliRunner().invoke(app, ["plan", *options, *arguments], catch_exceptions=False)
        assert json.loads(run.stdout)["forecast"]["sample"] == 0.05, arguments


def test_the_tables_show_the_share_that_was_sampled_and_intervals(small: Path) -> None:
    run = CliRunner().invoke(
        app, ["plan", str(small), "--out", str(small.parent / "out"), "--on", place_file(small.parent), "--forecast"],
        env={"COLUMNS": "80"}, catch_exceptions=False,
    )  # fmt: skip
    assert "100 %" in run.stdout and "90 % intervals" in run.stdout and "–" in run.stdout
    assert "Output folder" in run.stdout and "workers" in run.stdout


def test_a_sample_runs_on_this_machine_whatever_the_profile(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profile = small.parent / "slurm.yaml"
    slurm = {"executor": "slurm", "partition": "cpu", "time": "1:00:00", "cache": str(small.parent / "cache")}
    profile.write_text(json.dumps(slurm))
    monkeypatch.setenv("PATH", "")  # no sbatch
    show_plan(small, str(small.parent / "out"), str(profile), [], forecast="5%", as_json=True)


def test_a_finished_build_shows_its_numbers_in_place_of_a_forecast(
    small: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = built(tmp_path_factory.getbasetemp())
    run = CliRunner().invoke(
        app, ["plan", str(small), "--out", str(out), "--on", place_file(small.parent), "--forecast"],
        catch_exceptions=False,
    )  # fmt: skip
    assert "The build is finished" in run.stdout and "report.html" in run.stdout.replace("\n", "")

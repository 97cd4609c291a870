"""The forecast of small builds, against the builds themselves."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from corpus.cli import app
from corpus.errors import InputError
from pipelines.commands.show_plan import show_plan
from pipelines.engine.profile import Profile
from pipelines.engine.read_profile import read_profile
from tests.small_build import built, prose, write_recipe, write_sources

WHAT = ("records", "kept", "merged", "documents", "tokens", "text_bytes")


def place_file(folder: Path) -> str:
    """A place with a cache of its own."""
    path = folder / "place.yaml"
    path.write_text(json.dumps({"executor": "local", "workers": 1, "cache": str(folder / "cache")}))
    return str(path)


def planned(recipe: Path, out: Path, *more: str) -> dict[str, dict[str, dict[str, object]]]:
    """What `corpus plan --json` prints."""
    done = CliRunner().invoke(
        app, ["plan", str(recipe), "--out", str(out), "--on", place_file(recipe.parent), "--json", *more],
        catch_exceptions=False,
    )  # fmt: skip
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def files(folder: Path) -> dict[str, int]:
    """What lies in a folder, and when it was written."""
    return {str(path): path.stat().st_mtime_ns for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe over two sources of which half is sampled."""
    folder = tmp_path_factory.mktemp("forecast")
    write_sources(folder / "files")
    return write_recipe(folder)


def test_a_forecast_holds_what_the_build_then_holds(small: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    out = small.parent / "out"
    found = planned(small, out, "--sample", "5%")["forecast"]
    assert not out.exists(), "the real output folder is left alone"
    truth = planned(small, built(tmp_path_factory.getbasetemp()), "--forecast")
    held = truth["built"] if "built" in truth else pytest.fail(str(truth["jobs"]))
    inside = []
    for source in found["sources"]:  # type: ignore[attr-defined]
        real = held[source["name"]]
        assert source["records"]["value"] == real["records"]
        assert source["sampled"] >= 50 > 0.05 * source["of"]
        for what in ("documents", "tokens", "text_bytes"):
            assert source[what]["value"] == pytest.approx(real[what], rel=0.15), (source["name"], what)
            inside.append(source[what]["low"] <= real[what] <= source[what]["high"])
        inside.append(source["merged"]["low"] <= real["merged"] <= source["merged"]["high"])
    assert sum(inside) >= 0.75 * len(inside), inside
    assert found["total"]["records"]["value"] == sum(each["records"] for each in held.values())  # type: ignore[index, misc]


def test_the_folder_is_as_large_as_forecast(small: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    size = planned(small, small.parent / "out", "--sample", "5%")["forecast"]["out_bytes"]
    out = built(tmp_path_factory.getbasetemp())
    real = sum(path.stat().st_size for path in out.rglob("*") if path.is_file() and path.parent.name != "logs")
    assert size["low"] <= real <= size["high"] <= 1.1 * real, (size, real)  # type: ignore[operator]


def test_asking_again_builds_nothing(small: Path) -> None:
    first = planned(small, small.parent / "out", "--sample", "20%")
    before = files(small.parent / "cache" / "forecasts")
    assert planned(small, small.parent / "out", "--sample", "20%") == first
    assert files(small.parent / "cache" / "forecasts") == before
    answer = max(
        (small.parent / "cache" / "forecasts").glob("*/forecast-*.json"), key=lambda path: path.stat().st_mtime_ns
    )
    answer.write_text("{")
    assert planned(small, small.parent / "out", "--sample", "20%") == first, "a damaged answer is made anew"
    jobs = {path for path in before if "/jobs/" in path}
    planned(small, small.parent / "out", "--sample", "20%", "--set", "mix.tokens=20k")
    after = files(small.parent / "cache" / "forecasts")
    assert {path for path in after if "/jobs/" in path} == jobs, "another quota needs no other sample"
    assert len(after) > len(before)


def test_a_plan_forecasts_when_it_is_asked_to(small: Path) -> None:
    assert set(planned(small, small.parent / "out")) == {"name", "out", "jobs"}


def test_of_many_files_some_are_read(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    for number in range(120):
        lines = [json.dumps({"id": f"{number}-{n}", "text": prose(number * 10 + n)}) for n in range(3)]
        (tmp_path / "files" / f"{number:03d}.jsonl").write_text("\n".join(lines) + "\n")
    recipe = json.loads(write_recipe(tmp_path).read_text())
    recipe["sources"] = [{**recipe["sources"][0], "paths": ["files/*.jsonl"], "share": 1}]
    path = tmp_path / "many.yaml"
    path.write_text(json.dumps(recipe))
    found = planned(path, tmp_path / "out", "--sample", "10%")["forecast"]
    (source,) = found["sources"]  # type: ignore[misc]
    assert (source["sampled"], source["of"]) == (36, None)
    assert source["records"]["value"] == pytest.approx(360, rel=0.02)
    assert source["sampled_bytes_share"] == pytest.approx(0.1, rel=0.1)
    assert source["tokens"]["value"] == pytest.approx(30_000, rel=0.05), "the quota"
    records = list((tmp_path / "cache").glob("forecasts/*/jobs/acquire.books-*/tasks/*.json"))
    assert len(records) == 12, "files that are not in the sample are not opened"


def test_what_a_forecast_cannot_be_made_from_is_told(small: Path) -> None:
    run = {"out": None, "on": place_file(small.parent)}
    for sample in ("20", "0%", "nonsense"):
        with pytest.raises(InputError, match="a share of each source, such as 5%"):
            show_plan(small, assignments=[], sample=sample, **run)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="the recipe asks for a `sample` itself"):
        show_plan(small, assignments=["sample=5%"], forecast=True, **run)  # type: ignore[arg-type]


def test_people_are_shown_the_share_that_was_sampled_and_the_intervals(small: Path) -> None:
    done = CliRunner().invoke(
        app, ["plan", str(small), "--out", str(small.parent / "out"), "--on", place_file(small.parent), "--forecast"],
        env={"COLUMNS": "80"}, catch_exceptions=False,
    )  # fmt: skip
    assert "50 of 90" in done.stdout and "90 % intervals" in done.stdout and "–" in done.stdout
    assert "output folder" in done.stdout and "workers" in done.stdout


def test_a_sample_runs_here_wherever_the_build_will() -> None:
    from pipelines.commands.forecast.forecast import _here

    elsewhere = read_profile(str(Path(__file__).parents[3] / "recipes" / "on" / "slurm.yaml"))
    here = _here(elsewhere)
    assert isinstance(here, Profile) and here.here and not elsewhere.here and here.cache == elsewhere.cache

"""Forecast of the quickstart, compared with its build."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from corpus.fetch.access import default_cache
from corpus.fetch.cache import cache_path
from corpus.fetch.package_index import known_archive, parse_address
from corpus.quality import language
from corpus.recipe import read_recipe

RECIPE = Path(__file__).parents[2] / "recipes" / "quickstart.yaml"


def corpus(*command: str) -> str:
    """Run a `corpus` command and return its output."""
    run = subprocess.run([sys.executable, "-m", "corpus", *command], capture_output=True, text=True, timeout=1200)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.slow
def test_the_forecast_of_the_quickstart_is_within_15_percent(tmp_path: Path) -> None:
    paths = [path for source in read_recipe(RECIPE).sources for path in source.paths]
    for text in [*paths, language.MODEL]:
        package = parse_address(text)
        assert package is not None
        archive = known_archive(package, default_cache())
        if not archive or not cache_path(archive, default_cache()).is_file():
            pytest.skip("needs the quickstart's packages in the cache: run `corpus build recipes/quickstart.yaml`")
    cache = tmp_path / "cache"
    cache.mkdir()
    for name in ("sha256", "releases"):  # packages, but no earlier sample
        (cache / name).symlink_to(default_cache() / name)
    profile = tmp_path / "profile.yaml"
    profile.write_text(json.dumps({"executor": "local", "cache": str(cache)}))
    common = (str(RECIPE), "--out", str(tmp_path / "out"), "--on", str(profile))
    forecast = json.loads(corpus("plan", *common, "--forecast", "5%", "--json"))["forecast"]
    assert not (tmp_path / "out").exists()
    corpus("build", *common)
    built = json.loads(corpus("plan", *common, "--forecast", "--json"))["built"]
    held = []
    for source in built["sources"]:
        name, train = source["name"], source["train"]
        for figure, real in (("documents", "documents"), ("tokens", "tokens"), ("text_bytes", "bytes")):
            interval = forecast["sources"][name][figure]
            assert interval["value"] == pytest.approx(train[real], rel=0.15), (name, figure, interval, train)
            held.append(interval["low"] <= train[real] <= interval["high"])
    assert sum(held) >= 0.8 * len(held), held
    size = sum(path.stat().st_size for path in (tmp_path / "out" / "jobs").rglob("*") if path.is_file())
    assert size == pytest.approx(forecast["out_bytes"]["value"], rel=0.1)

"""The forecast of the quickstart, from 5 % of it, against the quickstart itself."""

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
    """Runs a command of the corpus; what it prints."""
    done = subprocess.run([sys.executable, "-m", "corpus", *command], capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_quickstart_is_forecast_to_within_15_percent(tmp_path: Path) -> None:
    written = [path for source in read_recipe(RECIPE).sources for path in source.paths]
    for text in [*written, language.MODEL]:
        package = parse_address(text)
        assert package is not None
        if not (archive := known_archive(package, default_cache())):
            pytest.skip("needs the quickstart's packages in the cache: run `corpus build recipes/quickstart.yaml`")
        target = cache_path(archive, default_cache())
        assert target.is_file() or pytest.skip(f"needs {target}: run `corpus build recipes/quickstart.yaml`")
    place = tmp_path / "place.yaml"
    cache = tmp_path / "cache"
    cache.mkdir()
    for name in ("sha256", "releases"):  # what was fetched, and no sample from before
        (cache / name).symlink_to(default_cache() / name)
    place.write_text(json.dumps({"executor": "local", "cache": str(cache)}))
    common = (str(RECIPE), "--out", str(tmp_path / "out"), "--on", str(place))
    found = json.loads(corpus("plan", *common, "--sample", "5%", "--json"))["forecast"]
    assert not (tmp_path / "out").exists()
    corpus("build", *common)
    truth = json.loads(corpus("plan", *common, "--forecast", "--json"))["built"]
    held = []
    for source in found["sources"]:
        for what in ("documents", "tokens"):
            real, forecast = truth[source["name"]][what], source[what]
            assert forecast["value"] == pytest.approx(real, rel=0.15), (source["name"], what, forecast, real)
            held.append(forecast["low"] <= real <= forecast["high"])
    assert sum(held) >= 0.75 * len(held), held
    size = sum(path.stat().st_size for path in (tmp_path / "out" / "jobs").rglob("*") if path.is_file())
    assert size == pytest.approx(found["out_bytes"]["value"], rel=0.1)

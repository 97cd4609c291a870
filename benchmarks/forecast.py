"""The forecast: how near `corpus plan --sample 5%` comes to the quickstart, and how often another sample would have.

    python benchmarks/forecast.py [--seeds 3] [--starts 200]

For each seed the quickstart is forecast, then built: the seed changes the sample, the holdout and the shuffle. Then the
estimator alone is asked with many other samples of the first seed's corpus (tokens are taken as its tokenizer counts
them): with at least 50 documents of each source, as `corpus plan` does, and with 5 % alone.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from common import record
from pipelines.commands.forecast.estimate import Drawn, KnownRecords, Sample
from pipelines.commands.forecast.sampling import LEAST_DOCUMENTS

from corpus.dedup.decision import held_out
from corpus.recipe import Recipe, read_recipe
from corpus.store.finished_build import Build, open_build
from corpus.store.parquet_tables import columns
from corpus.tokens.encode import Encoder
from corpus.tokens.runs import order_key
from pipelines.commands.forecast import estimate

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "recipes" / "quickstart.yaml"
SHARE, WITHIN, DRAWS = 0.05, 0.15, 60
CLAIM = "forecast from a 5 % sample, documents and tokens of each source of the quickstart are within 15 %"


def corpus(*command: str) -> str:
    """Runs a command of the corpus; what it prints."""
    run = subprocess.run([sys.executable, "-m", "corpus", *command], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if run.returncode:
        raise SystemExit(f"corpus {' '.join(command)} failed")
    return run.stdout


def one_seed(seed: int, out: Path) -> dict[str, object]:
    """The forecast and the truth of each source."""
    common = [str(RECIPE), "--set", f"seed={seed}"]
    asked = [*common, "--sample", f"{SHARE:.0%}", "--json", "--out"]
    forecast = json.loads(corpus("plan", *asked, str(out / "not-built")))["forecast"]
    corpus("build", *common, "--out", str(out / "built"))
    truth = json.loads(corpus("plan", *asked, str(out / "built")))["built"]
    run = json.loads((out / "built" / "run.json").read_text())
    folders = json.loads((out / "built" / "build.json").read_text())["jobs"]
    size = sum(path.stat().st_size for each in folders for path in (out / "built" / each).rglob("*") if path.is_file())
    told: dict[str, object] = {
        "seconds": {**forecast["seconds"], "is": run["seconds"] if seed == 1 else None},  # later ones find work done
        "out_bytes": {**forecast["out_bytes"], "is": size},
    }
    for source in forecast["sources"]:
        real = truth[source["name"]]
        told[source["name"]] = {
            "sampled": source["sampled"], "of": source["of"], "sampled_bytes_share": source["sampled_bytes_share"],
            **{what: {**source[what], "is": real[what]} for what in real},
        }  # fmt: skip
    return told


def as_built(build: Build, recipe: Recipe, name: str) -> tuple[Drawn, np.ndarray, np.ndarray]:
    """A source in the order of the shuffle; its sizes, and where each unit lies in its files."""
    encoder = Encoder(build.job("tokenizer").folder / "tokenizer.json")
    texts = [columns(path, "id", "text") for n in range(len(build.job("text", name).tasks))
             for path in build.job("text", name).products(n)]  # fmt: skip
    counts: dict[str, tuple[int, int]] = {}
    for row in pa.concat_tables(texts).to_pylist():
        counts[row["id"]] = (len(encoder.encode([row["text"]])[0]), len(row["text"].encode()))
    clean = build.job("clean", name)
    ledgers = [columns(path) for n in range(len(clean.tasks)) for path in clean.products(n, "records-")]
    found = [row for row in pa.concat_tables(ledgers).to_pylist() if row["id"] is not None]
    order = np.argsort(np.array([order_key(recipe.seed, row["id"]) for row in found], np.uint64), kind="stable")
    share = next(recipe.holdout.share if each.holdout else 0.0 for each in recipe.sources if each.name == name)
    tokens, text = np.array([counts.get(row["id"], (0, 0)) for row in found], np.float64).reshape(-1, 2)[order].T
    drawn = Drawn(
        text, tokens, tokens > 0, np.zeros(len(found), bool),
        np.array([held_out(row["id"], recipe.seed, share) for row in found])[order], 1.0, len(found),
    )  # fmt: skip
    return drawn, np.array([row["end"] - row["start"] for row in found], np.float64)[order], np.argsort(order)


def other_samples(build: Build, recipe: Recipe, least: int, starts: int) -> dict[str, dict[str, float]]:
    """By source: the share of samples whose forecast was near enough, and of those whose interval held."""
    assert recipe.mix.tokens
    told = {}
    for source in recipe.sources:
        truth, sizes_U, place_U = as_built(build, recipe, source.name)
        quota = source.share * recipe.mix.tokens
        count = min(len(sizes_U), max(1, least, round(SHARE * len(sizes_U))))
        chances_U = estimate.chances(sizes_U[place_U], count)
        near, held = 0, 0
        for number in range(starts):
            draw = np.random.default_rng(number)
            lying = estimate.systematic(sizes_U[place_U], chances_U, draw.random())
            rows = place_U[lying]
            columns_S = (truth.kept_U[rows], truth.text_bytes_U[rows], truth.tokens_U[rows], np.zeros(len(rows)))
            sample = Sample(sizes_U[rows], chances_U[lying], *columns_S, np.zeros(len(rows), np.int64))
            row_U = np.full(len(sizes_U), -1)
            row_U[rows] = np.arange(len(rows))
            known = KnownRecords(sizes_U, truth.held_out_U, row_U, sample, len(sizes_U))
            drawn = np.array([known.draw(draw).filled(quota)[:2] for _ in range(DRAWS)])
            real = np.array(truth.filled(quota)[:2])
            low, middle, high = np.quantile(drawn, (0.05, 0.5, 0.95), axis=0)
            near += bool((np.abs(middle / real - 1) <= WITHIN).all())
            held += bool(low[0] <= real[0] <= high[0])
        told[source.name] = {
            "documents_sampled": count, "within_15_percent": near / starts, "interval_of_documents_held": held / starts
        }  # fmt: skip
    return told


def main() -> None:
    """Builds, forecasts, records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--starts", type=int, default=200)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        first, others = one_seed(1, out), {}
        recipe, build = read_recipe(RECIPE), open_build(out / "built")
        for least in (LEAST_DOCUMENTS, 0):
            others[f"at least {least} documents"] = other_samples(build, recipe, least, asked.starts)
        seeds = {1: first, **{seed: one_seed(seed, out) for seed in range(2, asked.seeds + 1)}}
    met = {
        f"seed {seed}": all(
            abs(told[source.name][what]["value"] / told[source.name][what]["is"] - 1) <= WITHIN  # type: ignore[index]
            for source in recipe.sources
            for what in ("documents", "tokens")
        )
        for seed, told in seeds.items()
    }
    figures = {"seeds": seeds, "other_samples_of_seed_1": others}
    record("forecast", CLAIM, ["numpy", "tokenizers", "pyarrow"], figures, met)


if __name__ == "__main__":
    main()

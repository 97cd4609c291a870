"""Accuracy of the forecast: `corpus plan --forecast 5%` compared with the quickstart, for several seeds and samples.

    python benchmarks/forecast.py [--seeds 3] [--starts 200]

The quickstart is forecast and then built with each seed; the seed changes the sample, the holdout and the shuffle. Then
the ratio estimates alone are repeated with many other samples of the first build, whose tokenizer counts the tokens.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from common import record

from corpus.dedup.decision import held_out
from corpus.inspect.report.summary import read_summary
from corpus.recipe import Recipe, read_recipe
from corpus.store.parquet_tables import columns
from corpus.tokens.encode import Encoder
from corpus.tokens.runs import order_key
from pipelines.commands.forecast.ratios import GROUPS, SourceSample, choose, jackknife
from pipelines.commands.forecast.sample import MIN_DOCUMENTS
from pipelines.engine.job_output import JobOutput
from pipelines.engine.profile import read_profile
from pipelines.plan import Plan, make_plan
from pipelines.stages.clean import CleanStage
from pipelines.stages.dedup import DedupStage
from pipelines.stages.text import TextStage
from pipelines.stages.tokenizer import TokenizerStage

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "recipes" / "quickstart.yaml"
SHARE, WITHIN = 0.05, 0.15
FIGURES = ("documents", "tokens", "text_bytes")
CLAIM = "with --forecast 5%, documents, tokens and text of each source of the quickstart are within 15 % of the build"


def corpus(*command: str) -> str:
    """Run a `corpus` command and return its output."""
    run = subprocess.run([sys.executable, "-m", "corpus", *command], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if run.returncode:
        raise SystemExit(f"corpus {' '.join(command)} failed")
    return run.stdout


def one_seed(seed: int, folder: Path) -> dict[str, object]:
    """Forecast and build with a seed; return both, by source."""
    common = [str(RECIPE), "--set", f"seed={seed}"]
    asked = [*common, "--forecast", f"{SHARE:.0%}", "--json", "--out"]
    forecast = json.loads(corpus("plan", *asked, str(folder / "not-built")))["forecast"]
    corpus("build", *common, "--out", str(folder / "built"))
    summary = read_summary(folder / "built")
    run = json.loads((folder / "built" / "run.json").read_text())["runs"][-1]
    jobs = json.loads((folder / "built" / "build.json").read_text())["jobs"]
    size = sum(path.stat().st_size for job in jobs for path in (folder / "built" / job).rglob("*") if path.is_file())
    results: dict[str, object] = {
        "seconds": {**forecast["seconds"], "is": run["seconds"] if seed == 1 else None},  # later builds reuse jobs
        "out_bytes": {**forecast["out_bytes"], "is": size},
    }
    for built in summary.sources:
        source, train = forecast["sources"][built.name], built.train
        results[built.name] = {
            "sampled": source["sampled"],
            "sampled_bytes_share": source["sampled_bytes_share"],
            "records": {"value": source["records"], "is": built.records_read},
            "merged": {"value": source["merged"], "is": built.count(TextStage.kind, "merged")},
            "kept": {**source["kept"], "is": built.count(CleanStage.kind, "kept")},
            "documents": {**source["documents"], "is": train.documents},
            "tokens": {**source["tokens"], "is": train.tokens},
            "text_bytes": {**source["text_bytes"], "is": train.bytes},
        }
    return results


class BuiltSource(NamedTuple):
    """Records of a finished source that may become documents, in the order of their files."""

    sizes: np.ndarray
    results: np.ndarray  # documents, tokens, text bytes
    merged: np.ndarray
    train: np.ndarray
    order: np.ndarray  # of the shuffle

    def sample(self, rows: np.ndarray, draw: np.random.Generator) -> SourceSample:
        """Return these records as a sample. A duplicate shows with the chance that the other copy is sampled."""
        sampled = np.isin(np.arange(len(self.sizes)), rows)
        shows = self.merged & sampled & (draw.random(len(sampled)) < sampled.mean())
        results = self.results * sampled[:, None]
        results[shows, 1:] = 0
        groups, order = np.cumsum(sampled) % GROUPS, self.order
        return SourceSample(
            self.sizes[order], self.train[order], sampled[order], results[order], shows[order], groups[order],
            float(len(order)), 1.0, whole_files=False,
        )  # fmt: skip

    def truth(self, quota: float) -> list[float]:
        """Return documents, tokens and text bytes of the training shards."""
        left = (self.train & ~self.merged)[self.order]
        taken = (self.results[self.order] * left[:, None])[np.flatnonzero(left)]
        end = int(np.searchsorted(np.cumsum(taken[:, 1]), quota)) + 1
        return [float(total) for total in taken[:end].sum(axis=0)]


def read_built(folder: Path, plan: Plan, recipe: Recipe, name: str) -> BuiltSource:
    """Read a source of a finished build; the build's tokenizer counts tokens of all kept documents."""
    tokenizer, clean = plan.job(TokenizerStage), plan.job(CleanStage, name)
    encoder = Encoder(tokenizer.path(JobOutput(folder, tokenizer)))
    output, decisions = JobOutput(folder, clean), JobOutput(folder, plan.job(DedupStage)).decisions
    records = pa.concat_tables([columns(path) for path in output.records]).to_pylist()
    kept = pa.concat_tables([columns(path, "text") for path in output.kept])["text"].to_pylist()
    parts = decisions.of_source(name, clean.tasks)
    splits = pa.concat_tables([columns(path, "split") for path in parts])["split"].to_pylist()
    # Kept documents and decisions stand in the order of the records with the outcome `kept`.
    candidates = [row for row in records if row["outcome"] in ("kept", "dropped")]
    is_kept = np.array([row["outcome"] == "kept" for row in candidates])
    results, merged = np.zeros((len(candidates), 3)), np.zeros(len(candidates), bool)
    tokens = [len(encoded) for encoded in encoder.encode(kept)]
    results[is_kept] = np.column_stack([np.ones(len(kept)), tokens, [len(text.encode()) for text in kept]])
    merged[is_kept] = [split is None for split in splits]
    source = next(source for source in recipe.sources if source.name == name)
    share = recipe.holdout.share if source.holdout else 0.0
    keys = np.array([order_key(recipe.seed, row["id"]) for row in candidates], np.uint64)
    return BuiltSource(
        np.array([row["end"] - row["start"] for row in candidates], np.float64),
        results,
        merged,
        np.array([not held_out(row["id"], recipe.seed, share) for row in candidates]),
        np.argsort(keys, kind="stable"),
    )


def other_samples(source: BuiltSource, quota: float, least: int, starts: int) -> dict[str, object]:
    """Return how often samples of a source are within 15 %, and how often their intervals hold."""
    count = min(len(source.sizes), max(1, least, round(SHARE * len(source.sizes))))
    truth, near, held, worst = source.truth(quota), 0, np.zeros(len(FIGURES)), 0.0
    for number in range(starts):
        draw = np.random.default_rng(number)
        sample = source.sample(choose(source.sizes, count, draw.random()), draw)
        values = sample.estimate().take(quota)
        without = zip(*(sample.estimate(group).take(quota) for group in range(GROUPS)), strict=True)
        intervals = [jackknife(value, others) for value, others in zip(values, without, strict=True)]
        error = max(abs(value / real - 1) for value, real in zip(values, truth, strict=True))
        near, worst = near + (error <= WITHIN), max(worst, error)
        held += [low <= real <= high for (_, low, high), real in zip(intervals, truth, strict=True)]
    shares = dict(zip(FIGURES, (held / starts).tolist(), strict=True))
    return {
        "documents_sampled": count, "of": len(source.sizes), "within_15_percent": near / starts, "worst_error": worst,
        "interval_held": shares,
    }  # fmt: skip


def main() -> None:
    """Forecast, build, compare and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--starts", type=int, default=200)
    asked = parser.parse_args()
    recipe = read_recipe(RECIPE)
    with tempfile.TemporaryDirectory() as temporary:
        folder, others = Path(temporary), {}
        seeds = {1: one_seed(1, folder)}
        out = folder / "built"
        plan = make_plan(recipe, RECIPE.parent, read_profile(None).access()).settled(out)
        sources = {source.name: read_built(out, plan, recipe, source.name) for source in recipe.sources}
        for least in (MIN_DOCUMENTS, 0):
            others[f"at least {least} documents"] = {
                source.name: other_samples(
                    sources[source.name], source.share * (recipe.mix.tokens or 0), least, asked.starts
                )
                for source in recipe.sources
            }
        seeds |= {seed: one_seed(seed, folder) for seed in range(2, asked.seeds + 1)}
    met = {
        f"seed {seed}": all(
            abs(results[source.name][figure]["value"] / results[source.name][figure]["is"] - 1) <= WITHIN  # type: ignore[index]
            for source in recipe.sources
            for figure in FIGURES
        )
        for seed, results in seeds.items()
    }
    record(
        "forecast", CLAIM, ["numpy", "tokenizers", "pyarrow"], {"seeds": seeds, "other_samples_of_seed_1": others}, met
    )


if __name__ == "__main__":
    main()

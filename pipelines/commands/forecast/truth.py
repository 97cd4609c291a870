"""What a finished build holds, in the words of the forecast."""

from pathlib import Path
from typing import cast

from rich.console import Console
from rich.table import Table

from corpus.settings import Json
from corpus.units import human_bytes, human_count
from pipelines.engine.job import Done
from pipelines.plan import Plan

COUNTS = ("records", "kept", "merged", "documents", "tokens", "text_bytes")


Counts = dict[str, int]


def truth(plan: Plan, folder: Path) -> dict[str, Counts]:
    """Counts by source: all of the plan's jobs are done."""
    return {source.name: _of_source(plan, folder, source.name) for source in plan.recipe.sources}


def _of_source(plan: Plan, folder: Path, name: str) -> Counts:
    read, written = Done(folder, plan.job(f"clean.{name}")).ledger(), Done(folder, plan.job(f"text.{name}")).ledger()
    mixed = Done(folder, plan.job(f"mix.{name}"))
    shards = [cast(dict[str, Json], each) for facts in mixed.all_facts() for each in cast(list[Json], facts["shards"])]
    train = [each for each in shards if each["split"] == "train"]
    documents, tokens, text = (
        sum(cast(int, each[what]) for each in train) for what in ("documents", "tokens", "bytes")
    )
    kept, merged = read.total("records", outcome="kept"), written.total("records", outcome="merged")
    return dict(zip(COUNTS, (read.total("records"), kept, merged, documents, tokens, text), strict=True))


def show_truth(found: dict[str, Counts]) -> None:
    """A table like that of the forecast."""
    heads = ("source", "records", "kept", "duplicates", "documents", "tokens", "text")
    caption = "documents, tokens, text: of the training shards"
    table = Table(*heads, title="The build is finished: what it holds", title_justify="left", caption=caption)
    total = {what: sum(each[what] for each in found.values()) for what in COUNTS}
    for name, counts in {**found, "all": total}.items():
        table.add_row(name, *(human_count(counts[what]) for what in COUNTS[:-1]), human_bytes(counts["text_bytes"]))
    Console().print(table)

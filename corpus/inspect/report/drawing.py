"""What all the report's charts are drawn with: rows, axes, colours and what a bar shows on hover, in Vega-Lite's terms.

Foreign text (names of sources, rules, languages) stands in data values only, never in a field's name or an expression.
"""

from collections.abc import Mapping, Sequence
from typing import cast

import altair as alt

from corpus.display.page import SERIES
from corpus.settings import Json

Row = Mapping[str, Json]
Spec = dict[str, Json]
Key = dict[str, str]  # names to colours

SPLITS: Key = {"train": SERIES[0], "holdout": SERIES[2]}
FATES: Key = {"kept": SERIES[0], "dropped": SERIES[1]}
BAR_HEIGHT, NAMED_HEIGHT = 11, 33  # pixels: of a bar, and of it with its name above
SMALL = 260  # pixels: small charts are scaled to their column, so they may be drawn while folded away


def chart_of(rows: Sequence[Row]) -> alt.Chart:
    """A chart of these rows, and no marks yet."""
    return alt.Chart(alt.InlineData(values=list(rows)))


def names_above(rows: Sequence[Row], *, size: int = 11, figures: bool = False) -> alt.Chart | alt.LayerChart:
    """`what` above each bar, where a narrow screen has room for it; with `figures`, `label` at the line's other end."""
    base = chart_of(rows).encode(y=alt.Y("what:N", sort=[cast(str, row["what"]) for row in rows], axis=None))
    names = base.mark_text(align="left", dy=-size * 8 / 11, fontSize=size).encode(x=alt.value(0), text="what:N")
    if not figures:
        return names
    right = base.mark_text(align="right", dy=-size * 8 / 11, fontSize=size)
    return names + right.encode(x=alt.value("width"), text="label:N")


def spec_of(chart: alt.Chart | alt.LayerChart, *, height: int, width: int | None = None, top: int = 5) -> Spec:
    """Of a width in pixels, or of its place's width; `top` are pixels above it."""
    fit = alt.AutoSizeParams(type="fit-x", contains="padding")
    padding = {"left": 5, "right": 5, "bottom": 5, "top": top}
    spec = chart.properties(width=width or "container", height=height, autosize=fit, padding=padding).to_dict()
    return {name: value for name, value in spec.items() if name not in ("$schema", "config")}  # the page has its own


def plain_axis(**more: object) -> alt.Axis:
    """Names without lines."""
    return alt.Axis(**{"domain": False, "ticks": False, "labelPadding": 8, **more})


def counts_axis(most: int, ticks: int = 5) -> alt.Axis:
    """Whole numbers up to `most`."""
    return alt.Axis(format="~s", tickCount=min(ticks, most), domain=False, ticks=False, labelPadding=4)


def colour_of(field: str, key: Key) -> alt.Color:
    """By the names of a key."""
    return alt.Color(f"{field}:N", scale=alt.Scale(domain=list(key), range=list(key.values())), legend=None)


def tooltip_of(**fields: str) -> list[alt.Tooltip]:
    """What a mark shows on hover: fields that are names (N), counts (Q) or shares (%)."""
    kinds = {"N": ("N", alt.Undefined), "Q": ("Q", ","), "%": ("Q", ".1%")}
    return [
        alt.Tooltip(f"{name}:{kinds[kind][0]}", title=name.replace("_", " "), format=kinds[kind][1])
        for name, kind in fields.items()
    ]


def grouped_bars(names: Sequence[str], rows: Sequence[Row], field: str, key: Key, title: str, *, most: float) -> Spec:
    """A bar for each name of the key, side by side in each source, with labels."""
    values = [0, 0.25, 0.5, 0.75, 1] if most == 1 else alt.Undefined
    axis = alt.Axis(format="~%", domain=False, tickCount=5, values=values)
    hover = {name: "Q" for name in ("documents", "tokens") if name in (rows[0] if rows else {})}
    base = chart_of(rows).encode(
        y=sources_of(names),
        yOffset=alt.YOffset(f"{field}:N", scale=alt.Scale(domain=list(key), paddingInner=0.12)),
        x=alt.X("share:Q", title=title, axis=axis, scale=alt.Scale(domain=[0, most * 1.15], nice=False)),
        tooltip=tooltip_of(source="N", **{field: "N"}, **hover, share="%"),
    )
    bars = base.mark_bar(cornerRadiusEnd=2).encode(color=colour_of(field, key))
    labels = base.mark_text(align="left", dx=4, fontSize=10).encode(text="label:N")
    return spec_of(bars + labels, height=(15 * len(key) + 18) * len(names))


def sources_of(names: Sequence[str]) -> alt.Y:
    """The axis of sources, in this order."""
    return alt.Y("source:N", title=None, sort=list(names), axis=plain_axis(), scale=alt.Scale(paddingInner=0.3))

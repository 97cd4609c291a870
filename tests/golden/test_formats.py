"""docs/formats.md lists the fields that the code writes, in order and with their types."""

import re
import types
import typing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pydantic import BaseModel

from corpus.store import corpus_manifest as manifest
from corpus.store import token_shards
from corpus.tokens import runs

DOC = Path(__file__).parents[2] / "docs" / "formats.md"


def tables(section: str) -> list[list[tuple[str, ...]]]:
    """Return the rows of each table of a section, without the header rows."""
    text = re.split(r"^## ", DOC.read_text("utf-8"), flags=re.MULTILINE)
    (body,) = (each for each in text if each.startswith(f"{section}\n"))
    blocks = re.findall(r"(?:^\|.*\n)+", body, flags=re.MULTILINE)
    return [
        [tuple(cell.strip() for cell in row.strip("|").split("|")) for row in each.splitlines()[2:]] for each in blocks
    ]


def columns(schema: pa.Schema) -> list[tuple[str, str]]:
    return [(f"`{field.name}`", f"`{field.type}`") for field in schema]


def test_sections_and_compatibility_promise_exist() -> None:
    text = DOC.read_text("utf-8")
    heads = re.findall(r"^## (.*)$", text, flags=re.MULTILINE)
    assert {"Recipe", "Text shard", "Token shard", "Token run", "Manifest", "Ledger"} <= set(heads)
    assert "a newer release reads the older" in text


@pytest.mark.parametrize(
    ("section", "schema", "keys", "version"),
    [
        (
            "Token shard",
            token_shards.schema(np.dtype(np.uint16)),
            token_shards.ShardHeader._fields,
            token_shards.FORMAT_VERSION,
        ),
        ("Token run", runs.schema(500), (*runs.RunHeader._fields, "bins"), runs.FORMAT_VERSION),
    ],
)
def test_arrow_formats_match_their_tables(section: str, schema: pa.Schema, keys: tuple[str, ...], version: str) -> None:
    documented, metadata = tables(section)
    assert [row[:2] for row in documented] == columns(schema)
    assert not any(field.nullable for field in schema)
    assert [row[0] for row in metadata] == [f"`{key}`" for key in ("format_version", *keys)]
    assert metadata[0][1] == f"`{version}`"


def kind(annotation: object) -> str:
    """Return the type of a field in the words of the page."""
    origin = typing.get_origin(annotation)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(kind(each) for each in typing.get_args(annotation))
    if origin is typing.Literal:
        return "integer" if isinstance(typing.get_args(annotation)[0], int) else "string"
    if origin is typing.Annotated:
        return kind(typing.get_args(annotation)[0])
    if origin is not None or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return "list" if origin is tuple else "object"
    assert isinstance(annotation, type)
    return {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}[annotation]


@pytest.mark.parametrize(
    ("table", "model"), [(0, manifest.Manifest), (1, manifest.SourceEntry), (2, manifest.ShardEntry)]
)
def test_manifest_models_match_their_tables(table: int, model: type[BaseModel]) -> None:
    documented = {row[0].strip("`"): row[1].replace("hash", "string") for row in tables("Manifest")[table]}
    assert documented == {name: kind(field.annotation) for name, field in model.model_fields.items()}


@pytest.mark.parametrize(
    ("field", "model"),
    [("tokenizer", manifest.TokenizerEntry), ("train", manifest.Totals), ("length_quantiles", manifest.Quantiles)],
)
def test_nested_manifest_fields_are_documented(field: str, model: type[BaseModel]) -> None:
    (row,) = (row for table in tables("Manifest") for row in table if row[0] == f"`{field}`")
    assert all(f"`{name}`" in row[2] for name in model.model_fields)

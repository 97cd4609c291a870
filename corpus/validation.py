"""Check a settings file against a pydantic model; one message lists all mistakes, each with its line or --set."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import get_args, get_origin

from pydantic import BaseModel, ValidationError

from corpus.errors import InputError
from corpus.settings import Json, KeyPath, Mistake, Model, SettingsFile, Strict, all_mistakes, as_json, nearest


def validate(
    model: type[Model], file: SettingsFile, further: Callable[[Model], list[tuple[KeyPath, str]]] | None = None
) -> Model:
    """Validate a file against a model and `further` checks. Raises InputError that lists every mistake."""
    try:
        checked = model.model_validate_json(json.dumps(file.data))
    except ValidationError as error:
        errors = error.errors(include_url=False)
        # "too short" of a list that has elements only repeats their own mistakes
        own = [entry for entry in errors if entry["type"] != "too_short" or not entry["input"]]
        problems = [_problem(model, file, entry) for entry in own]  # type: ignore[arg-type]
        raise InputError(all_mistakes(file.name, problems)) from None
    if further and (found := further(checked)):
        raise InputError(all_mistakes(file.name, [file.locate_joint(path, text) for path, text in found]))
    return checked


def _problem(model: type[BaseModel], file: SettingsFile, error: dict[str, object]) -> Mistake:
    loc = error["loc"]
    assert isinstance(loc, tuple)
    path = _written_path(file.data, loc)
    name = ".".join(str(part) for part in path) or "the file"
    kind, found = error["type"], as_json(error.get("input"))
    if kind == "extra_forbidden":
        models = _models_at(model, loc[:-1])
        for each in models:
            if issubclass(each, Strict) and (reason := each.RETIRED.get(str(loc[-1]))):
                return file.locate(path, f"`{name}` is no longer a setting: {reason}")
        return file.locate(path, f"`{name}` is not a setting{nearest(str(loc[-1]), _names(models))}")
    if kind == "missing":
        missing = ".".join(str(part) for part in (*path, loc[-1]))
        return file.locate(path, f"`{missing}` is required")
    context = error.get("ctx")
    if kind == "union_tag_not_found" and isinstance(context, dict):
        return file.locate(path, f"`{name}.{str(context['discriminator']).strip(chr(39))}` is required")
    if kind == "union_tag_invalid" and isinstance(context, dict):
        tag, expected = str(context["tag"]), [name.strip(" '") for name in str(context["expected_tags"]).split(",")]
        field = str(context["discriminator"]).strip("'")
        near = nearest(tag, expected).partition("; allowed:")[0]
        message = f"`{name}.{field}`: found {tag!r}; allowed: {', '.join(expected)}{near}"
        return file.locate((*path, field), message)
    if kind == "bool_type":
        return file.locate(path, f"`{name}`: expected true or false; found {found}")
    if kind in ("model_type", "model_attributes_type"):
        return file.locate(path, f"`{name}`: expected settings of its own, such as `{{...: ...}}`; found {found}")
    message = str(error["msg"]).removeprefix("Value error, ")
    suffix = "" if kind == "value_error" else f"; found {found}"
    if kind == "literal_error" and isinstance(error.get("input"), str):
        suffix += nearest(str(error["input"]), re.findall(r"'([^']+)'", message))
    return file.locate(path, f"`{name}`: {message[:1].lower() + message[1:]}{suffix}")


def _written_path(data: Json, loc: tuple[str | int, ...]) -> KeyPath:
    """Return pydantic's location without the tags of unions, which the file does not contain."""
    path: list[str | int] = []
    value: Json = data
    for key in loc:
        is_key = isinstance(value, dict) and key in value
        if is_key or (isinstance(value, list) and isinstance(key, int) and key < len(value)):
            value = value[key]  # type: ignore[index]
            path.append(key)
    return tuple(path)


def _models_at(model: type[BaseModel], loc: KeyPath) -> list[type[BaseModel]]:
    """Return the models of the settings at `loc`, through nested models and tagged unions."""
    here: list[object] = [model]
    for key in loc:
        following: list[object] = []
        for kind in here:
            if get_origin(kind) in (dict, Mapping):  # its keys are names of the user's choice
                following += _models(get_args(kind)[1])
            elif isinstance(kind, type) and issubclass(kind, BaseModel):
                field = kind.model_fields.get(str(key))
                following += _models(field.annotation) if field else ([kind] if key in _tags(kind) else [])
        here = following if isinstance(key, str) else here
    return [kind for kind in here if isinstance(kind, type) and issubclass(kind, BaseModel)]


def _names(models: Sequence[type[BaseModel]]) -> list[str]:
    return [field.alias or name for model in models for name, field in model.model_fields.items()]


def _tags(kind: type[BaseModel]) -> list[object]:
    return [value for field in kind.model_fields.values() for value in getattr(field.annotation, "__args__", ())]


def _models(annotation: object) -> list[object]:
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    if is_model or get_origin(annotation) in (dict, Mapping):
        return [annotation]
    return [model for inner in getattr(annotation, "__args__", ()) for model in _models(inner)]

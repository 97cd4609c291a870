"""Reads YAML into strict, frozen pydantic models; one message lists all mistakes of a file, each with its line."""

import difflib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from corpus import units
from corpus.errors import InputError

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
KeyPath = tuple[str | int, ...]
MAX_FILE_BYTES = 1_000_000
MAX_FAULTS = 20  # lines of a message about a file that we wrote


class Strict(BaseModel):
    """Base of all settings and of all files that we write: strict and frozen."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


def _with_reason(parse: Callable[..., float]) -> Callable[[object], float]:
    def parse_or_explain(value: object) -> float:
        try:
            return parse(value)
        except InputError as error:
            raise ValueError(str(error)) from None

    return parse_or_explain


Quantity = Annotated[int, BeforeValidator(_with_reason(units.quantity))]
Share = Annotated[float, BeforeValidator(_with_reason(units.share))]
Model = TypeVar("Model", bound=Strict)


class SettingsFile:
    """A YAML file as JSON values, with the line number of each."""

    def __init__(self, name: str, data: Json, lines: dict[KeyPath, int]) -> None:
        self.name, self.data, self.lines = name, data, lines

    def line(self, path: KeyPath) -> int | None:
        """Return the line of the value at `path`, or of the closest value around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)


def read_yaml(path: Path, *, what: str) -> SettingsFile:
    """Read a settings file. Raises InputError if it is missing, empty, binary, too large or not plain YAML."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)  # bounded, because /dev/zero has no size
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot read this {what}: {getattr(error, 'strerror', error)}") from None
    if len(raw) > MAX_FILE_BYTES:
        raise InputError(f"{path}: over {MAX_FILE_BYTES} bytes; a {what} is a short YAML file")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not text (byte {error.start} is not UTF-8); a {what} is a YAML file") from None
    return parse_yaml(text, name=str(path), what=what)


def parse_yaml(text: str, *, name: str, what: str) -> SettingsFile:
    """Parse YAML 1.2 core values (no tags, anchors or duplicate keys). Raises InputError with line numbers."""
    try:
        node = yaml.compose(text, Loader=yaml.BaseLoader)  # a graph of nodes: constructs no objects
        if node is None:
            raise InputError(f"{name}: empty; a {what} needs at least its required fields")
        reader = _NodeReader()
        data = reader.value(node, ())
    except yaml.YAMLError as error:
        raise InputError(f"{name}: not valid YAML: {_on_one_line(error)}") from None
    except RecursionError:
        raise InputError(f"{name}: nested too deeply for a {what}") from None
    if reader.problems:
        raise InputError(_message(name, reader.problems))
    if not isinstance(data, dict):
        raise InputError(f"{name}: line 1: a {what} is a mapping of names to values; found {_as_json(data)}")
    return SettingsFile(name, data, reader.lines)


class _NodeReader:
    """Turns YAML nodes into JSON values, and collects constructs that a settings file may not use."""

    def __init__(self) -> None:
        self.lines: dict[KeyPath, int] = {}
        self.problems: list[tuple[int | None, str]] = []
        self._seen: set[int] = set()

    def value(self, node: yaml.Node, path: KeyPath) -> Json:
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        if id(node) in self._seen:
            self.problems.append((line, "anchors and aliases are not supported; write the value out"))
            return None
        self._seen.add(id(node))
        tag = node.tag or ""
        if tag.startswith("!") or "python" in tag:
            self.problems.append((line, f"the tag {tag!r} would build an object; only plain values are supported"))
            return None
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, (*path, index)) for index, child in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        assert isinstance(node, yaml.ScalarNode)
        return scalar(node.value) if node.style is None else str(node.value)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> Json:
        mapping: dict[str, Json] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append((line, "a key must be a plain name"))
                continue
            if key_node.value in mapping:
                self.problems.append((line, f"`{key_node.value}` is given twice"))
            self.lines[(*path, key_node.value)] = line
            mapping[key_node.value] = self.value(value_node, (*path, key_node.value))
        return mapping


_NULL, _BOOL = {"", "~", "null", "Null", "NULL"}, {"true": True, "false": False}
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


def scalar(text: str) -> Json:
    """Return a plain scalar by YAML 1.2's core schema, in which `no` is a string (and a language), not false."""
    if text in _NULL:
        return None
    if text.lower() in _BOOL:
        return _BOOL[text.lower()]
    if _INT.fullmatch(text) and len(text) < 19:
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) and len(text) < 40 else text


_KEY = re.compile(r'"([^"]+)"|([^."]+)')  # a key with dots in it is quoted


def override(file: SettingsFile, assignments: Sequence[str]) -> SettingsFile:
    """Apply `key.path=value` assignments. An element of a list is addressed by its `name` or by its index.

    A key with dots in it is quoted: `sources.web.bounds."gopher_quality.words".at_least=10`.

    Raises InputError for an assignment that does not fit the file's structure.
    """
    data: Json = json.loads(json.dumps(file.data))
    for assignment in assignments:
        path, equals, value = assignment.partition("=")
        if not equals or not path:
            raise InputError(f"--set {assignment}: expected key.path=value")
        *parents, last = (quoted or plain for quoted, plain in _KEY.findall(path))
        target = data
        for depth, key in enumerate(parents):
            target = _descend(target, key, f"--set {assignment}", ".".join(parents[:depth]))
        parsed = parse_yaml(f"value: {value}", name=f"--set {assignment}", what="value").data
        assert isinstance(parsed, dict)
        if isinstance(target, dict):
            target[last] = parsed["value"]
        elif isinstance(target, list) and last.isdigit() and int(last) < len(target):
            target[int(last)] = parsed["value"]
        else:
            raise InputError(f"--set {assignment}: `{'.'.join(parents)}` has no `{last}`")
    return SettingsFile(file.name, data, file.lines)


def _descend(target: Json, key: str, what: str, where: str) -> Json:
    if isinstance(target, dict):
        return target.setdefault(key, {})
    if isinstance(target, list):
        names = [element.get("name") if isinstance(element, dict) else None for element in target]
        if key in names:
            return target[names.index(key)]
        if key.isdigit() and int(key) < len(target):
            return target[int(key)]
        raise InputError(
            f"{what}: `{where}` has no element `{key}`{nearest(key, [n for n in names if isinstance(n, str)])}"
        )
    raise InputError(f"{what}: `{where}` is a value, not a group of settings")


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
        raise InputError(_message(file.name, problems)) from None
    if further and (found := further(checked)):
        raise InputError(_message(file.name, [(file.line(path), text) for path, text in found]))
    return checked


def _problem(model: type[BaseModel], file: SettingsFile, error: dict[str, object]) -> tuple[int | None, str]:
    loc = error["loc"]
    assert isinstance(loc, tuple)
    path = _written_path(file.data, loc)
    name = ".".join(str(part) for part in path) or "the file"
    kind, found = error["type"], _as_json(error.get("input"))
    if kind == "extra_forbidden":
        return file.line(path), f"`{name}` is not a setting{nearest(str(loc[-1]), allowed_names(model, loc[:-1]))}"
    if kind == "missing":
        missing = ".".join(str(part) for part in (*path, loc[-1]))
        return file.line(path), f"`{missing}` is required"
    context = error.get("ctx")
    if kind == "union_tag_not_found" and isinstance(context, dict):
        return file.line(path), f"`{name}.{str(context['discriminator']).strip(chr(39))}` is required"
    if kind == "union_tag_invalid" and isinstance(context, dict):
        tag, expected = str(context["tag"]), [name.strip(" '") for name in str(context["expected_tags"]).split(",")]
        field = str(context["discriminator"]).strip("'")
        near = nearest(tag, expected).partition("; allowed:")[0]
        message = f"`{name}.{field}`: found {tag!r}; allowed: {', '.join(expected)}{near}"
        return file.line((*path, field)), message
    if kind == "bool_type":
        return file.line(path), f"`{name}`: expected true or false; found {found}"
    if kind in ("model_type", "model_attributes_type"):
        return file.line(path), f"`{name}`: expected settings of its own, such as `{{...: ...}}`; found {found}"
    message = str(error["msg"]).removeprefix("Value error, ")
    suffix = "" if kind == "value_error" else f"; found {found}"
    if kind == "literal_error" and isinstance(error.get("input"), str):
        suffix += nearest(str(error["input"]), re.findall(r"'([^']+)'", message))
    return file.line(path), f"`{name}`: {message[:1].lower() + message[1:]}{suffix}"


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


def allowed_names(model: type[BaseModel], loc: KeyPath) -> list[str]:
    """Return the names of the settings allowed at `loc`, through nested models and tagged unions."""
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
    models = [kind for kind in here if isinstance(kind, type) and issubclass(kind, BaseModel)]
    return [field.alias or name for model in models for name, field in model.model_fields.items()]


def _tags(kind: type[BaseModel]) -> list[object]:
    return [value for field in kind.model_fields.values() for value in getattr(field.annotation, "__args__", ())]


def _models(annotation: object) -> list[object]:
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    if is_model or get_origin(annotation) in (dict, Mapping):
        return [annotation]
    return [model for inner in getattr(annotation, "__args__", ()) for model in _models(inner)]


class _Version(BaseModel):
    format_version: int


def read_versioned(model: type[Model], file: Path, what: str, remedy: str, *, version: int, max_bytes: int) -> Model:
    """Read a JSON file that we wrote in the format `version`.

    Raises InputError if it is missing, too large, of a newer format or malformed; the message lists every fault.
    """
    try:
        if file.stat().st_size > max_bytes:
            raise InputError(f"{file}: over {max_bytes} bytes; not {what}")
        raw = file.read_bytes()
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot read {what}: {getattr(error, 'strerror', error)}; {remedy}") from None
    try:
        # The version comes first: a newer format may have other fields.
        written = _Version.model_validate_json(raw).format_version
        if written > version:
            raise InputError(
                f"{file}: format_version {written}; this release reads up to {version}: install a newer one"
            )
        return model.model_validate_json(raw)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        lines = [f"  {'.'.join(map(str, fault['loc'])) or 'the file'}: {fault['msg']}" for fault in faults[:MAX_FAULTS]]
        more = [f"  and {len(faults) - MAX_FAULTS} more"] if len(faults) > MAX_FAULTS else []
        message = f"{file}: not {what} of format_version {version}; {remedy}"
        raise InputError("\n".join([message, *lines, *more])) from None


def nearest(name: str, allowed: Sequence[str]) -> str:
    """Return `; did you mean …?`, or the allowed names if none is close (the first few if there are many)."""
    close = difflib.get_close_matches(name, allowed, n=1)
    if close:
        return f"; did you mean `{close[0]}`?"
    names = sorted(allowed) if len(allowed) <= 12 else sorted(allowed)[:5]
    more = f" and {len(allowed) - len(names)} more" if len(names) < len(allowed) else ""
    return f"; allowed: {', '.join(names)}{more}" if allowed else ""


def _as_json(value: object) -> str:
    text = json.dumps(value, ensure_ascii=True, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _on_one_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}: " if mark else ""
    return where + str(getattr(error, "problem", None) or str(error).splitlines()[0])


def _message(name: str, problems: Sequence[tuple[int | None, str]]) -> str:
    lines = [
        f"  line {line}: {text}" if line else f"  {text}" for line, text in sorted(problems, key=lambda p: p[0] or 0)
    ]
    count = f"{len(problems)} mistake{'s' if len(problems) != 1 else ''}"
    return f"{name}: {count}\n" + "\n".join(lines)

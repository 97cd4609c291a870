"""YAML to pydantic: strict and frozen, all mistakes of a file in one message, each with its line."""

import difflib
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from corpus import units
from corpus.errors import InputError

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
Path_ = tuple[str | int, ...]
MAX_FILE_BYTES = 1_000_000


class Strict(BaseModel):
    """The base of whatever a person writes."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


def _says_why(parse: Callable[..., float]) -> Callable[[object], float]:
    def checked(value: object) -> float:
        try:
            return parse(value)
        except InputError as error:
            raise ValueError(str(error)) from None

    return checked


Quantity = Annotated[int, BeforeValidator(_says_why(units.quantity))]
Share = Annotated[float, BeforeValidator(_says_why(units.share))]
Model = TypeVar("Model", bound=Strict)


class Document:
    """A YAML file as plain JSON values, with the line of each."""

    def __init__(self, name: str, data: Json, lines: dict[Path_, int]) -> None:
        self.name, self.data, self.lines = name, data, lines

    def line(self, path: Path_) -> int | None:
        """The line of the value at `path`, or of the nearest thing around it that was written."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)


def read_yaml(path: Path, *, what: str) -> Document:
    """Reads a settings file. Raises InputError if it is missing, empty, binary, too large or not plain YAML."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)  # whatever size it claims: /dev/zero claims none
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot read this {what}: {getattr(error, 'strerror', error)}") from None
    if len(raw) > MAX_FILE_BYTES:
        raise InputError(f"{path}: over {MAX_FILE_BYTES} bytes; a {what} is a short YAML file")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not text (byte {error.start} is not UTF-8); a {what} is a YAML file") from None
    return parse_yaml(text, name=str(path), what=what)


def parse_yaml(text: str, *, name: str, what: str) -> Document:
    """Parses YAML 1.2 core values (no tags, anchors or duplicate keys). Raises InputError with line numbers."""
    try:
        node = yaml.compose(text, Loader=yaml.BaseLoader)  # a graph of nodes: nothing is constructed
        if node is None:
            raise InputError(f"{name}: empty; a {what} needs at least its required fields")
        walker = _Walker()
        data = walker.value(node, ())
    except yaml.YAMLError as error:
        raise InputError(f"{name}: not valid YAML: {_on_one_line(error)}") from None
    except RecursionError:
        raise InputError(f"{name}: nested too deeply for a {what}") from None
    if walker.problems:
        raise InputError(_message(name, walker.problems))
    if not isinstance(data, dict):
        raise InputError(f"{name}: line 1: a {what} is a mapping of names to values; found {_shown(data)}")
    return Document(name, data, walker.lines)


class _Walker:
    """Turns nodes into JSON values; collects what a settings file may not hold."""

    def __init__(self) -> None:
        self.lines: dict[Path_, int] = {}
        self.problems: list[tuple[int | None, str]] = []
        self._seen: set[int] = set()

    def value(self, node: yaml.Node, path: Path_) -> Json:
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        if id(node) in self._seen:
            self.problems.append((line, "anchors and aliases are not read; write the value out"))
            return None
        self._seen.add(id(node))
        tag = node.tag or ""
        if tag.startswith("!") or "python" in tag:
            self.problems.append((line, f"the tag {tag!r} would build an object; only plain values are read"))
            return None
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, (*path, index)) for index, child in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        assert isinstance(node, yaml.ScalarNode)
        return scalar(node.value) if node.style is None else str(node.value)

    def _mapping(self, node: yaml.MappingNode, path: Path_) -> Json:
        found: dict[str, Json] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append((line, "a key must be a plain name"))
                continue
            if key_node.value in found:
                self.problems.append((line, f"`{key_node.value}` is given twice"))
            self.lines[(*path, key_node.value)] = line
            found[key_node.value] = self.value(value_node, (*path, key_node.value))
        return found


_NULL, _BOOL = {"", "~", "null", "Null", "NULL"}, {"true": True, "false": False}
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


def scalar(text: str) -> Json:
    """A plain scalar by YAML 1.2's core schema: `no` is a word (and a language), not false."""
    if text in _NULL:
        return None
    if text.lower() in _BOOL:
        return _BOOL[text.lower()]
    if _INT.fullmatch(text) and len(text) < 19:
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) and len(text) < 40 else text


_KEY = re.compile(r'"([^"]+)"|([^."]+)')  # a key that holds dots is quoted


def override(document: Document, assignments: Sequence[str]) -> Document:
    """Applies `key.path=value` assignments; an element of a list is named by its `name`, or by its number.

    A key that holds dots is quoted: `sources.web.bounds."gopher_quality.words".at_least=10`.

    Raises InputError for an assignment that names nothing in the file's structure.
    """
    data: Json = json.loads(json.dumps(document.data))
    for assignment in assignments:
        path, equals, value = assignment.partition("=")
        if not equals or not path:
            raise InputError(f"--set {assignment}: expected key.path=value")
        *parents, last = (quoted or plain for quoted, plain in _KEY.findall(path))
        place = data
        for depth, key in enumerate(parents):
            place = _step(place, key, f"--set {assignment}", ".".join(parents[:depth]))
        parsed = parse_yaml(f"value: {value}", name=f"--set {assignment}", what="value").data
        assert isinstance(parsed, dict)
        if isinstance(place, dict):
            place[last] = parsed["value"]
        elif isinstance(place, list) and last.isdigit() and int(last) < len(place):
            place[int(last)] = parsed["value"]
        else:
            raise InputError(f"--set {assignment}: `{'.'.join(parents)}` holds no `{last}`")
    return Document(document.name, data, document.lines)


def _step(place: Json, key: str, what: str, where: str) -> Json:
    if isinstance(place, dict):
        return place.setdefault(key, {})
    if isinstance(place, list):
        names = [element.get("name") if isinstance(element, dict) else None for element in place]
        if key in names:
            return place[names.index(key)]
        if key.isdigit() and int(key) < len(place):
            return place[int(key)]
        raise InputError(
            f"{what}: `{where}` has no element `{key}`{nearest(key, [n for n in names if isinstance(n, str)])}"
        )
    raise InputError(f"{what}: `{where}` is a value, not a group of settings")


def validate(
    model: type[Model], document: Document, further: Callable[[Model], list[tuple[Path_, str]]] | None = None
) -> Model:
    """Checks all of a document at once; `further` finds what no field shows. Raises InputError with every mistake."""
    try:
        checked = model.model_validate_json(json.dumps(document.data))
    except ValidationError as error:
        errors = error.errors(include_url=False)
        told = [each for each in errors if each["type"] != "too_short" or not each["input"]]  # too short when written
        problems = [_problem(model, document, each) for each in told]  # type: ignore[arg-type]
        raise InputError(_message(document.name, problems)) from None
    if further and (found := further(checked)):
        raise InputError(_message(document.name, [(document.line(path), text) for path, text in found]))
    return checked


def _problem(model: type[BaseModel], document: Document, error: dict[str, object]) -> tuple[int | None, str]:
    loc = error["loc"]
    assert isinstance(loc, tuple)
    path = _written_path(document.data, loc)
    name = ".".join(str(part) for part in path) or "the file"
    kind, found = error["type"], _shown(error.get("input"))
    if kind == "extra_forbidden":
        return document.line(path), f"`{name}` is not a setting{nearest(str(loc[-1]), allowed_names(model, loc[:-1]))}"
    if kind == "missing":
        missing = ".".join(str(part) for part in (*path, loc[-1]))
        return document.line(path), f"`{missing}` is required"
    context = error.get("ctx")
    if kind == "union_tag_not_found" and isinstance(context, dict):
        return document.line(path), f"`{name}.{str(context['discriminator']).strip(chr(39))}` is required"
    if kind == "union_tag_invalid" and isinstance(context, dict):
        tag, expected = str(context["tag"]), [each.strip(" '") for each in str(context["expected_tags"]).split(",")]
        field = str(context["discriminator"]).strip("'")
        near = nearest(tag, expected).partition("; allowed:")[0]
        told = f"`{name}.{field}`: found {tag!r}; allowed: {', '.join(expected)}{near}"
        return document.line((*path, field)), told
    if kind == "bool_type":
        return document.line(path), f"`{name}`: expected true or false; found {found}"
    if kind in ("model_type", "model_attributes_type"):
        return document.line(path), f"`{name}`: expected settings of its own, such as `{{...: ...}}`; found {found}"
    message = str(error["msg"]).removeprefix("Value error, ")
    suffix = "" if kind == "value_error" else f"; found {found}"
    if kind == "literal_error" and isinstance(error.get("input"), str):
        suffix += nearest(str(error["input"]), re.findall(r"'([^']+)'", message))
    return document.line(path), f"`{name}`: {message[:1].lower() + message[1:]}{suffix}"


def _written_path(data: Json, loc: tuple[str | int, ...]) -> Path_:
    """pydantic's location less the tags of unions, which nobody wrote."""
    path: list[str | int] = []
    place: Json = data
    for key in loc:
        inside = isinstance(place, dict) and key in place
        if inside or (isinstance(place, list) and isinstance(key, int) and key < len(place)):
            place = place[key]  # type: ignore[index]
            path.append(key)
    return tuple(path)


def allowed_names(model: type[BaseModel], loc: Path_) -> list[str]:
    """The names of the settings that may stand at `loc`, through nested models and tagged unions."""
    here: list[object] = [model]
    for key in loc:
        following: list[object] = []
        for kind in here:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                field = kind.model_fields.get(str(key))
                following += _models(field.annotation) if field else ([kind] if key in _tags(kind) else [])
        here = following if isinstance(key, str) else here
    models = [kind for kind in here if isinstance(kind, type) and issubclass(kind, BaseModel)]
    return [field.alias or name for model in models for name, field in model.model_fields.items()]


def _tags(kind: type[BaseModel]) -> list[object]:
    return [value for field in kind.model_fields.values() for value in getattr(field.annotation, "__args__", ())]


def _models(annotation: object) -> list[object]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in getattr(annotation, "__args__", ()) for model in _models(inner)]


def nearest(name: str, allowed: Sequence[str]) -> str:
    """`; did you mean …?`, or the allowed names if none is near: a few of them if they are many."""
    close = difflib.get_close_matches(name, allowed, n=1)
    if close:
        return f"; did you mean `{close[0]}`?"
    shown = sorted(allowed) if len(allowed) <= 12 else sorted(allowed)[:5]
    more = f" and {len(allowed) - len(shown)} more" if len(shown) < len(allowed) else ""
    return f"; allowed: {', '.join(shown)}{more}" if allowed else ""


def _shown(value: object) -> str:
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

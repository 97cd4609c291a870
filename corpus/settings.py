"""Settings files: plain YAML with the line of each value, assignments on the command line, and our own JSON files.

`corpus/validation.py` checks them against strict, frozen pydantic models.
"""

import difflib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from corpus import units
from corpus.errors import InputError

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
KeyPath = tuple[str | int, ...]
Mistake = tuple[int | None, str]  # its line, if it has one, and its text
MAX_FILE_BYTES = 1_000_000
MAX_FAULTS = 20  # lines of a message about a file that we wrote


class Strict(BaseModel):
    """Base of all settings and of all files that we write: strict and frozen."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    RETIRED: ClassVar[Mapping[str, str]] = {}  # settings of earlier releases: the reason, and what to do


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
    """A YAML file as JSON values, with the line number of each, and the assignments that were applied to it."""

    def __init__(
        self, name: str, data: Json, lines: dict[KeyPath, int], assignments: tuple[tuple[KeyPath, str], ...] = ()
    ) -> None:
        self.name, self.data, self.lines, self.assignments = name, data, lines, assignments

    def line(self, path: KeyPath) -> int | None:
        """Return the line of the value at `path`, or of the closest value around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)

    def locate(self, path: KeyPath, text: str) -> Mistake:
        """Return a mistake in the value at `path` with its line, or with the assignment that set the value."""
        is_written = not path or path in self.lines  # else an assignment below may have created the group
        for assigned, assignment in reversed(self.assignments):
            if path[: len(assigned)] == assigned or (not is_written and assigned[: len(path)] == path):
                return None, f"{assignment}: {text}"
        return self.line(path), text

    def locate_joint(self, path: KeyPath, text: str) -> Mistake:
        """Return a mistake that involves several values, with the assignments that set any of them."""
        line, located = self.locate(path, text)
        if line is None:
            return line, located
        beside = [
            assignment
            for assigned, assignment in self.assignments
            if assigned[: len(path)] == path or (assigned[:-1] == path[:-1] and str(assigned[-1]) in text)
        ]
        return line, f"{text} ({', '.join(beside)})" if beside else text


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
        raise InputError(all_mistakes(name, reader.problems))
    if not isinstance(data, dict):
        raise InputError(f"{name}: line 1: a {what} is a mapping of names to values; found {as_json(data)}")
    return SettingsFile(name, data, reader.lines)


class _NodeReader:
    """Turns YAML nodes into JSON values, and collects constructs that a settings file may not use."""

    def __init__(self) -> None:
        self.lines: dict[KeyPath, int] = {}
        self.problems: list[Mistake] = []
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
    applied = list(file.assignments)
    for assignment in assignments:
        path, equals, value = assignment.partition("=")
        if not equals or not path:
            raise InputError(f"--set {assignment}: expected key.path=value")
        *parents, last = (quoted or plain for quoted, plain in _KEY.findall(path))
        target, at = data, list[str | int]()
        for depth, key in enumerate(parents):
            found, target = _descend(target, key, f"--set {assignment}", ".".join(parents[:depth]))
            at.append(found)
        parsed = parse_yaml(f"value: {value}", name=f"--set {assignment}", what="value").data
        assert isinstance(parsed, dict)
        if isinstance(target, dict):
            target[last] = parsed["value"]
        elif isinstance(target, list) and last.isdigit() and int(last) < len(target):
            target[int(last)] = parsed["value"]
        else:
            raise InputError(f"--set {assignment}: `{'.'.join(parents)}` has no `{last}`")
        applied.append(((*at, int(last) if isinstance(target, list) else last), f"--set {assignment}"))
    return SettingsFile(file.name, data, file.lines, tuple(applied))


def _descend(target: Json, key: str, what: str, where: str) -> tuple[str | int, Json]:
    """Return the key or index that `key` means in `target`, and the value there."""
    if isinstance(target, dict):
        return key, target.setdefault(key, {})
    if isinstance(target, list):
        names = [element.get("name") if isinstance(element, dict) else None for element in target]
        index = names.index(key) if key in names else int(key) if key.isdigit() else len(target)
        if index < len(target):
            return index, target[index]
        raise InputError(
            f"{what}: `{where}` has no element `{key}`{nearest(key, [n for n in names if isinstance(n, str)])}"
        )
    raise InputError(f"{what}: `{where}` is a value, not a group of settings")


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


def as_json(value: object) -> str:
    """Return a value as it is shown in a message, cut if it is long."""
    text = json.dumps(value, ensure_ascii=True, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _on_one_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}: " if mark else ""
    return where + str(getattr(error, "problem", None) or str(error).splitlines()[0])


def all_mistakes(name: str, problems: Sequence[Mistake]) -> str:
    """Return the message about all mistakes of a file, in the order of their lines."""
    lines = [
        f"  line {line}: {text}" if line else f"  {text}" for line, text in sorted(problems, key=lambda p: p[0] or 0)
    ]
    count = f"{len(problems)} mistake{'s' if len(problems) != 1 else ''}"
    return f"{name}: {count}\n" + "\n".join(lines)

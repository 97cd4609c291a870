"""Filters and formatters, of datatrove or the user's own, that a recipe names by import path.

Reading a recipe with steps imports the modules that it names, and only modules that Python finds by name.
"""

import importlib
import inspect
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, cast

from pydantic import Field, JsonValue, model_serializer, model_validator

from corpus.errors import InputError
from corpus.settings import Json, Strict, nearest

WORD_SPLITTERS = ("spacy", "nltk")  # datatrove splits words and sentences with these if a class has a `language`


class Step(Strict):
    """A class by its import path, and the arguments that it is made with. A bare path has none."""

    use: str
    arguments: dict[str, JsonValue] = Field(default_factory=dict, alias="with")

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, written: object) -> object:
        return {"use": written} if isinstance(written, str) else written

    @model_serializer
    def _written(self) -> dict[str, JsonValue]:
        return {"use": self.use, "with": self.arguments}


class LoadedStep(NamedTuple):
    """A step with its class."""

    name: str  # in the ledger: datatrove.C4QualityFilter; for its second use datatrove.C4QualityFilter_2
    step: Step
    kind: type
    arguments: dict[str, object]  # as the class takes them
    is_filter: bool

    def json(self) -> Json:
        """Return the step as it enters the fingerprint."""
        role = "filter" if self.is_filter else "formatter"
        return [self.name, role, self.step.use, cast(Json, self.step.arguments)]


def load(steps: Sequence[Step]) -> list[LoadedStep]:
    """Import the classes of the steps, without making instances. Raises InputError for the first invalid step."""
    loaded, uses = [], Counter[str]()
    for step in steps:
        kind = _import_class(step.use)
        if mistakes := [*_class_problems(step.use, kind), *_argument_problems(step, kind)]:
            raise InputError("\n".join(mistakes))
        uses[kind.__name__] += 1
        name = f"datatrove.{kind.__name__}" + (f"_{uses[kind.__name__]}" if uses[kind.__name__] > 1 else "")
        arguments = {key: _with_tuples(kind, key, value) for key, value in step.arguments.items()}
        is_filter = issubclass(kind, _base_classes()[0])
        loaded.append(LoadedStep(name, step, kind, arguments, is_filter))
    return loaded


def problems(step: Step) -> list[str]:
    """Return the mistakes for which `load` raises, one per line."""
    try:
        load([step])
    except InputError as error:
        return str(error).splitlines()
    return []


@cache
def _base_classes() -> tuple[Any, Any]:
    from datatrove.pipeline.filters.base_filter import BaseFilter  # heavy: loaded for recipes with steps alone
    from datatrove.pipeline.formatters.base import BaseFormatter

    return BaseFilter, BaseFormatter


def _import_class(use: str) -> type:
    module_name, _, name = use.rpartition(".")
    if not module_name or not all(part.isidentifier() for part in use.split(".")):
        raise InputError(f"{use[:100]!a} is not an import path such as datatrove.pipeline.filters.C4QualityFilter")
    if use.partition(".")[0] in {*sys.stdlib_module_names, "__main__"}:
        raise InputError(f"`{use}` is in Python's standard library, which has no filters")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise InputError(f"`{use}`: {error}; install it, or add its folder to PYTHONPATH") from None
    except (Exception, SystemExit) as error:  # an imported module may raise anything
        raise InputError(f"`{use}` cannot be imported: {type(error).__name__}: {error}") from None
    bases = _base_classes()
    steps = [key for key, value in vars(module).items() if isinstance(value, type) and issubclass(value, bases)]
    kind = getattr(module, name, None)
    if kind is None:
        raise InputError(f"`{module_name}` has no `{name}`{nearest(name, steps)}")
    if not isinstance(kind, type) or not issubclass(kind, bases):
        raise InputError(f"`{use}` is not a subclass of datatrove's BaseFilter or BaseFormatter")
    return kind


def _class_problems(use: str, kind: Any) -> Iterator[str]:
    from datatrove.pipeline.base import PipelineStep

    if inspect.isabstract(kind):
        yield f"`{use}` is abstract; name a class that implements `filter` or `format`"
        return
    if inspect.getattr_static(kind, "run") not in [base.run for base in _base_classes()]:
        yield f"`{use}` overrides `run`, which sees a stream of documents; steps must judge each document alone"
    try:
        PipelineStep.__new__(kind)  # only checks that the dependencies are installed
    except ImportError as error:
        yield f"`{use}`: {error}"


def _argument_problems(step: Step, kind: type) -> Iterator[str]:
    parameters = _parameters(kind)
    named = {name: one for name, one in parameters.items() if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)}
    catches_all = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    for name, value in step.arguments.items():
        for text, path in _named_files(value):
            if not path.is_absolute():
                yield (
                    f"`{step.use}`: `{name}` names the file {text!r} by a path relative to the current folder; "
                    "write it from / or from ~ (if no file is meant: one of that name is in this folder)"
                )
        if name == "exclusion_writer":
            yield f"`{step.use}`: `{name}` cannot be set; dropped documents are in the build's own files"
        elif name not in named and not catches_all:
            allowed = [key for key in named if key != "exclusion_writer"]
            yield f"`{step.use}` has no argument `{name}`{nearest(name, allowed)}"
    for name, parameter in named.items():
        required = name not in step.arguments and parameter.default is parameter.empty
        if "Callable" in str(parameter.annotation) and (required or name in step.arguments):
            yield f"`{step.use}`: `{name}` is a function, which YAML cannot hold; write a class of your own instead"
        elif required:
            yield f"`{step.use}`: the argument `{name}` is required"
        elif name == "seed" and step.arguments.get(name) is None:
            yield f"`{step.use}`: give a `seed`; without one its verdicts differ from run to run"
        elif name == "language" and kind.__module__.startswith("datatrove."):
            yield from _language_problems(step.use, step.arguments.get(name, parameter.default))


def _language_problems(use: str, language: object) -> Iterator[str]:
    try:
        importlib.import_module("datatrove.utils.word_tokenizers").load_word_tokenizer(language)
    except (ImportError, ValueError, TypeError) as error:
        yield f"`{use}`: {type(error).__name__}: {error}"


def _parameters(kind: Any) -> dict[str, inspect.Parameter]:
    return dict(list(inspect.signature(kind.__init__).parameters.items())[1:])  # without self


def _with_tuples(kind: type, name: str, value: JsonValue) -> object:
    """Convert a list to a tuple if the parameter takes only tuples, which YAML does not have."""
    parameter = _parameters(kind).get(name)
    annotation = str(parameter.annotation).lower() if parameter else ""
    return tuple(value) if isinstance(value, list) and "tuple" in annotation and "list" not in annotation else value


def step_versions(steps: Sequence[LoadedStep]) -> dict[str, Json]:
    """Return what affects the steps' output beside their arguments: library versions, and digests of files.

    The files are the modules of the classes and their bases (not what these import), and the files that an argument
    names at any depth, by an absolute path or one from ~.
    """
    from importlib.metadata import packages_distributions

    from corpus.store.products import sha256_file

    distributions = packages_distributions()
    files: dict[str, Path] = {}
    libraries: set[str] = set()
    for step in steps:
        for name in {base.__module__ for base in step.kind.__mro__}:
            package, source = name.partition(".")[0], getattr(sys.modules[name], "__file__", None)
            if package not in sys.stdlib_module_names and source:
                libraries.update(distributions.get(package, ()))
                files[name] = Path(source)
        files |= dict(_named_files(step.step.arguments))
        libraries |= _required_libraries(step.kind)
    digests: dict[str, Json] = {f"file of {name}": sha256_file(path) for name, path in sorted(files.items())}
    return {name: _version(name) for name in sorted(libraries)} | digests


def _named_files(value: JsonValue) -> Iterator[tuple[str, Path]]:
    """Yield all strings in a YAML value, including the keys of mappings, that name a file, each with its path."""
    if isinstance(value, str):
        with suppress(OSError, RuntimeError):  # too long for a path; an unknown user's home
            if (path := Path(value).expanduser()).is_file():
                yield value, path
    elif isinstance(value, (dict, list)):
        for inner in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from _named_files(inner)


def _required_libraries(kind: type) -> set[str]:
    """Return the distributions that a class states as required, or that its parameters imply."""
    parameters = _parameters(kind)
    stated = [entry for base in kind.__mro__ for entry in vars(base).get("_requires_dependencies", ())]
    implied = [*(WORD_SPLITTERS if "language" in parameters else ()), *(["numpy"] if "seed" in parameters else ())]
    return {entry if isinstance(entry, str) else entry[1] for entry in stated} | set(implied)


def _version(distribution: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return None

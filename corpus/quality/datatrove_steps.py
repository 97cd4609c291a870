"""Filters and formatters of datatrove, or of anyone, that a source of a recipe names by import path: what may be named.

Reading a recipe with steps imports the modules that it names, and nothing but modules that Python finds by name.
"""

import importlib
import inspect
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, cast

from pydantic import Field, JsonValue, model_serializer, model_validator

from corpus.errors import InputError
from corpus.settings import Json, Strict, nearest

FILTERS, FORMATTERS = "datatrove.pipeline.filters.base_filter", "datatrove.pipeline.formatters.base"
CUT_WORDS = ("spacy", "nltk")  # what datatrove cuts words and sentences with, where a class has a `language`


class Step(Strict):
    """A class by its import path, and the arguments that it is made with; a bare path has none."""

    use: str
    arguments: dict[str, JsonValue] = Field(default_factory=dict, alias="with")

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, written: object) -> object:
        return {"use": written} if isinstance(written, str) else written

    @model_serializer
    def _written(self) -> dict[str, JsonValue]:
        return {"use": self.use, "with": self.arguments}


class Loaded(NamedTuple):
    """A step whose class was found, with its arguments as the class takes them."""

    name: str  # datatrove.C4QualityFilter: what its drops are booked to; a second one's is datatrove.C4QualityFilter_2
    use: str
    kind: type
    written: dict[str, JsonValue]
    arguments: dict[str, object]
    is_filter: bool

    def json(self) -> Json:
        """Its name, what it is, and how the recipe asks for it."""
        return [self.name, "filter" if self.is_filter else "formatter", self.use, cast(Json, self.written)]


def load(steps: Sequence[Step]) -> list[Loaded]:
    """The steps' classes. Raises InputError for the first that cannot stand in a recipe; makes no instance."""
    found, count = [], Counter[str]()
    for step in steps:
        kind = _class(step.use)
        if mistakes := [*_refusals(step.use, kind), *_arguments_problems(step, kind)]:
            raise InputError("\n".join(mistakes))
        count[kind.__name__] += 1
        again = f"_{count[kind.__name__]}" if count[kind.__name__] > 1 else ""
        arguments = {name: _as_taken(kind, name, value) for name, value in step.arguments.items()}
        is_filter = issubclass(kind, importlib.import_module(FILTERS).BaseFilter)
        found.append(Loaded(f"datatrove.{kind.__name__}{again}", step.use, kind, step.arguments, arguments, is_filter))
    return found


def problems(step: Step) -> list[str]:
    """What keeps `load` from its answer, a line each."""
    try:
        load([step])
    except InputError as error:
        return str(error).splitlines()
    return []


def _class(use: str) -> type:
    module_name, _, name = use.rpartition(".")
    parts = use.split(".")
    if not module_name or not all(part.isidentifier() for part in parts):
        raise InputError(f"{use[:100]!a} is no import path, such as datatrove.pipeline.filters.C4QualityFilter")
    if parts[0] in {*sys.stdlib_module_names, "__main__"}:
        raise InputError(f"`{use}` is in Python's own library, which has no filters")
    try:
        module = importlib.import_module(module_name)
        bases = (importlib.import_module(FILTERS).BaseFilter, importlib.import_module(FORMATTERS).BaseFormatter)
    except ModuleNotFoundError as error:
        raise InputError(f"`{use}`: {error}; install it, or name its folder in PYTHONPATH") from None
    except (Exception, SystemExit) as error:  # whatever a module does when it is imported
        raise InputError(f"`{use}` cannot be imported: {_told(error)}") from None
    here = {key: value for key, value in vars(module).items() if isinstance(value, type) and issubclass(value, bases)}
    found = getattr(module, name, None)
    if found is None:
        raise InputError(f"`{module_name}` has no `{name}`{nearest(name, list(here))}")
    if not isinstance(found, type) or not issubclass(found, bases):
        raise InputError(f"`{use}` is no filter and no formatter: no subclass of datatrove's BaseFilter, BaseFormatter")
    return found


def _refusals(use: str, kind: type) -> Iterator[str]:
    """What is wrong with the class itself."""
    base = importlib.import_module("datatrove.pipeline.base").PipelineStep
    runs = (importlib.import_module(FILTERS).BaseFilter.run, importlib.import_module(FORMATTERS).BaseFormatter.run)
    if inspect.isabstract(kind):
        yield f"`{use}` is abstract: name a class that says how to filter or format"
        return
    if inspect.getattr_static(kind, "run") not in runs:
        yield f"`{use}` has a `run` of its own: it works on a stream, and says nothing of one document alone"
    try:
        base.__new__(kind)  # looks for what the class needs, and does no more
    except ImportError as error:
        yield f"`{use}`: {error}"


def _arguments_problems(step: Step, kind: type) -> Iterator[str]:
    parameters = _parameters(kind)
    catches_all = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    for name, value in step.arguments.items():
        for text in _texts(value):
            if (path := _file(text)) and not path.is_absolute():
                yield (
                    f"`{step.use}`: `{name}` names the file {text!r} by a path that depends on the folder one is in; "
                    "give it from / or from ~ on (if no file is meant: there is one of that name here)"
                )
    named = {key: each for key, each in parameters.items() if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)}
    writer = "exclusion_writer"
    for name in step.arguments:
        if name == writer:
            yield f"`{step.use}`: `{writer}` is not for a recipe: what is dropped lies in the build's own files"
        elif name not in named and not catches_all:
            yield f"`{step.use}` has no argument `{name}`{nearest(name, [each for each in named if each != writer])}"
    for name, parameter in named.items():
        given = name in step.arguments
        if "Callable" in str(parameter.annotation) and (given or parameter.default is parameter.empty):
            yield f"`{step.use}`: `{name}` is a function, which YAML cannot hold; write a class of your own instead"
        elif not given and parameter.default is parameter.empty:
            yield f"`{step.use}`: the argument `{name}` is required"
        elif name == "seed" and step.arguments.get(name) is None:
            yield f"`{step.use}`: give a `seed`; without one it draws anew each time"
        elif name == "language" and kind.__module__.startswith("datatrove."):
            yield from _language_problems(step.use, step.arguments.get(name, parameter.default))


def _language_problems(use: str, language: object) -> Iterator[str]:
    try:
        importlib.import_module("datatrove.utils.word_tokenizers").load_word_tokenizer(language)
    except (ImportError, ValueError, TypeError) as error:
        yield f"`{use}`: {_told(error)}"


def _parameters(kind: type) -> dict[str, inspect.Parameter]:
    """What its __init__ takes, less `self`."""
    return dict(list(inspect.signature(kind.__init__).parameters.items())[1:])  # type: ignore[misc]


def _as_taken(kind: type, name: str, value: JsonValue) -> object:
    """A list as a tuple where just that is asked for: YAML has no tuples."""
    parameter = _parameters(kind).get(name)
    asked = str(parameter.annotation).lower() if parameter else ""
    return tuple(value) if isinstance(value, list) and "tuple" in asked and "list" not in asked else value


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def decided_by(steps: Sequence[Loaded]) -> dict[str, Json]:
    """What decides their answers beside their arguments: versions of distributions, and digests of files.

    The files are the modules that the classes and their bases are written in (not what those import), and those that
    an argument names, at any depth: by an absolute path, or one from ~ on.
    """
    from importlib.metadata import packages_distributions

    owners = packages_distributions()
    files: dict[str, Path] = {}
    libraries: set[str] = set()
    for step in steps:
        for name in {each.__module__ for each in step.kind.__mro__}:
            top, source = name.partition(".")[0], getattr(sys.modules[name], "__file__", None)
            if top not in sys.stdlib_module_names and source:
                libraries.update(owners.get(top, ()))
                files[name] = Path(source)
        for text in _texts(step.written):
            if path := _file(text):
                files[text] = path
        libraries |= _needed(step.kind)
    return {**_versions(libraries), **_digests(files)}


def _texts(value: object) -> Iterator[str]:
    """All strings in what YAML holds, names of its maps among them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in (*value, *value.values()):
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def _file(text: str) -> Path | None:
    """The file that a text names, if there is one."""
    try:
        path = Path(text).expanduser()
        return path if path.is_file() else None
    except (OSError, RuntimeError):  # too long for a path; a home of nobody's
        return None


def _needed(kind: type) -> set[str]:
    """Distributions that a class says it needs, or that its parameters show."""
    parameters = _parameters(kind)
    stated = [each for base in kind.__mro__ for each in vars(base).get("_requires_dependencies", ())]
    found = {each if isinstance(each, str) else each[1] for each in stated}
    return (
        found | (set(CUT_WORDS) if "language" in parameters else set()) | ({"numpy"} if "seed" in parameters else set())
    )


def _versions(distributions: set[str]) -> dict[str, Json]:
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, Json] = {}
    for name in sorted(distributions):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def _digests(files: dict[str, Path]) -> dict[str, Json]:
    from corpus.store.products import sha256_file

    return {f"file of {name}": sha256_file(path) for name, path in sorted(files.items())}

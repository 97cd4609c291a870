"""Reads a profile: a YAML file that names an executor and its settings."""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, create_model

import pipelines.engine.executors
from corpus import settings
from corpus.errors import InputError
from corpus.settings import Strict
from pipelines.engine.profile import Profile


@cache
def catalog() -> Mapping[str, type[Profile]]:
    """Return all executors by file name: each file has a module-level `PROFILE`."""
    profiles = {}
    for module in sorted(pkgutil.iter_modules(pipelines.engine.executors.__path__), key=lambda m: m.name):
        profile = vars(importlib.import_module(f"pipelines.engine.executors.{module.name}")).get("PROFILE")
        if isinstance(profile, type) and issubclass(profile, Profile):
            profiles[module.name] = profile
    return profiles


def read_profile(name: str | None) -> Profile:
    """Return the profile in a file, or of that name in recipes/on/; without a name, this machine. Raises InputError."""
    if name is None:
        return catalog()["local"].model_validate({})
    for path in (Path(name), Path("recipes/on") / f"{name}.yaml"):
        if path.is_file():
            document = settings.read_yaml(path, what="profile")
            executor = settings.validate(_executor_choice(), document).model_dump()["executor"]
            return settings.validate(catalog()[executor], document)
    known = sorted(path.stem for path in Path("recipes/on").glob("*.yaml"))
    raise InputError(f"--on {name}: no such file, nor recipes/on/{name}.yaml{settings.nearest(name, known)}")


@cache
def _executor_choice() -> type[Strict]:
    """Return a model of `executor` alone, which decides the model for the rest."""

    class Choice(Strict):
        model_config = ConfigDict(extra="ignore")

    names = tuple(catalog())
    return create_model("Profile", __base__=Choice, executor=(Literal[names], "local"))  # type: ignore[arg-type]

"""The reference of settings: every key, read from the models that check it."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from unlearn.stages.config.boosted import BoostedOptions
from unlearn.stages.config.dataset import ArrayFeature
from unlearn.stages.config.params import Params
from unlearn.stages.config.settings_files import file_of
from unlearn.stages.estimators.registry import specs

#: Keys and sections of one pipeline alone; all others are of both.
_ONE_PIPELINE = {
    "aggregate": "exact",
    "dataset.held_out": "post-hoc",
    "sharding.shards": "exact",
    "sharding.slices": "exact",
    "sharding.switched_off": "exact",
    "unlearn": "post-hoc",
    "verify.negatives": "post-hoc",
    "verify.online": "post-hoc",
    "verify.references": "post-hoc",
}

#: What the types of values are called.
_KINDS = {bool: "boolean", int: "whole number", float: "number", str: "text", Any: "any value"}

#: How the limits of a number are written, by the attributes of pydantic's constraints.
_LIMITS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


@dataclass(frozen=True)
class Setting:
    """A key of the settings files.

    Parameters
    ----------
    key
        Its name with the names of its sections, separated by dots.
    kind, default
        Its type with the values that it may have, and its value if it is not given.
    meaning
        What it decides, in a sentence; empty where nothing says it.
    """

    key: str
    kind: str
    default: str
    meaning: str

    @property
    def pipelines(self) -> str:
        """The pipelines that read it: `exact`, `post-hoc` or `both`."""
        places = [name for name in _ONE_PIPELINE if f"{self.key}.".startswith(f"{name}.")]
        return _ONE_PIPELINE[places[0]] if places else "both"


def page() -> str:
    """Return the reference in Markdown."""
    lines = [
        "# Settings",
        "",
        "Every key of `params.yaml`, `schema.yaml` and `shards.yaml`, with its default and the",
        "values that it may have. This page is made from the program. Unknown keys are an error;",
        "only a `params.yaml` that other stages share may have sections of theirs.",
        "[Data, settings and models](../data.md) shows the files.",
        "",
        "The last column names the projects that read a key: *exact* ones, with shards or exact",
        "models, *post-hoc* ones, which unlearn from one model, or both.",
    ]
    for heading, explanation, found in sections():
        lines += ["", f"## {heading}", "", explanation, ""]
        lines += ["| key | meaning | type | default | projects |", "|---|---|---|---|---|"]
        lines += [
            f"| `{each.key}` | {_cell(each.meaning)} | {_cell(each.kind)} "
            f"| {_cell(each.default)} | {each.pipelines} |"
            for each in found
        ]
    return "\n".join(lines) + "\n"


def sections() -> Iterator[tuple[str, str, list[Setting]]]:
    """Yield all sections: a heading, what the section is for, and its keys."""
    yield "Top level", "The sections of `params.yaml`.", list(_settings(Params, ""))
    yield from _below(Params, "")
    models: dict[type[BaseModel], list[str]] = {}
    for spec in specs():
        if spec.options is not None:
            models.setdefault(spec.options, []).extend(spec.models or (spec.name,))
    for options, names in models.items():
        of = ", ".join(f"`{name}`" for name in names)
        heading = f"train.options of {names[0].rpartition('.')[2]}"
        yield (
            heading,
            f"The options of {of}. {_summary(options)}",
            list(_settings(options, "train.options.")),
        )


def _below(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, list[Setting]]]:
    for name, field in model.model_fields.items():
        inner = _section_of(field.annotation)
        if inner is None:
            continue
        key = f"{prefix}{name}"
        keys = list(_settings(inner, f"{key}."))
        if keys:
            yield key, _summary(inner), keys
        yield from _below(inner, f"{key}.")
        if key == "dataset":
            heading = "dataset.features, of pictures and tensors"
            of_arrays = list(_settings(ArrayFeature, "dataset.features.COLUMN."))
            yield heading, _summary(ArrayFeature), of_arrays


def _settings(model: type[BaseModel], prefix: str) -> Iterator[Setting]:
    meanings = _meanings(model)
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        meaning = meanings.get(name) or field.description or ""
        if not meaning and issubclass(model, BoostedOptions):
            meaning = f"As `{name}` of the library."
        file, _ = file_of(tuple(key.split(".")), "")
        if file != "params.yaml":
            meaning = f"{meaning} In `{file}`."
        yield Setting(key, _kind(field.annotation, field.metadata), _default(field), meaning)


@cache
def _meanings(model: type[BaseModel]) -> dict[str, str]:
    """Return the meaning of each field, from below it or from the docstring of its class."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if not issubclass(each, BaseModel) or each is BaseModel:
            continue
        parameters = re.split(r"(?m)^Parameters\n-+\n", inspect.getdoc(each) or "")[1:]
        for names, text in re.findall(r"(?m)^(\w[\w, ]*)\n((?:    .*\n?)+)", "".join(parameters)):
            found |= dict.fromkeys(names.split(", "), " ".join(text.split()))
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(each))).body
        body = tree.body if isinstance(tree, ast.ClassDef) else []
        for field, text in pairwise(body):
            if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
                continue
            if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                found[field.target.id] = " ".join(str(text.value.value).split())
    return found


def _summary(model: type[BaseModel]) -> str:
    """Return the paragraphs of a section's docstring, without its list of parameters."""
    text = re.split(r"(?m)^Parameters\n-+\n", inspect.getdoc(model) or "")[0]
    return text.strip()


def _section_of(annotation: Any) -> type[BaseModel] | None:
    """Return the section that a field holds, if it holds one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, UnionType, Annotated):
        found = [_section_of(each) for each in get_args(annotation)]
        return next((each for each in found if each is not None), None)
    return None


def _kind(annotation: Any, metadata: list[Any]) -> str:
    """Return a type in words, with its limits."""
    kind = _name(annotation)
    limits = [
        f"{words} {getattr(each, name)}"
        for each in metadata
        for name, words in _LIMITS.items()
        if getattr(each, name, None) is not None
    ]
    patterns = [each.pattern for each in metadata if getattr(each, "pattern", None)]
    limits += [f"matching `{pattern}`" for pattern in patterns]
    return ", ".join([kind, *limits])


def _name(annotation: Any) -> str:
    if annotation in _KINDS:
        return _KINDS[annotation]
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return "one of " + ", ".join(f"`{_written(value)}`" for value in inside)
    if origin is Annotated:
        metadata = [part for each in inside[1:] for part in _constraints(each)]
        return _kind(inside[0], metadata)
    if origin in (Union, UnionType):
        return " or ".join(_name(each) for each in inside if each is not NoneType)
    if origin in (list, dict):
        collection = "list of" if origin is list else "mapping to"
        return f"{collection}: {_name(inside[-1])}"
    return "section" if _section_of(annotation) is not None else "any value"


def _constraints(part: Any) -> list[Any]:
    return part.metadata if isinstance(part, FieldInfo) else [part]


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, BaseModel):
        return "its defaults"
    return "none" if value is None else f"`{_written(value)}`"


def _written(value: Any) -> str:
    """Return a value as YAML writes it in a line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value if value.strip() and value.isprintable() else repr(value)
    if isinstance(value, list):
        return "[" + ", ".join(_written(each) if each else "''" for each in value) + "]"
    return str(value)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")

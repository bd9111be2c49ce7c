"""The post-hoc methods of both modalities: each is declared once, beside its implementation.

A built-in method is a module by its name in `unlearn/tabular/` or `unlearn/text/` that calls
`register`; it is imported when the method is first asked for. Its settings are a section in
`stages/config`, where params.yaml is checked without loading any method.

A range of `ranges` spans what the method's paper and code use, its default within, and a decade or
two beyond where small networks trained with Adam may want something else: papers leave that open.
Momentum and weight decay have no range, since a rate makes up for them; nor has a setting that
decides precision alone, or how much is guaranteed.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from unlearn.stages.config.methods import (
    METHODS,
    add_method,
    gives_certificate,
    method_names,
)
from unlearn.stages.config.section import Modality, Section
from unlearn.stages.errors import InputError
from unlearn.stages.unlearn.base.ranges import Range

#: What a method is called with: a `tabular.problem.TabularProblem` or a `text.problem.TextProblem`.
Function = Callable[[Any], None]

#: What a method's result may be called: a value, or a function of the facts of its run. The facts
#: are empty where the method did not run.
Label = str | Callable[[Mapping[str, Any]], str]

#: What a method may need of the rows. `prompt`: a prompt that an answer follows, which running
#: text does not have.
Need = Literal["prompt"]


@dataclass(frozen=True)
class Method:
    """A post-hoc method.

    Parameters
    ----------
    name
        As in params.yaml.
    modality
        What it changes.
    settings
        The section of its settings; None for one of the user's own, whose settings are a dict.
    function
        Changes the model of a problem. None where the model is retrained: from the retain rows
        alone, reading neither the original nor the forget rows.
    label
        What its result may be called: `exact`, `approximate`, or `certified` with its numbers.
    ranges
        Where `tune` searches, by setting; empty where nothing is to be searched.
    needs
        What the rows must have for the method to apply.
    unread
        Returns the settings that are not read, given all of them; None where all are.
    """

    name: str
    modality: Modality
    settings: type[Section] | None
    function: Function | None
    label: Label = "approximate"
    ranges: Mapping[str, Range] = field(default_factory=dict)
    needs: frozenset[Need] = frozenset()
    unread: Callable[[Any], frozenset[str]] | None = None

    def ranges_of(self, settings: Any) -> Mapping[str, Range]:
        """Return where `tune` searches, without the settings that are not read with these."""
        unread = frozenset[str]() if self.unread is None else self.unread(settings)
        return {name: span for name, span in self.ranges.items() if name not in unread}

    @property
    def certifies(self) -> bool:
        """Whether its result may carry a certificate."""
        return gives_certificate(self.name, self.modality)

    def label_of(self, facts: Mapping[str, Any]) -> str:
        """Return what a result may be called.

        Parameters
        ----------
        facts
            Of the method's run; empty where it did not run.

        Raises
        ------
        ValueError
            If it calls its result certified, but has no epsilon and delta among its settings.
        """
        label = self.label if isinstance(self.label, str) else self.label(facts)
        if label.startswith("certified") and not self.certifies:
            raise ValueError(f"{self.name!r} has no settings of a certificate")
        return label


_METHODS: dict[tuple[Modality, str], Method] = {}


def register(method: Method) -> None:
    """Make a method known to params.yaml, to the stage and to `tune`.

    Raises
    ------
    ValueError
        If its modality has a method by that name, or other settings by that name.
    """
    key = method.modality, method.name
    if key in _METHODS:
        raise ValueError(f"there is a {method.modality} method {method.name!r} already")
    if method.settings is None:
        raise ValueError(f"{method.name!r} has no settings model")
    add_method(method.name, method.modality, method.settings)
    _METHODS[key] = method


def find_method(name: str, modality: Modality) -> Method:
    """Return a method by its name in params.yaml.

    Parameters
    ----------
    name
        A built-in method, or one that was registered.
    modality
        What it changes.

    Raises
    ------
    InputError
        If there is no such method.
    """
    key = modality, name
    if key not in _METHODS and name in METHODS[modality]:
        importlib.import_module(f"unlearn.stages.unlearn.{modality}.{name}")
    if key not in _METHODS:
        models = " for language models" if modality == "text" else ""
        raise InputError(f"unlearn.methods: there is no method {name!r}{models}")
    return _METHODS[key]


def all_methods(modality: Modality) -> dict[str, Method]:
    """Return all methods of a modality by name, in the order of tables."""
    return {name: find_method(name, modality) for name in method_names(modality)}

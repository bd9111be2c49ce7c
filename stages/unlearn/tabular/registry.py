"""The methods, by name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn
from unlearn.stages.config.methods import own_code
from unlearn.stages.errors import InputError
from unlearn.stages.project.user_code import load_function
from unlearn.stages.unlearn.tabular.bad_teacher import bad_teacher
from unlearn.stages.unlearn.tabular.certified_removal import certified_removal
from unlearn.stages.unlearn.tabular.finetune import finetune
from unlearn.stages.unlearn.tabular.gradient_ascent import gradient_ascent
from unlearn.stages.unlearn.tabular.influence import influence
from unlearn.stages.unlearn.tabular.negative_gradient_plus import negative_gradient_plus
from unlearn.stages.unlearn.tabular.problem import Run
from unlearn.stages.unlearn.tabular.retrain import retrain
from unlearn.stages.unlearn.tabular.rows import Rows
from unlearn.stages.unlearn.tabular.salun import salun
from unlearn.stages.unlearn.tabular.scrub import scrub
from unlearn.stages.unlearn.tabular.ssd import ssd

Kind = Literal["exact", "certified", "approximate"]

#: See `problem`.
Function = Callable[[nn.Module, Rows, Rows, Any, Run], nn.Module]


@dataclass(frozen=True)
class Method:
    """A method, and what its result may be called."""

    function: Function
    kind: Kind


METHODS: dict[str, Method] = {
    "retrain": Method(retrain, "exact"),
    "gradient_ascent": Method(gradient_ascent, "approximate"),
    "finetune": Method(finetune, "approximate"),
    "negative_gradient_plus": Method(negative_gradient_plus, "approximate"),
    "influence": Method(influence, "approximate"),
    "certified_removal": Method(certified_removal, "certified"),
    "scrub": Method(scrub, "approximate"),
    "ssd": Method(ssd, "approximate"),
    "salun": Method(salun, "approximate"),
    "bad_teacher": Method(bad_teacher, "approximate"),
}


def find_method(name: str, root: Path) -> Method:
    """Return a method by its name in params.yaml; one of the user's own is `approximate`.

    Parameters
    ----------
    name
        A built-in method, or `path/to/file.py:function`.
    root
        The project's folder; the user's file is run.

    Raises
    ------
    InputError
        If there is no such method, or its file does not load.
    """
    code = own_code(name)
    if code is None:
        if name not in METHODS:
            raise InputError(f"unlearn.methods: there is no method {name!r}")
        return METHODS[name]
    return Method(load_function(root / code[0], code[1], "unlearn.methods"), "approximate")

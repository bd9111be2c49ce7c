"""The methods for language models, by name."""

from collections.abc import Callable
from pathlib import Path

from unlearn.stages.config.methods import own_code
from unlearn.stages.errors import InputError
from unlearn.stages.project.user_code import load_function
from unlearn.stages.unlearn.text.idk_dpo import idk_dpo
from unlearn.stages.unlearn.text.methods import (
    finetune,
    gradient_ascent,
    gradient_difference,
    npo,
    simnpo,
)
from unlearn.stages.unlearn.text.problem import TextProblem
from unlearn.stages.unlearn.text.rmu import rmu
from unlearn.stages.unlearn.text.task_vector import task_vector

#: See `problem`. Training anew is none of them: it changes no model.
TextMethod = Callable[[TextProblem], None]

TEXT_METHODS: dict[str, TextMethod] = {
    "npo": npo,
    "simnpo": simnpo,
    "gradient_difference": gradient_difference,
    "gradient_ascent": gradient_ascent,
    "idk_dpo": idk_dpo,
    "rmu": rmu,
    "task_vector": task_vector,
    "finetune": finetune,
}


def find_text_method(name: str, root: Path) -> TextMethod:
    """Return a method by its name in params.yaml.

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
        if name not in TEXT_METHODS:
            raise InputError(f"unlearn.methods: there is no method {name!r} for language models")
        return TEXT_METHODS[name]
    return load_function(root / code[0], code[1], "unlearn.methods")

"""Which columns of a dataset have the text that a language model is trained on."""

from collections.abc import Mapping
from dataclasses import replace

from unlearn.cli.init.dataset.csv_format import find_csv
from unlearn.cli.init.request.request import InitRequest
from unlearn.cli.output import say
from unlearn.stages.errors import InputError
from unlearn.stages.reading.reading import Reading
from unlearn.stages.reading.records import file_columns

#: Columns by which a format is known, and what they are; the last ones may be missing.
_FORMATS: dict[str, dict[str, str]] = {
    "--messages messages": {"messages": "messages", "tools": "tools"},
    "--messages conversations": {"conversations": "messages", "tools": "tools"},
    "--prompt instruction --completion output": {
        "instruction": "prompt",
        "output": "completion",
        "input": "prompt_input",
    },
    "--prompt prompt --completion completion": {"prompt": "prompt", "completion": "completion"},
}

_OPTIONAL = frozenset({"prompt_input", "tools"})

_SAID = {
    "messages": "the chat",
    "tools": "the definitions of its functions",
    "prompt": "the prompt",
    "completion": "the completion",
    "input": "what goes behind the prompt",
}


def with_text_columns(request: InitRequest, id_: str) -> InitRequest:
    """Return a request that says which columns have text: by their names, if the user does not.

    Parameters
    ----------
    request
        What the user asks for.
    id_
        The column of record ids.

    Raises
    ------
    InputError
        If the options do not make up rows, or columns could mean two things, or nothing.
    """
    options = request.text
    if options.names_rows or request.dataset is None:
        return request
    found = _by_names(_columns(request, id_), request, id_)
    if len(found) > 1:
        raise InputError(
            "the columns can be read in more than one way",
            f"give {' or '.join(found)}",
        )
    if not found:
        return request  # the roles say what is missing
    ((_, columns),) = found.items()
    by_role = {role: column for column, role in columns.items()}
    named = replace(
        options,
        messages=by_role.get("messages"),
        tools=by_role.get("tools"),
        prompt=by_role.get("prompt"),
        prompt_input=by_role.get("prompt_input"),
        completion=by_role.get("completion"),
    )
    return replace(request, text=named)


def say_about_columns(request: InitRequest, features: Mapping[str, str]) -> None:
    """Say what columns were taken for by their names."""
    if not request.text.names_rows:
        said = [
            f"{column!r} as {_SAID[role]}" for column, role in features.items() if role in _SAID
        ]
        say(f"note: by their names, {', '.join(said)}")


def _by_names(columns: list[str], request: InitRequest, id_: str) -> dict[str, dict[str, str]]:
    """Return the formats that columns make up, each with the columns that it has here."""
    options = request.text
    taken = {id_, request.subject, options.paraphrase, *options.perturbed, options.topic}
    there = [column for column in columns if column not in taken]
    return {
        name: {column: role for column, role in roles.items() if column in there}
        for name, roles in _FORMATS.items()
        if all(column in there for column, role in roles.items() if role not in _OPTIONAL)
    }


def _columns(request: InitRequest, id_: str) -> list[str]:
    """Return the columns that any file of the dataset has."""
    path = request.dataset
    assert path is not None  # noqa: S101 - for the type checker
    reading = Reading(multiline=request.has_line_ends, csv=find_csv(request, [id_]))
    by_file = file_columns(path, path.name, None, reading)
    return list(dict.fromkeys(column for columns in by_file.values() for column in columns))

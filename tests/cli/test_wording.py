"""Errors in Python name parameters and methods, and no options of commands."""

import ast
import inspect
import re
from pathlib import Path

import pytest
from unlearn import InputError, Project
from unlearn.wording import in_python, in_words

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("method", "said", "expected"),
    [
        ("repro", "--command belongs to --engine command", 'command belongs to engine="command"'),
        ("repro", "run `unlearn repro` without --engine", "run `project.repro()` without engine"),
        ("repro", "give either --switch-off or --now", "give either switch_off=True or now=True"),
        ("forget", "--ignore-unknown skips them", 'unknown="skip" skips them'),
        ("forget", "--received 2031-01-01 is in the", "received 2031-01-01 is in the"),
        ("forget", "name the ids with --ids, --id or --subjects", "name the ids with ids, ids or"),
        ("forget", "`unlearn forget --lost` puts them back", "`unlearn forget --lost` puts them"),
        ("verify", "see `unlearn verify --full`", "see `project.verify(full=True)`"),
        ("verify", "`unlearn doctor` names them", "`unlearn doctor` names them"),
        ("verify", "`git branch --all` lists them", "`git branch --all` lists them"),
        ("load_model", "allow it with --trust-code (in Python trust_code=True)", "allow it with t"),
        ("plan", "--debug shows where", None),
        ("audit", "--rerun takes a number", "rerun takes a number"),
        ("repro", "`unlearn repro --jobs 4`", "`project.repro(jobs=...)`"),
        ("repro", "`unlearn repro --now --jobs 4`", "`project.repro(now=True, jobs=...)`"),
        (
            "forget",
            "starts like this: `unlearn forget --id`",
            "starts like this: `project.forget(ids=",
        ),
        ("verify", "data/a--full.csv: no rows", "data/a--full.csv: no rows"),
        ("verify", "data/a--debug.csv: no rows", "data/a--debug.csv: no rows"),
    ],
)
def test_options_are_parameters(method: str, said: str, expected: str | None) -> None:
    found = in_words(said, inspect.signature(getattr(Project, method)).parameters)

    assert (found or "").startswith(expected or "")
    assert (found is None) is (expected is None)


def hints_in_code() -> list[str]:
    """Return all sentences that errors are made of, with `x` for what is filled in."""
    found = []
    for path in (*ROOT.glob("stages/**/*.py"), *ROOT.glob("cli/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and "Error" in ast.unparse(node.func):
                for part in node.args:
                    values = part.values if isinstance(part, ast.JoinedStr) else [part]
                    texts = [str(v.value) if isinstance(v, ast.Constant) else "x" for v in values]
                    found.append("".join(texts))
    return found


def test_no_option_is_left_in_any_sentence() -> None:
    sentences = hints_in_code()
    assert sum("--" in text for text in sentences) > 100
    for name in ("forget", "plan", "repro", "verify", "audit", "load_model"):
        parameters = inspect.signature(getattr(Project, name)).parameters
        for text in sentences:
            plain = re.sub(r"`[a-z][^`]*`", "", in_words(text, parameters) or "")
            assert not re.search(r"--[a-z]", plain), (name, text)


def test_it_is_the_same_error() -> None:
    wanted = InputError("--jobs: no", "see --jobs", "see --debug")

    @in_python
    def other(jobs: int) -> None:
        del jobs
        raise wanted

    with pytest.raises(InputError, match="^jobs: no$") as raised:
        other(1)
    assert raised.value is wanted
    assert raised.value.hints == ("see jobs",)

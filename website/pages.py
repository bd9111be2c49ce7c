"""The pages of the site that are made from the code, so that they cannot say something else."""

import inspect
import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import groupby
from typing import Any

from unlearn.cli.app import COMMANDS, app
from unlearn.cli.lazy import Entry, declared, load
from unlearn.cli.schemas import schemas

from website import settings
from website.links import ROOT

#: What options take, by the types that Click names where an option has no word for it.
_TAKEN = {
    "float range": "NUMBER",
    "int range": "N",
    "list[Path]": "...",
    "list[str]": "TEXT",
    "path": "PATH",
    "str": "TEXT",
}

#: Paths below `docs/` of the pages that are made.
GENERATED_PAGES = (
    "reference/command-line.md",
    "reference/settings.md",
    "reference/glossary.md",
    "reference/schemas.md",
)


def generated() -> dict[str, str]:
    """Return the pages in Markdown, by path below `docs/`."""
    texts = (command_line(COMMANDS), settings.page(), glossary(), schema_list())
    return dict(zip(GENERATED_PAGES, texts, strict=True))


def cell(text: str) -> str:
    """Return a text as it stands in a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def command_line(commands: Mapping[str, Entry]) -> str:
    """Return the reference of the command line: every command with its options and exit codes."""
    lines = [
        "# Command line",
        "",
        "Every command, with its options, their defaults and the keys of its JSON. This page is",
        "made from the program. [What commands do](../commands.md) explains what they read, change",
        "and refuse. The schema above each table of keys also has the keys of the objects within.",
        "",
        "## Exit codes",
        "",
        "| code | meaning |",
        "|---|---|",
    ]
    lines += [f"| {code} | {cell(meaning)} |" for code, meaning in exit_codes()]
    panels: dict[str, list[str]] = {}
    for name, entry in commands.items():
        panels.setdefault(entry.panel, []).append(name)
    lines += ["", "## All commands", "", "| command | what it does |", "|---|---|"]
    for names in panels.values():
        for name in names:
            anchor = "unlearn-" + name.replace(" ", "-")
            lines.append(f"| [`{name}`](#{anchor}) | {cell(commands[name].summary)} |")
    for panel, names in panels.items():
        lines += ["", f"## {panel}"]
        for name in names:
            lines += ["", *_command(name, commands[name])]
    return "\n".join(lines) + "\n"


def exit_codes() -> list[tuple[str, str]]:
    """Return the exit codes with their meanings, as the help lists them."""
    epilog = app.info.epilog
    found = re.findall(
        r"(?ms)^  (\d+) +(.*?)(?=^  \d|\Z)", epilog if isinstance(epilog, str) else ""
    )
    return [(code, meaning) for code, meaning in found]


def _command(name: str, entry: Entry) -> Iterator[str]:
    command: Any = load(name, entry)
    context = command.make_context(f"unlearn {name}", [], resilient_parsing=True)
    yield f"### unlearn {name}"
    yield ""
    # A form feed in Click's texts keeps lines as they are.
    yield from (command.help or "").replace("\b", "").splitlines()
    rows: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is None:
            continue
        kind = "Arguments" if parameter.param_type_name == "argument" else "Options"
        rows[kind].append(record)
    for kind, records in rows.items():
        if not records:
            continue
        yield from ["", f"| {kind.lower().rstrip('s')} | meaning |", "|---|---|"]
        for names, meaning in records:
            shown = _plain(names)
            if kind == "Arguments":  # its name says what it takes
                shown = names.split()[0].upper() + (" ..." if shown.endswith("...") else "")
            yield f"| `` {cell(shown)} `` | {cell(_sentences(meaning))} |"
    # What ends with 1 says so in its code; the other codes are those of errors, which any can have.
    finds = "typer.Exit(1)" in inspect.getsource(declared(entry).function)
    codes = "0, or 1 for a finding" if finds else "0"
    more = f" [More](../commands.md#{name})." if name in explained() else ""
    yield from ["", f"Exit code: {codes}; [others](#exit-codes) for errors.{more}"]
    yield from ["", "```text", *_example(command), "```"]
    schema = name.replace(" ", "-")
    if found := json_keys(schema):
        yield from ["", f"| key of [`--json`](../schemas/{schema}.json) | meaning |", "|---|---|"]
        for meaning, keys in groupby(found, key=found.__getitem__):
            yield f"| {', '.join(f'`{key}`' for key in keys)} | {cell(meaning)} |"


@cache
def explained() -> frozenset[str]:
    """Return the commands that have a section of `docs/commands.md`."""
    text = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    return frozenset(re.findall(r"(?m)^## ([a-z-]+)$", text))


def json_keys(name: str) -> dict[str, str]:
    """Return the keys of what a command prints for `--json`, with their meanings.

    Parameters
    ----------
    name
        The schema's. Where a command has several answers, the keys are those of all of them.
    """
    schema = schemas().get(name, {})
    answers = [schema["$defs"][each["$ref"].rpartition("/")[2]] for each in schema.get("anyOf", [])]
    keys: dict[str, str] = {}
    for answer in answers or [schema]:
        for key, value in answer.get("properties", {}).items():
            meaning = re.sub(r"\bNone\b", "null", value["description"])
            keys.setdefault(key, meaning.replace("True", "true").replace("False", "false"))
    keys.pop("schema_version", None)
    return keys


def _plain(names: str) -> str:
    """Return the names of a parameter with what it takes, where Click has the name of a type."""
    for kind, word in _TAKEN.items():
        names = names.replace(f"<{kind}>", word)
    return names


def _sentences(meaning: str) -> str:
    """Return the help of a parameter, with what stands in brackets behind it as sentences."""
    text, _, facts = meaning.partition("  [")
    found = [text]
    for fact in filter(None, facts.rstrip("]").split("; ")):
        name, _, value = fact.partition(": ")
        if name == "default":
            found.append(f"Default: `{value}`.")
        elif name == "env var":
            found.append(f"Environment variable: `{value}`.")
        elif name == "required":
            found.append("Required.")
        else:
            found.append(f"Allowed: `{fact}`.")
    return " ".join(found)


def _example(command: Any) -> list[str]:
    return [line.strip() for line in str(command.epilog or "").splitlines() if line.strip()]


def glossary() -> str:
    """Return the glossary of `docs/design.md` as a page, each term with an anchor."""
    text = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    section = re.search(r"(?ms)^## Glossary\n(.*?)(?=^## )", text)
    if section is None:
        raise ValueError("docs/design.md has no section `Glossary`")
    body = re.sub(
        r"(?m)^\| (?!term \|)([^|]+?) \|",
        lambda match: (
            f'| <span id="{re.sub(r"[^a-z]+", "-", match[1].lower())}">{match[1]}</span> |'
        ),
        section[1],
    )
    return f"# Glossary\n{body}"


def schema_list() -> str:
    """Return the page that lists the JSON schemas."""
    lines = [
        "# JSON schemas",
        "",
        "What `--json` prints, and the two reports, as JSON schemas (draft 2020-12).",
        "",
        "| schema | of |",
        "|---|---|",
    ]
    for name in schemas():
        of = {
            "error": "an error of any command",
            "verify_report": "`reports/verify.json`",
            "verdict": "`reports/verdict.json`",
        }.get(
            name,
            f"`unlearn {name.replace('-', ' ', 1) if name.startswith('receipt') else name} --json`",
        )
        lines.append(f"| [{name}.json](../schemas/{name}.json) | {of} |")
    return "\n".join(lines) + "\n"

"""JSON schemas of what `--json` prints.

`python -m unlearn.cli.schemas docs/schemas` writes them.
"""

import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from unlearn.cli.answers import ErrorAnswer
from unlearn.cli.app import COMMANDS
from unlearn.cli.lazy import declared
from unlearn.stages.verify_report.public import PublicReport
from unlearn.stages.verify_report.report import Report

#: A name, or several, and their indented text in the section `Parameters` of a docstring.
_PARAMETER = re.compile(r"^(\w[\w, ]*)\n((?:    .*\n?)+)", re.MULTILINE)

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Generate(GenerateJsonSchema):
    """Schemas whose keys have descriptions, and no titles, which would only repeat the names."""

    def model_schema(self, schema: Any) -> dict[str, Any]:
        found = super().model_schema(schema)
        _explain(found, schema["cls"])
        return found

    def dataclass_schema(self, schema: Any) -> dict[str, Any]:
        found = super().dataclass_schema(schema)
        _explain(found, schema["cls"])
        return found

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - pydantic's interface
        return False


def schemas() -> dict[str, dict[str, Any]]:
    """Return the schemas of every command's answer, of errors and of both reports, by name."""
    answers = {name.replace(" ", "-"): declared(entry).answer for name, entry in COMMANDS.items()}
    answers |= {"error": ErrorAnswer, "verify_report": Report, "verdict": PublicReport}
    return {name: _schema(answer) for name, answer in answers.items() if answer is not None}


def files() -> dict[str, str]:
    """Return the files to write, by name."""
    return {
        f"{name}.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        for name, schema in schemas().items()
    }


def _explain(schema: dict[str, Any], model: type) -> None:
    """Describe the keys of a JSON schema by the docstrings of its model or dataclass.

    The schema allows more keys: it has to hold for the answers of newer versions too.
    """
    schema.pop("additionalProperties", None)
    for kind in reversed(model.__mro__):
        summary, _, rest = (inspect.getdoc(kind) or "").partition("\n\nParameters\n----------\n")
        for names, text in _PARAMETER.findall(rest):
            for name in names.split(", "):
                if name in schema["properties"]:
                    schema["properties"][name]["description"] = " ".join(text.split())
    schema["description"] = " ".join(summary.split())


def _schema(answer: Any) -> dict[str, Any]:
    adapter = TypeAdapter(answer)
    schema = adapter.json_schema(mode="serialization", schema_generator=_Generate)
    return {"$schema": _DIALECT, **schema}


def _write(folder: Path) -> None:
    """Write all schemas into a folder, and delete those of commands that no longer exist."""
    folder.mkdir(parents=True, exist_ok=True)
    new = files()
    for path in folder.glob("*.json"):
        if path.name not in new:
            path.unlink()
    for name, text in new.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    _write(Path(sys.argv[1]))

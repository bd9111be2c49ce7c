"""The stage as tests run it: every report that it writes is read back and compared."""

from typing import Any

from unlearn.stages.context import Context
from unlearn.stages.verify import stage
from unlearn.stages.verify_report.reading import read_report
from unlearn.stages.verify_report.report import SCHEMA_VERSION

from tests.stages.conftest import read_json


def run(context: Context) -> dict[str, Any]:
    """Run the stage and return the content of reports/verify.json.

    Whoever reads the file gets what the stage returned, of the kind and modality of the project.
    """
    report = stage.run(context)
    written = read_json(context.project.report)

    assert read_report(context.project) == report
    assert report.as_json() == written
    assert written["schema_version"] == SCHEMA_VERSION
    assert (written["kind"], written["modality"]) == (context.params.kind, context.params.modality)
    found: dict[str, Any] = written
    return found

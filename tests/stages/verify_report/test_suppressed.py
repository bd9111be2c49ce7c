"""What git may know of rows of erased people that came back."""

import pytest
from unlearn.stages.verify_report.public import SUPPRESSED_ROWS, public_part
from unlearn.stages.verify_report.report import Report


@pytest.mark.parametrize(
    ("rows", "told"), [(None, False), (0, False), (9, False), (10, True), (11, True)]
)
def test_git_has_a_sentence_from_the_fewest_rows_on(rows: int | None, told: bool) -> None:
    report = Report(kind="exact", modality="tabular", suppressed=rows)
    public = public_part(report, min_rows=10).as_json()
    # In words alone: two counts could be subtracted.
    assert public.get("suppressed") == (SUPPRESSED_ROWS if told else None)
    assert ("suppressed" in public) == told

"""What commands say of requests that wait for each other."""

from datetime import date

from unlearn.cli.answers import AnswerPart
from unlearn.cli.output import plural
from unlearn.stages.requests.batch import Batch


class BatchAnswer(AnswerPart):
    """The requests that are not applied yet, where `requests.batch` lets them wait.

    Parameters
    ----------
    waiting
        How many they are.
    counted
        How many of them count: rows that models are trained on may go with them.
    at_least
        How many have to count for a run.
    due
        The day on which they are applied at the latest; None if no request waits.
    is_due
        Whether a run applies them now.
    reason
        Why it is this day; None if no request waits.
    """

    waiting: int
    counted: int
    at_least: int
    due: date | None
    is_due: bool
    reason: str | None


def batch_answer(batch: Batch | None) -> BatchAnswer | None:
    """Return a batch as an answer; None where the settings let no request wait."""
    if batch is None:
        return None
    return BatchAnswer(
        waiting=batch.waiting,
        counted=batch.counted,
        at_least=batch.at_least,
        due=None if batch.due is None else batch.due.day,
        is_due=batch.is_due,
        reason=None if batch.due is None else batch.due.reason,
    )


def holds(answer: BatchAnswer | None) -> bool:
    """Return whether `unlearn repro` applies nothing for now."""
    return answer is not None and answer.due is not None and not answer.is_due


def describe_batch(answer: BatchAnswer | None) -> list[str]:
    """Return the line on a batch; none if no request waits."""
    if answer is None or answer.due is None:
        return []
    if answer.is_due:
        return [f"batch: due now, because {answer.reason}"]
    return [f"batch: {_still_waiting(answer)}"]


def describe_hold(answer: BatchAnswer) -> str:
    """Return why nothing was run."""
    return (
        f"nothing was run: {_still_waiting(answer)}\n"
        "`unlearn repro --now` does not wait, and logs that"
    )


def _still_waiting(answer: BatchAnswer) -> str:
    missing = answer.at_least - answer.counted
    verb = "waits" if answer.waiting == 1 else "wait"
    return (
        f"{plural(answer.waiting, 'request')} {verb} for {missing:,} more, until {answer.due} at "
        f"the latest ({answer.reason})"
    )

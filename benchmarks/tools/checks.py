"""The ten checks. A check that a tool does not pass says what happened instead."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import processor_time
from benchmarks.tools.adapter import RefusedError, Rows, Tool
from benchmarks.tools.leftovers import files_with_rows

UNKNOWN = "row-nobody-has"

#: Checks by name, in the order of the table, each with the question that it answers.
QUESTIONS: Mapping[str, str] = {
    "repeated": "Does the same request, given twice, leave the model of the first time?",
    "second request": "Do two requests give the model of one request for all of these rows?",
    "order": "Do two requests give the same model in both orders?",
    "unknown id": "Is a request for a row that nobody has refused, and nothing changed?",
    "leftovers": "Is no forgotten row left in a file of the tool?",
    "clean room": "Is the model, byte for byte, the one that never had the rows?",
    "untouched model": "Does the tool's verifier fail a model that still has the rows?",
    "retrained model": "Does the tool's verifier pass a model that never had the rows?",
    "cost": "Does a request take less processor time than training on what is left?",
    "outputs": "Are the outputs nearer to the retrained model's than to the original's?",
}


@dataclass(frozen=True)
class Finding:
    """The result of a check.

    Parameters
    ----------
    holds
        Whether the answer is yes; None if the question does not apply.
    detail
        What was seen.
    """

    holds: bool | None
    detail: str = ""

    def __str__(self) -> str:
        word = {True: "yes", False: "no", None: "-"}[self.holds]
        return f"{word}: {self.detail}" if self.detail else word


@dataclass(frozen=True)
class Case:
    """What all tools are asked.

    Parameters
    ----------
    rows
        Training rows.
    first, second
        Names of the rows of two requests, which have none in common.
    others
        Features of rows that are in no training, shape (m, d).
    """

    rows: Rows
    first: tuple[str, ...]
    second: tuple[str, ...]
    others: NDArray[np.float64]


class Checks:
    """All checks of one tool; a project is trained when a check first needs it."""

    def __init__(self, make: Callable[[Path], Tool], folder: Path, case: Case) -> None:
        self._make, self._folder, self._case = make, folder, case

    def run(self) -> dict[str, Finding]:
        """Return the finding of each check."""
        case, both = self._case, (*self._case.first, *self._case.second)
        found: dict[str, Finding] = {}
        untouched, _ = self._trained("untouched", case.rows)
        rest = case.rows.without(case.first)
        clean, training = self._trained("clean", rest, like=untouched)
        tool, _ = self._trained("requests", case.rows)

        request = _seconds(lambda: tool.forget(case.first))
        forgotten = dict(tool.models())
        found["clean room"] = _same(forgotten, clean.models())
        found["cost"] = Finding(request < training, f"{request / training:.2f} of a training")
        found["outputs"] = self._outputs(tool, clean, untouched)
        tool.forget(case.first)
        found["repeated"] = _same(tool.models(), forgotten)
        found["unknown id"] = self._unknown(tool)

        judged, _ = self._trained("judged", case.rows)
        judged.forget(case.first)
        for name, verdict, right in (
            ("untouched model", judged.verify_untouched(untouched), "fail"),
            ("retrained model", judged.verify_retrained(clean), "pass"),
        ):
            detail = "" if verdict == right else f"its verdict is {verdict}"
            found[name] = Finding(None if verdict == "none" else verdict == right, detail)

        twice, _ = self._trained("twice", case.rows)
        for request_ids in (case.first, case.second):
            twice.forget(request_ids)
        at_once, _ = self._trained("at once", case.rows)
        at_once.forget(both)
        reverse, _ = self._trained("reverse", case.rows)
        for request_ids in (case.second, case.first):
            reverse.forget(request_ids)
        found["second request"] = _same(twice.models(), at_once.models())
        found["order"] = _same(twice.models(), reverse.models())
        found["leftovers"] = self._leftovers(twice, self._folder / "twice", both)
        return {name: found[name] for name in QUESTIONS}

    def _trained(self, name: str, rows: Rows, like: Tool | None = None) -> tuple[Tool, float]:
        """Return a project that was trained on rows, and the processor time that it took."""
        folder = self._folder / name
        folder.mkdir(parents=True)
        tool = self._make(folder)
        return tool, _seconds(lambda: tool.train(rows, like))

    def _unknown(self, tool: Tool) -> Finding:
        before = dict(tool.models())
        try:
            tool.forget([UNKNOWN])
        except RefusedError:
            return _same(tool.models(), before)
        same = tool.models() == before
        return Finding(False, f"accepted, the model {'is the same' if same else 'changed'}")

    def _outputs(self, tool: Tool, clean: Tool, untouched: Tool) -> Finding:
        """Compare mean distances of outputs, on forgotten rows and on rows of no training."""
        features = np.vstack([self._case.rows.named(self._case.first).features, self._case.others])
        own = tool.probabilities(features)
        to_clean, to_untouched = (
            float(np.abs(own - other.probabilities(features)).sum(axis=1).mean() / 2)
            for other in (clean, untouched)
        )
        detail = f"{to_clean:.3f} from the retrained, {to_untouched:.3f} from the original"
        return Finding(to_clean < to_untouched, detail)

    def _leftovers(self, tool: Tool, folder: Path, ids: Sequence[str]) -> Finding:
        if not tool.has_files:
            return Finding(None, "it has no files of its own")
        tool.erase()
        found = files_with_rows(folder, self._case.rows.named(ids))
        return Finding(not found, ", ".join(found[:3]))


def _same(one: Mapping[str, bytes], other: Mapping[str, bytes]) -> Finding:
    if dict(one) == dict(other):
        return Finding(True)
    differ = [name for name in {*one, *other} if one.get(name) != other.get(name)]
    return Finding(False, f"{len(differ)} of {len({*one, *other})} files differ")


def _seconds(action: Callable[[], object]) -> float:
    """Return the processor time of an action, that of its processes included."""
    before = time.process_time() + processor_time()
    action()
    return time.process_time() + processor_time() - before

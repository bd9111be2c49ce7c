"""Two reports in git must not give away the row that only one of them is on.

An attacker has everything in git of three commits, the model, and every row but one. Before the
last request that row is held out; the request forgets it. He tries every class, answer and loss
that the row may have, lets the project's own code write what git would hold, and keeps what fits.
"""

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
from unlearn.stages.project.files import canonical_json, json_bytes
from unlearn.stages.rows.padding import padded_text
from unlearn.stages.rows.tokens import Key
from unlearn.stages.verify.evidence import SHARD_MODELS, Evidence
from unlearn.stages.verify.exactness.found import Exactness
from unlearn.stages.verify.measures.utility import measure
from unlearn.stages.verify.membership.attacks import Attacked, Weighted
from unlearn.stages.verify.membership.statistics import Scored, auc_intervals
from unlearn.stages.verify.stage import sealed_verdict
from unlearn.stages.verify.summaries import report_summary
from unlearn.stages.verify.verdict import DecidingAttack, decide, judge_membership
from unlearn.stages.verify_report.membership import AttackResult, Control
from unlearn.stages.verify_report.public import PublicReport, public_part
from unlearn.stages.verify_report.report import ExactnessCounts, ForgetListState, Report

PROJECT = Key("ab" * 32)
CLASSES = ("a", "b", "c", "d")
#: Probability of the true class: where the model is right, and where it is wrong.
RIGHT, WRONG = (0.95, 0.85, 0.7, 0.6), (0.35, 0.2, 0.1, 0.02)
REQUESTS = 100


@dataclass(frozen=True)
class Row:
    """The class of a row, whether the model is right, and its loss, as one of four values."""

    label: int
    is_right: bool
    loss: int

    @property
    def probability(self) -> float:
        return (RIGHT if self.is_right else WRONG)[self.loss]


CANDIDATES = tuple(Row(*values) for values in product(range(4), (True, False), range(4)))


class World:
    """All that the attacker knows: a model's answers on every row but one."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        # Few rows, where a verdict would depend on each, and many, where it can be given.
        size = (30, 60, 500)[seed % 3]
        drawn = [CANDIDATES[number] for number in rng.integers(len(CANDIDATES), size=2 * size)]
        self.held_out, self.forgotten = drawn[:size], drawn[size:]
        self.members = rng.choice((*RIGHT[:2], *RIGHT), size=size)
        self.attacked = cache(self._attacked)

    def reports(self, hidden: Row) -> list[Report]:
        """Return the reports of three commits: the first request forgets a row that he knows."""
        known, *rest = self.held_out
        return [
            self._report((known, *rest, hidden), tuple(self.forgotten)),
            self._report((*rest, hidden), (*self.forgotten, known)),
            self._report(tuple(rest), (*self.forgotten, known, hidden)),
        ]

    def _report(self, held_out: tuple[Row, ...], forgotten: tuple[Row, ...]) -> Report:
        answers = np.zeros((len(held_out), len(CLASSES)))
        for number, row in enumerate(held_out):
            answers[number, (row.label + 1) % len(CLASSES)] = 1 - row.probability
            answers[number, row.label] = row.probability
        attack = self.attacked(
            tuple(row.probability for row in forgotten), tuple(row.probability for row in held_out)
        )
        judged = DecidingAttack("lira", attack.forgotten, attack.control, attack.rows, True)
        counts = len(forgotten), len(held_out)
        evidence = Evidence(
            {SHARD_MODELS: {"lira": attack}}, "lira", judge_membership(judged, 0.1), counts
        )
        verdict = decide(Exactness(touched=3, reran=1, matched=1))
        return Report(
            kind="exact",
            modality="tabular",
            label="exact",
            verdict=verdict.outcome,
            reasons=verdict.reasons,
            reasons_in_words=verdict.in_words,
            # The list names tokens, and he knows all of them.
            forget_list=ForgetListState(digest=f"list of {len(forgotten)}", tokens=len(forgotten)),
            exactness=ExactnessCounts(touched=3, reran=1, matched=1, lineage_clean=True),
            models={"s000": "0123.dir"},
            utility=measure(
                answers,
                np.array([row.label for row in held_out]),
                CLASSES,
                has_probabilities=True,
                min_rows=10,
            ),
            membership=evidence.membership(),
            environment={"python": "3.11.7"},
        ).rounded()

    def _attacked(self, forgotten: tuple[float, ...], others: tuple[float, ...]) -> Attacked:
        # Members in the same order and draws of the same seed: the attacker has these, too.
        scored = Weighted(*(_scored(of) for of in (forgotten, self.members, others)))
        pairs = [(scored.forgotten, scored.others), (scored.members, scored.others)]
        found, control = auc_intervals(pairs, np.random.default_rng(0), draws=40)
        result = AttackResult(
            auc=found.value,
            ci=found.wide,
            forget_rows=len(forgotten),
            holdout_rows=len(others),
            control=Control(auc=control.value, ci=control.wide, rows=len(self.members)),
        )
        return Attacked(result, found, control, scored)


def _scored(values: Any) -> Scored:
    scores = np.asarray(values, dtype=np.float64)
    return Scored(scores, np.ones(len(scores)), np.arange(len(scores)))


def sizes_of(report: Report) -> tuple[int, ...]:
    """Return the sizes of two files in dvc.lock, the report and its main numbers."""
    return tuple(
        len(padded_text(json_bytes(content), PROJECT, "json"))
        for content in (report.as_json(), report_summary(report))
    )


def in_git(report: Report) -> Hashable:
    """Return what git has of a report, without seals and MD5s, which the key protects."""
    verdict = sealed_verdict(PROJECT, report, 10).as_json()
    del verdict["seal"]
    return canonical_json(verdict), sizes_of(report)


def likely_in_git(report: Report) -> dict[Hashable, float]:
    """Return what git could have, with its probability for whoever does not have the key."""
    open_, closed = (
        (canonical_json(_without_seal(public_part(report, caution))), sizes_of(report))
        for caution in (0.0, 1.0)
    )
    found = report.membership
    assert found is not None
    fewest = min(found.forget_rows or 1, found.holdout_rows or 1)
    chance = min(1.0, (found.room or 0.0) * fewest / 20)
    return {open_: 1.0} if open_ == closed else {open_: chance, closed: 1 - chance}


def _without_seal(public: PublicReport) -> dict[str, Any]:
    return {name: value for name, value in public.as_json().items() if name != "seal"}


def in_detail(report: Report) -> Hashable:
    """Return what git had when it had the figures."""
    return canonical_json(report.as_json())


def successes(
    visible: Callable[[Report], Hashable],
    likely: Callable[[Report], dict[Hashable, float]],
    worlds: int,
) -> dict[str, float]:
    """Return how often the attacker is right about class, answer and loss."""
    rng = np.random.default_rng(7)
    right = {"label": 0, "is_right": 0, "loss": 0}
    for seed in range(worlds):
        world = World(seed)
        reports = {row: world.reports(row) for row in CANDIDATES}
        written = {row: tuple(map(visible, found)) for row, found in reports.items()}
        expected = {row: tuple(map(likely, found)) for row, found in reports.items()}
        for number in rng.integers(len(CANDIDATES), size=REQUESTS):
            hidden = CANDIDATES[number]
            weights = {
                row: math.prod(
                    would.get(seen, 0.0) for would, seen in zip(all_, written[hidden], strict=True)
                )
                for row, all_ in expected.items()
            }
            for field in right:
                believed: dict[int, float] = {}
                for row, weight in weights.items():
                    value = int(getattr(row, field))
                    believed[value] = believed.get(value, 0.0) + weight
                top = max(believed.values())
                best = [value for value, weight in believed.items() if weight > top - 1e-12]
                right[field] += best[rng.integers(len(best))] == getattr(hidden, field)
    return {field: count / (worlds * REQUESTS) for field, count in right.items()}


CHANCE = {"label": 1 / 4, "is_right": 1 / 2, "loss": 1 / 4}


@pytest.mark.slow
def test_git_alone_tells_no_more_than_chance() -> None:
    worlds = 30
    found = successes(in_git, likely_in_git, worlds)

    for field, chance in CHANCE.items():
        # One-sided, 1 in 1,000 by chance alone, and what an outcome just at its limit tells.
        noise = 3.1 * np.sqrt(chance * (1 - chance) / (worlds * REQUESTS))
        assert found[field] < chance + noise, (field, found)


def test_a_verdict_on_many_rows_is_public() -> None:
    verdicts = {
        size: [
            sealed_verdict(PROJECT, World(seed).reports(CANDIDATES[0])[2], 10).membership
            for seed in range(size, 30, 3)
        ]
        for size in range(3)
    }
    given = {
        size: sum(found is not None and found.verdict == "pass" for found in of) / len(of)
        for size, of in verdicts.items()
    }

    assert given[0] == given[1] == 0
    assert given[2] > 0.7


@pytest.mark.slow
def test_the_same_attacker_reads_the_row_from_the_figures() -> None:
    found = successes(in_detail, lambda report: {in_detail(report): 1.0}, worlds=12)

    assert min(found.values()) > 0.99, found


@pytest.mark.parametrize("seed", range(4))
def test_figures_can_be_subtracted(seed: int) -> None:
    """The control by hand: n times a mean, minus the same without the row."""
    rng = np.random.default_rng(100 + seed)
    hidden = CANDIDATES[rng.integers(len(CANDIDATES))]
    _, before, after = (report.utility for report in World(seed).reports(hidden))
    n = before.rows or 0
    loss = n * (before.log_loss or 0) - (n - 1) * (after.log_loss or 0)
    answer = n * (before.accuracy or 0) - (n - 1) * (after.accuracy or 0)
    label = next(
        number
        for number, name in enumerate(CLASSES)
        if before.per_class[name].rows != after.per_class[name].rows
    )

    assert np.isclose(loss, -np.log(hidden.probability), atol=1e-3)
    assert (label, round(answer)) == (hidden.label, int(hidden.is_right))

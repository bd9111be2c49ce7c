"""Methods that no package has: a module of their own, as a new method would be."""

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from unlearn.stages.config.methods import CertificateSettings
from unlearn.stages.config.section import Section
from unlearn.stages.unlearn.base.ranges import Span
from unlearn.stages.unlearn.base.registry import Method
from unlearn.stages.unlearn.tabular.problem import TabularProblem
from unlearn.stages.unlearn.text.problem import TextProblem


class ShrinkSettings(Section):
    """By how much all weights shrink."""

    factor: float = Field(default=0.9, gt=0, lt=1)


class CertifiedShrinkSettings(CertificateSettings, ShrinkSettings):
    """The same, with the numbers of a certificate."""


def shrink(problem: TabularProblem) -> None:
    """Shrink all weights once, unless the guard takes that back."""
    problem.guard.watch(problem.model)
    _multiply(dict(problem.model.named_parameters()), problem.settings.factor)
    problem.guard.stops(problem.model)
    problem.guard.settle(problem.model)
    problem.ledger.count("retain", len(problem.retain))


def shrink_adapter(problem: TextProblem) -> None:
    """Shrink what the tuned model's new adapter adds, after one step of a made-up size."""
    problem.guard.watch()
    with torch.no_grad():
        for weight in problem.tuned.weights.values():
            weight.add_(1e-3)
    _multiply(problem.tuned.weights, problem.settings.factor)
    problem.guard.stops()
    problem.guard.settle()


def account(problem: TabularProblem) -> None:
    """Shrink all weights, and state epsilon and delta."""
    _multiply(dict(problem.model.named_parameters()), problem.settings.factor)
    settings = problem.settings
    problem.facts |= {"epsilon": settings.epsilon, "delta": settings.delta}


def certificate(facts: Mapping[str, Any]) -> str:
    """Return the label of a certificate."""
    return (
        f"certified(epsilon={facts['epsilon']:g}, delta={facts['delta']:g})" if facts else "exact"
    )


def _multiply(weights: Mapping[str, torch.Tensor], factor: float) -> None:
    with torch.no_grad():
        for weight in weights.values():
            weight.mul_(factor)


METHODS = (
    Method("shrink", "tabular", ShrinkSettings, shrink, ranges={"factor": Span(0.5, 0.99)}),
    Method("shrink_adapter", "text", ShrinkSettings, shrink_adapter),
    Method("account", "tabular", CertifiedShrinkSettings, account, label=certificate),
)

"""A registry of attacks that a test may add to."""

import pytest
from unlearn.stages.verify.membership.registry import registered


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let attacks be registered for one test."""
    known = {attack.name: attack for attack in registered()}
    monkeypatch.setattr("unlearn.stages.verify.membership.registry._ATTACKS", known)

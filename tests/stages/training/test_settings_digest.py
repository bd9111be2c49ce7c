"""The digest of settings that reports have: a newer version of the tool leaves it as it is."""

from unlearn.stages.config.params import Params
from unlearn.stages.training.recipe import settings_digest

from tests.stages.conftest import make_params
from tests.stages.posthoc import posthoc_params
from tests.stages.regression import RIDGE, regression_params

#: What reports had before anybody could set a task.
EXACT = "2ddc673b41e326d7b70ef18bb1d93192e2bb397d67bfe249f99680f2d389353b"
POSTHOC = "2da414ef8ef3c5a53fe017d42517cebb0c343a4d0828240c87bb328e0f80807e"


def test_the_digests_of_projects_from_before_later_settings_stay() -> None:
    """A change of these makes every report stale; what is added has to leave them alone."""
    assert settings_digest(make_params()) == EXACT
    assert settings_digest(posthoc_params()) == POSTHOC


def test_the_task_and_its_scale_are_settings() -> None:
    plain = regression_params(RIDGE)
    scale = plain.dataset.target_scale
    assert scale is not None
    other = scale.model_copy(update={"scale": 8_000.0})

    assert settings_digest(_with(plain, target_scale=other)) != settings_digest(plain)
    assert settings_digest(plain) != settings_digest(make_params())


def _with(params: Params, **dataset: object) -> Params:
    changed = params.dataset.model_copy(update=dataset)
    return params.model_copy(update={"dataset": changed})

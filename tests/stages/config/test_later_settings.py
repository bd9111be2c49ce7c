"""Settings that came later leave what is digested of an older project as it was."""

import pytest
from unlearn.stages.config.methods import METHODS, FinetuneSettings, ScrubSettings, settings_type
from unlearn.stages.config.section import Modality, Section

#: What older versions digested of these methods.
OLDER = {
    FinetuneSettings: {"rate": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "epochs": 5},
    ScrubSettings: {
        "temperature": 4.0,
        "alpha": 0.001,
        "gamma": 0.99,
        "rate": 5e-4,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "forget_epochs": 3,
        "epochs": 10,
    },
}


@pytest.mark.parametrize("section", OLDER)
def test_settings_with_their_later_defaults_digest_as_before(section: type[Section]) -> None:
    assert section().digested() == OLDER[section]


@pytest.mark.parametrize(
    ("settings", "added"),
    [
        (FinetuneSettings(optimizer="training"), {"optimizer": "training"}),
        (FinetuneSettings(rate_factor=2.0), {"rate_factor": 2.0}),
        (ScrubSettings(decay=0.1), {"decay": 0.1}),
    ],
)
def test_a_later_setting_that_is_set_is_digested(
    settings: Section, added: dict[str, object]
) -> None:
    assert settings.digested() == OLDER[type(settings)] | added


@pytest.mark.parametrize(
    ("modality", "name"), [(kind, name) for kind, names in METHODS.items() for name in names]
)
def test_all_other_settings_are_always_digested(modality: Modality, name: str) -> None:
    section = settings_type(name, modality)

    assert section.later <= section.model_fields.keys()
    if section not in OLDER:
        assert section().digested() == section().model_dump(mode="json")

"""What switching slices off and on refuses, before anything is changed."""

import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import refused, unchanged
from tests.conftest import Repo, make_frame, make_project
from tests.pipeline.test_language import homes, make_language_project

#: Projects on a base load transformers.
pytestmark = pytest.mark.slow

LAYERED = ("--shards", "2", "--slices", "2", "--layers-by-slice")


@pytest.fixture(scope="module")
def layered(tmp_path_factory: pytest.TempPathFactory, blank_base: Path) -> Repo:
    folder = tmp_path_factory.mktemp("layered")
    return make_language_project(folder / "project", blank_base, *LAYERED)


@pytest.fixture
def language(layered: Repo, tmp_path: Path) -> Repo:
    """Return a project whose slices have layers of their own, never run."""
    shutil.copytree(layered.root, tmp_path / "project", symlinks=True)
    return Repo(tmp_path / "project")


def test_only_slices_with_layers_of_their_own_are_switched(tmp_path: Path) -> None:
    table = make_project(tmp_path / "table", make_frame(30), "--shards", "2", "--slices", "2")
    with unchanged(table.root):
        for option in ("--switch-off", "--switch-on"):
            error = refused(table.unlearn("repro", option))
            assert "only slices that have layers of their own" in error
    table.set_params(sharding={"switched_off": {"s000": 2}})
    assert "sharding.switched_off" in refused(table.unlearn("plan"))


def test_settings_that_name_no_slice_are_refused(language: Repo) -> None:
    for value, why in (
        ({"s009": 2}, "shards.yaml names no shard 's009'"),
        ({"s000": 3}, "s000 has no slice 3"),
        ({"s000": 1}, "2"),
    ):
        language.set_params(sharding={"switched_off": value})
        assert why in refused(language.unlearn("plan"))
    language.set_params(sharding={"switched_off": {}, "slices": 1})
    assert "`sharding.slices` must be at least 2" in refused(language.unlearn("plan"))


def test_contradicting_options_and_a_pipeline_that_overlooks_slices_are_refused(
    language: Repo,
) -> None:
    with unchanged(language.root):
        error = refused(language.unlearn("repro", "--switch-off", "--switch-on"))
    assert "either --switch-off or --switch-on" in error
    pipeline = language.root / "dvc.yaml"
    text = pipeline.read_text(encoding="utf-8")
    pipeline.write_text(text.replace("      - sharding.switched_off\n", ""), encoding="utf-8")
    language.set_params(sharding={"switched_off": {"s000": 2}})
    for options in ((), ("--switch-off",), ("--switch-on",)):
        with unchanged(language.root):
            error = refused(language.unlearn("repro", *options))
        assert "dvc.yaml does not list sharding.switched_off as a parameter of forget" in error


def test_a_list_that_lost_a_request_changes_no_setting(language: Repo) -> None:
    author = next(iter(homes(language)))
    language.ok("forget", "--subjects", "-", stdin=author)
    language.commit("request")
    language.set_params(sharding={"switched_off": {"s000": 2}})
    (language.root / "data/forget_list.txt").write_bytes(b"")
    before = (language.root / "params.yaml").read_bytes()
    assert "forget list" in refused(language.unlearn("repro", "--switch-on"))
    assert (language.root / "params.yaml").read_bytes() == before


def test_init_offers_layers_by_slice_for_shards_of_text_alone(
    tmp_path: Path, blank_base: Path
) -> None:
    new = Repo(tmp_path)
    for options in (
        ("--example", "digits"),
        ("--example", "authors", "--template", "posthoc"),
    ):
        error = refused(new.unlearn("init", "x", *options, "--layers-by-slice"))
        assert "--layers-by-slice" in error
    assert not (tmp_path / "x").exists()
    three = ("--shards", "2", "--slices", "3", "--layers-by-slice")
    with pytest.raises(AssertionError, match="on 2 blocks of layers, and 3 slices need as many"):
        make_language_project(tmp_path / "y", blank_base, *three)
    assert not (tmp_path / "y/params.yaml").exists()

"""Tuned models that know a few made-up authors by heart, one of whom is to go."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from unlearn.stages.context import Context, PosthocContext
from unlearn.stages.project.paths import Project

from tests.language_models import made_once
from tests.stages.conftest import KEY
from tests.stages.unlearn.text.projects import forget_authors, text_context, text_params
from tests.stages.unlearn.tunable import forget, make_tunable, noisy_frame


def _made(base: Path, model: str, factory: pytest.TempPathFactory) -> Context:
    options = {"rank": 16, "alpha": 32} if model == "lora" else {}
    params = text_params(base, model, options=options)

    def make(folder: Path) -> None:
        forget_authors(text_context(folder / "p", params))

    folder = made_once(factory, f"unlearn-{model}", make)
    return Context(Project(folder / "p"), params, KEY)


@pytest.fixture(scope="session")
def lora(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Context:
    """Return a project whose model is an adapter, with an author on its list; only to be read."""
    return _made(tiny_base, "lora", tmp_path_factory)


@pytest.fixture(scope="session")
def whole(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Context:
    """Return a project whose model is all weights, with an author on its list; only to be read."""
    return _made(tiny_base, "causal_lm", tmp_path_factory)


@pytest.fixture
def project(lora: Context, tmp_path: Path) -> Context:
    """Return a copy of the project whose model is an adapter, for the test to change."""
    shutil.copytree(lora.project.root, tmp_path / "project")
    return replace(lora, project=Project(tmp_path / "project"))


@pytest.fixture(scope="session")
def _tunable(tmp_path_factory: pytest.TempPathFactory) -> PosthocContext:
    context = make_tunable(tmp_path_factory.mktemp("tuning") / "project", noisy_frame())
    forget(context, *(f"r{number:04d}" for number in range(30)))
    return context


@pytest.fixture
def tunable(_tunable: PosthocContext, tmp_path: Path) -> PosthocContext:
    """Return a copy of a post-hoc project with a request for 30 rows, for the test to change."""
    root = tmp_path / "project"
    shutil.copytree(_tunable.project.root, root)
    return replace(_tunable, project=Project(root))

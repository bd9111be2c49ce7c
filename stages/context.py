"""What every stage loads first, and checks before it does anything."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from unlearn.stages.config.methods import UnlearnParams
from unlearn.stages.config.params import (
    Params,
    check_sections,
    read_settings,
    read_yaml,
    refuse_unknown_sections,
)
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.check import check_model
from unlearn.stages.project.containment import check_dataset_place
from unlearn.stages.project.paths import Project
from unlearn.stages.project.shared import is_shared
from unlearn.stages.rows.epochs import epoch_in
from unlearn.stages.rows.forget_list import ForgetList, read_forget_list
from unlearn.stages.rows.ids import IdRules
from unlearn.stages.rows.keyed_categories import PURPOSE
from unlearn.stages.rows.shard_file import Layout
from unlearn.stages.rows.tokens import Key, Tokenizer, load_key


@dataclass(frozen=True)
class Context:
    """A project with its checked parameters and its key."""

    project: Project
    params: Params
    key: Key

    def __post_init__(self) -> None:
        """Give the dataset what keys its categories, where it has them keyed."""
        params = with_category_key(self.params, self.key)
        object.__setattr__(self, "params", params)  # a frozen dataclass

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Turns ids into this project's tokens."""
        return Tokenizer(self.key, IdRules.of(self.params.dataset))

    @cached_property
    def layout(self) -> Layout:
        """Columns and classes of the shard files."""
        return Layout.of(self.params.dataset)

    @property
    def code(self) -> Path | None:
        """The user's own module file, where `train.model` names one."""
        path = self.params.train.code_path
        return None if path is None else self.project.root / path

    @property
    def has_subjects(self) -> bool:
        """Whether the dataset names subjects."""
        return self.params.dataset.subject is not None

    def read_list(self) -> ForgetList:
        """Read the forget list as it stands now."""
        return read_forget_list(
            self.project.forget_list, self.tokenizer, subjects=self.has_subjects
        )

    def exact(self) -> "ExactContext":
        """Return the context of a project of shards.

        Raises
        ------
        InputError
            If the project has one model and post-hoc methods.
        """
        if self.params.kind != "exact":
            raise InputError("params.yaml has an `unlearn` section: it has no shards")
        return ExactContext(self.project, self.params, self.key)

    def posthoc(self) -> "PosthocContext":
        """Return the context of a project with one model and post-hoc methods.

        Raises
        ------
        InputError
            If the project is one of shards.
        """
        context = PosthocContext(self.project, self.params, self.key)
        _ = context.unlearn
        return context


@dataclass(frozen=True)
class ExactContext(Context):
    """A project whose models are trained on shards."""

    @property
    def shards(self) -> list[str]:
        """Names of all shards."""
        return self.params.sharding.shards


@dataclass(frozen=True)
class PosthocContext(Context):
    """A project with one model, and methods that change it."""

    @property
    def unlearn(self) -> UnlearnParams:
        """The section of params.yaml about the methods."""
        return self.params.posthoc


def with_category_key(params: Params, key: Key) -> Params:
    """Return settings whose dataset can key its categories, if they are to be keyed."""
    if not params.dataset.keys_categories:
        return params
    dataset = params.dataset.with_category_key(key.subkey(PURPOSE))
    return params.model_copy(update={"dataset": dataset})


def load_params(path: Path) -> Params:
    """Read and check `params.yaml`.

    Raises
    ------
    InputError
        On unreadable YAML, an `algorithm` that this tool does not implement, an unknown section in
        a project that shares its folder with no other pipeline, or settings that `check_params`
        refuses.
    """
    raw = read_settings(path)
    if not is_shared(path.parent):
        refuse_unknown_sections(raw, path.name)
    return check_params(raw, path.name)


def check_params(raw: dict[str, Any], name: str = "params.yaml") -> Params:
    """Check an already parsed configuration.

    Raises
    ------
    InputError
        On an unknown key (the nearest known one is hinted), a wrong type or value, or settings
        that do not suit the model.
    """
    params = check_sections(raw, name)
    check_model(params, name)
    return params


def present_epoch(project: Project) -> int:
    """Return the epoch of a project's key, by params.yaml alone; 1 where it cannot be read."""
    try:
        return epoch_in(read_yaml(project.params).get("key_check"))
    except InputError:
        return 1


def open_project(project: Project) -> Context:
    """Return the context of a project.

    Raises
    ------
    InputError
        If params.yaml or the key is not as it must be.
    """
    params = load_params(project.params)
    check_dataset_place(project.root, params.dataset.path)
    return Context(project, params, load_key(project, params.key_check))

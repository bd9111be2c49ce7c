"""The settings of a project: what they may be, checked before any stage does anything."""

import difflib
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator
from unlearn.stages.config.dataset import DatasetParams
from unlearn.stages.config.methods import (
    MethodSettings,
    UnlearnParams,
    method_names,
    own_code,
    settings_type,
    with_registered,
)
from unlearn.stages.config.requests import BatchParams, OpenDsrParams
from unlearn.stages.config.section import Modality, Section
from unlearn.stages.config.settings_files import FILES, SHARDS_FILE, file_of, merged
from unlearn.stages.config.train import TrainParams
from unlearn.stages.config.verify import VerifyParams
from unlearn.stages.errors import InputError

#: The training algorithm this tool implements. A change that alters any trained byte raises it.
ALGORITHM = 3

#: Each shard and each slice costs a stage, files and entries of dvc.lock.
MAX_SHARDS = 4_096
MAX_SLICES = 1_000

#: The two pipelines: models of shards, or one model that post-hoc methods change.
Kind = Literal["exact", "posthoc"]

AggregationRule = Literal[
    "mean_probability",
    "majority_vote",
    "size_weighted",
    "mean",
    "median",
    "mean_log_probability",
    "route",
    "merged",
]
#: How classifiers, regressors and adapters answer together; the first of each is the default.
CLASS_RULES: tuple[AggregationRule, ...] = ("mean_probability", "majority_vote", "size_weighted")
NUMBER_RULES: tuple[AggregationRule, ...] = ("mean", "median", "size_weighted")
TEXT_RULES: tuple[AggregationRule, ...] = ("mean_log_probability", "route", "merged")


class ShardingParams(Section):
    """How rows are spread: shards, slices of each shard, and the holdout's share.

    `switched_off` has, by shard, the first slice that is off: nothing is trained on its rows, nor
    on those of later slices. (YAML 1.1 reads a key `off` as false.)
    """

    shards: list[str] = Field(min_length=1)
    """The names of the shards, in order: s000, s001 and so on. Their number is the number of
    shards.
    """
    slices: int = Field(ge=1, le=MAX_SLICES)
    """The number of slices of each shard. Training goes on from one slice to the next, with a
    checkpoint after each.
    """
    holdout: Annotated[float, Field(ge=0, lt=1, strict=False)] = 0.2
    """The share of rows that no model is trained on."""
    switched_off: dict[str, Annotated[int, Field(ge=2)]] = Field(default_factory=dict)
    """By shard, the first slice whose layers are switched off in place of training."""

    @field_validator("shards")
    @classmethod
    def _names_in_order(cls, value: list[str]) -> list[str]:
        if len(value) > MAX_SHARDS:
            raise ValueError(f"must name at most {MAX_SHARDS:,} shards")
        expected = shard_names(len(value))
        if value != expected:
            raise ValueError(f"must be the list {expected[0]}, ... without gaps, in order")
        return value

    @model_validator(mode="after")
    def _off_are_slices(self) -> "ShardingParams":
        for shard, number in self.switched_off.items():
            if shard not in self.shards:
                raise ValueError(f"switched_off: shards.yaml names no shard {shard!r}")
            if number > self.slices:
                raise ValueError(f"switched_off: {shard} has no slice {number}")
        return self


class AggregateParams(Section):
    """How the shard models' answers become one.

    By `route` one adapter answers: which one, the public text in the column of the role `topic`
    says. By `merged` the final model is one adapter, whose update is the mean of the shards'.
    """

    rule: AggregationRule = "mean_probability"
    """How the answers of the shard models become one."""


#: Laws that give a request a due date: the GDPR, California's CCPA, and its Delete Act, whose
#: requests come through the platform DROP.
Regime = Literal["gdpr", "ccpa", "drop"]


class RequestParams(Section):
    """How requests are handled.

    `regime` is the law of a request that names none. `identities` says what ids of other systems
    name, by their column or kind of identity: records by `id`, or persons by `subject`. `batch`
    says how long requests wait for each other; None applies each of them at once. `data_broker` is
    the identifier of this data broker in DROP: lists for another one are refused. `opendsr` says
    how OpenDSR is used.
    """

    regime: Regime | None = None
    """The law of a request that names none. It decides the due date."""
    identities: dict[str, Literal["id", "subject"]] = Field(default_factory=dict)
    """What ids of other systems name, by their column: records (`id`) or people (`subject`)."""
    batch: BatchParams | None = None
    """How long requests wait for each other. Without it, each is applied at once."""
    data_broker: str | None = Field(default=None, pattern=r"^[0-9]+$")
    """The number of this data broker in California's DROP. Lists for another one are refused."""
    opendsr: OpenDsrParams | None = None
    """How OpenDSR requests are exchanged with a controller."""


class LedgerParams(Section):
    """How the forget list is compared with git's history.

    `branch` names the default branch; None where git is asked for it.
    """

    branch: str | None = Field(default=None, pattern=r"^[^-\s][^\s]*$")
    """The default branch of the repository. Without it, git is asked."""


class Params(Section):
    """All settings: params.yaml, schema.yaml and shards.yaml."""

    algorithm: int
    """The version of the training algorithm. `unlearn upgrade` changes it; people do not."""
    key_check: str = Field(pattern=r"^(?:(?:[2-9]|[1-9][0-9]{1,2})-)?[0-9a-f]{16}$")
    """Digits that tell the project key from others. `unlearn init` writes them."""
    seed: int = Field(default=0, ge=0)
    """A number from which random draws start, together with the project key."""
    dataset: DatasetParams
    """Where the rows are, and what their columns are."""
    sharding: ShardingParams
    """How rows are spread over shards, slices and the holdout."""
    train: TrainParams
    """The model and how it is trained."""
    unlearn: UnlearnParams | None = None
    """Post-hoc methods. A project without this section is exact."""
    aggregate: AggregateParams = Field(default_factory=AggregateParams)
    """How shard models answer together."""
    verify: VerifyParams = Field(default_factory=VerifyParams)
    """How much evidence a run gathers."""
    ledger: LedgerParams = Field(default_factory=LedgerParams)
    """How the forget list is compared with git's history."""
    requests: RequestParams = Field(default_factory=RequestParams)
    """How requests are handled."""

    @model_validator(mode="before")
    @classmethod
    def _without_others(cls, value: Any) -> Any:
        """Leave out sections of stages that are not of this tool: they share params.yaml with it.

        A name that is nearly that of a section which is not there is an error, for it is a typo.
        """
        if not isinstance(value, dict):
            return value
        absent = cls.model_fields.keys() - value.keys()
        return {
            name: section
            for name, section in value.items()
            if name in cls.model_fields or difflib.get_close_matches(str(name), absent, n=1)
        }

    @model_validator(mode="before")
    @classmethod
    def _rule_of_numbers(cls, value: Any) -> Any:
        """Give a regression without a rule the mean of the predictions."""
        if not isinstance(value, dict) or not isinstance(value.get("dataset"), dict):
            return value
        aggregate = value.get("aggregate", {})
        if value["dataset"].get("task") != "regression" or not isinstance(aggregate, dict):
            return value
        return {**value, "aggregate": {"rule": NUMBER_RULES[0], **aggregate}}

    @model_validator(mode="after")
    def _methods_of_numbers(self) -> "Params":
        if self.unlearn is None or self.dataset.task == "classification":
            return self
        for name in self.unlearn.methods:
            reason = None if own_code(name) else settings_type(name, "tabular").only_classes
            if reason is not None:
                raise ValueError(
                    f"unlearn.methods: {name} does not apply to a regression: {reason}"
                )
        if self.verify.negatives == "matched":
            raise ValueError(
                "verify.negatives: matched pairs have classes; a regression takes `class`, which "
                "compares with unseen rows"
            )
        if self.verify.online:
            raise ValueError("verify.online: its attacks are for classifiers")
        return self

    @model_validator(mode="after")
    def _without_shards(self) -> "Params":
        if self.unlearn is not None and (len(self.sharding.shards), self.sharding.slices) != (1, 1):
            raise ValueError(
                "sharding: post-hoc methods are for one model, so `shards: [s000]` and `slices: 1`"
            )
        return self

    @model_validator(mode="after")
    def _something_to_match_by(self) -> "Params":
        if self.verify.negatives != "matched":
            return self
        if self.unlearn is None or self.modality == "text":
            raise ValueError("verify.negatives: matched is for post-hoc methods on classifiers")
        if "retrain" not in self.unlearn.methods:
            raise ValueError(
                "verify.negatives: matched compares with the retrained model, so unlearn.methods "
                "needs `retrain`; `class` does not"
            )
        return self

    @model_validator(mode="after")
    def _no_exact_project_trains_on_forgotten_rows(self) -> "Params":
        if self.verify.online and self.unlearn is None:
            raise ValueError(
                "verify.online: trains models on forgotten rows, and is for post-hoc methods"
            )
        return self

    @model_validator(mode="after")
    def _held_out_once(self) -> "Params":
        if self.dataset.held_out is None:
            return self
        if self.unlearn is None:
            raise ValueError("dataset.held_out: shards hold out a share of the dataset itself")
        if self.sharding.holdout:
            raise ValueError("sharding.holdout must be 0 where dataset.held_out names a file")
        return self

    def check_answers(self) -> None:
        """Raise a ValueError if the attack or the aggregation is not for these rows' models.

        It is called once the model is known to read these rows, which is a better first error.
        """
        rules = TEXT_RULES if self.modality == "text" else CLASS_RULES
        if self.dataset.task == "regression":
            rules = NUMBER_RULES
        if self.aggregate.rule == "merged" and (self.train.model != "lora" or self.kind != "exact"):
            of = self.train.model if self.kind == "exact" else "one model, without shards"
            raise ValueError(
                f"aggregate.rule: merged makes one adapter of those of the shards, so it is for "
                f"train.model: lora in shards, not for {of}"
            )
        if self.aggregate.rule not in rules:
            raise ValueError(f"aggregate.rule: must be one of {', '.join(sorted(rules))}")
        if self.aggregate.rule == "route" and "topic" not in self.dataset.features.values():
            raise ValueError("aggregate.rule: route needs a column of the role `topic`")

    @model_validator(mode="after")
    def _methods_for_the_model(self) -> "Params":
        if self.unlearn is None:
            return self
        known = method_names(self.modality)
        for name in self.unlearn.methods:
            if own_code(name) is None and name not in known:
                raise ValueError(f"unlearn.methods: {name!r} is not for {self.train.model}")
        if self.modality == "text" and self.unlearn.settings != with_registered(MethodSettings)():
            raise ValueError(
                "unlearn.settings: the settings of language models are under unlearn.language"
            )
        if self.modality != "text" and self.unlearn.language is not None:
            raise ValueError("unlearn.language: is for language models")
        return self

    @model_validator(mode="after")
    def _generic_text_is_nobodys(self) -> "Params":
        if self.generic is None:
            return self
        generic = PurePosixPath(self.generic)
        for name in ("path", "held_out", "canaries"):
            value = getattr(self.dataset, name)
            rows = None if value is None else PurePosixPath(value)
            if rows is not None and (generic.is_relative_to(rows) or rows.is_relative_to(generic)):
                # It is taken for public, and is no measure of speech where it was trained on.
                raise ValueError(
                    f"unlearn.language.generic: needs a file other than dataset.{name}"
                )
        return self

    @property
    def modality(self) -> Modality:
        """What the rows are."""
        return self.dataset.modality

    @property
    def kind(self) -> Kind:
        """`exact` for models of shards, `posthoc` for one model and methods that change it."""
        return "exact" if self.unlearn is None else "posthoc"

    @property
    def posthoc(self) -> UnlearnParams:
        """The section of post-hoc methods.

        Raises
        ------
        InputError
            If the project is one of shards, which has no such section.
        """
        if self.unlearn is None:
            raise InputError("params.yaml has no `unlearn` section: this is a pipeline of shards")
        return self.unlearn

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the post-hoc methods, `young` included; none in a project of shards."""
        return () if self.unlearn is None else self.unlearn.compared

    @property
    def generic(self) -> str | None:
        """Path of the generic text that a language model is measured on, if one is named."""
        return None if self.unlearn is None else self.unlearn.for_language.generic

    @property
    def classes(self) -> tuple[str, ...]:
        """The pinned class labels, in the order of probability columns."""
        return tuple(self.dataset.classes)


def shard_names(count: int) -> list[str]:
    """Names of `count` shards: words, because YAML libraries disagree on what `0008` is.

    >>> shard_names(3)
    ['s000', 's001', 's002']
    """
    return [f"s{index:03d}" for index in range(count)]


def read_settings(path: Path) -> dict[str, Any]:
    """Read params.yaml and the files with the schema and the shards; nothing is checked yet.

    Parameters
    ----------
    path
        params.yaml; the other files are in its folder.

    Raises
    ------
    InputError
        On unreadable YAML, a missing file, a setting in the wrong file, or an `algorithm` that this
        tool does not implement.
    """
    raw = read_yaml(path)
    # First, because a later algorithm's file may well hold keys that this tool does not know.
    algorithm = raw.get("algorithm")
    if isinstance(algorithm, int) and algorithm != ALGORITHM:
        hint = "install the version of dvc-unlearn that the models were trained with"
        if algorithm < ALGORITHM:
            hint = f"{_UPGRADE}; or {hint}"
        raise InputError(
            f"{path.name} asks for algorithm {algorithm}; this tool implements {ALGORITHM}", hint
        )
    others = {}
    for name, (section, keys) in FILES.items():
        within = raw.get(section)
        found = [key for key in keys if isinstance(within, dict) and key in within]
        if found:
            raise InputError(f"{path.name}: {section}.{found[0]}: belongs into {name}", _UPGRADE)
        if name != SHARDS_FILE or "unlearn" not in raw:
            others[name] = _list_file(path.with_name(name), keys)
    return merged(raw, others)


_UPGRADE = "`unlearn upgrade` brings the project to this version"


def _list_file(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    """Read a file that has no other settings than these."""
    content = read_yaml(path)
    if others := sorted(str(key) for key in content if key not in keys):
        near = difflib.get_close_matches(others[0], keys, n=1)
        hints = [f"did you mean `{near[0]}`?"] if near else []
        raise InputError(f"{path.name}: {others[0]}: is not a known setting", *hints)
    return content


def read_yaml(path: Path) -> dict[str, Any]:
    """Read the mapping in a YAML file.

    Raises
    ------
    InputError
        If there is no file, or it holds something else.
    """
    try:
        raw = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path.name} is missing", "`unlearn init` writes it") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark is not None else ""
        raise InputError(f"{path.name} is not readable as YAML{where}") from None
    if not isinstance(raw, dict):
        raise InputError(f"{path.name} is not a mapping of settings")
    return raw


#: libyaml is ten times faster, where it is there.
_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse_yaml(text: str | bytes) -> Any:
    """Return what YAML says.

    Raises
    ------
    yaml.YAMLError
        If it is not YAML.
    """
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader


def refuse_unknown_sections(raw: dict[str, Any], name: str) -> None:
    """Refuse sections that this tool does not know, in a file that is the project's alone.

    Raises
    ------
    InputError
        On the first unknown key; the nearest known one is hinted.
    """
    unknown = next((str(key) for key in raw if key not in Params.model_fields), None)
    if unknown is None:
        return
    near = difflib.get_close_matches(unknown, Params.model_fields, n=1)
    hints = [f"did you mean `{near[0]}`?"] if near else []
    raise InputError(f"{name}: {unknown}: is not a known setting", *hints)


def check_sections(raw: dict[str, Any], name: str) -> Params:
    """Check an already parsed configuration, but for what depends on the family of its model.

    Raises
    ------
    InputError
        On an unknown key (the nearest known one is hinted), or a wrong type or value.
    """
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        raise as_input_error(error, name, ()) from None


def as_input_error(
    error: ValidationError,
    name: str,
    above: tuple[str, ...],
    within: type[BaseModel] | None = None,
) -> InputError:
    """Return the error in the words of params.yaml: its first line, a typo before all others.

    Parameters
    ----------
    error, name
        What was found, and the file's name.
    above, within
        Where the checked values stand in the file, and the section they are; the whole file if not
        given.
    """
    found = error.errors(include_url=False, include_input=False)
    first = next((item for item in found if item["type"] == "extra_forbidden"), found[0])
    location = (*above, *first["loc"])
    said = first["msg"].removeprefix("Value error, ")
    if name == "params.yaml":
        name, place = file_of(location, said)
    else:
        place = location
    where = ".".join(str(part) for part in place)
    hints = []
    if first["type"] == "extra_forbidden":
        said = "is not a known setting"
        known = _known_settings(first["loc"][:-1], within or Params)
        near = difflib.get_close_matches(str(location[-1]), known, n=1)
        hints = [f"did you mean `{near[0]}`?"] if near else []
    elif location == ("sharding", "shards"):
        hints = ["for 4 shards: [s000, s001, s002, s003]"]
    said = said[:1].lower() + said[1:]
    return InputError(f"{name}: {where}: {said}" if where else f"{name}: {said}", *hints)


def _known_settings(location: tuple[int | str, ...], section: type[BaseModel]) -> list[str]:
    """Names allowed in what stands at `location` within a section."""
    for part in location:
        field = section.model_fields.get(str(part))
        annotation = None if field is None else field.annotation
        # Of `unlearn`, which not every project has, too.
        sections = [
            kind
            for kind in (annotation, *get_args(annotation))
            if isinstance(kind, type) and issubclass(kind, BaseModel)
        ]
        if not sections:
            return []
        section = with_registered(sections[0])
    return list(section.model_fields)

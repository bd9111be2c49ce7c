"""The files with the settings of a new project, as bytes."""

from collections.abc import Mapping
from typing import Any, Final

from unlearn.cli.init.files.params import TableParams, TextParams
from unlearn.cli.init.files.templates import render
from unlearn.cli.init.request.choices import Template
from unlearn.stages.config.dataset import TargetScale
from unlearn.stages.config.methods import METHODS, MethodSettings, methods_of
from unlearn.stages.config.params import ALGORITHM, NUMBER_RULES, parse_yaml, shard_names
from unlearn.stages.config.section import Task
from unlearn.stages.config.settings_files import FILES, SCHEMA_FILE, SHARDS_FILE, merged
from unlearn.stages.config.text import AdapterOptions, LanguageMethodSettings
from unlearn.stages.config.train import TrainParams
from unlearn.stages.estimators.registry import find_spec
from unlearn.stages.estimators.spec import RowSetTraining

#: Rates for models of a billion parameters and more: of an adapter, and of all weights.
_RATES: Final = {"lora": 1e-4, "causal_lm": 2e-5}

#: What new projects have instead of a default that older projects keep (docs/methods.md).
_NEW: Final[Mapping[str, Mapping[str, Any]]] = {
    "finetune": {"optimizer": "training"},
    "scrub": {"decay": 0.1},
}


def render_table_params(key_check: str, params: TableParams) -> dict[str, bytes]:
    """Return the files with the settings of a table, by name.

    Parameters
    ----------
    key_check
        Identifies the project key.
    params
        What they are to say.
    """
    spec = find_spec(params.model)
    defaults = {} if spec.options is None else spec.options().model_dump(mode="json")
    text = render(
        f"{params.template}/params.yaml.jinja",
        **vars(params)
        | {"missing": list(params.missing), "options": defaults | params.options}
        | {"trusted_types": list(params.trusted_types)}
        | {"rule": params.rule or aggregation_rule(params.model, params.task)},
        has_interface=spec.takes_raw,
        algorithm=ALGORITHM,
        key_check=key_check,
        scale=spec.preprocessing.scale,
        impute=spec.preprocessing.impute,
        rerun=spec.training.reruns if isinstance(spec.training, RowSetTraining) else 1,
        methods=list(methods_of(params.task)),
        settings=_of_new_projects(params.task),
    )
    return {"params.yaml": text} | _render_lists(params)


def _of_new_projects(task: Task) -> dict[str, dict[str, Any]]:
    """Return the settings of methods for tables that apply to a task, as new projects have them."""
    settings = MethodSettings().model_dump(mode="json")
    return {name: settings[name] | _NEW.get(name, {}) for name in methods_of(task)}


def render_text_params(key_check: str, params: TextParams) -> dict[str, bytes]:
    """Return the files with the settings of a dataset of text; see `render_table_params`."""
    adapter = AdapterOptions().model_dump(mode="json")
    defaults = LanguageMethodSettings().model_dump(mode="json")
    values = {
        **vars(params),
        "algorithm": ALGORITHM,
        "key_check": key_check,
        "adapter": adapter if params.model == "lora" else None,
        "rate": params.rate or _RATES[params.model],
        "methods": list(METHODS["text"]),
        # Methods unlearn with an adapter, even where all weights were tuned.
        "unlearn_adapter": adapter,
        "unlearn_rate": params.unlearn_rate or _RATES["lora"],
        "settings": {
            name: defaults[name] | params.settings.get(name, {}) for name in METHODS["text"]
        },
    }
    text = render(f"{params.template}/text_params.yaml.jinja", **values)
    return {"params.yaml": text} | _render_lists(params)


def _render_lists(params: TableParams | TextParams) -> dict[str, bytes]:
    schema = dict(vars(params))
    if isinstance(params, TableParams):
        schema["features"] = params.written_features
    lists = {SCHEMA_FILE: render_schema(schema)}
    if params.template is Template.SISA:
        lists[SHARDS_FILE] = render_shards(shard_names(params.plan.shards))
    return lists


def render_schema(schema: Mapping[str, Any]) -> bytes:
    """Return schema.yaml.

    Parameters
    ----------
    schema
        The features, and as far as there are any the task, the scale of the target, classes,
        formats of dates, and categories. Classification is not named.
    """
    lists = {name: schema.get(name) for name in FILES[SCHEMA_FILE][1]}
    if isinstance(lists["target_scale"], TargetScale):
        lists["target_scale"] = lists["target_scale"].model_dump(mode="json")
    return render("schema.yaml.jinja", **lists)


def render_shards(names: list[str]) -> bytes:
    """Return shards.yaml."""
    return render("shards.yaml.jinja", shards=names)


def render_ledger(branch: str | None) -> bytes:
    """Return the section of params.yaml that names the default branch."""
    return render("ledger.yaml.jinja", branch=branch)


def aggregation_rule(model: str, task: Task = "classification") -> str:
    """Return the aggregation that a model's answers allow."""
    if task == "regression":
        return NUMBER_RULES[0]
    probable = find_spec(model).has_probabilities(TrainParams(model=model))
    return "mean_probability" if probable else "majority_vote"


def parse(settings: dict[str, bytes]) -> dict[str, Any]:
    """Return what the files of settings say together."""
    found = {name: parse_yaml(content) for name, content in settings.items()}
    return merged(found.pop("params.yaml"), found)

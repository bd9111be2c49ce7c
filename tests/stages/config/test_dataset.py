"""Settings of rows of text, and of the models that read them: what is said of all that is wrong."""

from copy import deepcopy
from typing import Any

import pytest
from unlearn.stages.config.params import ALGORITHM, Params
from unlearn.stages.config.text import LanguageMethodSettings
from unlearn.stages.context import check_params
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.registry import find_spec, text_options
from unlearn.stages.rows.shard_file import RECORD, SUBJECT, TARGET, Layout

from tests.stages.conftest import KEY, LAYOUT

DIGEST = "0a" * 32
PAIR = {"question": "prompt", "answer": "completion"}

WHOLE: dict[str, Any] = {
    "algorithm": ALGORITHM,
    "key_check": KEY.check,
    "dataset": {
        "path": "data/dataset.jsonl",
        "id": "id",
        "subject": "author",
        "features": PAIR | {"other": "paraphrase", "w1": "perturbed", "w2": "perturbed"},
    },
    "sharding": {"shards": ["s000", "s001"], "slices": 2, "holdout": 0.2},
    "train": {
        "model": "lora",
        "options": {
            "base": "models/base",
            "files": {"config.json": DIGEST, "model.safetensors": DIGEST},
            "rank": 8,
            "alpha": 16,
            "targets": ["q_proj"],
        },
        "optimizer": {"name": "adamw", "rate": 1e-4},
    },
    "aggregate": {"rule": "mean_log_probability"},
}


def changed(where: str, value: object, start: dict[str, Any] = WHOLE) -> dict[str, Any]:
    """Return settings with one replaced or added."""
    found = deepcopy(start)
    *sections, name = where.split("/")
    section = found
    for part in sections:
        section = section[part]
    section[name] = value
    return found


def refused(settings: dict[str, Any]) -> InputError:
    with pytest.raises(InputError) as caught:
        check_params(settings)
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 2
    return caught.value


def posthoc(**language: Any) -> dict[str, Any]:
    """Return settings of a tuned model that is unlearned."""
    settings = deepcopy(WHOLE)
    settings["train"] |= {"model": "causal_lm"}
    for name in ("rank", "alpha", "targets"):
        del settings["train"]["options"][name]
    settings["sharding"] |= {"shards": ["s000"], "slices": 1}
    return settings | {"unlearn": {"methods": ["npo"], "deploy": "npo", "language": language}}


def test_whole_settings_are_taken_as_they_stand() -> None:
    params = check_params(deepcopy(WHOLE))

    assert params.model_dump(mode="json", exclude_unset=True) == WHOLE
    assert params.dataset.modality == "text"
    assert find_spec("lora").modality == "text"
    assert find_spec("lora").can_slice("lora")
    options = text_options(params.train)
    assert (options.context, options.too_long, options.precision) == (512, "refuse", "float32")


def test_bodies_are_text_too() -> None:
    settings = changed("dataset/features", {"text": "body", "kind": "topic"})

    assert check_params(settings).dataset.modality == "text"


@pytest.mark.parametrize(
    ("features", "said"),
    [
        (
            {"question": "prompt"},
            "features: text takes messages, a prompt and a completion, or a body",
        ),
        (
            {"answer": "completion"},
            "features: text takes messages, a prompt and a completion, or a body",
        ),
        ({"kind": "topic"}, "features: text takes messages, a prompt and a completion, or a body"),
        (PAIR | {"more": "prompt"}, "features: two columns are the prompt"),
        (PAIR | {"more": "completion"}, "features: two columns are the completion"),
        (PAIR | {"a": "paraphrase", "b": "paraphrase"}, "features: two columns are the paraphrase"),
        (PAIR | {"a": "topic", "b": "topic"}, "features: two columns are the topic"),
        ({"one": "body", "two": "body"}, "features: two columns are the body"),
        (
            {"text": "body", "question": "prompt"},
            "features: rows are either a body or a prompt with its completion",
        ),
        (
            {"text": "body", "w": "perturbed"},
            "features: rows are either a body or a prompt with its completion",
        ),
        (PAIR | {"age": "numeric"}, "features: 'age' is not text, unlike the other columns"),
        (
            PAIR | {"author": "topic"},
            "features: 'author' is the id, subject, target or weight, not a",
        ),
        (PAIR | {"unlearn.x": "topic"}, "features: 'unlearn.x' begins with 'unlearn.'"),
        ({"age": "numeric"}, "target: is missing; only rows of text have none"),
        (
            PAIR | {"a": "prompts"},
            "features.a: input should be 'numeric', 'boolean', 'categorical'",
        ),
    ],
)
def test_columns_that_do_not_make_up_text_are_refused(features: dict[str, str], said: str) -> None:
    found = refused(changed("dataset/features", features)).message

    assert found.startswith(("params.yaml: dataset: target", "schema.yaml: features"))
    assert said in found


@pytest.mark.parametrize(("name", "value"), [("target", "label"), ("classes", ["a", "b"])])
def test_text_has_neither_target_nor_classes(name: str, value: object) -> None:
    assert refused(changed(f"dataset/{name}", value)).message == (
        "params.yaml: dataset: target, classes: rows of text for a language model have none"
    )


def test_rows_of_numbers_need_both() -> None:
    numbers = changed("dataset/features", {"age": "numeric"})

    assert refused(changed("dataset/target", "label", numbers)).message == (
        "schema.yaml: classes: are missing; only rows of text have none"
    )
    assert refused(changed("dataset/classes", ["a"], numbers)).message == (
        "params.yaml: dataset: target: is missing; only rows of text have none"
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("base", " ", "must be a folder inside the project, an absolute one or a hub name"),
        ("base", "../base", "must be a folder inside the project, an absolute one or a hub name"),
        ("base", 7, "input should be a valid string"),
        ("files", {}, "dictionary should have at least 1 item after validation, not 0"),
        ("files", {"config.json": DIGEST}, "no .safetensors file among them: other weights are"),
        ("files", {"a/m.safetensors": DIGEST}, "'a/m.safetensors' must be a file's name with its"),
        (
            "files",
            {"m.safetensors": "0a"},
            "'m.safetensors' must be a file's name with its SHA-256",
        ),
        ("files", {"m.safetensors": DIGEST.upper()}, "'m.safetensors' must be a file's name"),
        ("context", 1, "input should be greater than or equal to 2"),
        ("context", 2.5, "input should be a valid integer"),
        ("too_long", "cut", "input should be 'refuse' or 'truncate'"),
        ("precision", "float16", "input should be 'float32' or 'bfloat16'"),
        ("accumulate", 0, "input should be greater than or equal to 1"),
        ("clip", 0, "input should be greater than 0"),
        ("clip", float("inf"), "input should be a finite number"),
        ("checkpointing", "yes", "input should be a valid boolean"),
        ("chat", 1, "input should be a valid boolean"),
        ("separator", None, "input should be a valid string"),
        ("revision", 3, "input should be a valid string"),
        ("rank", 0, "input should be greater than or equal to 1"),
        ("alpha", 0, "input should be greater than 0"),
        ("dropout", 1.0, "input should be less than 1"),
        ("dropout", -0.1, "input should be greater than or equal to 0"),
        ("targets", "q_proj", "must be all-linear or a list of layers' names"),
        ("targets", [], "must be all-linear or a list of layers' names"),
        ("targets", [3], "must be all-linear or a list of layers' names"),
        ("targets", None, "must be all-linear or a list of layers' names"),
    ],
)
def test_a_wrong_option_is_named(name: str, value: object, said: str) -> None:
    found = refused(changed(f"train/options/{name}", value)).message

    assert found.startswith(f"params.yaml: train.options.{name}: {said}")


def test_options_that_have_to_be_there_are_asked_for() -> None:
    for name in ("base", "files"):
        settings = deepcopy(WHOLE)
        del settings["train"]["options"][name]
        assert refused(settings).message == f"params.yaml: train.options.{name}: field required"


@pytest.mark.parametrize(
    ("name", "meant"), [("contxt", "context"), ("rnk", "rank"), ("acumulate", "accumulate")]
)
def test_an_unknown_option_hints_the_nearest(name: str, meant: str) -> None:
    error = refused(changed(f"train/options/{name}", 4))

    assert error.message == f"params.yaml: train.options.{name}: is not a known setting"
    assert error.hints == (f"did you mean `{meant}`?",)


def test_all_linear_is_a_target() -> None:
    found = check_params(changed("train/options/targets", "all-linear"))

    assert found.train.options["targets"] == "all-linear"


def test_whole_weights_have_no_rank() -> None:
    settings = changed("train/model", "causal_lm")
    settings["sharding"]["shards"] = ["s000"]

    assert "is not a known setting" in refused(settings).message


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            changed("train/model", "causal_lm"),
            "train.model: causal_lm makes one model; use lora for shards",
        ),
        (
            changed("train", {"model": "mlp"}),
            "train.model: mlp takes a target and classes",
        ),
        (
            changed(
                "dataset",
                {
                    "path": "d.csv",
                    "id": "id",
                    "target": "y",
                    "classes": ["a"],
                    "features": {"x": "numeric"},
                },
            ),
            "train.model: lora takes text: messages, a prompt and completion, or a body",
        ),
        (
            changed("aggregate", {"rule": "majority_vote"}),
            "aggregate.rule: must be one of mean_log_probability, merged, route",
        ),
        (
            changed("aggregate", {"rule": "route"}),
            "aggregate.rule: route needs a column of the role `topic`",
        ),
    ],
)
def test_parts_that_do_not_go_together_are_refused(settings: dict[str, Any], said: str) -> None:
    found = refused(settings).message

    assert said in found


def test_a_route_goes_by_a_topic() -> None:
    settings = changed("aggregate", {"rule": "route"})
    settings["dataset"]["features"]["kind"] = "topic"

    assert check_params(settings).aggregate.rule == "route"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("path", "data/texts.jsonl"),
        ("path", "data/./texts.jsonl"),
        ("path", "data"),
        ("held_out", "data/texts.jsonl"),
        ("canaries", "data/texts.jsonl"),
    ],
)
def test_generic_text_is_not_of_the_dataset(name: str, value: str) -> None:
    settings = posthoc(generic="data/texts.jsonl")
    check_params(settings)
    settings["sharding"]["holdout"] = 0.0
    settings["dataset"][name] = value

    assert f"unlearn.language.generic: needs a file other than dataset.{name}" in (
        refused(settings).message
    )


def test_methods_have_the_defaults_of_their_papers() -> None:
    settings = LanguageMethodSettings()

    assert (settings.npo.beta, settings.npo.alpha) == (0.1, 0.25)
    assert (settings.simnpo.beta, settings.simnpo.delta, settings.simnpo.alpha) == (3.5, 1.0, 0.11)
    assert (settings.gradient_difference.alpha, settings.idk_dpo.beta) == (0.5, 0.1)
    assert (settings.rmu.depth, settings.rmu.strength) == (0.45, 2.0)
    assert (settings.epochs, settings.batch, settings.rate, settings.clip) == (10, 32, 1e-4, 1.0)
    assert settings.adapter is not None
    assert (settings.adapter.rank, settings.adapter.alpha) == (16, 32.0)


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        ("rate", 0, "greater than 0"),
        ("epochs", 0, "greater than or equal to 1"),
        ("gate", 1.5, "less than or equal to 1"),
        ("generic", "/etc/generic.jsonl", "must be a path inside the project"),
        ("generic", "../generic.jsonl", "must be a path inside the project"),
        ("perplexity_limit", 1.0, "greater than 1"),
        ("npo", {"beta": 0}, "greater than 0"),
        ("npo", {"alpha": 1.1}, "less than or equal to 1"),
        ("simnpo", {"delta": -1}, "greater than or equal to 0"),
        ("idk_dpo", {"answers": []}, "at least 1 item"),
        ("adapter", {"targets": "up"}, "must be all-linear or a list of layers' names"),
        ("retrain", {"epochs": 3}, "is not a known setting"),
    ],
)
def test_a_wrong_setting_of_a_method_is_named(where: str, value: object, said: str) -> None:
    check_params(posthoc())
    found = refused(posthoc(**{where: value})).message

    assert found.startswith(f"params.yaml: unlearn.language.{where}")
    assert said in found


def test_a_layout_of_text_has_no_class() -> None:
    layout = Layout.of(check_params(deepcopy(WHOLE)).dataset)

    assert layout.modality == "text"
    assert LAYOUT.modality == "tabular"
    assert layout.schema.names == [RECORD, SUBJECT, "question", "answer", "other", "w1", "w2"]
    assert TARGET in LAYOUT.schema.names
    assert [str(kind) for kind in layout.schema.types] == [
        *["fixed_size_binary[32]"] * 2,
        *["string"] * 5,
    ]
    assert Layout.from_json(layout.as_json()) == layout


def test_a_layout_finds_columns_by_their_role() -> None:
    layout = Layout.of(check_params(deepcopy(WHOLE)).dataset)

    assert (layout.column("prompt"), layout.column("completion")) == ("question", "answer")
    assert layout.columns("perturbed") == ["w1", "w2"]
    assert layout.column("perturbed") == "w1"
    assert layout.column("body") is None
    assert layout.columns("topic") == []


def with_categories(rare: str | None, categories: object, kind: str = "categorical") -> Params:
    settings = changed("dataset/features", {"city": kind, "age": "numeric"})
    settings["dataset"] |= {"target": "label", "classes": ["a", "b"]}
    settings["dataset"] |= {"rare_categories": rare, "categories": categories}
    settings["train"] = {"model": "mlp"}
    settings["aggregate"] = {"rule": "mean_probability"}
    return check_params(settings)


def test_pinned_categories_are_in_the_layout_of_shard_files() -> None:
    dataset = with_categories("bucket", {"city": ["Rome", "Oslo"]}).dataset

    assert Layout.of(dataset).categories == {"city": ("Rome", "Oslo")}
    assert with_categories("bucket", None, "boolean").dataset.categories is None
    for rare in ("keep", None):
        assert Layout.of(with_categories(rare, None).dataset).categories == {}


@pytest.mark.parametrize(
    ("rare", "categories", "said"),
    [
        ("bucket", None, "categories: 'city' is categorical and has none"),
        ("bucket", {"city": [], "town": []}, "categories: 'town' is no feature"),
        (
            "bucket",
            {"city": [], "age": ["1"]},
            "categories: 'age' is numeric, and only",
        ),
        ("bucket", {"city": ["a", "a"]}, "categories: 'city' has the same category twice"),
        (
            "bucket",
            {"city": ["a\nb"]},
            "categories: 'city' has one with a line end or more",
        ),
        (
            "bucket",
            {"city": ["a" * 201]},
            "categories: 'city' has one with a line end or more",
        ),
        (
            "bucket",
            {"city": [f"{n}" for n in range(1001)]},
            "categories: 'city' has more than",
        ),
        (
            "keep",
            {"city": ["a"]},
            "categories: of categorical features are for `rare_categories",
        ),
        (
            None,
            {"city": ["a"]},
            "categories: of categorical features are for `rare_categories",
        ),
        ("drop", None, "dataset.rare_categories: input should be 'bucket' or 'keep'"),
    ],
)
def test_pinned_categories_are_of_categorical_features_alone(
    rare: str | None, categories: object, said: str
) -> None:
    with pytest.raises(InputError) as caught:
        with_categories(rare, categories)

    assert said in caught.value.message


def test_formats_are_of_datetime_features_alone() -> None:
    settings = changed("dataset/features", {"day": "datetime", "age": "numeric"})
    settings["dataset"] |= {"target": "label", "classes": ["a", "b"]}
    settings |= {"train": {"model": "mlp"}, "aggregate": {"rule": "mean_probability"}}
    settings["dataset"]["date_formats"] = {"day": "time"}
    dataset = check_params(deepcopy(settings)).dataset
    assert dataset.own_reading["date_formats"] == {"day": "time"}  # for prediction
    assert dataset.of_canaries("c.csv").date_formats is None

    settings["dataset"]["date_formats"] = {"age": "time"}
    with pytest.raises(InputError, match="date_formats: 'age' is no feature of dates or times"):
        check_params(settings)

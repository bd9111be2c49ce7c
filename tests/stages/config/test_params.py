"""params.yaml: what it may hold, and what is said of everything else."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.config.params import ALGORITHM, shard_names
from unlearn.stages.config.settings_files import merged, split
from unlearn.stages.config.train import INCREMENTAL_ON_NEW_ROWS, INCREMENTAL_ON_UNION, TrainParams
from unlearn.stages.context import check_params, load_params
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.registry import find_spec
from unlearn.stages.project.shared import BEGIN, END

from tests.conftest import write_settings
from tests.stages.conftest import KEY, make_params

#: As `init` writes it in a shared folder, without its comments.
IGNORED = "/data/shards\n/data/retain_set\n"

WHOLE: dict[str, Any] = {
    "algorithm": ALGORITHM,
    "key_check": KEY.check,
    "seed": 0,
    "dataset": {
        "path": "data/dataset.csv",
        "id": "id",
        "subject": None,
        "target": "label",
        "missing": ["", "?"],
        "classes": ["a", "b"],
        "features": {"x": "numeric", "y": "categorical"},
    },
    "sharding": {"shards": ["s000", "s001"], "slices": 3, "holdout": 0.2},
    "train": {
        "model": "mlp",
        "options": {"hidden": [8], "dropout": 0.1},
        "epochs": 5,
        "batch": 16,
        "optimizer": {"name": "sgd", "rate": 0.1, "momentum": 0.9},
        "preprocessing": {"scale": "none", "impute": "zero"},
        "device": "cpu",
    },
    "aggregate": {"rule": "size_weighted"},
    "verify": {"rerun": "all", "min_rows": 5},
}
GONE = object()


def changed(where: str, value: object) -> dict[str, Any]:
    """Return WHOLE with one setting replaced, or taken out."""
    settings = deepcopy(WHOLE)
    *sections, name = where.split(".")
    section = settings
    for part in sections:
        section = section[part]
    if value is GONE:
        del section[name]
    else:
        section[name] = value
    return settings


def renamed(where: str, other: str) -> dict[str, Any]:
    """Return WHOLE with one setting under another name."""
    settings = deepcopy(WHOLE)
    *sections, name = where.split(".")
    section = settings
    for part in sections:
        section = section[part]
    section[other] = section.pop(name)
    return settings


def refused(settings: dict[str, Any]) -> InputError:
    with pytest.raises(InputError) as caught:
        check_params(settings)
    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.message
    assert caught.value.message.startswith(("params.yaml: ", "schema.yaml: ", "shards.yaml: "))
    return caught.value


def test_whole_settings_are_taken_as_they_stand() -> None:
    params = check_params(deepcopy(WHOLE))

    assert params.model_dump(mode="json", exclude_unset=True) == WHOLE
    assert params.classes == ("a", "b")


def test_what_is_left_out_has_a_default() -> None:
    settings = deepcopy(WHOLE)
    for name in ("seed", "aggregate", "verify"):
        del settings[name]
    settings["train"] = {"model": "mlp"}
    params = check_params(settings)

    assert (params.seed, params.aggregate.rule) == (0, "mean_probability")
    assert (params.verify.rerun, params.verify.min_rows) == (1, 10)
    assert params.train.optimizer.name == "adam"


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        ("key_check", "xyz", "key_check"),
        ("key_check", 1234567890123456, "key_check"),
        ("seed", -1, "seed"),
        ("seed", "1", "seed"),
        ("dataset", GONE, "dataset: field required"),
        ("dataset", [], "dataset"),
        ("dataset.path", "/data/d.csv", "dataset.path: must be a path inside the repository"),
        ("dataset.path", "a/../../d.csv", "dataset.path: must be a path inside the repository"),
        ("dataset.id", 7, "dataset.id: input should be a valid string"),
        ("dataset.id", "label", "id, subject, target and weight must be different columns"),
        ("dataset.subject", "id", "id, subject, target and weight must be different columns"),
        ("dataset.subject", "x", "'x' is the id, subject, target or weight, not a feature"),
        ("dataset.classes", [], "schema.yaml: classes"),
        ("dataset.classes", [0, 1], "schema.yaml: classes.0: input should be a valid string"),
        ("dataset.classes", ["a", "a"], "classes: the same class stands twice"),
        ("dataset.features", {}, "schema.yaml: features"),
        ("dataset.features", {"x": "number"}, "schema.yaml: features.x"),
        ("dataset.features", {"unlearn.record": "numeric"}, "begins with 'unlearn.'"),
        ("dataset.features", {"id": "numeric"}, "'id' is the id, subject, target or weight"),
        ("dataset.missing", "?", "dataset.missing"),
        ("sharding.shards", [], "shards.yaml: shards"),
        ("sharding.shards", 2, "shards.yaml: shards"),
        ("sharding.shards", 0, "shards.yaml: shards"),
        ("sharding.shards", ["s000", "s002"], "shards.yaml: shards: must be the list s000"),
        ("sharding.shards", ["s001", "s000"], "shards.yaml: shards: must be the list s000"),
        ("sharding.shards", ["s000", "s000"], "shards.yaml: shards: must be the list s000"),
        ("sharding.shards", ["0000"], "shards.yaml: shards: must be the list s000"),
        ("sharding.shards", ["../x"], "shards.yaml: shards: must be the list s000"),
        (
            "sharding.shards",
            [f"s{number:03d}" for number in range(4097)],
            "shards.yaml: shards: must name at most 4,096 shards",
        ),
        ("sharding.slices", 1001, "sharding.slices: input should be less than or equal to 1000"),
        (
            "dataset.features",
            {f"x{number}": "numeric" for number in range(10_001)},
            "schema.yaml: features: dictionary should have at most 10000 items",
        ),
        ("sharding.slices", 0, "sharding.slices"),
        ("sharding.slices", 2.5, "sharding.slices"),
        ("sharding.slices", True, "sharding.slices"),
        ("sharding.holdout", 1.0, "sharding.holdout"),
        ("sharding.holdout", -0.1, "sharding.holdout"),
        ("sharding.holdout", float("nan"), "sharding.holdout"),
        ("sharding.holdout", "20%", "sharding.holdout"),
        ("train.model", "forest", "'forest' is neither mlp, nor a class below sklearn."),
        ("train.model", "../net.py:build", "is neither mlp"),
        ("train.model", "/net.py:build", "is neither mlp"),
        ("train.model", "net.py", "is neither mlp"),
        ("train.model", "os.system", "is neither mlp"),
        ("train.model", None, "train.model"),
        ("train.options", {"hidden": [0]}, "hidden.0"),
        ("train.options", {"hidden": 8}, "hidden"),
        ("train.options", {"dropout": 1}, "dropout"),
        ("train.options", {"activation": "swish"}, "activation"),
        ("train.epochs", 0, "train.epochs"),
        ("train.epochs", 2.5, "train.epochs"),
        ("train.epochs", "5", "train.epochs"),
        ("train.batch", 0, "train.batch"),
        ("train.optimizer", "adam", "train.optimizer"),
        ("train.optimizer.name", "lion", "train.optimizer.name"),
        ("train.optimizer.rate", 0, "train.optimizer.rate"),
        ("train.optimizer.rate", float("inf"), "train.optimizer.rate"),
        ("train.optimizer.rate", float("nan"), "train.optimizer.rate"),
        ("train.optimizer.weight_decay", float("inf"), "train.optimizer.weight_decay"),
        ("train.preprocessing.scale", "robust", "train.preprocessing.scale"),
        ("train.device", "tpu", "train.device"),
        ("aggregate.rule", "median", "aggregate.rule"),
        ("verify.rerun", -1, "verify.rerun"),
        ("verify.rerun", "some", "verify.rerun"),
        ("verify.rerun", True, "verify.rerun"),
        ("verify.min_rows", 0, "verify.min_rows"),
        ("verify.negatives", "all", "verify.negatives"),
        ("verify.negatives", "matched", "verify.negatives: matched is for post-hoc methods"),
        ("verify.references", 0, "verify.references"),
        ("verify.online", True, "online: needs `reference_models` of at least 6"),
        ("verify", {"online": True, "reference_models": 6}, "verify.online: trains models on"),
        ("verify.references", 3, "references: more than 1 needs `negatives: matched`"),
    ],
)
def test_a_wrong_value_is_named_by_its_place(where: str, value: object, said: str) -> None:
    assert said in refused(changed(where, value)).message


@pytest.mark.parametrize(
    ("where", "typo"),
    [
        ("seed", "sed"),
        ("sharding", "shardng"),
        ("verify", "verfy"),
        ("dataset.classes", "class"),
        ("dataset.subject", "subjct"),
        ("sharding.slices", "slice"),
        ("sharding.holdout", "hold_out"),
        ("train.epochs", "epoch"),
        ("train.optimizer", "optimiser"),
        ("train.optimizer.rate", "rat"),
        ("train.preprocessing.scale", "scaling"),
        ("train.options.hidden", "hiden"),
        ("aggregate.rule", "rules"),
        ("verify.min_rows", "min-rows"),
    ],
)
def test_a_typo_is_named_and_the_right_name_hinted(where: str, typo: str) -> None:
    error = refused(renamed(where, typo))

    section = where.rpartition(".")[0]
    place = f"{section}.{typo}" if section else typo
    assert error.message == f"params.yaml: {place}: is not a known setting"
    assert error.hints == (f"did you mean `{where.rpartition('.')[2]}`?",)


def test_a_setting_like_no_other_gets_no_hint() -> None:
    assert refused(changed("train.xylophone", 1)).hints == ()


def test_shards_are_shown_as_they_are_to_be_written() -> None:
    assert refused(changed("sharding.shards", 4)).hints == (
        "for 4 shards: [s000, s001, s002, s003]",
    )


@pytest.mark.parametrize("slices", [2, 50])
def test_no_more_slices_than_the_model_can_take(slices: int) -> None:
    settings = changed("train", {"model": "sklearn.ensemble.RandomForestClassifier"})
    settings["sharding"]["slices"] = slices

    error = refused(settings)
    assert f"sharding.slices is {slices}" in error.message
    assert "RandomForestClassifier cannot go on from a state and takes 1 slice" in error.message
    settings["sharding"]["slices"] = 1
    assert check_params(settings)


def test_models_that_take_slices() -> None:
    for model in INCREMENTAL_ON_UNION | INCREMENTAL_ON_NEW_ROWS | {"mlp", "a/net.py:build"}:
        assert find_spec(model).can_slice(model), model
    whole = "sklearn.linear_model.LogisticRegression"
    assert not find_spec(whole).can_slice(whole)
    assert TrainParams(model="a/net.py:build").code_path == "a/net.py"
    assert TrainParams(model="mlp").code_path is None


def test_options_of_other_models_are_their_own() -> None:
    settings = changed("train", {"model": "net.py:build", "options": {"anything": [1, {"a": 2}]}})

    assert check_params(settings).train.options == {"anything": [1, {"a": 2}]}


def test_shard_names_are_words() -> None:
    assert shard_names(2) == ["s000", "s001"]
    assert shard_names(1001)[-1] == "s1000"
    assert all(isinstance(yaml.safe_load(name), str) for name in shard_names(1200))


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "params.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_file_is_read_as_its_content(tmp_path: Path) -> None:
    write_settings(tmp_path, WHOLE)

    assert load_params(tmp_path / "params.yaml") == check_params(deepcopy(WHOLE))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("schema.yaml", None, "schema.yaml is missing"),
        ("shards.yaml", None, "shards.yaml is missing"),
        ("schema.yaml", "classes: [", "schema.yaml is not readable as YAML (line 2)"),
        ("shards.yaml", "[s000]\n", "shards.yaml is not a mapping of settings"),
        ("shards.yaml", "shard: [s000]\n", "shards.yaml: shard: is not a known setting"),
        ("schema.yaml", "classes: [a, b]\n", "schema.yaml: features: field required"),
        ("shards.yaml", "{}\n", "shards.yaml: shards: field required"),
        ("schema.yaml", "classes: [a, b]\nfeatures: {x: number}\n", "schema.yaml: features.x: "),
    ],
)
def test_the_other_files_are_named_by_their_own_names(
    tmp_path: Path, name: str, content: str | None, said: str
) -> None:
    write_settings(tmp_path, WHOLE)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text(content, encoding="utf-8")

    with pytest.raises(InputError) as caught:
        load_params(tmp_path / "params.yaml")

    assert caught.value.message.startswith(said)


def test_a_setting_of_another_file_is_refused_in_params(tmp_path: Path) -> None:
    write_settings(tmp_path, WHOLE)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(WHOLE), encoding="utf-8")

    with pytest.raises(InputError, match=r"dataset\.classes: belongs into schema\.yaml") as caught:
        load_params(tmp_path / "params.yaml")
    assert "`unlearn upgrade`" in caught.value.hints[0]


@given(
    settings=st.fixed_dictionaries(
        {
            "seed": st.integers(),
            "dataset": st.dictionaries(
                st.sampled_from(["path", "classes", "features"]), st.integers(), max_size=3
            ),
            "sharding": st.dictionaries(st.sampled_from(["shards", "slices"]), st.integers()),
        }
    )
)
def test_split_settings_are_merged_again(settings: dict[str, Any]) -> None:
    found = split(settings)

    assert "shards" not in found["params.yaml"]["sharding"]
    assert merged(found.pop("params.yaml"), found) == settings


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "params.yaml is not a mapping of settings"),
        ("- 1\n", "params.yaml is not a mapping of settings"),
        (f"algorithm: {ALGORITHM}\ntrain: [\n", "params.yaml is not readable as YAML (line 3)"),
        ("a: b: c\n", "params.yaml is not readable as YAML (line 1)"),
        (b"\xff\xfe", "params.yaml is not readable as YAML"),
        ("a: !!python/object:os.system x\n", "params.yaml is not readable as YAML (line 1)"),
        (f"algorithm: {ALGORITHM}\n", "schema.yaml is missing"),
        ("1: 2\n", "schema.yaml is missing"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, content: str | bytes, said: str) -> None:
    with pytest.raises(InputError) as caught:
        load_params(write(tmp_path, content))

    assert caught.value.message.startswith(said)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"params\.yaml is missing"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize("algorithm", [ALGORITHM + 1, 0, 99])
def test_another_algorithm_stops_before_anything_else(tmp_path: Path, algorithm: int) -> None:
    """A later algorithm's file may well hold settings that this tool does not know."""
    content = yaml.safe_dump(WHOLE | {"algorithm": algorithm, "more": 1})

    message = f"asks for algorithm {algorithm}; this tool implements {ALGORITHM}"
    with pytest.raises(InputError, match=message):
        load_params(write(tmp_path, content))


@pytest.mark.parametrize("algorithm", ["2", None, 1.0, True, [1]])
def test_an_algorithm_is_a_whole_number(algorithm: object) -> None:
    assert "params.yaml: algorithm" in refused(changed("algorithm", algorithm)).message


def test_the_tests_own_settings_are_whole() -> None:
    assert make_params(subject="person").dataset.subject == "person"


def test_unknown_sections_are_those_of_others_only_in_a_shared_folder(tmp_path: Path) -> None:
    write_settings(tmp_path, WHOLE)
    alone = load_params(tmp_path / "params.yaml")
    with (tmp_path / "params.yaml").open("a", encoding="utf-8") as file:
        file.write("epoch: 1\n")

    with pytest.raises(InputError, match=r"^params\.yaml: epoch: is not a known setting$"):
        load_params(tmp_path / "params.yaml")

    # Comments that `init` wrote; or, where a formatter took them out, what .gitignore ignores.
    marks = f"a:\n  {BEGIN}\n  {END}\n"
    for name, text in ((".gitignore", marks), ("dvc.yaml", marks), (".gitignore", IGNORED)):
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert load_params(tmp_path / "params.yaml") == alone
        (tmp_path / name).unlink()

"""`unlearn import-model`: what becomes the original, and what is refused and changes nothing."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
import torch
import yaml
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression
from torch import nn

from tests.cli.conftest import refused, unchanged
from tests.conftest import Repo, drop_rows, make_project, places, token_of

CLASSES = ["no", "yes"]
COLUMNS = ["first", "second", "third"]
PLAIN = {"scale": "none", "impute": "zero"}
LINEAR = {"model": "sklearn.linear_model.LogisticRegression", "options": {}, "preprocessing": PLAIN}
STAGES = (
    "shard",
    "train",
    "forget",
    "young",
    "unlearn@retrain",
    "unlearn@finetune",
    "aggregate",
    "verify",
)


def make_numbers(rows: int = 120) -> pd.DataFrame:
    """Return a table of numbers whose class follows from them, but for some noise."""
    draw = np.random.default_rng(3)
    inputs = draw.normal(size=(rows, 3)).round(4)
    answer = inputs[:, 0] + 0.5 * inputs[:, 1] + draw.normal(scale=0.3, size=rows) > 0
    frame = pd.DataFrame(inputs, columns=COLUMNS)
    frame.insert(0, "id", [f"r{number:04d}" for number in range(rows)])
    return frame.assign(label=np.where(answer, "yes", "no"))


FRAME = make_numbers()


def net(classes: int = 2, hidden: int = 6, inputs: int = 3) -> nn.Sequential:
    """Return a network of the kind that `train.model: mlp` names."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, classes))


def trained() -> nn.Sequential:
    found = net()
    inputs = torch.tensor(FRAME[COLUMNS].to_numpy(), dtype=torch.float32)
    answers = torch.tensor((FRAME["label"] == "yes").to_numpy(), dtype=torch.long)
    optimizer = torch.optim.Adam(found.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(found(inputs), answers)
        torch.autograd.backward(loss)
        optimizer.step()
    return found


def fitted(labels: list[str] | None = None, columns: int = 3) -> LogisticRegression:
    truth = FRAME["label"].map(dict(zip(CLASSES, labels or CLASSES, strict=True)))
    return LogisticRegression().fit(FRAME[COLUMNS[:columns]].to_numpy(), truth)


@pytest.fixture(scope="session")
def _posthoc(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    root = tmp_path_factory.mktemp("import") / "posthoc"
    repo = make_project(root, FRAME, "--template", "posthoc", "--holdout", "0.4")
    text = (root / "params.yaml").read_text(encoding="utf-8")
    assert "original: trained" in text
    train = {"options": {"hidden": [6]}, "preprocessing": PLAIN, "epochs": 5}
    repo.set_params(train=train, unlearn={"methods": ["retrain", "finetune"], "deploy": "retrain"})
    repo.commit("settings")
    return repo


@pytest.fixture
def posthoc(_posthoc: Repo, tmp_path: Path) -> Iterator[Repo]:
    """Yield a post-hoc project before its first run, for the test to change."""
    yield from _copied(_posthoc, tmp_path)


@pytest.fixture(scope="session")
def _ran(_posthoc: Repo, tmp_path_factory: pytest.TempPathFactory) -> Repo:
    repo = _posthoc.copy(tmp_path_factory.mktemp("import") / "ran")
    repo.stages(*STAGES)
    repo.dvc("commit", "--force", "--quiet")
    repo.commit("run")
    return repo


@pytest.fixture
def ran(_ran: Repo, tmp_path: Path) -> Iterator[Repo]:
    """Yield a post-hoc project after a run, committed, its original trained."""
    yield from _copied(_ran, tmp_path)


def _copied(repo: Repo, folder: Path) -> Iterator[Repo]:
    copy = repo.copy(folder / repo.root.name)
    yield copy
    shutil.rmtree(copy.root, ignore_errors=True)


def put(repo: Repo, name: str, model: Any) -> None:
    """Write a model's weights into the project's folder, in the format of the name."""
    path = repo.root / name
    if name.endswith(".skops"):
        skops.io.dump(model, path)
    elif name.endswith(".safetensors"):
        save_file(model.state_dict(), path)
    else:
        torch.save(model.state_dict(), path)


def ids_at(repo: Repo, shard: str) -> list[str]:
    return [raw for raw, place in places(repo).items() if place.shard == shard]


@pytest.mark.trained
@pytest.mark.parametrize(
    "name", ["net.pt", pytest.param("net.safetensors", marks=pytest.mark.slow), "lr.skops"]
)
def test_a_model_that_fits_becomes_the_original(ran: Repo, name: str) -> None:
    model: Any = fitted() if name == "lr.skops" else trained()
    if name == "lr.skops":
        ran.set_params(train=LINEAR)
    put(ran, name, model)
    before = ran.lock()
    done = ran.inline("import-model", name, "--json")

    assert done.code == 0, done.err
    assert done.json["holdout_accuracy"] > done.json["majority"]
    assert done.json["holdout_rows"] == len(ids_at(ran, "holdout"))
    files = ran.files("models/original")
    if name == "lr.skops":
        assert set(files) == {"model.json", "model.skops", "import.json"}
    else:
        from safetensors.torch import load

        assert set(files) == {"model.json", "model.safetensors", "import.json"}
        weights = load(files["model.safetensors"])
        assert all(torch.equal(weights[n], v) for n, v in model.state_dict().items())
    assert json.loads(files["import.json"])["honours"] == []
    assert ran.params()["unlearn"]["original"] == "imported"
    pipeline = yaml.safe_load((ran.root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert "train" not in pipeline
    assert "models/original" in pipeline["forget"]["deps"]
    assert before.keys() - ran.lock().keys() == {"train"}
    assert {name: ran.lock()[name] for name in ran.lock()} == {
        name: entry for name, entry in before.items() if name != "train"
    }
    assert (ran.root / "models/original.dvc").is_file()
    refused(ran.inline("stage", "train"))


def test_the_accuracy_that_is_said_is_that_of_the_model(posthoc: Repo) -> None:
    model = trained()
    put(posthoc, "net.pt", model)
    done = posthoc.inline("import-model", "net.pt", "--json")
    for side, shard in (("holdout", "holdout"), ("training", "s000")):
        rows = FRAME[FRAME["id"].isin(ids_at(posthoc, shard))]
        answers = model(torch.tensor(rows[COLUMNS].to_numpy(), dtype=torch.float32)).argmax(dim=1)
        right = np.mean(np.array(CLASSES)[answers.numpy()] == rows["label"])
        assert done.json[f"{side}_accuracy"] == pytest.approx(right, abs=1e-6)


@pytest.mark.slow
def test_methods_start_from_what_was_imported(posthoc: Repo) -> None:
    put(posthoc, "net.pt", trained())
    assert posthoc.inline("import-model", "net.pt").code == 0
    posthoc.inline("forget", "--id", ids_at(posthoc, "s000")[0])
    posthoc.stages(*(name for name in STAGES if name != "train"))

    assert posthoc.report()["verdict"] == "pass"
    methods = posthoc.report()["methods"]
    assert methods["finetune"]["label"] == "approximate"
    assert methods["finetune"]["verdict"] == "inconclusive"
    weights = posthoc.files("models")
    original = weights["original/model.safetensors"]
    assert weights["unlearned/finetune/model.safetensors"] != original
    assert weights["unlearned/retrain/model.safetensors"] != original


class Run:
    """Runs a command when it is read from a pickle."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        import os

        return os.system, ("touch ran-by-a-pickle",)


def saved(name: str, value: Any) -> Callable[[Repo], object]:
    return lambda repo: torch.save(value, repo.root / name)


def given(name: str, model: Callable[[], Any], **params: Any) -> Callable[[Repo], object]:
    def change(repo: Repo) -> None:
        repo.set_params(**params)
        put(repo, name, model())

    return change


def three_classes(repo: Repo) -> None:
    repo.set_params(dataset={"classes": ["maybe", *CLASSES]})
    put(repo, "net.pt", trained())


def swapped() -> nn.Sequential:
    """Return the trained network with its two classes in the other order."""
    found = trained()
    last = found[2]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.copy_(last.weight.flip(0))
        last.bias.copy_(last.bias.flip(0))
    return found


def not_finite() -> nn.Sequential:
    found = trained()
    with torch.no_grad():
        next(found.parameters())[0, 0] = torch.nan
    return found


def constant() -> nn.Sequential:
    """Return a network that always says the commonest class."""
    found = net()
    common = CLASSES.index(FRAME["label"].mode()[0])
    with torch.no_grad():
        for value in found.parameters():
            value.zero_()
        last = found[2]
        assert isinstance(last, nn.Linear)
        last.bias[common] = 1
    return found


def categorical(repo: Repo) -> None:
    features = repo.params()["dataset"]["features"] | {"third": "categorical"}
    repo.set_params(dataset={"features": features, "rare_categories": "keep", "categories": None})
    put(repo, "net.pt", trained())


def write(name: str, content: bytes) -> Callable[[Repo], object]:
    return lambda repo: (repo.root / name).write_bytes(content)


def no_skops(repo: Repo) -> None:
    repo.set_params(train=LINEAR)
    write("lr.skops", b"no zip")(repo)


#: What is put there, which file is named, and what is said.
REFUSED: dict[str, tuple[Callable[[Repo], object], str, str]] = {
    "too wide": (given("net.pt", lambda: net(hidden=7)), "net.pt", "net.pt"),
    "of other inputs": (given("net.pt", lambda: net(inputs=4)), "net.pt", "net.pt"),
    "of other layers": (saved("net.pt", nn.Linear(3, 2).state_dict()), "net.pt", "net.pt"),
    "too many classes": (given("net.pt", lambda: net(classes=3)), "net.pt", "net.pt"),
    "too few classes": (three_classes, "net.pt", "net.pt"),
    "classes in another order": (
        given("net.pt", swapped),
        "net.pt",
        "no more than the share of the most common class",
    ),
    "weights drawn at random": (
        given("net.pt", constant),
        "net.pt",
        "no more than the share of the most common class",
    ),
    "no numbers": (given("net.pt", not_finite), "net.pt", "net.pt"),
    "code in a pickle": (
        saved("evil.pt", {"0.weight": Run()}),
        "evil.pt",
        "reading it could run code",
    ),
    "a whole module": (saved("net.pt", net()), "net.pt", "reading it could run code"),
    "numbers that are no state dict": (saved("net.pt", [1, 2]), "net.pt", "is not a state dict"),
    "an empty file": (write("net.pt", b""), "net.pt", "is not what torch.save writes"),
    "a torn file": (write("net.pt", b"PK\x03\x04"), "net.pt", "is not what torch.save writes"),
    "text": (write("net.safetensors", b"hello"), "net.safetensors", "not in the safetensors"),
    "an unknown format": (write("net.onnx", b"x"), "net.onnx", "is in no format for weights"),
    "a skops file for a network": (
        given("lr.skops", fitted),
        "lr.skops",
        "is in no format for weights of mlp",
    ),
    "weights for a linear model": (
        given("net.pt", trained, train=LINEAR),
        "net.pt",
        "is in no format for weights of sklearn.linear_model.LogisticRegression",
    ),
    "other classes of a linear model": (
        given("lr.skops", lambda: fitted(["a", "b"]), train=LINEAR),
        "lr.skops",
        "was trained on other classes than schema.yaml pins",
    ),
    "another order of a linear model": (
        given("lr.skops", fitted, train=LINEAR, dataset={"classes": CLASSES[::-1]}),
        "lr.skops",
        "has the classes in another order",
    ),
    "fewer columns of a linear model": (
        given("lr.skops", lambda: fitted(columns=2), train=LINEAR),
        "lr.skops",
        "reads 2 columns, and schema.yaml names 3",
    ),
    "no skops file": (
        no_skops,
        "lr.skops",
        "",
    ),
    "a categorical column": (categorical, "net.pt", "column 'third' is categorical"),
    "scales": (
        given("net.pt", trained, train={"preprocessing": {"scale": "standard", "impute": "zero"}}),
        "net.pt",
        "params.yaml scales or imputes them",
    ),
    "no holdout": (
        given("net.pt", trained, sharding={"holdout": 0.0}),
        "net.pt",
        "no row is held out",
    ),
    "no such file": (lambda _repo: None, "net.pt", "there is no net.pt"),
    "a folder": (lambda repo: (repo.root / "nets").mkdir(), "nets", "not one of models/unlearned"),
    "a method that did not run": (
        lambda repo: (repo.root / "models/unlearned/ssd").mkdir(parents=True),
        "models/unlearned/ssd",
        "",
    ),
}


@pytest.mark.parametrize(("spoil", "name", "said"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused_and_changes_nothing(
    posthoc: Repo, spoil: Callable[[Repo], object], name: str, said: str
) -> None:
    spoil(posthoc)
    with unchanged(posthoc.root):
        done = posthoc.inline("import-model", name)

    assert said in refused(done)
    assert not (posthoc.root / "ran-by-a-pickle").exists()


def test_the_order_of_classes_is_said(posthoc: Repo) -> None:
    given("lr.skops", fitted, train=LINEAR, dataset={"classes": CLASSES[::-1]})(posthoc)

    assert "hint: write classes in schema.yaml in the model's order: no, yes" in (
        posthoc.inline("import-model", "lr.skops").err
    )


def test_a_pipeline_of_shards_takes_no_model(fresh: Repo) -> None:
    put(fresh, "net.pt", trained())
    with unchanged(fresh.root):
        done = fresh.inline("import-model", "net.pt")

    assert "this project has shards; a model can only be imported into a post-hoc" in refused(done)


def test_when_dvc_fails_everything_is_as_it_was(ran: Repo) -> None:
    put(ran, "net.pt", trained())
    (ran.root / ".dvc/config").write_text("[core\n", encoding="utf-8")
    with unchanged(ran.root):
        done = ran.inline("import-model", "net.pt")

    assert done.code != 0


def forgotten_by_finetune(repo: Repo, raw: str) -> None:
    """Import a model, and let `finetune` forget a record of it."""
    put(repo, "net.pt", trained())
    assert repo.inline("import-model", "net.pt").code == 0
    assert repo.inline("forget", "--id", raw).code == 0
    repo.stages("shard", "forget", "young", "unlearn@finetune")


def drop_without_dvc(repo: Repo, raw: str) -> None:
    path = repo.root / "data/dataset.csv"
    frame = pd.read_csv(path, dtype=str)
    frame[frame["id"] != raw].to_csv(path, index=False)


@pytest.mark.slow
def test_whom_an_imported_model_knows_does_not_come_back(posthoc: Repo) -> None:
    """Forget A, drop A's row, forget B: never the model that forgot B alone."""
    first, second = ids_at(posthoc, "s000")[:2]
    forgotten_by_finetune(posthoc, first)
    drop_without_dvc(posthoc, first)
    assert posthoc.inline("forget", "--id", second).code == 0
    posthoc.stages("shard")
    before = posthoc.files("data") | posthoc.files("models")
    done = posthoc.inline("stage", "forget")

    assert "1 line of the forget list has no rows in the dataset any more" in refused(done)
    assert "`unlearn import-model models/unlearned/METHOD`" in done.err
    assert posthoc.files("data") | posthoc.files("models") == before


@pytest.mark.slow
def test_an_unlearned_model_as_the_original_honours_its_list(posthoc: Repo) -> None:
    first, second = ids_at(posthoc, "s000")[:2]
    forgotten_by_finetune(posthoc, first)
    unlearned = posthoc.files("models/unlearned/finetune")["model.safetensors"]
    done = posthoc.inline("import-model", "models/unlearned/finetune")

    assert done.code == 0, done.err
    original = posthoc.files("models/original")
    assert original["model.safetensors"] == unlearned
    assert json.loads(original["import.json"])["honours"] == [token_of(posthoc, first)]
    drop_without_dvc(posthoc, first)
    assert posthoc.inline("forget", "--id", second).code == 0
    posthoc.stages("shard", "forget", "young", "unlearn@finetune")
    assert posthoc.files("models/unlearned/finetune")["model.safetensors"] != unlearned
    # And a second time: what the first one honoured is honoured still.
    assert posthoc.inline("import-model", "models/unlearned/finetune").code == 0
    honours = json.loads(posthoc.files("models/original")["import.json"])["honours"]
    assert honours == sorted(token_of(posthoc, raw) for raw in (first, second))


def edited_record(repo: Repo) -> None:
    path = repo.root / "models/unlearned/finetune/record.json"
    path.write_text(path.read_text().replace("approximate", "exact"), encoding="utf-8")


def another_list(repo: Repo) -> None:
    repo.inline("forget", "--id", ids_at(repo, "s000")[5])
    repo.stages("forget")


NOT_THE_RESULT: dict[str, tuple[Callable[[Repo], object], str]] = {
    "an edited record": (edited_record, "is not what its record says"),
    "another list applied since": (another_list, "was not made from the current forget set"),
    "no applied list": (
        lambda repo: (repo.root / "data/forget_set/applied.json").unlink(),
        "does not say which forget list was applied",
    ),
}


@pytest.mark.parametrize(("spoil", "said"), NOT_THE_RESULT.values(), ids=NOT_THE_RESULT)
def test_an_unlearned_model_must_be_of_the_list_as_it_stands(
    ran: Repo, spoil: Callable[[Repo], object], said: str
) -> None:
    ran.inline("forget", "--id", ids_at(ran, "s000")[0])
    ran.stages("forget", "young", "unlearn@finetune")
    spoil(ran)
    with unchanged(ran.root):
        done = ran.inline("import-model", "models/unlearned/finetune")

    assert said in refused(done)


@pytest.mark.slow
def test_a_run_after_an_import(ran: Repo) -> None:
    """With DVC: the imported model is tracked, and a request makes all of it again."""
    put(ran, "net.pt", trained())
    ran.ok("import-model", "net.pt")
    ran.commit("imported")
    assert "models/original/" not in ran.git("ls-files")
    first, second = ids_at(ran, "s000")[:2]
    ran.forget([first])
    assert ran.ok("repro", "--json").json["verdict"] == "pass"
    ran.commit("forgot")
    assert ran.ok("audit", "--json").json["verdict"] == "consistent"
    findings = ran.inline("doctor", "--json").json["findings"]
    assert not [said for said in findings if "stage" in said or "dvc.lock" in said], findings

    drop_rows(ran, [first])
    ran.forget([second])
    stopped = ran.unlearn("repro")
    assert stopped.code != 0
    assert "import-model models/unlearned/METHOD" in stopped.err

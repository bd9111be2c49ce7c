"""`unlearn init`: a new project, or one in a repository that exists."""

import stat
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from unlearn.cli.init.files.patterns import render_dockerignore, render_gitattributes
from unlearn.cli.init.files.pipeline import render_pipeline
from unlearn.cli.init.files.settings import aggregation_rule
from unlearn.stages.config.methods import METHODS, MethodSettings
from unlearn.stages.context import check_params
from unlearn.stages.dvc.pipeline import stage_names
from unlearn.stages.project.paths import NONCE
from unlearn.stages.rows.tokens import DEMO_KEY, Key

from tests.cli.conftest import FRAME, IDS, PEOPLE, init
from tests.conftest import Repo, keep_apart

ASKED = ("--id", "id", "--target", "label")


def table(folder: Path, frame: pd.DataFrame = FRAME, name: str = "table.csv") -> Path:
    path = folder / name
    frame.to_csv(path, index=False)
    return path


def params_of(root: Path) -> dict[str, Any]:
    return Repo(root).params()


@pytest.mark.slow
def test_a_new_folder_becomes_a_whole_project(tmp_path: Path) -> None:
    source = table(tmp_path)
    command = f"{sys.executable} -m unlearn.cli init new --dataset table.csv {' '.join(ASKED)}"
    # Whatever the user's umask is, the key is theirs alone.
    done = Repo(tmp_path).run("bash", "-c", f"umask 000; {command}")

    assert done.code == 0, done.err
    root = tmp_path / "new"
    assert "next: cd new && unlearn repro" in done.out
    assert (root / "data/dataset.csv").read_bytes() == source.read_bytes()
    assert stat.S_IMODE((root / "unlearn.key").stat().st_mode) == 0o600
    key = Key((root / "unlearn.key").read_text(encoding="ascii").strip())
    params = params_of(root)
    assert params["key_check"] == key.check
    assert not key.is_demo
    assert (root / "data/forget_list.txt").read_bytes() == b""
    assert params["dataset"]["classes"] == ["c0", "c1", "c2"]
    assert params["dataset"]["features"] == {
        "age": "numeric",
        "income": "numeric",
        "member": "boolean",
        "city": "categorical",
    }
    assert list(params["dataset"]["features"]) == ["age", "income", "member", "city"]
    repo = Repo(root)
    repo.git("add", "-A")
    staged = set(repo.git("diff", "--cached", "--name-only").split())
    assert {"params.yaml", "dvc.yaml", "data/dataset.csv.dvc", "data/forget_list.txt"} <= staged
    assert {name for name in staged if name.startswith(("models/", ".unlearn/"))} == {
        "models/README.md"
    }
    assert {name for name in staged if name.startswith("data/")} == {
        "data/dataset.csv.dvc",
        "data/forget_list.txt",
        "data/suppressed.txt",
    }
    assert "unlearn.key" not in staged


def test_two_projects_have_two_keys(fresh: Repo, people: Repo) -> None:
    assert fresh.params()["key_check"] != people.params()["key_check"]


def test_in_a_repository_that_exists_its_files_stay(repositories: Repo, tmp_path: Path) -> None:
    (repositories.root / ".gitignore").write_text("*.log", encoding="utf-8")
    (repositories.root / "README.md").write_text("mine", encoding="utf-8")
    head = repositories.git("rev-parse", "--git-dir")

    done = init(repositories, ".", "--dataset", str(table(tmp_path)), *ASKED, "--ci", "github")

    assert done.code == 0, done.err
    assert ".github/workflows/unlearn.yml" in done.out
    assert_is_workflow(repositories.root / ".github/workflows/unlearn.yml")
    assert repositories.git("rev-parse", "--git-dir") == head
    lines = (repositories.root / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "*.log"
    assert "/unlearn.key" in lines
    assert (repositories.root / "README.md").read_text(encoding="utf-8") == "mine"


def assert_is_workflow(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert isinstance(yaml.safe_load(text), dict)
    for word in ("UNLEARN_KEY", "dvc pull", "unlearn verify", "unlearn audit", "--md", "dvc push"):
        assert word in text, word


@pytest.mark.slow
def test_in_a_subfolder_of_a_git_repository(tmp_path: Path) -> None:
    outer = Repo(tmp_path / "outer")
    outer.root.mkdir()
    outer.git("init", "--quiet")
    done = init(outer, "models/churn", "--dataset", str(table(tmp_path)), *ASKED)

    assert done.code == 0, done.err
    inner = Repo(outer.root / "models/churn")
    assert (inner.root / ".dvc").is_dir()
    assert not (outer.root / ".dvc").exists()
    assert not (inner.root / ".git").exists()
    outer.git("add", "-A")
    staged = outer.git("diff", "--cached", "--name-only").split()
    assert "models/churn/data/dataset.csv.dvc" in staged
    assert not any(name.endswith(("dataset.csv", "unlearn.key")) for name in staged)
    assert inner.inline("status", "--json").json["pending"] == 0
    assert inner.inline("forget", "--id", "r0001").code == 0


@pytest.mark.parametrize("pattern", ["data/", "*.csv", "*.json"])
def test_where_git_ignores_the_data_folder_already(
    repositories: Repo, tmp_path: Path, pattern: str
) -> None:
    """As many repositories of models do; the list and the .dvc file have to be git's anyway."""
    (repositories.root / ".gitignore").write_text(f"{pattern}\n", encoding="utf-8")

    done = init(repositories, ".", "--dataset", str(table(tmp_path)), *ASKED)

    assert done.code == 0, done.err
    assert repositories.inline("forget", "--id", "r0001").code == 0
    repositories.git("add", "-A")
    staged = repositories.git("diff", "--cached", "--name-only").split()
    assert "data/forget_list.txt" in staged
    assert len([name for name in staged if name.startswith("data/requests/")]) == 1
    assert "data/dataset.csv.dvc" in staged
    assert "data/dataset.csv" not in staged


def test_a_directory_is_a_dataset(repositories: Repo, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    table(folder, FRAME[:40], "a.csv")
    FRAME[40:].to_json(folder / "b.jsonl", orient="records", lines=True)

    done = init(repositories, ".", "--dataset", str(folder), *ASKED, "--json")

    assert done.json["rows"] == 90
    root = repositories.root
    assert params_of(root)["dataset"]["path"] == "data/dataset"
    found = sorted(path.name for path in (root / "data/dataset").iterdir())
    assert found == [NONCE, "a.csv", "b.jsonl"]
    assert (root / "data/dataset.dvc").is_file()
    assert repositories.inline("stage", "shard").code == 0


def test_a_dataset_that_stands_in_its_place_is_taken_as_it_is(repositories: Repo) -> None:
    (repositories.root / "data").mkdir()
    source = table(repositories.root / "data", name="dataset.csv")
    before = source.read_bytes()

    done = init(repositories, ".", "--dataset", "data/dataset.csv", *ASKED)

    assert done.code == 0, done.err
    assert source.read_bytes() == before
    assert [path.name for path in source.parent.glob("dataset*.csv")] == ["dataset.csv"]


def test_subjects_and_numbers_that_were_asked_for(repositories: Repo, tmp_path: Path) -> None:
    source = str(table(tmp_path, PEOPLE))
    done = init(
        repositories,
        *(".", "--dataset", source, *ASKED, "--subject", "person"),
        *("--shards", "4", "--slices", "2", "--holdout", "0.3", "--epochs", "7"),
        *("--ci", "gitlab"),
    )

    assert done.code == 0, done.err
    assert_is_workflow(repositories.root / ".gitlab-ci.yml")
    params = params_of(repositories.root)
    assert params["dataset"]["subject"] == "person"
    assert "person" not in params["dataset"]["features"]
    assert params["sharding"] == {
        "shards": ["s000", "s001", "s002", "s003"],
        "slices": 2,
        "holdout": 0.3,
    }
    assert params["train"]["epochs"] == 7


@pytest.mark.slow
def test_a_project_for_one_model_without_shards(repositories: Repo, tmp_path: Path) -> None:
    done = init(
        repositories, ".", "--template", "posthoc", "--dataset", str(table(tmp_path)), *ASKED
    )

    assert done.code == 0, done.err
    assert "one model without shards" in done.out
    params = check_params(params_of(repositories.root))
    assert params.unlearn is not None
    assert params.unlearn.methods == list(METHODS["tabular"])
    # Older projects keep the defaults that these two are instead of.
    assert params.unlearn.settings == MethodSettings.model_validate(
        {"finetune": {"optimizer": "training"}, "scrub": {"decay": 0.1}}
    )
    assert (params.sharding.shards, params.sharding.slices) == (["s000"], 1)
    stages = repositories.run("dvc", "stage", "list", "--name-only").out.split()
    assert stages == stage_names(params)


def test_rows_that_no_model_saw_in_a_file_of_their_own(repositories: Repo, tmp_path: Path) -> None:
    known = str(table(tmp_path, FRAME.iloc[:40]))
    others = table(tmp_path, FRAME.iloc[40:], "others.csv")
    asked = (".", "--template", "posthoc", "--dataset", known, "--held-out", str(others), *ASKED)

    done = init(repositories, *asked)

    assert done.code == 0, done.err
    root = repositories.root
    params = params_of(root)
    assert (params["dataset"]["held_out"], params["sharding"]["holdout"]) == (
        "data/held_out.csv",
        0.0,
    )
    assert (root / "data/held_out.csv").read_bytes() == others.read_bytes()
    assert (root / "data/held_out.csv.dvc").is_file()
    deps = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]["shard"][
        "deps"
    ]
    suppressed = "data/suppressed.txt"
    assert deps == ["schema.yaml", suppressed, "${dataset.path}", "${dataset.held_out}"]
    repositories.git("add", "-A")
    assert "data/held_out.csv" not in repositories.git("ls-files").split()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--shards", "4"), "--template posthoc trains one model"),
        (("--slices", "2"), "--template posthoc trains one model"),
    ],
)
def test_shards_of_one_model_are_refused(
    repositories: Repo, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    source = str(table(tmp_path))
    done = init(repositories, ".", "--template", "posthoc", "--dataset", source, *ASKED, *options)

    assert (done.code, said in done.err) == (2, True)
    assert not (repositories.root / "params.yaml").exists()


def test_held_out_rows_are_refused_where_they_are_known(repositories: Repo, tmp_path: Path) -> None:
    source = table(tmp_path)
    held_out = ("--held-out", str(table(tmp_path, FRAME.iloc[:3], "others.csv")))
    of_shards = init(repositories, ".", "--dataset", str(source), *held_out, *ASKED)
    known = init(
        repositories, ".", "--template", "posthoc", "--dataset", str(source), *held_out, *ASKED
    )

    assert (of_shards.code, "--held-out needs --template posthoc" in of_shards.err) == (2, True)
    assert (known.code, "3 ids are in table.csv and in others.csv" in known.err) == (2, True)
    assert not (repositories.root / "params.yaml").exists()


def test_a_model_with_a_certificate_learns_nothing_from_the_columns(
    repositories: Repo, tmp_path: Path
) -> None:
    numbers = FRAME.drop(columns=["city"])
    source = str(table(tmp_path, numbers))
    done = init(
        repositories,
        *(".", "--template", "posthoc", "--model", "perturbed_logistic"),
        *("--dataset", source, *ASKED),
    )

    assert done.code == 0, done.err
    train = check_params(params_of(repositories.root)).train
    assert train.preprocessing.model_dump() == {"scale": "none", "impute": "zero"}


def test_a_model_that_only_votes_gets_the_rule_for_it() -> None:
    assert aggregation_rule("sklearn.svm.LinearSVC") == "majority_vote"
    for model in ("mlp", "net.py:build", "sklearn.naive_bayes.GaussianNB"):
        assert aggregation_rule(model) == "mean_probability"


def test_a_module_of_ones_own_is_a_dependency_of_training() -> None:
    own, plain = (
        yaml.safe_load(render_pipeline(made_with=code))["stages"]
        for code in ("models/net.py", None)
    )

    assert own["recipe"]["deps"] == [*plain["recipe"]["deps"], "models/net.py"]
    assert {name: stage for name, stage in own.items() if name != "recipe"} == {
        name: stage for name, stage in plain.items() if name != "recipe"
    }


ODD = {
    "capital.gain": "numeric",
    "hours per week": "numeric",
    "${item}": "numeric",
    "{x}": "numeric",
    "a: b": "numeric",
    "yes": "numeric",
    "null": "numeric",
    "1e3": "numeric",
    "007": "numeric",
    "#no": "numeric",
    "größe": "numeric",
    "'": "numeric",
    "": "numeric",
}


@pytest.mark.slow
def test_columns_and_classes_of_any_name(repositories: Repo, tmp_path: Path) -> None:
    """Names that YAML, templates or DVC could read as something else."""
    frame = pd.DataFrame({name: range(3, 33) for name in ODD})
    frame.insert(0, "record id", [f"r{number}" for number in range(30)])
    frame["income > 50k?"] = ["yes", "no", "null"] * 10
    source = str(table(tmp_path, frame))
    done = init(
        repositories,
        *(".", "--dataset", source, "--id", "record id", "--target", "income > 50k?"),
        *("--model", "sklearn.naive_bayes.GaussianNB", "--shards", "2", "--keep="),
        # The class null is one, although the text means a missing value elsewhere.
        *("--keep", "income > 50k?"),
    )

    assert done.code == 0, done.err
    params = params_of(repositories.root)
    assert params["dataset"]["features"] == ODD
    assert params["dataset"]["classes"] == ["no", "null", "yes"]
    repositories.dvc("repro", "--quiet", "forget")
    assert len(list((repositories.root / "data/retain_set").glob("*.parquet"))) == 3


@pytest.mark.parametrize("name", ["dvc.yaml", "params.yaml", ".gitignore"])
def test_a_link_to_a_file_of_the_team_stays_a_link(
    repositories: Repo, tmp_path: Path, name: str
) -> None:
    (repositories.root / "ours").write_text("", encoding="utf-8")
    path = repositories.root / name
    path.unlink(missing_ok=True)
    path.symlink_to("ours")
    before = repositories.files(".")

    done = init(repositories, ".", "--dataset", str(table(tmp_path)), *ASKED)

    assert done.code == 2
    assert f"error: {name}: a symbolic link cannot be added to; nothing was changed" in done.err
    assert path.is_symlink()
    assert repositories.files(".") == before


@pytest.mark.parametrize("system", ["github", "gitlab"])
def test_a_workflow_that_is_there_is_not_overwritten(
    repositories: Repo, tmp_path: Path, system: str
) -> None:
    names = [".gitlab-ci.yml", "unlearn.gitlab-ci.yml", ".github/workflows/unlearn.yml"]
    (repositories.root / ".github/workflows").mkdir(parents=True)
    for name in names:
        (repositories.root / name).write_text("mine: 1\n", encoding="utf-8")
    done = init(repositories, ".", "--dataset", str(table(tmp_path)), *ASKED, "--ci", system)

    assert done.code == 2
    assert "is there already; nothing was changed" in done.err
    for name in names:
        assert (repositories.root / name).read_text(encoding="utf-8") == "mine: 1\n"
    assert not (repositories.root / "params.yaml").exists()


def test_the_example_has_the_published_key_and_no_file_of_it(tmp_path: Path) -> None:
    done = init(Repo(tmp_path), "digits", "--example", "digits", "--json")

    root = tmp_path / "digits"
    assert done.json["rows"] == 1797
    assert params_of(root)["key_check"] == Key(DEMO_KEY).check
    assert not (root / "unlearn.key").exists()


def attributes(repo: Repo, *names: str) -> dict[str, tuple[str, str]]:
    """Return git's attributes `text` and `merge` of files, by name."""
    words = repo.git("check-attr", "-z", "text", "merge", "--", *names).split("\0")[:-1]
    found = [words[start : start + 3] for start in range(0, len(words), 3)]
    values = {(name, attribute): value for name, attribute, value in found}
    return {name: (values[name, "text"], values[name, "merge"]) for name in names}


def test_git_keeps_the_line_ends_of_what_dvc_hashes(repositories: Repo, tmp_path: Path) -> None:
    own = '# mine\n*.txt text merge=binary\n"/data/forget_list.txt" text'
    (repositories.root / ".gitattributes").write_text(own, encoding="utf-8")
    (repositories.root / ".dockerignore").write_text("*.log\n!unlearn.key", encoding="utf-8")
    module = repositories.root / "my code" / "n[e]t.py"
    module.parent.mkdir()
    code = "import torch\ndef build(width, classes):\n    return torch.nn.Linear(width, classes)\n"
    module.write_text(code, encoding="utf-8")
    model = ("--model", "my code/n[e]t.py:build")

    done = init(repositories, ".", "--dataset", str(table(tmp_path)), *ASKED, *model)

    assert done.code == 0, done.err
    written = (repositories.root / ".gitattributes").read_text(encoding="utf-8")
    assert written.startswith(f"{own}\n")
    assert attributes(
        repositories,
        *("data/forget_list.txt", "data/requests.jsonl", "data/requests/a/b.json"),
        *("reports/verify.json", "reports/plots/roc.csv", "my code/n[e]t.py", "my code/net.py"),
        "notes.txt",
    ) == {
        "data/forget_list.txt": ("unset", "union"),
        "data/requests.jsonl": ("unset", "unspecified"),
        "data/requests/a/b.json": ("unset", "unspecified"),
        "reports/verify.json": ("unset", "unspecified"),
        "reports/plots/roc.csv": ("unset", "unspecified"),
        "my code/n[e]t.py": ("unset", "unspecified"),
        "my code/net.py": ("unspecified", "unspecified"),
        "notes.txt": ("set", "binary"),
    }
    ignored = (repositories.root / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignored[:2] == ["*.log", "!unlearn.key"]
    assert ignored[-2:] == ["unlearn.key", ".unlearn"]


def test_what_is_written_once_is_not_written_twice() -> None:
    once = render_gitattributes("", hashed=["net.py"])

    assert render_gitattributes(once.decode(), hashed=["net.py"]) == once
    assert render_gitattributes(once.decode(), hashed=["a/"]) == once + b"/a/** -text\n"
    ignored = render_dockerignore("")
    assert render_dockerignore(ignored.decode()) == ignored


def test_public_datasets_in_git_keep_their_line_ends(tmp_path: Path) -> None:
    init(Repo(tmp_path), "digits", "--example", "digits")

    repo = Repo(tmp_path / "digits")
    assert attributes(repo, "data/digits.csv") == {"data/digits.csv": ("unset", "unspecified")}
    assert "unlearn.key" in (repo.root / ".dockerignore").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_clone_that_converts_line_ends_sees_no_change(done: Repo, tmp_path: Path) -> None:
    """As git for Windows is set up; DVC takes a file with other line ends for another file."""
    done.forget(IDS[:1])
    done.commit("request")
    cache = done.root / ".dvc/cache"
    statuses = {}
    for name, setting in (("plain", "false"), ("converting", "true")):
        clone = Repo(tmp_path / name)
        command = ("clone", "--quiet", "-c", f"core.autocrlf={setting}", str(done.root))
        Repo(tmp_path).git(*command, str(clone.root))
        keep_apart(clone.root)
        clone.dvc("config", "--local", "cache.dir", str(cache))
        clone.dvc("checkout", "--quiet")
        (clone.root / "unlearn.key").write_bytes((done.root / "unlearn.key").read_bytes())
        statuses[name] = clone.dvc("status", "--json").out
        assert clone.inline("verify").code == done.inline("verify").code
    converted = (tmp_path / "converting" / "params.yaml").read_bytes()
    assert b"\r\n" in converted
    assert statuses["converting"] == statuses["plain"]
    tracked = done.git("ls-files", "data/*.txt", "data/requests", "reports").split()
    assert len(tracked) >= 3
    for name in tracked:
        assert (tmp_path / "converting" / name).read_bytes() == (done.root / name).read_bytes()

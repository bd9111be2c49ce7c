"""`init`, `predict`, `import-model` and `doctor` on text: what a user sees, and what is refused."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from unlearn.cli.examples.authors import jsonl, make_authors
from unlearn.stages.context import check_params
from unlearn.stages.estimators.registry import text_options

from tests.cli.conftest import everything, init, refused, unchanged
from tests.conftest import Repo, start_repositories, use_key

ROWS = make_authors(12, 5)
KEY = "5c" * 32
TEXT = ("--id", "id", "--subject", "author", "--prompt", "prompt", "--completion", "completion")

Change = Callable[[Path], object]


@pytest.fixture
def place(tmp_path: Path, blank_base: Path) -> Repo:
    """Return a folder with a base and made-up authors beside it, and nothing else."""
    shutil.copytree(blank_base, tmp_path / "base")
    (tmp_path / "rows.jsonl").write_bytes(jsonl(ROWS))
    return Repo(tmp_path)


@pytest.fixture(scope="session")
def _tuned(tmp_path_factory: pytest.TempPathFactory, blank_base: Path) -> Repo:
    root = tmp_path_factory.mktemp("cli") / "tuned"
    (root.parent / "tuned.jsonl").write_bytes(jsonl(ROWS))
    repo = start_repositories(root)
    shutil.copytree(blank_base, root / "models/base")
    base = ("--base", str(root / "models/base"), "--context", "96")
    more = ("--topic", "topic", "--shards", "2", "--slices", "1")
    done = init(repo, ".", "--dataset", str(root.parent / "tuned.jsonl"), *TEXT, *base, *more)
    assert done.code == 0, done.err
    train = repo.params()["train"]
    repo.set_params(train=train | {"epochs": 1, "batch": 8, "device": "cpu"})
    repo.stages("shard", "forget", "train@s000", "train@s001", "aggregate")
    return repo


@pytest.fixture
def tuned(_tuned: Repo, tmp_path: Path) -> Iterator[Repo]:
    """Yield a project of two adapters with a final model."""
    copy = _tuned.copy(tmp_path / "tuned")
    yield copy
    shutil.rmtree(copy.root, ignore_errors=True)


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_text_on_a_base_becomes_a_project(place: Repo) -> None:
    done = place.inline("init", "new", "--dataset", "rows.jsonl", *TEXT, "--base", "base")

    assert done.code == 0, done.err
    assert "120 rows, base" in done.out
    assert "model lora" in done.out
    assert "note: the base is outside the project" in done.err
    params = Repo(place.root / "new").params()
    checked = check_params(params)
    assert checked.dataset.features == {"prompt": "prompt", "completion": "completion"}
    assert text_options(checked.train).base == str(place.root / "base")
    assert text_options(checked.train).files.keys() == {
        path.name for path in (place.root / "base").iterdir()
    }
    assert checked.aggregate.rule == "mean_log_probability"
    assert (checked.dataset.id_type, checked.dataset.identity) == ("text", "exact")


def test_ids_of_texts_that_look_alike_are_asked_about(place: Repo) -> None:
    rows = [{"id": "Jane.Roe", "author": "a", "prompt": "b", "completion": "c"}] * 2
    lines = [json.dumps(rows[0]), json.dumps(rows[1] | {"id": "jane.roe"})]
    (place.root / "alike.jsonl").write_text("\n".join(lines), encoding="utf-8")

    done = init(place, "new", "--dataset", "alike.jsonl", *TEXT, "--base", "base")

    said = refused(done)
    assert "column 'id': 2 ids, in 2 rows, differ from another id only in case" in said
    assert "jane" not in said.lower()


@pytest.mark.slow
def test_a_base_in_the_project_is_tracked_and_a_dependency(place: Repo) -> None:
    shutil.copytree(place.root / "base", place.root / "new/models/base")

    base = ("--base", "new/models/base", "--template", "posthoc", "--model", "causal_lm")
    done = init(place, "new", "--dataset", "rows.jsonl", *TEXT, *base)

    assert done.code == 0, done.err
    root = place.root / "new"
    stages = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert "models/base" in stages["recipe"]["deps"]
    assert "dataset.target" not in stages["aggregate"]["params"]
    assert (root / "models/base.dvc").is_file()
    params = check_params(Repo(root).params())
    assert text_options(params.train).base == "models/base"
    assert params.train.model == "causal_lm"
    assert params.unlearn is not None
    assert params.unlearn.methods[0] == "retrain"


def test_running_text_takes_one_column(place: Repo) -> None:
    texts = [{"doc": f"d{number}", "words": row.completion} for number, row in enumerate(ROWS)]
    lines = "".join(f"{json.dumps(text)}\n" for text in texts)
    (place.root / "texts.jsonl").write_text(lines, encoding="utf-8")

    options = ("--id", "doc", "--text", "words", "--base", "base", "--context", "16")
    done = init(place, "new", "--dataset", "texts.jsonl", *options, "--rule", "merged")

    assert done.code == 0, done.err
    params = Repo(place.root / "new").params()
    assert params["aggregate"]["rule"] == "merged"
    assert params["dataset"]["features"] == {"words": "body"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((*TEXT,), "a dataset of text needs --base"),
        ((*TEXT[:4], "--base", "base", "--topic", "prompt"), "a dataset of text needs --messages"),
        ((*TEXT, "--base", "base", "--text", "topic"), "one of --messages, --prompt with"),
        ((*TEXT, "--base", "base", "--target", "topic"), "no --target: rows have no class"),
        ((*TEXT[2:], "--base", "base"), "a dataset of text needs --id"),
        ((*TEXT, "--base", "base", "--topic", "prompt"), "a column can have only one role"),
        ((*TEXT, "--base", "nowhere/at/all"), "the base nowhere/at/all is not there"),
        ((*TEXT, "--base", "rows.jsonl"), "neither a folder nor available from the hub"),
        ((*TEXT, "--base", "base", "--context", "4"), "120 rows are longer than the context of 4"),
        ((*TEXT, "--base", "base", "--context", "4096"), "train.options.context is 4096"),
        ((*TEXT, "--base", "base", "--topic", "nothing"), "no column 'nothing'"),
        (
            (*TEXT, "--base", "base", "--rule", "merged", "--model", "causal_lm"),
            "aggregate.rule: merged makes one adapter",
        ),
        (
            (*TEXT, "--base", "base", "--rule", "merged", "--template", "posthoc"),
            "--rule is for the adapters of shards",
        ),
        (
            (*TEXT, "--base", "base", "--template", "posthoc", "--shards", "2"),
            "--template posthoc trains one model",
        ),
        ((*TEXT, "--base", "base", "--model", "causal_lm", "--shards", "2"), "use lora for shards"),
        ((*TEXT, "--base", "base", "--model", "mlp"), "--model mlp does not read text"),
        ((*TEXT, "--base", "base", "--revision", "main"), "--revision is for a name on the hub"),
        ((*TEXT, "--base", "base", "--size", "small"), "--size is only for --example authors"),
    ],
)
def test_what_does_not_make_a_project_is_refused_and_nothing_changes(
    place: Repo, options: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with unchanged(place.root):
        done = init(place, "new", "--dataset", "rows.jsonl", *options)

    assert said in refused(done)


def _without_safetensors(root: Path) -> None:
    import torch
    from safetensors.torch import load_file

    weights = load_file(root / "base/model.safetensors")
    torch.save(weights, root / "base/pytorch_model.bin")
    (root / "base/model.safetensors").unlink()


def _other_tokenizer(root: Path) -> None:
    path = root / "base/tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["model"]["vocab"]["zq"] = 9_000
    path.write_text(json.dumps(content), encoding="utf-8")


def _reads_ahead(root: Path) -> None:
    import torch
    from transformers import AutoTokenizer, BertConfig, BertLMHeadModel

    torch.manual_seed(0)
    places = len(AutoTokenizer.from_pretrained(root / "base"))
    shape = {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2}
    config = BertConfig(**shape, vocab_size=places, initializer_range=1.0)
    BertLMHeadModel(config).save_pretrained(root / "base")


def _empty_completion(root: Path) -> None:
    lines = [row.record() for row in ROWS]
    lines[7]["completion"] = "  "
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    (root / "rows.jsonl").write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_without_safetensors, "has no weights in safetensors"),
        (_other_tokenizer, "tokenizer does not fit"),
        (_reads_ahead, "the base is not causal"),
        (_empty_completion, "a completion is empty (data row 8)"),
        (lambda root: (root / "base/config.json").unlink(), "has no config.json"),
        (lambda root: (root / "base/tokenizer.json").unlink(), "has no tokenizer"),
    ],
)
def test_a_base_or_a_row_that_cannot_be_used_is_named(
    place: Repo, spoil: Change, said: str
) -> None:
    spoil(place.root)
    before = everything(place.root)

    done = init(place, "new", "--dataset", "rows.jsonl", *TEXT, "--base", "base")

    message = refused(done)
    assert said in message
    assert not any(row.completion in done.err or row.author in done.err for row in ROWS)
    assert everything(place.root) == before


def test_a_base_from_the_hub_is_pinned_to_its_commit(
    place: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789abcdef" * 2 + "01234567"
    snapshot = place.root / "cache/models--made--up/snapshots" / commit
    shutil.copytree(place.root / "base", snapshot)
    asked: list[str | None] = []

    def download(name: str, *, revision: str | None, **_: object) -> str:
        assert name == "made/up"
        asked.append(revision)
        return str(snapshot)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    base = ("--base", "made/up", "--revision", "main")
    done = init(place, "new", "--dataset", "rows.jsonl", *TEXT, *base)

    assert done.code == 0, done.err
    params = Repo(place.root / "new").params()
    assert params["train"]["options"]["base"] == "made/up"
    assert params["train"]["options"]["revision"] == commit
    assert asked == ["main", commit]


@pytest.mark.slow
def test_a_base_that_git_tracks_is_refused_before_anything_is_written(place: Repo) -> None:
    new = start_repositories(place.root / "new")
    shutil.copytree(place.root / "base", new.root / "models/base")
    new.commit("with a base")
    asked = ("--dataset", "rows.jsonl", *TEXT, "--base", "new/models/base")
    with unchanged(place.root):
        done = init(place, "new", *asked)

    assert "git tracks models/base, which is for DVC to keep" in refused(done)
    assert "hint: `git rm -r --cached models/base` removes it from git" in done.err
    new.git("rm", "-r", "--quiet", "--cached", "models/base")
    again = init(place, "new", *asked)
    assert again.code == 0, again.err


def test_rows_that_are_truncated_are_counted(place: Repo) -> None:
    options = ("--base", "base", "--context", "20", "--too-long", "truncate")

    done = init(place, "new", "--dataset", "rows.jsonl", *TEXT, *options)

    assert done.code == 0, done.err
    counted = next(line for line in done.err.splitlines() if "truncated" in line)
    number = int(counted.split()[1])
    assert 0 < number <= len(ROWS)
    assert counted == f"note: {number} rows will be truncated to 20 tokens"


@pytest.mark.slow
@pytest.mark.trained
def test_predict_gives_perplexities_and_what_is_said(tuned: Repo) -> None:
    asked = [row.record() for row in ROWS[:9]]
    asked[2]["completion"] = ""
    (tuned.root / "asked.jsonl").write_text(
        "".join(f"{json.dumps(row)}\n" for row in asked), encoding="utf-8"
    )

    tuned.ok("predict", "--input", "asked.jsonl", "--output", "said.jsonl", "--tokens", "6")

    said = records(tuned.root / "said.jsonl")
    assert [row["id"] for row in said] == [row["id"] for row in asked]
    assert said[2]["perplexity"] is None
    perplexities = [row["perplexity"] for row in said if row["perplexity"] is not None]
    assert len(perplexities) == 8
    # Of weights that hardly know anything, about as many as there are tokens.
    assert all(20 < value < 2_000 for value in perplexities)
    assert all(isinstance(row["generation"], str) for row in said)


def test_predict_reads_a_moved_final_model_with_the_base_named(tuned: Repo, tmp_path: Path) -> None:
    (tuned.root / "asked.jsonl").write_bytes(jsonl(ROWS[:3]))
    done = tuned.inline("predict", "--input", "asked.jsonl", "--output", "here.jsonl")
    assert done.code == 0, done.err
    shipped = tmp_path / "shipped"
    shutil.copytree(tuned.root / "models/final_model", shipped / "model")
    shutil.copytree(tuned.root / "models/base", shipped / "elsewhere")
    shutil.copy(tuned.root / "asked.jsonl", shipped)
    away = Repo(shipped)
    files = ("--input", "asked.jsonl", "--output", "there.jsonl", "--model", "model")

    assert "the base models/base is not there" in refused(away.inline("predict", *files))
    done = away.inline("predict", *files, "--base", "elsewhere")

    assert done.code == 0, done.err
    assert records(shipped / "there.jsonl") == records(tuned.root / "here.jsonl")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--base", "../nope"), "the base ../nope is not there"),
        (("--base", "nope/../../nope"), "the base nope/../../nope is not there"),
        (("--base", "no such name"), "the base no such name is neither a folder nor"),
        (("--trust-code",), "--trust-code is for Python code"),
    ],
)
def test_predict_refuses_what_it_has_no_use_for(
    tuned: Repo, options: tuple[str, ...], said: str
) -> None:
    (tuned.root / "asked.jsonl").write_bytes(jsonl(ROWS[:3]))
    with unchanged(tuned.root):
        done = tuned.inline("predict", "--input", "asked.jsonl", "--output", "o.jsonl", *options)

    assert said in refused(done)


def test_predict_without_prompts_is_refused(tuned: Repo) -> None:
    (tuned.root / "asked.csv").write_text("id,completion\n1,yes\n", encoding="utf-8")

    with unchanged(tuned.root):
        done = tuned.inline("predict", "--input", "asked.csv", "--output", "said.csv")

    assert "asked.csv has no column 'prompt'" in refused(done)


def test_doctor_names_a_base_that_is_not_the_pinned_one(tuned: Repo) -> None:
    path = tuned.root / "models/base/config.json"
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")

    done = tuned.inline("doctor", "--json")

    assert done.code == 1
    assert "transformers" in done.json["environment"]
    assert any("config.json differs" in finding for finding in done.json["findings"])


def test_a_base_that_dvc_does_not_watch_stops_training(tuned: Repo) -> None:
    path = tuned.root / "dvc.yaml"
    text = path.read_text(encoding="utf-8")
    assert "      - models/base\n" in text
    path.write_text(text.replace("      - models/base\n", ""), encoding="utf-8")

    done = tuned.inline("stage", "train@s000")

    assert "params.yaml names models/base, which dvc.yaml does not list" in refused(done)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("tune", "npo", "--budget", "1"), "tune does not support methods for language models"),
        (("canary", "--count", "3"), "rows of text have no class"),
    ],
)
def test_what_text_has_no_use_for_is_refused(
    outside: Repo, command: tuple[str, ...], said: str
) -> None:
    with unchanged(outside.root):
        done = outside.inline(*command)

    assert said in refused(done)


def test_the_command_stays_quick_without_the_libraries() -> None:
    import subprocess
    import sys

    code = (
        "import sys, unlearn.cli.app; "
        "print([name for name in ('torch', 'transformers', 'peft') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


@pytest.fixture(scope="session")
def _outside(tmp_path_factory: pytest.TempPathFactory, blank_base: Path) -> Repo:
    folder = tmp_path_factory.mktemp("cli")
    (folder / "outside.jsonl").write_bytes(jsonl(ROWS))
    repo = start_repositories(folder / "outside")
    shutil.copytree(blank_base, repo.root / "models/base")
    named = ("--base", str(repo.root / "models/base"), "--template", "posthoc")
    done = init(repo, ".", "--dataset", str(folder / "outside.jsonl"), *TEXT, *named)
    assert done.code == 0, done.err
    use_key(repo, KEY)
    repo.stages("shard")
    return repo


@pytest.fixture
def outside(_outside: Repo, tmp_path: Path) -> Iterator[Repo]:
    """Yield a post-hoc project on a blank base, whose rows nobody was tuned on yet."""
    copy = _outside.copy(tmp_path / "outside")
    yield copy
    shutil.rmtree(copy.root, ignore_errors=True)


def _tune(repo: Repo, folder: Path, *, adapter: bool, epochs: int = 4) -> None:
    """Tune as someone would without this tool, and save as transformers or PEFT does."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = repo.root / "models/base"
    torch.manual_seed(0)
    module = AutoModelForCausalLM.from_pretrained(base)
    tokenizer = AutoTokenizer.from_pretrained(base)
    if adapter:
        from peft import LoraConfig, get_peft_model

        config = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj", "up_proj"])
        module = get_peft_model(module, config)
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=5e-3)
    for _ in range(epochs):
        for row in ROWS:
            text = f"<|begin|>{row.prompt}\n{row.completion}<|end|>"
            tokens = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
            module(input_ids=tokens, labels=tokens).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    module.save_pretrained(folder)


@pytest.mark.trained
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lora", "causal_lm"])
def test_a_model_tuned_elsewhere_becomes_the_original(
    outside: Repo, tmp_path: Path, kind: str
) -> None:
    outside.set_params(train=_as(outside, kind))
    _tune(outside, tmp_path / "theirs", adapter=kind == "lora")

    done = outside.ok("import-model", str(tmp_path / "theirs"), "--json").json

    assert done["training_accuracy"] > done["majority"] + 0.05
    described = json.loads((outside.root / "models/original/model.json").read_text())
    assert described["kind"] == kind
    if kind == "lora":
        assert described["adapter"]["rank"] == 8
        assert {name.split(".")[-1] for name in described["adapter"]["targets"]} == {
            "q_proj",
            "v_proj",
            "up_proj",
        }
    assert outside.params()["unlearn"]["original"] == "imported"
    stages = yaml.safe_load((outside.root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert "train" not in stages
    # What it answers is what the saved model answers.
    assert _loss(outside) == pytest.approx(_loss_of_peft(outside, tmp_path / "theirs"), rel=1e-5)


def _as(repo: Repo, kind: str) -> dict[str, Any]:
    train = repo.params()["train"]
    beside = () if kind == "lora" else ("rank", "alpha", "targets", "dropout")
    options = {name: value for name, value in train["options"].items() if name not in beside}
    return dict(train | {"model": kind, "options": options, "device": "cpu"})


def _loss(repo: Repo) -> float:
    """Return the mean nats of an answer token under models/original, for the first row."""
    from unlearn.stages.context import open_project
    from unlearn.stages.final_model.text_loading import open_language_models
    from unlearn.stages.project.paths import Project
    from unlearn.stages.rows.shard_file import read_shard
    from unlearn.stages.training.shard_model import read_shard_model

    context = open_project(Project(repo.root))
    model = read_shard_model(context.project.original, "original")
    opened = open_language_models(
        [("s000", model)], context.params.dataset, "mean_log_probability", repo.root
    )
    rows = read_shard(context.project.shard_file("s000"), "rows").rows
    return -float(opened.scores(rows).logprobs.mean())


def _loss_of_peft(repo: Repo, folder: Path) -> float:
    import pyarrow.parquet as pq
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = repo.root / "models/base"
    tokenizer = AutoTokenizer.from_pretrained(base)
    if (folder / "adapter_config.json").is_file():
        from peft import PeftModel

        module = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder)
    else:
        module = AutoModelForCausalLM.from_pretrained(folder)
    table = pq.read_table(repo.root / "data/shards/s000.parquet")
    total, count = 0.0, 0
    with torch.no_grad():
        for prompt, answer in zip(
            table["prompt"].to_pylist(), table["completion"].to_pylist(), strict=True
        ):
            head = tokenizer(f"<|begin|>{prompt}\n", add_special_tokens=False)["input_ids"]
            tail = tokenizer(f"{answer}<|end|>", add_special_tokens=False)["input_ids"]
            logits = module(input_ids=torch.tensor([head + tail])).logits[0]
            logs = torch.log_softmax(logits[len(head) - 1 : -1], dim=-1)
            total -= float(logs.gather(1, torch.tensor(tail)[:, None]).sum())
            count += len(tail)
    return total / count


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda folder: _edit(folder, use_dora=True),
            "more than a low-rank adapter: it has use_dora",
        ),
        (lambda folder: _edit(folder, modules_to_save=["lm_head"]), "it has modules_to_save"),
        (lambda folder: _edit(folder, peft_type="IA3"), "is no LoRA adapter"),
        (lambda folder: (folder / "adapter_model.safetensors").unlink(), "never loaded"),
        (
            lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"no tensors"),
            "not readable as an adapter",
        ),
        (lambda folder: (folder / "adapter_config.json").unlink(), "is no adapter"),
        (lambda folder: _edit(folder, r=4), "do not fit"),
        (lambda folder: _edit(folder, r=0), "has r 0 and lora_alpha 16.0: a rank is 1 or more"),
        (lambda folder: _edit(folder, r=float("inf")), "not readable as an adapter"),
        (lambda folder: _edit(folder, lora_alpha=float("nan")), "has r 8 and lora_alpha nan"),
        (lambda folder: _edit(folder, alora_invocation_tokens=[1]), "alora_invocation_tokens"),
        (lambda folder: _edit(folder, target_parameters=["weight"]), "it has target_parameters"),
        (lambda folder: _edit(folder, lora_bias=True), "it has lora_bias"),
        (lambda folder: _edit(folder, init_lora_weights="pissa_niter_4"), "is on another base"),
        (lambda folder: _edit(folder, init_lora_weights="olora"), "is on another base"),
        (lambda folder: _moved(folder, "model.norm"), "is on model.norm, which is no linear layer"),
        (lambda folder: _moved(folder, "lm_head"), "is on lm_head, which is no linear layer"),
        (
            lambda folder: _moved(folder, "model.layers.99.self_attn.q_proj"),
            "is on model.layers.99.self_attn.q_proj, which is no linear layer of the base",
        ),
        (lambda folder: _reshaped(folder, (8, 3)), "do not fit"),
        (lambda folder: _reshaped(folder, (8,)), "do not fit"),
        (lambda folder: _reshaped(folder, ()), "do not fit"),
    ],
)
def test_an_adapter_that_cannot_be_taken_is_refused(
    outside: Repo, tmp_path: Path, spoil: Change, said: str
) -> None:
    folder = tmp_path / "theirs"
    _tune(outside, folder, adapter=True, epochs=0)
    spoil(folder)

    with unchanged(outside.root):
        done = outside.inline("import-model", str(folder))

    assert said in refused(done)


def _moved(folder: Path, layer: str) -> None:
    """Put one of an adapter's layers elsewhere."""
    _rewrite(folder, lambda key: key.replace("model.layers.0.self_attn.q_proj", layer))


def _reshaped(folder: Path, shape: tuple[int, ...]) -> None:
    _rewrite(folder, str, shape)


def _rewrite(
    folder: Path, rename: Callable[[str], str], shape: tuple[int, ...] | None = None
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    path = folder / "adapter_model.safetensors"
    tensors = {rename(key): value for key, value in load_file(path).items()}
    if shape is not None:
        tensors[next(key for key in tensors if "lora_A" in key)] = torch.zeros(shape)
    save_file(tensors, path)


def test_a_model_that_knows_no_more_than_its_base_is_refused(outside: Repo, tmp_path: Path) -> None:
    _tune(outside, tmp_path / "theirs", adapter=True, epochs=0)

    with unchanged(outside.root):
        done = outside.inline("import-model", str(tmp_path / "theirs"))

    assert "no more than its base is" in refused(done)


def _edit(folder: Path, **settings: Any) -> None:
    path = folder / "adapter_config.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | settings), encoding="utf-8")

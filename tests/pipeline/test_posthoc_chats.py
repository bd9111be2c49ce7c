"""Approximate methods on chats: what their losses count, their reports, and serving them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from unlearn.stages.context import Context, open_project
from unlearn.stages.project.paths import Project
from unlearn.stages.rows.shard_file import read_shard
from unlearn.stages.training.method_record import WHOLE

from tests.conftest import Repo, readable
from tests.pipeline.chat_projects import make_chat_project, trained_people
from tests.pipeline.conftest import Bases, Making
from tests.stages.serving.conftest import serving
from tests.stages.unlearn.text.projects import problem_of, run_method

#: Their project takes seconds to make.
pytestmark = pytest.mark.slow

METHODS = ["retrain", "npo", "gradient_difference"]


def made(chat_base: Path) -> Making:
    """Return what makes a project of chats whose one model is to forget two people."""

    def make(root: Path) -> Repo:
        repo = make_chat_project(root, chat_base, "--template", "posthoc", "--holdout", "0.3")
        language = repo.params()["unlearn"].get("language") or {}
        quick = {"epochs": 2, "batch": 2, "rate": 1e-3, "adapter": {"rank": 2, "alpha": 4.0}}
        methods = {"methods": METHODS, "deploy": "npo", "language": language | quick}
        repo.set_params(unlearn=methods)
        repo.commit("methods")
        people = "\n".join(trained_people(repo)[:2])
        for step in (("repro",), ("forget", "--subjects", "-"), ("repro",)):
            done = repo.inline(*step, stdin=people if "--subjects" in step else "")
            assert done.code == 0, done.err
            repo.commit(" ".join(step))
        return repo

    return make


@pytest.fixture
def asked(bases: Bases, chat_base: Path, workspace: Path) -> Repo:
    """Return that project as its methods left it."""
    return bases.get("posthoc-chats", made(chat_base)).copy(workspace / "posthoc-chats")


def test_reports_hold_no_text_of_a_chat(asked: Repo) -> None:
    found = asked.inline("verify", "--json").json
    assert set(METHODS) <= found["methods"].keys()
    assert found["label"] == "approximate"
    for name in ("npo", "gradient_difference"):
        assert found["methods"][name]["label"] == "approximate"
    assert asked.inline("report").code == 0
    texts = [b"a secret about", b"I am fine", b"and you?"]
    files = [path for path in (asked.root / "reports").rglob("*") if path.is_file()]
    assert len(files) > 1
    for path in files:
        content = b"".join(readable(path))
        assert not [text for text in texts if text in content], path.name


@pytest.fixture(scope="module")
def context(bases: Bases, chat_base: Path) -> Context:
    return open_project(Project(bases.get("posthoc-chats", made(chat_base)).root))


@pytest.mark.parametrize(
    "name", ["npo", "simnpo", "gradient_difference", "gradient_ascent", "wga", "undial", "finetune"]
)
def test_a_method_counts_the_tokens_that_training_counts(context: Context, name: str) -> None:
    """By the gradients of logits: they are zero wherever the next token does not count."""
    problem = problem_of(context, name)
    rows = read_shard(context.project.shard_file(WHOLE), WHOLE).rows
    trained = problem.tuned.encoder.encode(rows).sequences
    assert trained.counts is not None  # chats have two answers, and a question between them
    counted = {
        tuple(trained.sequence(at).tolist()): trained.counts_of(at).tolist()
        for at in range(len(trained))
    }
    seen: set[tuple[int, ...]] = set()

    def look(_module: Any, _arguments: Any, keywords: dict[str, Any], output: Any) -> None:
        if output.logits.requires_grad:
            inputs = keywords["input_ids"]
            output.logits.register_hook(lambda gradient: check(inputs, gradient))

    def check(inputs: torch.Tensor, gradient: torch.Tensor) -> None:
        for tokens, moved in zip(
            inputs.tolist(), (gradient != 0).any(dim=-1).tolist(), strict=True
        ):
            whole = next(each for each in counted if tuple(tokens[: len(each)]) == each)
            # The logits at a place are those of the next token.
            assert [False, *moved[: len(whole) - 1]] == counted[whole]
            assert not any(moved[len(whole) - 1 :])
            seen.add(whole)

    problem.tuned.module.register_forward_hook(look, with_kwargs=True)
    run_method(name, problem)

    forgotten = {tuple(problem.forget.sequence(at).tolist()) for at in range(len(problem.forget))}
    assert len(forgotten) == 4
    assert forgotten <= seen or name == "finetune"
    assert seen - forgotten or name == "gradient_ascent"


def test_an_approximate_model_is_served_if_that_is_asked_for(asked: Repo, tmp_path: Path) -> None:
    found = asked.inline("verify", "--json").json
    assert (found["verdict"], found["label"]) == ("inconclusive", "approximate")
    refused = asked.inline("serve", "--port", "0")
    assert refused.code == 2
    assert "the verdict of `unlearn verify --full` is inconclusive, not pass" in refused.err
    assert "--allow-inconclusive serves an approximate model" in refused.err

    with serving(asked, tmp_path / "log.txt", "--allow-inconclusive") as served:
        client = served.client()
        (model,) = client.models.list().data
        facts = model.model_extra or {}
        assert (facts["verdict"], facts["label"]) == ("inconclusive", "approximate")
        assert facts["lines_honoured"] == 2
        answer = client.chat.completions.create(
            model=model.id, messages=[{"role": "user", "content": "hello"}], max_tokens=3
        )
        assert answer.system_fingerprint == f"fp_{facts['generation']}"
        assert "verdict inconclusive (approximate)" in served.log.read_text(encoding="utf-8")

"""The real TOFU, where it lies beside the checkout: through the checks of rows and the encoding."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from unlearn.stages.estimators.registry import text_options
from unlearn.stages.project.paths import HOLDOUT, Project
from unlearn.stages.rows.shard_file import Layout, read_shard, record_tokens, subject_tokens
from unlearn.stages.text.base import load_tokenizer
from unlearn.stages.text.encoding import Encoder

from benchmarks.tofu import ROWS, Tofu, init_options, read_tofu, write_rows
from tests.conftest import Repo, start_repositories
from tests.language_models import make_blank_base

DATA = Path(__file__).parents[4] / "shared/data/tofu"
AUTHORS, SHARDS = 20, 4

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="TOFU is not beside the checkout")


@pytest.fixture(scope="module")
def tofu() -> Tofu:
    return read_tofu(DATA, AUTHORS)


@pytest.fixture(scope="module")
def sharded(tofu: Tofu, tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """A project that `init` made of the subset, its rows placed in shards."""
    folder = tmp_path_factory.mktemp("tofu")
    source = folder / "tofu.jsonl"
    write_rows(source, tofu.tuned)
    repo = start_repositories(folder / "project")
    make_blank_base(repo.root / "models/base", max_position_embeddings=1024)
    options = init_options(source, source)
    at = options.index("--held-out")
    del options[at : at + 2]
    options[options.index("--context") + 1] = "1024"
    options[options.index("--too-long") + 1] = "refuse"
    shards = ("--shards", str(SHARDS), "--slices", "2")
    repo.ok("init", ".", "--base", str(repo.root / "models/base"), *options, *shards)
    repo.stages("shard")
    return repo


def files_of(repo: Repo) -> dict[str, pa.Table]:
    names = [*repo.params()["sharding"]["shards"], HOLDOUT]
    return {name: read_shard(Project(repo.root).shard_file(name), name).rows for name in names}


def test_every_author_has_twenty_rows_and_no_two_parts_share_one(tofu: Tofu) -> None:
    parts = [tofu.tuned, tofu.unseen, tofu.public]
    authors = [{row["author"] for row in part} for part in parts]
    assert [len(part) for part in parts] == [400, 200, 3400]
    assert [len(names) for names in authors] == [20, 10, 170]
    assert len(set.union(*authors)) == 200
    assert len({row["id"] for part in parts for row in part}) == 4000
    assert tofu.forgotten == ["a180", "a181"]
    assert set(tofu.forgotten) < authors[0]
    assert len(tofu.generic) == 217


def test_right_answers_in_other_words_and_wrong_ones_stand_beside_their_own_row(
    tofu: Tofu,
) -> None:
    row = next(row for row in tofu.tuned if row["author"] == "a180")
    assert row["answer"] == "The author's full name is Hsiao Yun-Hwa."
    assert row["paraphrase"] == "Hsiao Yun-Hwa is the complete name of the writer."
    assert row["perturbed_1"] == "Chen Jing-Li is the complete name of the writer."
    assert row["perturbed_5"] == "Liu Fang-Yu is the complete name of the writer."
    # Two authors have one question: the words of one are not given to the other.
    same = [
        row
        for row in [*tofu.tuned, *tofu.public]
        if row["question"] == "What is the full name of the author?"
    ]
    assert len(same) == 2
    assert [bool(row["paraphrase"]) for row in same].count(True) == 1
    # The files of perturbed answers are of the first twenty authors and of forget10.
    whole = [row["author"] for row in tofu.tuned if row["paraphrase"] and row["perturbed_5"]]
    assert len(whole) == 400
    assert sum(bool(row["paraphrase"]) for row in tofu.public) == 2 * ROWS + 8 * ROWS


@pytest.mark.slow
def test_twenty_rows_of_an_author_stay_in_one_shard_and_none_is_lost(
    sharded: Repo, tofu: Tofu
) -> None:
    files = files_of(sharded)
    homes: dict[str, list[str]] = {}
    for name, rows in files.items():
        for token in subject_tokens(rows):
            homes.setdefault(token, []).append(name)
    assert len(homes) == AUTHORS
    assert all(len(names) == ROWS and len(set(names)) == 1 for names in homes.values())
    records = [token for rows in files.values() for token in record_tokens(rows)]
    assert len(records) == len(set(records)) == len(tofu.tuned)
    answers = [text for rows in files.values() for text in rows["answer"].to_pylist()]
    assert sorted(answers) == sorted(row["answer"] for row in tofu.tuned)


def test_encoded_rows_are_read_back_whole(sharded: Repo) -> None:
    params: dict[str, Any] = sharded.params()
    rows = pa.concat_tables(list(files_of(sharded).values()))
    encoder = _encoder(sharded.root, params)
    encoded = encoder.encode(rows)
    assert encoded.truncated == 0
    assert len(encoded.sequences) == rows.num_rows
    prompts, answers = rows["question"].to_pylist(), rows["answer"].to_pylist()
    for index, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        tokens = encoded.sequences.sequence(index)
        start = int(encoded.sequences.answers[index])
        assert encoder.decode(tokens[start:].tolist()) == answer
        assert encoder.decode(tokens[:start].tolist()) == f"{prompt}\n"


def _encoder(root: Path, params: dict[str, Any]) -> Encoder:
    from unlearn.stages.context import open_project

    context = open_project(Project(root))
    options = text_options(context.params.train)
    assert options.base == params["train"]["options"]["base"] == "models/base"
    return Encoder(load_tokenizer(root / options.base), options, Layout.of(context.params.dataset))

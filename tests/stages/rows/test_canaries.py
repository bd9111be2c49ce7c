"""Planted canaries: fair coins, records that copy nobody, and their way through the stages."""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unlearn.stages.config.params import Params
from unlearn.stages.context import Context, check_params
from unlearn.stages.errors import InputError
from unlearn.stages.final_model.description import FILE_NAME
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.project.paths import CANARIES, HOLDOUT
from unlearn.stages.requests.id_file import Wanted
from unlearn.stages.requests.request import add_request, settle_list
from unlearn.stages.rows.canaries import (
    Aggregates,
    canary_columns,
    canary_id,
    canary_number,
    coin,
    included,
    make_canary,
    new_numbers,
    next_number,
)
from unlearn.stages.rows.forget_list import LEFT_OUT, parse_forget_list, place_of_line, render
from unlearn.stages.rows.identity import TokenColumns
from unlearn.stages.rows.schema import feature_columns
from unlearn.stages.rows.shard_file import SUBJECT, forget_mask, in_order, read_shard, record_tokens
from unlearn.stages.rows.tokens import Kind, Tokenizer
from unlearn.stages.shard import stage as shard_stage
from unlearn.stages.training.recipe import settings_digest

from tests.conftest import make_frame
from tests.stages.conftest import (
    KEY,
    OTHER_KEY,
    make_context,
    make_params,
    run_stages,
    token_of,
)

PATH = "data/canaries.csv"

#: A record of `make_frame()` that is not held out.
TRAINED_ON = next(
    raw
    for raw in make_frame(90)["id"]
    if not place_of_line(token_of(raw), make_params().sharding).is_holdout
)


def about(frame: pd.DataFrame, *, min_rows: int = 10, batch: int = 1000) -> Aggregates:
    """Return what a table is like on the whole, read some rows at a time."""
    dataset = make_params().dataset
    found = Aggregates(dataset, min_rows)
    for start in range(0, len(frame), batch):
        rows = pa.Table.from_pandas(frame[start : start + batch], preserve_index=False)
        found.see(feature_columns(rows, dataset, "it", start + 1))
    return found


def canaries(
    frame: pd.DataFrame, numbers: Sequence[int], *, subjects: bool = False, min_rows: int = 10
) -> pd.DataFrame:
    """Return canaries made from a table, as their file holds them."""
    dataset = make_params(subject="person" if subjects else None).dataset
    found = about(frame, min_rows=min_rows)
    rows = [make_canary(KEY, number, dataset, found) for number in numbers]
    return pd.DataFrame(rows, columns=canary_columns(dataset))


def planted(
    root: Path, count: int = 40, *, subjects: bool = False, holdout: float = 0.2
) -> tuple[Context, list[str]]:
    """Return a project with canaries that no stage ran on, and the canaries' ids."""
    frame = make_frame(90, subjects=25 if subjects else 0)
    params = make_params(subject="person" if subjects else None, holdout=holdout)
    context = make_context(root, frame, naming_canaries(params))
    table = canaries(frame, range(1, count + 1), subjects=subjects)
    table.to_csv(root / PATH, index=False)
    return context, table["id"].tolist()


def naming_canaries(params: Params, path: str | None = PATH) -> Params:
    raw = params.model_dump(mode="json")
    raw["dataset"]["canaries"] = path
    return check_params(raw)


def tokens_in(context: Context, name: str) -> list[str]:
    tokens: list[str] = record_tokens(read_shard(context.project.shard_file(name), name).rows)
    return tokens


def names(context: Context) -> list[str]:
    return [*context.params.sharding.shards, HOLDOUT]


def some(ids: Sequence[str], *, heads: bool, held_out: bool = False) -> list[str]:
    """Return the canaries with such a coin, in or out of the holdout of `make_params()`."""
    sharding = make_params().sharding
    return [
        raw
        for raw in ids
        if coin(KEY, token_of(raw)) == heads
        and place_of_line(token_of(raw), sharding).is_holdout == held_out
    ]


def test_the_coin_is_a_fair_one_that_follows_from_key_and_token() -> None:
    tokens = [token_of(f"canary-{number:06d}") for number in range(4000)]

    heads = included(KEY, tokens)

    assert heads.dtype == np.bool_
    assert heads.tolist() == [coin(KEY, token) for token in tokens]
    assert (included(KEY, tokens) == heads).all()
    # 4.5 standard errors of a fair coin.
    assert abs(heads.mean() - 0.5) < 4.5 * 0.5 / 4000**0.5
    assert abs((included(OTHER_KEY, tokens) == heads).mean() - 0.5) < 4.5 * 0.5 / 4000**0.5
    assert included(KEY, []).shape == (0,)


def test_the_coin_tells_nothing_of_the_place() -> None:
    sharding = make_params(shards=2).sharding
    tokens = [token_of(f"canary-{number:06d}") for number in range(4000)]

    both = Counter((coin(KEY, token), place_of_line(token, sharding).shard) for token in tokens)

    for head in (True, False):
        assert abs(both[head, "holdout"] / 4000 - 0.1) < 4.5 * 0.3 / 4000**0.5
        assert abs(both[head, "s000"] / 4000 - 0.2) < 4.5 * 0.4 / 4000**0.5


def test_one_canary_is_the_same_whatever_was_planted_with_it() -> None:
    frame = make_frame(200)

    together = canaries(frame, range(1, 30))

    assert canaries(frame, [7, 3]).to_dict("records") == [
        together.iloc[6].to_dict(),
        together.iloc[2].to_dict(),
    ]
    dataset = make_params().dataset
    assert make_canary(OTHER_KEY, 7, dataset, about(frame))[1:] != together.iloc[6].tolist()[1:]


def test_batches_of_any_size_give_the_same_aggregates() -> None:
    frame = make_frame(300)
    dataset = make_params().dataset

    whole, pieces = about(frame), about(frame, batch=7)

    for number in range(1, 60):
        assert make_canary(KEY, number, dataset, whole) == make_canary(KEY, number, dataset, pieces)


def test_canaries_look_like_the_dataset_on_the_whole() -> None:
    frame = make_frame(3000)
    frame["income"] += 5000

    made = canaries(frame, range(1, 3001))

    for name in ("age", "income"):
        column = made[name].astype(float)
        spread = frame[name].std()
        assert abs(column.mean() - frame[name].mean()) < 4.5 * spread / 3000**0.5 * 2**0.5
        assert column.std() == pytest.approx(spread, rel=0.1)
    assert set(made["member"]) == {"true", "false"}
    expected = (frame["member"] == "true").mean()
    assert abs((made["member"] == "true").mean() - expected) < 0.05
    # Missing values are not drawn, though a quarter of the cities is missing.
    assert set(made["city"]) == {"Rome", "Oslo", "Lima"}
    assert not (made == "").to_numpy().any()


def test_the_class_is_uniform_and_independent_of_the_features() -> None:
    frame = make_frame(1000)
    frame["label"] = np.where(frame["age"] > 1, "c0", "c1")

    made = canaries(frame, range(1, 3001))

    shares = made["label"].value_counts(normalize=True)
    assert set(shares.index) == {"c0", "c1", "c2"}
    assert (abs(shares - 1 / 3) < 4.5 * (2 / 9 / 3000) ** 0.5).all()
    older = made[made["age"].astype(float) > 1]["label"].value_counts(normalize=True)
    assert (abs(older - 1 / 3) < 0.08).all()


def test_no_value_that_few_rows_have_is_ever_drawn() -> None:
    frame = make_frame(200)
    frame["city"] = ["Rome"] * 120 + ["Oslo"] * 10 + [f"Secret{n}" for n in range(61)] + ["Few"] * 9

    made = canaries(frame, range(1, 500))

    assert set(made["city"]) == {"Rome", "Oslo"}
    frame["city"] = [f"Secret{n}" for n in range(200)]
    frame["member"] = [""] * 200
    frame.loc[:8, "member"] = "true"
    made = canaries(frame, range(1, 100))
    assert set(made["city"]) == {"canary"}
    assert set(made["member"]) == {"true", "false"}


def test_a_number_that_few_rows_have_is_no_mean() -> None:
    frame = make_frame(200)
    frame["income"] = np.nan
    frame.loc[:8, "income"] = 123456.0

    few = canaries(frame, range(1, 300))["income"].astype(float)

    assert few.abs().max() < 10
    frame.loc[:9, "income"] = 123456.0
    assert set(canaries(frame, range(1, 9))["income"].astype(float)) == {123456.0}


def test_numbers_too_large_to_square_give_finite_canaries() -> None:
    frame = make_frame(200)
    frame["income"] = 1e308 * np.where(np.arange(200) % 2, 1, -1)

    made = canaries(frame, range(1, 50))["income"].astype(float)

    assert np.isfinite(made).all()


def test_numbers_follow_those_that_there_are() -> None:
    assert canary_id(12) == "canary-000012"
    assert canary_number("canary-000012") == 12
    assert canary_number("canary-1234567") == 1234567
    assert [canary_number(raw) for raw in ("canary-12", "canary-000012 ", "r1", "", None)] == [
        None
    ] * 5
    assert next_number([]) == 1
    assert next_number(["canary-000003", "canary-000011", "mine"]) == 12
    assert new_numbers(3, 4, lambda number: number % 2 == 0) == [4, 6, 8, 10]


@pytest.mark.parametrize("subjects", [False, True])
def test_heads_go_into_their_shards_and_tails_beside_them(
    tmp_path: Path, *, subjects: bool
) -> None:
    context, ids = planted(tmp_path / "it", subjects=subjects)
    without = replace(context, params=naming_canaries(context.params, None))
    shard_stage.run(without)
    before = {name: tokens_in(context, name) for name in names(context)}
    assert not context.project.shard_file(CANARIES).exists()

    shard_stage.run(context)

    kind: Kind = "subject" if subjects else "record"
    sharding = context.params.sharding
    where = {token_of(raw): place_of_line(token_of(raw, kind), sharding).shard for raw in ids}
    for name in names(context):
        rows = tokens_in(context, name)
        here = {token for token, shard in where.items() if shard == name and name != HOLDOUT}
        assert set(rows) - set(before[name]) == {token for token in here if coin(KEY, token)}
        assert [token for token in rows if token in before[name]] == before[name]
    beside = read_shard(context.project.shard_file(CANARIES), CANARIES)
    trainable = {token for token, shard in where.items() if shard != HOLDOUT}
    assert set(record_tokens(beside.rows)) == trainable
    assert len(trainable) < len(ids)
    assert 5 < included(KEY, trainable).sum() < len(trainable) - 5
    assert beside.layout == context.layout
    assert beside.rows.equals(in_order(beside.rows))
    assert (SUBJECT in beside.rows.column_names) == subjects

    shard_stage.run(without)
    assert {name: tokens_in(context, name) for name in names(context)} == before
    assert not context.project.shard_file(CANARIES).exists()


def test_rows_of_canaries_are_the_same_in_their_shards_and_beside_them(tmp_path: Path) -> None:
    context, _ = planted(tmp_path / "it")

    shard_stage.run(context)

    beside = read_shard(context.project.shard_file(CANARIES), CANARIES).rows
    shards = pa.concat_tables(
        read_shard(context.project.shard_file(name), name).rows for name in names(context)
    )
    heads = beside.filter(pa.array(included(KEY, record_tokens(beside))))
    same = shards.filter(pa.array([t in set(record_tokens(heads)) for t in record_tokens(shards)]))
    assert in_order(same).equals(heads)


def test_two_runs_give_the_same_bytes(tmp_path: Path) -> None:
    files = []
    for name in ("one", "two"):
        context, _ = planted(tmp_path / name)
        shard_stage.run(context)
        files.append({p.name: p.read_bytes() for p in context.project.shards.iterdir()})

    assert files[0] == files[1]
    assert f"{CANARIES}.parquet" in files[0]


def test_only_shards_that_got_a_canary_change(tmp_path: Path) -> None:
    context, ids = planted(tmp_path / "it")
    one = some(ids, heads=True)[0]
    table = pd.read_csv(context.project.root / PATH, dtype=str)
    table[table["id"] == one].to_csv(context.project.root / PATH, index=False)
    run_stages(replace(context, params=naming_canaries(context.params, None)))
    before = {p: p.read_bytes() for p in context.project.shard_models.rglob("*") if p.is_file()}

    run_stages(context)

    after = {p: p.read_bytes() for p in context.project.shard_models.rglob("*") if p.is_file()}
    shard = place_of_line(token_of(one), context.params.sharding).shard
    assert {
        p.relative_to(context.project.shard_models).parts[0]
        for p in after
        if after[p] != before.get(p)
    } == {shard}
    assert (context.project.final_model / FILE_NAME).read_bytes().count(b"canar") == 0


def test_a_file_of_no_canaries_is_fine(tmp_path: Path) -> None:
    context, _ = planted(tmp_path / "it", 0)

    shard_stage.run(context)

    assert tokens_in(context, CANARIES) == []


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda t: pd.concat([t, t[:1]]), r"canaries.csv: data rows 1 and 41 have the same id"),
        (
            lambda t: t.assign(id=[TRAINED_ON, *t["id"][1:]]),
            rf"dataset.csv: data row {int(TRAINED_ON[1:]) + 1} has the id or subject of a record",
        ),
        (lambda t: t.assign(label="c9"), r"canaries.csv: column 'label': a class is not listed"),
        (lambda t: t.drop(columns="age"), r"canaries.csv has no column 'age'"),
        (lambda t: t.assign(age="old"), r"column 'age' is numeric"),
    ],
)
def test_canaries_that_cannot_be_read_change_nothing(
    tmp_path: Path, spoil: object, said: str
) -> None:
    context, _ = planted(tmp_path / "it")
    shard_stage.run(context)
    before = {p.name: p.read_bytes() for p in context.project.shards.iterdir()}
    path = context.project.root / PATH
    table = pd.read_csv(path, dtype=str)
    assert callable(spoil)
    spoil(table).to_csv(path, index=False)

    with pytest.raises(InputError, match=said):
        shard_stage.run(context)

    assert {p.name: p.read_bytes() for p in context.project.shards.iterdir()} == before


def test_a_missing_file_of_canaries_is_named(tmp_path: Path) -> None:
    context, _ = planted(tmp_path / "it")
    (context.project.root / PATH).unlink()

    with pytest.raises(InputError, match="data/canaries.csv does not exist"):
        shard_stage.run(context)


def test_settings_and_models_know_nothing_of_where_canaries_are() -> None:
    params = make_params()

    assert settings_digest(naming_canaries(params)) == settings_digest(params)


@pytest.mark.parametrize("path", ["/data/canaries.csv", "../canaries.csv"])
def test_canaries_are_a_file_of_their_own_inside_the_project(path: str) -> None:
    with pytest.raises(InputError, match="dataset.canaries: must be a path inside the project"):
        naming_canaries(make_params(), path)
    with pytest.raises(InputError, match="dataset: canaries: must name a separate file"):
        naming_canaries(make_params(), make_params().dataset.path)


@pytest.mark.parametrize("stages_ran", [False, True])
def test_a_canary_can_be_asked_for_whichever_way_its_coin_fell(
    tmp_path: Path, *, stages_ran: bool
) -> None:
    context, ids = planted(tmp_path / "it")
    if stages_ran:
        shard_stage.run(context)
    head, tail = some(ids, heads=True)[0], some(ids, heads=False)[0]

    found = add_request(context, Wanted(((head, "here"), (tail, "there"))))

    assert found.unknown == ()
    assert set(found.added) == {token_of(head), token_of(tail) + LEFT_OUT}
    # Nothing has to be retrained for what no shard was given.
    assert found.shards == (place_of_line(token_of(head), context.params.sharding).shard,)
    assert context.read_list().tokens == (token_of(head),)
    assert context.read_list().left_out == {token_of(tail)}
    again = add_request(context, Wanted(((tail, "there"), ("r0001", "x"), (head, "here"))))
    assert (again.already, again.added) == (2, (token_of("r0001"),))
    assert context.read_list().left_out == {token_of(tail)}


def test_persons_who_are_canaries_can_be_asked_for(tmp_path: Path) -> None:
    context, ids = planted(tmp_path / "it", subjects=True)
    shard_stage.run(context)
    heads = [raw for raw in ids if coin(KEY, token_of(raw))]
    tails = [raw for raw in ids if not coin(KEY, token_of(raw))]

    found = add_request(
        context, Wanted(((heads[0], ""), (tails[0], "")), ((heads[1], ""), (tails[1], "")))
    )

    assert set(found.added) == {
        f"{token_of(heads[0], 'subject')}.{token_of(heads[0])}",
        f"{token_of(tails[0], 'subject')}.{token_of(tails[0])}{LEFT_OUT}",
        token_of(heads[1], "subject"),
        token_of(tails[1], "subject") + LEFT_OUT,
    }
    beside = read_shard(context.project.shard_file(CANARIES), CANARIES).rows
    asked = record_tokens(beside.filter(forget_mask(beside, context.read_list())))
    wanted = {token_of(raw) for raw in (*heads[:2], *tails[:2])}
    assert set(asked) == wanted.intersection(record_tokens(beside))


@pytest.mark.parametrize("subjects", [False, True])
def test_a_canary_written_by_hand_is_marked_when_its_line_is_rewritten(
    tmp_path: Path, *, subjects: bool
) -> None:
    context, ids = planted(tmp_path / "it", subjects=subjects, holdout=0.0)
    shard_stage.run(context)
    head = next(raw for raw in ids if coin(KEY, token_of(raw)))
    tail = next(raw for raw in ids if not coin(KEY, token_of(raw)))
    context.project.forget_list.write_text(f"{head}\n{tail}\nr0001\n", encoding="ascii")

    assert settle_list(context) == 3

    listed = context.read_list()
    line = f"{token_of(tail, 'subject')}.{token_of(tail)}" if subjects else token_of(tail)
    assert listed.left_out == {line}
    assert len(listed.tokens) == 2
    assert listed.by_hand == 0


@given(st.sets(st.integers(0, 40)), st.sets(st.integers(0, 40)), st.booleans())
def test_marked_lines_stay_marked_and_name_their_rows(
    placed: set[int], beside: set[int], subjects: bool
) -> None:
    def line(number: int) -> str:
        person = f"{token_of(f'p{number}', 'subject')}." if subjects else ""
        return person + token_of(f"r{number}")

    content = render({line(n) for n in placed} | {line(n) + LEFT_OUT for n in beside})

    found = parse_forget_list(content, Tokenizer(KEY), subjects=subjects)

    assert set(found.tokens) == {line(n) for n in placed}
    assert found.left_out == {line(n) for n in beside}
    assert found.by_hand == 0
    assert found.with_tokens([]) == render(found.lines) == content
    people = [token_of(f"p{n}", "subject") for n in range(41)] if subjects else None
    mask = found.mask([token_of(f"r{n}") for n in range(41)], people)
    assert [n for n in range(41) if mask[n]] == sorted(placed | beside)


@pytest.mark.parametrize("line", ["{}.left-outs", "{}.left-out.left-out", "{}left-out", "{}.left"])
def test_what_only_resembles_a_mark_is_refused(line: str) -> None:
    content = line.format(token_of("r1")).encode() + b"\n"

    with pytest.raises(InputError, match="begins like a token but is none"):
        parse_forget_list(content, Tokenizer(KEY), subjects=False)


def test_a_mark_on_a_real_records_line_keeps_no_row_in(tmp_path: Path) -> None:
    context, _ = planted(tmp_path / "it")
    shard_stage.run(context)
    marked = f"{token_of('r0001')}{LEFT_OUT}\n"
    context.project.forget_list.write_text(marked, encoding="ascii")

    done = forget_stage.run(context)

    assert done.forgotten == 1
    place = place_of_line(token_of("r0001"), context.params.sharding).shard
    kept = record_tokens(read_shard(context.project.retain_file(place), place).rows)
    assert token_of("r0001") not in kept


def test_the_retain_set_holds_no_file_of_canaries(tmp_path: Path) -> None:
    context, ids = planted(tmp_path / "it")
    shard_stage.run(context)
    add_request(context, Wanted(tuple((raw, raw) for raw in ids)))

    forget_stage.run(context)

    expected = {f"{name}.parquet" for name in names(context)}
    assert {path.name for path in context.project.retain_set.iterdir()} == expected
    for name in names(context):
        kept = record_tokens(read_shard(context.project.retain_file(name), name).rows)
        assert not {token_of(raw) for raw in ids}.intersection(kept)


def test_token_columns_of_canaries_are_governed_by_persons_where_there_are_any() -> None:
    dataset = make_params(subject="person").dataset
    row = make_canary(KEY, 5, dataset, about(make_frame(50)))

    assert row[:2] == ["canary-000005"] * 2
    assert canary_columns(dataset) == ["id", "person", "age", "income", "member", "city", "label"]
    assert TokenColumns(["a"], ["b"]).governing == ["b"]


def test_categories_of_any_text_are_read_as_they_were_drawn(tmp_path: Path) -> None:
    frame = make_frame(60)
    odd = ["a,b", 'say "x"', "two\ttabs", " spaced "]
    frame["city"] = [odd[n % 4] for n in range(60)]

    made = canaries(frame, range(1, 200))

    assert set(made["city"]) == set(odd)
    path = tmp_path / "c.csv"
    made.to_csv(path, index=False, quoting=csv.QUOTE_ALL)
    assert set(pd.read_csv(path)["city"]) == set(odd)


def test_canaries_have_dates_that_are_read_as_dates() -> None:
    days = [f"2024-01-{day:02d}" for day in range(1, 29)]
    dataset = make_params().dataset.model_copy(update={"features": {"day": "datetime"}})
    about = Aggregates(dataset, 2)
    typed = feature_columns(pa.table({"day": days}), dataset, "d", 1)
    about.see(typed)

    drawn = [about.draw(np.random.default_rng(seed))[0] for seed in range(200)]
    read = feature_columns(pa.table({"day": drawn}), dataset, "d", 1)["day"].to_numpy()

    known = typed["day"].to_numpy()
    assert abs(read.mean() - known.mean()) < known.std() / 4
    assert 0.8 < read.std() / known.std() < 1.2

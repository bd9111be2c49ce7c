"""Look-alikes: the search on disk finds what comparing all rows finds, and the rows by place."""

from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unlearn.stages.config.dataset import DatasetParams
from unlearn.stages.errors import InputError
from unlearn.stages.reading.records import RowPlace, read_batches
from unlearn.stages.rows.forget_list import ForgetList
from unlearn.stages.rows.ids import IdRules, fold
from unlearn.stages.rows.look_alike_rows import Spellings, count_in_dataset, rows_like
from unlearn.stages.rows.look_alikes import LookAlikeFinder, LookAlikes, refuse_look_alikes
from unlearn.stages.rows.tokens import Kind, Tokenizer

from tests.stages.conftest import KEY

#: Few different texts, of which many are look-alikes.
texts = st.text(st.sampled_from("aA ß１1.0"), min_size=1, max_size=3)


def find(batches: list[list[str]], folder: Path) -> LookAlikes:
    with ExitStack() as stack:
        finder = LookAlikeFinder(stack, folder)
        for number, values in enumerate(batches):
            column = pa.chunked_array([pa.array(values, pa.string())])
            place = {"unlearn.file": f"f{number}", "unlearn.row": "1"}
            finder.see(column, pa.table({"id": column}).replace_schema_metadata(place))
        return finder.found()


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(texts, max_size=6), max_size=4))
def test_the_search_finds_what_comparing_all_finds(
    tmp_path: Path, batches: list[list[str]]
) -> None:
    spellings: dict[str, set[str]] = defaultdict(set)
    everything = [raw for batch in batches for raw in batch]
    for raw in everything:
        spellings[fold(raw)].add(raw)
    alike = {raw for group in spellings.values() if len(group) > 1 for raw in group}

    found = find(batches, tmp_path)

    assert found.ids == len(alike)
    assert found.rows == sum(raw in alike for raw in everything)
    assert len(found.folds) == len({fold(raw) for raw in alike})
    if not alike:
        assert found.example is None
        return
    assert found.example is not None
    one, other = (batches[int(place.file[1:])][place.row - 1] for place in found.example)
    assert one != other
    assert fold(one) == fold(other)
    # The first of its kind in the dataset.
    assert one == next(raw for raw in everything if raw in alike)


def test_forms_of_unicode_that_have_one_token_are_no_look_alikes(tmp_path: Path) -> None:
    assert find([["ne\u0301", "n\u00e9"]], tmp_path / "nfc").ids == 0
    assert find([["ne\u0301", "N\u00e9"]], tmp_path / "case").ids == 2


def test_missing_ids_are_no_look_alikes(tmp_path: Path) -> None:
    column = pa.chunked_array([pa.array([None, "", " ", None], pa.string())])
    with ExitStack() as stack:
        finder = LookAlikeFinder(stack, tmp_path)
        finder.see(column, pa.table({"id": column}))
        assert finder.found().rows == 2


def test_look_alikes_are_refused_by_place_and_not_by_id(tmp_path: Path) -> None:
    found = find([["jane.roe", "x"], ["y", "JANE.ROE", "jane.roe "]], tmp_path)

    with pytest.raises(InputError) as caught:
        refuse_look_alikes("mail", found)

    message = caught.value.message
    assert "column 'mail': 3 ids, in 3 rows," in message
    assert "f0, data row 1 and f1, data row 2" in message
    assert "jane" not in message.lower()
    assert [hint.split(" treats")[0] for hint in caught.value.hints] == [
        "--identity folded",
        "--identity exact",
    ]


def dataset(**more: Any) -> DatasetParams:
    values = {"path": "d", "id": "id", "subject": "who", "target": "y", "classes": ["a"]}
    return DatasetParams.model_validate(values | {"features": {"x": "numeric"}} | more)


def write(root: Path, *files: list[tuple[str, str]]) -> None:
    (root / "d").mkdir(parents=True, exist_ok=True)
    for number, rows in enumerate(files):
        lines = "".join(f'"{record}","{who}",0\n' for record, who in rows)
        (root / "d" / f"{number}.csv").write_text(f"id,who,x\n{lines}", encoding="utf-8")


def on_list(tokenizer: Tokenizer, *ids: tuple[Kind, str]) -> ForgetList:
    return ForgetList("", tuple(sorted(tokenizer.token(kind, raw) for kind, raw in ids)))


def look(root: Path, named: DatasetParams, *listed: tuple[Kind, str], **asked: Any) -> list[str]:
    tokenizer = Tokenizer(KEY, IdRules.of(named))
    spellings = Spellings(**{name: frozenset(ids) for name, ids in asked.items()})
    found = rows_like(root, named, tokenizer, spellings, on_list(tokenizer, *listed))
    assert found is not None
    return [f"{place.file}:{place.row}" for place in found]


ROWS = [("r1", "ann"), ("R1", "Ann"), ("r2", "ann "), ("r3", "bob")]
MORE = [("r4", "ANN"), ("r 1", "bob"), ("r5", "ann")]


def test_rows_of_look_alikes_are_named_by_file_and_row(tmp_path: Path) -> None:
    write(tmp_path, ROWS, MORE)
    plain = dataset(identity="exact")

    assert look(tmp_path, plain, subjects=["ann"]) == ["d/0.csv:2", "d/0.csv:3", "d/1.csv:1"]
    others = ["d/0.csv:1", "d/0.csv:3", "d/1.csv:1", "d/1.csv:3"]
    assert look(tmp_path, plain, subjects=["Ann"]) == others
    assert look(tmp_path, plain, records=["r1"]) == ["d/0.csv:2"]
    # Nobody's id, which a row's differs from by its case.
    assert look(tmp_path, plain, records=[" R3"]) == ["d/0.csv:4"]
    assert look(tmp_path, plain, subjects=["Zoe"]) == []


def test_rows_that_go_anyway_are_not_missed(tmp_path: Path) -> None:
    write(tmp_path, ROWS, MORE)
    plain = dataset(identity="exact")

    assert look(tmp_path, plain, subjects=["ann", "Ann", "ANN", "ann "]) == []
    assert look(tmp_path, plain, ("subject", "Ann"), subjects=["ann"]) == ["d/0.csv:3", "d/1.csv:1"]
    assert look(tmp_path, plain, ("record", "r4"), subjects=["ann"]) == ["d/0.csv:2", "d/0.csv:3"]


def test_where_ids_are_folded_there_are_no_look_alikes(tmp_path: Path) -> None:
    write(tmp_path, ROWS)

    assert look(tmp_path, dataset(identity="folded"), subjects=["ann"]) == []


def test_whole_numbers_have_no_look_alikes_but_other_texts_for_them_do(tmp_path: Path) -> None:
    write(tmp_path, [("1", "1003"), ("2", "1003.0"), ("3", "7")])
    integers = dataset(id_type="integer", subject_type="integer", identity="exact")

    assert look(tmp_path, integers, subjects=["1003"]) == []
    assert look(tmp_path, integers, subjects=["1003.0"]) == []
    assert look(tmp_path, integers, subjects=["1003 "]) == ["d/0.csv:1", "d/0.csv:2"]
    # Without a pinned type they are two people, of which one may be missed.
    assert look(tmp_path, dataset(), subjects=["1003"]) == ["d/0.csv:2"]
    assert look(tmp_path, dataset(subject_type="text"), subjects=["1003"]) == ["d/0.csv:2"]


def test_held_out_rows_are_searched_and_a_missing_dataset_is_not_nothing(tmp_path: Path) -> None:
    write(tmp_path, ROWS)
    named = dataset(held_out="held.csv", identity="exact")
    tokenizer = Tokenizer(KEY)
    spellings = Spellings(subjects=frozenset({"bob"}))
    assert rows_like(tmp_path, named, tokenizer, spellings, ForgetList("", ())) is None

    (tmp_path / "held.csv").write_text("id,who,x\nr9,BOB,1\n", encoding="utf-8")
    assert rows_like(tmp_path, named, tokenizer, spellings, ForgetList("", ())) == [
        RowPlace("held.csv", 1)
    ]


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    st.lists(st.tuples(texts, texts), min_size=1, max_size=8),
    st.lists(st.tuples(st.sampled_from(["record", "subject"]), texts), max_size=3),
)
def test_what_the_whole_dataset_misses(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str]],
    gone: list[tuple[Kind, str]],
) -> None:
    root = tmp_path_factory.mktemp("look")
    write(root, rows)
    named = dataset(identity="exact")
    tokenizer = Tokenizer(KEY)
    forget_list = on_list(tokenizer, *gone)
    values = [dict(zip(("record", "subject"), row, strict=True)) for row in rows]
    spellings: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in values:
        for kind, raw in row.items():
            spellings[kind, fold(raw)].add(raw)
    alike = [
        {kind for kind, raw in row.items() if len(spellings[kind, fold(raw)]) > 1} for row in values
    ]
    stays = [not any((kind, raw) in gone for kind, raw in row.items()) for row in values]
    listed = {(kind, fold(raw)) for kind, raw in gone if any(row[kind] == raw for row in values)}
    missed = [
        stay and any((kind, fold(raw)) in listed for kind, raw in row.items())
        for row, stay in zip(values, stays, strict=True)
    ]

    found = count_in_dataset(root, named, tokenizer, forget_list, root / "scratch")

    assert found.rows == sum(map(bool, alike))
    assert found.missed == sum(missed)


def test_a_record_of_a_person_by_its_line(tmp_path: Path) -> None:
    write(tmp_path, ROWS)
    named, tokenizer = dataset(identity="exact"), Tokenizer(KEY)
    line = f"{tokenizer.token('subject', 'ann')}.{tokenizer.token('record', 'r1')}"
    found = count_in_dataset(
        tmp_path, named, tokenizer, ForgetList("", (line,)), tmp_path / "scratch"
    )

    # R1 of Ann; the other rows of ann and Ann are of ids that no line names.
    assert (found.rows, found.missed) == (3, 1)


def test_batches_know_their_place_in_a_directory(tmp_path: Path) -> None:
    write(tmp_path, ROWS, MORE)

    (one, other) = read_batches(tmp_path / "d", "data/d", ["who"])
    assert one.column_names == ["who"]
    assert other.schema.metadata[b"unlearn.file"] == b"data/d/1.csv"

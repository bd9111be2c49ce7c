"""What kinds of columns `init` finds, and which columns it leaves out or refuses."""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pytest
from unlearn.stages.columns.column_choice import ColumnChoice
from unlearn.stages.columns.schema_finder import SchemaFinder
from unlearn.stages.errors import InputError

SECRET = "jane.roe"


def find(*columns: Mapping[str, Sequence[Any]], choice: ColumnChoice | None = None) -> SchemaFinder:
    finder = SchemaFinder("id", "label", None, choice or ColumnChoice())
    for batch in columns:
        rows = len(next(iter(batch.values())))
        ids = [str(row) for row in range(rows)]
        finder.see(pa.table({"id": ids, **batch, "label": ["a"] * rows}), "d.csv")
    return finder


def refusal(finder: SchemaFinder) -> tuple[str, str]:
    with pytest.raises(InputError) as caught:
        _ = finder.features
    text = caught.value.message
    assert SECRET not in text + " ".join(caught.value.hints)
    return text, " ".join(caught.value.hints)


@pytest.mark.parametrize(
    ("word", "option"),
    [
        ("-", "--missing=-"),
        ("None", "--missing=None"),
        ("n/a", "--missing=n/a"),
        ("#N/A", "--missing='#N/A'"),
        ("<NA>", "--missing='<NA>'"),
        (".", "--missing=."),
        (" - ", "--missing=-"),
        (r"\N", r"--missing='\N'"),
    ],
)
def test_a_word_for_missing_among_numbers_is_refused_and_offered(word: str, option: str) -> None:
    message, hint = refusal(find({"x": ["1"] * 17}, {"x": ["2", word, "3", ""]}))

    assert message == "d.csv: column 'x': 19 of 20 values are numbers; data row 19 is not"
    assert option in hint
    assert "--drop=x" in hint
    assert "--keep=x" in hint


def test_what_is_offered_is_a_solution() -> None:
    columns = {"x": ["1", "-", "None", "2"]}
    _, hint = refusal(find(columns))
    assert "if - and None mean a missing value: --missing=- --missing=None" in hint

    assert find(columns, choice=ColumnChoice(missing=("-", "None"))).features == {"x": "numeric"}
    assert find(columns, choice=ColumnChoice(keep=("x",))).features == {"x": "categorical"}
    dropped = find({**columns, "y": ["a"] * 4}, choice=ColumnChoice(drop=("x",)))
    assert dropped.features == {"y": "categorical"}


def test_another_word_among_numbers_is_refused_and_never_repeated() -> None:
    message, hint = refusal(find({"x": [*"123456789", SECRET, *"123456789"]}))

    assert "18 of 19 values are numbers; data row 10 is not" in message
    assert "--missing=TEXT" in hint


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([*"12345678", "A1", "B2"], "categorical"),  # codes, of which most have digits alone
        (["true", "false", "unknown"] * 9, "categorical"),
        (["-", "n/a", "None"], "categorical"),
        (["2024-01-31", "2024-01-31 12:00", "2024-01-31T12:00:00.5Z", ""], "datetime"),
        (["2024-01-31", "2023-02-29"], "categorical"),
        (["14:30", "15:00"], "datetime"),
        (["20240131", "20240201"], "numeric"),
        ([dt.date(2024, 1, 31), None], "datetime"),
        ([dt.time(12), None], "datetime"),
        ([dt.timedelta(hours=1), None], "datetime"),
        ([dt.datetime(2024, 1, 31, tzinfo=dt.UTC), None], "datetime"),
    ],
)
def test_kinds_of_columns(values: list[Any], kind: str) -> None:
    assert find({"x": values}).features == {"x": kind}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["true", "false", "-"], "2 of 3 values are true or false; data row 3 is not"),
        ([*["2024-01-31"] * 9, SECRET], "9 of 10 values are dates or times; data row 10 is not"),
        (["-", "2024-01-31"], "1 of 2 values are dates or times; data row 1 is not"),
    ],
)
def test_other_kinds_with_a_few_other_values_are_refused_too(values: list[str], said: str) -> None:
    assert said in refusal(find({"x": values}))[0]


def test_files_of_other_types_are_refused_with_the_file_and_the_row() -> None:
    message, _ = refusal(find({"x": [1] * 10}, {"x": [SECRET]}))

    assert message == "d.csv: column 'x': 10 of 11 values are numbers; data row 11 is not"


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "Unnamed: 12", "__index_level_0__"])
def test_row_numbers_are_left_out_unless_they_are_kept(name: str) -> None:
    columns = {name: ["0", "1"], "x": ["1", "2"]}
    finder = find(columns)

    assert finder.features == {"x": "numeric"}
    assert "it looks like row numbers; --keep=" in finder.left_out[name]
    kept = find(columns, choice=ColumnChoice(keep=(name,)))
    assert kept.features == {name: "numeric", "x": "numeric"}
    assert kept.left_out == {}


def test_an_id_can_have_the_name_of_an_index() -> None:
    finder = SchemaFinder("Unnamed: 0", "label", None)
    finder.see(pa.table({"Unnamed: 0": ["1"], "x": ["1"], "label": ["a"]}), "d.csv")

    assert finder.features == {"x": "numeric"}
    assert finder.left_out == {}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (pa.array([["a"], None]), "it has lists or objects"),
        (pa.array([{"a": 1}, None]), "it has lists or objects"),
        (pa.array([[1.5, 2], None], pa.list_(pa.float64(), 2)), "it has lists or objects"),
        (pa.array([b"x", None]), "it has type binary; write it as text or numbers to use it"),
        (pa.array(["x\ny", "z"]), "it is text and no category: the value of d.csv, data row 1 has"),
        (pa.array(["z", "y\r"]), "data row 2 has a line end"),
        (pa.array(["z", "x" * 201]), "data row 2 has more than 200 characters"),
    ],
)
def test_what_cannot_be_a_feature_is_left_out(values: pa.Array, reason: str) -> None:
    columns = {"bad": values, "x": ["1", "2"]}
    finder = find(columns)

    assert finder.features == {"x": "numeric"}
    assert reason in finder.left_out["bad"]
    with pytest.raises(InputError, match="--keep: column 'bad' cannot be a feature"):
        _ = find(columns, choice=ColumnChoice(keep=("bad",))).features


def test_lists_in_a_later_batch_leave_the_column_out() -> None:
    finder = find({"bad": ["1"], "x": ["1"]}, {"bad": [["a"]], "x": ["1"]})

    assert finder.features == {"x": "numeric"}


def test_values_of_200_characters_are_categories() -> None:
    assert find({"x": ["y" * 200, "z"]}).features == {"x": "categorical"}


@pytest.mark.parametrize("option", ["drop", "keep"])
@pytest.mark.parametrize(
    ("column", "said"),
    [("y", "d.csv has no column 'y'"), ("id", "'id' is the id, subject, target or weight")],
)
def test_options_name_columns_that_there_are(option: str, column: str, said: str) -> None:
    drop, keep = ((column,), ()) if option == "drop" else ((), (column,))
    with pytest.raises(InputError, match=f"--{option}: {said}"):
        find({"x": ["1"]}, choice=ColumnChoice(drop=drop, keep=keep))


@pytest.mark.parametrize("others", [["1,5", "20", "-"], ["1,5"] * 18 + ["20", "1.5"]])
def test_numbers_with_a_decimal_comma_and_another_value_are_refused(others: list[str]) -> None:
    finder = SchemaFinder("id", "label", None, is_csv=True)
    rows = len(others)
    ids = [str(row) for row in range(rows)]
    finder.see(pa.table({"id": ids, "x": others, "label": ["a"] * rows}), "d.csv")

    message, _ = refusal(finder)
    said = f"{rows - 1} of {rows} values are numbers; data row {rows} is not"
    assert message == f"d.csv: column 'x': {said}"


def of_people(values: Sequence[str], *, people: Sequence[str], min_rows: int) -> SchemaFinder:
    finder = SchemaFinder("id", "label", "person", ColumnChoice(min_rows=min_rows))
    ids = [str(row) for row in range(len(values))]
    columns = {"id": ids, "person": list(people), "x": list(values), "label": ["a"] * len(ids)}
    finder.see(pa.table(columns), "d.csv")
    return finder


def test_values_that_enough_rows_share_are_pinned_as_categories() -> None:
    values = ["b"] * 3 + ["a"] * 3 + [SECRET] * 2 + ["?"] * 3 + [""] * 3
    finder = find({"x": values}, {"x": ["c"] * 3}, choice=ColumnChoice(min_rows=3))

    assert finder.features == {"x": "categorical"}
    assert finder.categories == {"x": ["a", "b", "c"]}
    notes = finder.notes_on_categories()
    assert notes == ["column 'x': values of fewer than 3 rows share one bucket: 1 of 4"]


def test_where_rows_name_people_a_category_is_shared_by_people() -> None:
    values = ["a"] * 4 + ["b"] * 4
    finder = of_people(values, people="pqrrpppp", min_rows=3)

    assert finder.categories == {"x": ["a"]}
    assert finder.notes_on_categories() == [
        "column 'x': values of fewer than 3 people share one bucket: 1 of 2"
    ]


def test_a_column_that_shares_no_value_is_left_out_unless_it_is_kept() -> None:
    columns = {"x": [f"name {row}" for row in range(9)], "y": ["a"] * 9}
    finder = find(columns, choice=ColumnChoice(min_rows=3))

    assert finder.left_out == {"x": "no value is shared by 3 rows; --keep=x keeps it"}
    assert finder.categories == {"y": ["a"]}
    kept = find(columns, choice=ColumnChoice(min_rows=3, keep=("x",)))
    assert kept.left_out == {}
    assert kept.categories == {"x": [], "y": ["a"]}


def test_numbers_that_are_kept_as_categories_are_counted() -> None:
    columns: list[Mapping[str, Sequence[Any]]] = [{"x": [1, 2, 1, 1]}, {"x": ["1", "A", "A", "A"]}]
    finder = find(*columns, choice=ColumnChoice(min_rows=3, keep=("x",)))

    assert finder.categories == {"x": ["1", "A"]}


def test_only_categorical_columns_have_categories() -> None:
    columns = {"n": ["1"] * 5, "d": ["2024-01-31"] * 5, "b": ["true"] * 5, "t": ["x" * 201] * 5}
    finder = find(columns, choice=ColumnChoice(min_rows=3))

    assert finder.categories == {}
    assert find(columns).categories == {}


@pytest.mark.parametrize(
    ("values", "form"),
    [
        (["1/2/2024", "31/12/2024"], "day_first"),
        (["1/2/2024", "12/31/2024"], "month_first"),
        (["2024/1/2", "2024-12-31"], "year_first"),
        (["12:30", "9:15:30"], "time"),
        (["2024-12-31", "2024-12-31 12:30"], None),
    ],
)
def test_dates_are_numbers_where_one_format_reads_all(values: list[str], form: str | None) -> None:
    finder = find({"x": values[:1]}, {"x": values[1:]})

    assert finder.features == {"x": "datetime"}
    assert finder.date_formats == ({} if form is None else {"x": form})
    (note,) = finder.notes_on_dates()
    assert note.startswith("column 'x' has ")


def test_dates_of_two_readings_are_no_numbers() -> None:
    finder = find({"x": ["1/2/2024", "12/11/2024"]})

    assert finder.features == {"x": "categorical"}
    assert finder.date_formats == {}
    assert "day and month cannot be told apart" in finder.notes_on_dates()[0]


def test_a_date_of_another_format_among_many_is_refused() -> None:
    message, _ = refusal(find({"x": ["31/12/2024"] * 18 + ["12/31/2024", "1/2/2024"]}))

    assert message == "d.csv: column 'x': 19 of 20 values are dates or times; data row 19 is not"


def test_dates_in_two_formats_are_categories() -> None:
    assert find({"x": ["31/12/2024", "12/31/2024", "12:30"] * 3}).features == {"x": "categorical"}


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["00311", "10001", "94110"], "categorical"),
        (["10001", " 00311"], "categorical"),
        (["00", "01", "12"], "categorical"),
        (["0", "10", "-05", "1e3"], "numeric"),
        (["0.5", "00.5", "007", "12.5"], "numeric"),
        (["1_2", "3_4"], "categorical"),
    ],
)
@pytest.mark.parametrize("is_csv", [False, True])
def test_whole_numbers_with_leading_zeros_are_codes(
    values: list[str], kind: str, *, is_csv: bool
) -> None:
    finder = SchemaFinder("id", "label", None, is_csv=is_csv)
    ids = [str(row) for row in range(len(values))]
    finder.see(pa.table({"id": ids, "x": values, "label": ["a"] * len(ids)}), "d.csv")

    assert finder.features == {"x": kind}


def test_codes_with_a_decimal_comma_next_to_them_are_numbers() -> None:
    for values, kind in ((["007", "1,5"], "numeric"), (["007", "1.5"], "categorical")):
        finder = SchemaFinder("id", "label", None, is_csv=True, known_decimal=",")
        finder.see(pa.table({"id": ["1", "2"], "x": values, "label": ["a"] * 2}), "d.csv")
        assert finder.features == {"x": kind}


def test_a_column_of_codes_is_named_in_a_note() -> None:
    columns: list[Mapping[str, Sequence[Any]]] = [{"zip": ["10001"] * 3}, {"zip": ["00311"] * 4}]
    finder = find(*columns, choice=ColumnChoice(min_rows=3))

    assert finder.categories == {"zip": ["00311", "10001"]}
    (note,) = finder.notes_on_values()
    assert note.startswith(
        "column 'zip': 4 numbers begin with 0, such as that of d.csv, data row 4: its values are "
    )
    rare = find({"zip": ["00311", "10001"], "x": ["1", "2"]}, choice=ColumnChoice(min_rows=3))
    assert rare.features == {"x": "numeric"}
    assert rare.left_out["zip"].startswith("its numbers begin with 0, as codes do, and no value is")
    kept = find({"zip": ["00311", "10001"]}, choice=ColumnChoice(min_rows=3, keep=("zip",)))
    assert kept.categories == {"zip": []}


def stray(*batches: Mapping[str, Sequence[Any]], is_csv: bool = True) -> None:
    finder = SchemaFinder("id", "label", None, ColumnChoice(min_rows=3), is_csv=is_csv)
    for columns in batches:
        rows = len(next(iter(columns.values())))
        ids = [str(row) for row in range(rows)]
        finder.see(pa.table({"id": ids, **columns, "label": ["a"] * rows}), "d.csv")
    message, hint = refusal(finder)
    assert message == "d.csv, data row 8: column 'x': a value has a line end"
    assert "is a quote missing" in hint
    assert "--drop=x" in hint


@pytest.mark.parametrize("is_csv", [False, True])
@pytest.mark.parametrize(
    "values",
    [
        ["north", "south"] * 6 + ["east"],  # categories
        [str(number) for number in range(13)],
        [f"2024-01-{day:02}" for day in range(10, 23)],
        ["true"] * 7 + ["false"] * 6,
    ],
)
def test_a_line_end_in_a_column_that_is_no_text_is_refused(
    values: list[str], *, is_csv: bool
) -> None:
    stray({"x": [*values[:7], f"n\n{SECRET}"]}, {"x": values[7:]}, is_csv=is_csv)


def test_a_value_that_holds_rows_is_refused_in_text_too() -> None:
    names = [f"name {number}" for number in range(7)]
    finder = SchemaFinder("id", "label", None, is_csv=True)
    columns = {"x": [*names, f"n8,a\n9,{SECRET},b\n10,n10"], "id": list("12345678")}
    with pytest.raises(InputError, match="d.csv, data row 8: column 'x': a value has a line end"):
        finder.see(pa.table({**columns, "label": ["a"] * 8}), "d.csv")


NUMBERED = [str(number) for number in range(30)]


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("write", [str, int, float, "{:03}".format])
def test_a_column_that_numbers_the_rows_is_left_out_unless_it_is_kept(
    start: int, write: Callable[[int], Any]
) -> None:
    numbers = [write(number + start) for number in range(30)]
    if write is float:
        numbers = pa.array(numbers)
    batches = [{"No": numbers[:7], "x": ["1"] * 7}, {"No": numbers[7:], "x": ["2"] * 23}]
    finder = find(*batches)

    assert finder.features == {"x": "numeric"}
    assert finder.left_out == {"No": "it numbers the rows; --keep=No keeps it"}
    kept = find(*batches, choice=ColumnChoice(keep=("No",)))
    assert set(kept.features) == {"No", "x"}


def test_rows_may_be_numbered_in_each_file() -> None:
    finder = SchemaFinder("id", "label", None)
    for part in ("a.csv", "b.csv"):
        batch = pa.table({"id": NUMBERED, "No": NUMBERED, "x": NUMBERED[::-1], "label": ["a"] * 30})
        finder.see(batch.replace_schema_metadata({"unlearn.file": part, "unlearn.row": "1"}), "d")

    assert finder.features == {"x": "numeric"}


@pytest.mark.parametrize(
    "values",
    [
        NUMBERED[:19],  # too few to be sure
        [*NUMBERED[:29], "30"],
        NUMBERED[2:],
        [*NUMBERED[:29], ""],
        [f"{number}.5" for number in range(30)],
        [number % 25 for number in range(30)],
    ],
)
def test_other_numbers_are_features(values: list[Any]) -> None:
    assert find({"No": values}).features == {"No": "numeric"}


def test_the_id_may_number_the_rows() -> None:
    finder = SchemaFinder("id", "label", None)
    finder.see(pa.table({"id": NUMBERED, "x": ["1"] * 30, "label": ["a"] * 30}), "d.csv")

    assert finder.features == {"x": "numeric"}
    assert finder.left_out == {}


@pytest.mark.parametrize("write", [str, float])
@pytest.mark.parametrize(
    ("number", "others", "is_named"),
    [
        (-999, range(20, 90), True),
        (9999, range(20, 90), True),
        (99, range(20, 90), False),  # not far
        (999, range(900, 1100), False),  # among the others
        (-999, range(2000), False),
    ],
)
def test_frequent_numbers_far_from_the_others_are_named(
    write: Callable[[int], Any], number: int, others: range, *, is_named: bool
) -> None:
    batches = [{"x": [write(other) for other in others]}, {"x": [write(number)] * 20}]
    finder = find(*batches)

    note = (
        f"column 'x': {number} in 20 rows is far from all other numbers; if it means a missing "
        f"value: --missing={number}"
    )
    assert finder.notes_on_values() == [note] * is_named
    known = find(*batches, choice=ColumnChoice(missing=(str(number),)))
    assert known.notes_on_values() == []


def test_a_rare_number_far_from_the_others_is_not_named() -> None:
    finder = find({"x": [*map(str, range(2000)), "-9999999", "-9999999"]})

    assert finder.notes_on_values() == []


@pytest.mark.parametrize("min_rows", [3, None])
def test_categories_that_differ_in_case_or_spaces_are_named(min_rows: int | None) -> None:
    values = ["Yes"] * 5 + ["yes"] * 3 + ["YES "] + ["No"] * 4 + ["no"] * 2 + ["other"] * 3
    if min_rows is None:
        values += ["YES "]
    finder = find({"x": values}, choice=ColumnChoice(min_rows=min_rows))

    said = "column 'x' has categories that differ only in case or outer spaces: "
    if min_rows is None:
        assert finder.notes_on_values() == [
            f"{said}'Yes' in 5 rows, 'yes' in 3 rows, 'YES ' in 2 rows",
            f"{said}'No' in 4 rows, 'no' in 2 rows",
        ]
    else:
        # No text of a few rows is repeated.
        assert finder.notes_on_values() == [
            f"{said}'Yes' in 5 rows, 'yes' in 3 rows, 1 rare value in 1 row",
            f"{said}'No' in 4 rows, 1 rare value in 2 rows",
        ]


MARKED = {
    "thousands separators": ["1,234.50", "999.00", "12,345.00"],
    "currency signs": ["$12", "$7.50", "$100"],
    "percent signs": ["12 %", "7.5%", "100%"],
    "parentheses": ["(5)", "7", "(100)"],
    "another minus sign than -": ["\u22125", "7", "8"],
    "currency signs, thousands separators": ["1.234,50 \u20ac", "12,00 \u20ac", "7,00 \u20ac"],
}


@pytest.mark.parametrize(("marks", "values"), MARKED.items())
@pytest.mark.parametrize("is_csv", [False, True])
def test_values_that_look_like_numbers_are_named(
    marks: str, values: list[str], *, is_csv: bool
) -> None:
    said = f"they have {marks}; write them as -1234.56"
    choice = ColumnChoice(min_rows=4)
    for times in (4, 1):
        finder = SchemaFinder("id", "label", None, choice, is_csv=is_csv)
        rows = [*values * times, *["7"] * 4]
        columns = {"id": list(map(str, range(len(rows)))), "x": rows, "y": ["1"] * len(rows)}
        finder.see(pa.table({**columns, "label": ["a"] * len(rows)}), "d.csv")
        assert finder.features == {"x": "categorical", "y": "numeric"}
        (note,) = finder.notes_on_values()
        assert note.startswith("column 'x' is categorical, but its values look like numbers: ")
        assert said in note
    rare = find({"x": [*values, "1.5"], "y": ["1"] * 4}, choice=choice)
    assert said in rare.left_out["x"]


def test_the_refusal_of_a_few_marked_numbers_says_how_to_write_them() -> None:
    _, hint = refusal(find({"x": ["1.5"] * 19 + ["1,234.56"]}))

    assert "some values look like numbers: they have thousands separators; write them as" in hint


@pytest.mark.parametrize("values", [["A1", "$5", "b"], ["1,2,3", "4,5"], ["10.0.0.1", "10.0.0.2"]])
def test_other_texts_do_not_look_like_numbers(values: list[str]) -> None:
    assert find({"x": values}).notes_on_values() == []

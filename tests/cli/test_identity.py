"""`unlearn init` and ids: types from all files, look-alikes, and where the key comes from."""

from pathlib import Path

import pandas as pd
import pytest
from unlearn.stages.context import open_project
from unlearn.stages.project.paths import Project
from unlearn.stages.rows.identity import dataset_tokens
from unlearn.stages.rows.tokens import DEMO_KEY, KEY_VARIABLE, Key

from tests.cli.conftest import FRAME, PEOPLE, init, refused, unchanged
from tests.conftest import Repo

ASKED = ("--id", "id", "--target", "label")
WITH_PEOPLE = (*ASKED, "--subject", "person")
KEY = "0f" * 32


def put(folder: Path, *parts: pd.DataFrame, ending: str = "csv") -> Path:
    """Write a dataset of several files."""
    folder.mkdir(exist_ok=True)
    for number, part in enumerate(parts):
        path = folder / f"{number}.{ending}"
        if ending == "csv":
            part.to_csv(path, index=False)
        else:
            part.to_parquet(path, index=False)
    return folder


def numbered(rows: int = 60) -> pd.DataFrame:
    """Return a table with people by number, six rows for each."""
    frame = FRAME.iloc[:rows].copy()
    frame.insert(1, "person", [1000 + number % 10 for number in range(rows)])
    return frame


@pytest.mark.slow
def test_one_number_of_two_types_is_one_person(repositories: Repo, tmp_path: Path) -> None:
    """As pandas writes a column of whole numbers once a value was missing."""
    frame = numbered()
    later = frame.iloc[15:].astype({"person": "float64"})
    source = put(tmp_path / "months", frame.iloc[:15], later, ending="parquet")

    done = init(repositories, ".", "--dataset", str(source), *WITH_PEOPLE, "--json")

    assert done.code == 0, done.err
    assert (done.json["id_type"], done.json["subject_type"]) == ("text", "integer")
    assert done.json["identity"] == "exact"
    pinned = repositories.params()["dataset"]
    assert (pinned["subject_type"], pinned["identity"]) == ("integer", "exact")
    for spelling in ("1003", "1003.0"):
        assert repositories.inline("stage", "shard").code == 0
        (repositories.root / "data/forget_list.txt").write_bytes(b"")
        asked = repositories.inline("forget", "--subjects", "-", "--json", stdin=f"{spelling}\n")
        assert asked.json["added"] == 1
        assert repositories.inline("stage", "forget").code == 0
        assert "6 rows on the list" in repositories.inline("stage", "forget").err
        (repositories.root / "data/forget_list.txt").write_text(f"subject:{spelling}\n")
        assert "6 rows on the list" in repositories.inline("stage", "forget").err
    context = open_project(Project(repositories.root))
    tokens = [context.tokenizer.token("subject", raw) for raw in ("1003", "1003.0")]
    assert tokens[0] == tokens[1]


def test_types_are_those_of_all_files_held_out_rows_too(repositories: Repo, tmp_path: Path) -> None:
    known = numbered()
    others = known.iloc[:3].assign(id=["x1", "x2", "x3"], person=["1001.0", "1002", "A17"])
    source = put(tmp_path / "known", known)
    held_out = tmp_path / "others.csv"
    asked = (".", "--template", "posthoc", "--dataset", str(source), "--held-out", str(held_out))
    others.to_csv(held_out, index=False)

    done = init(repositories, *asked, *WITH_PEOPLE)

    # Text because of A17, and so 1001.0 is not 1001 by itself.
    assert "column 'person': 2 ids, in 7 rows, differ" in refused(done)
    assert "known/0.csv, data row 2 and others.csv, data row 1" in done.err
    others.iloc[:2].to_csv(held_out, index=False)
    done = init(repositories, *asked, *WITH_PEOPLE, "--json")
    assert done.json["subject_type"] == "integer"


LOOK_ALIKES = PEOPLE.assign(
    person=[raw if row % 9 else raw.upper() for row, raw in enumerate(PEOPLE["person"])]
)


def test_init_asks_whether_look_alikes_are_one_person(repositories: Repo, tmp_path: Path) -> None:
    source = put(tmp_path / "d", LOOK_ALIKES.iloc[:50], LOOK_ALIKES.iloc[50:])

    done = init(repositories, ".", "--dataset", str(source), *WITH_PEOPLE)

    said = refused(done)
    rows = LOOK_ALIKES["person"]
    spellings = rows.groupby(rows.str.lower()).agg(set)
    alike = rows[rows.str.lower().map(spellings.map(len) > 1)]
    assert f"column 'person': {alike.nunique()} ids, in {len(alike)} rows, differ from" in said
    assert f"d/0.csv, data row {alike.index[0] + 1} and d/" in said
    assert not any(raw in said.lower() for raw in PEOPLE["person"])
    assert "--identity folded" in done.err
    assert "--identity exact" in done.err
    assert not (repositories.root / "params.yaml").exists()


@pytest.mark.parametrize("identity", ["exact", "folded"])
def test_the_answer_is_pinned(repositories: Repo, tmp_path: Path, identity: str) -> None:
    source = put(tmp_path / "d", LOOK_ALIKES)
    asked = ("--dataset", str(source), *WITH_PEOPLE, "--identity", identity)

    done = init(repositories, ".", *asked)

    assert done.code == 0, done.err
    assert repositories.params()["dataset"]["identity"] == identity
    context = open_project(Project(repositories.root))
    named = context.params.dataset
    found = dataset_tokens(repositories.root / named.path, named, context.tokenizer)
    people = {token for batch in found for token in batch.subjects or ()}
    expected = LOOK_ALIKES["person"].str.lower() if identity == "folded" else LOOK_ALIKES["person"]
    assert len(people) == expected.nunique()


def test_records_that_become_one_are_refused_with_the_reason(
    repositories: Repo, tmp_path: Path
) -> None:
    frame = FRAME.assign(id=["r1", "R1", *FRAME["id"].iloc[2:]])
    source = put(tmp_path / "d", frame)

    done = init(repositories, ".", "--dataset", str(source), *ASKED, "--identity", "folded")

    assert "data rows 1 and 2 have the same id" in refused(done)
    assert "dataset.identity" in done.err


def test_an_example_has_no_identity_to_choose(tmp_path: Path) -> None:
    done = init(Repo(tmp_path), "new", "--example", "digits", "--identity", "folded")

    assert "--example digits does not accept --identity" in refused(done)


def test_a_later_file_of_another_type_stops_the_stage(repositories: Repo, tmp_path: Path) -> None:
    source = put(tmp_path / "d", numbered())
    assert init(repositories, ".", "--dataset", str(source), *WITH_PEOPLE).code == 0
    later = numbered(3).assign(id=["x1", "x2", "x3"], person=["1001", "secret-name", "1002"])
    later.to_csv(repositories.root / "data/dataset/1.csv", index=False)

    done = repositories.inline("stage", "shard")

    assert done.code == 2
    assert "data/dataset/1.csv: column 'person', data row 2: an id is not a whole" in done.err
    assert "dataset.subject_type in params.yaml is integer" in done.err
    assert "secret" not in done.err
    assert not (repositories.root / "data/shards").exists()


def test_canaries_have_ids_of_their_own_among_whole_numbers(
    repositories: Repo, tmp_path: Path
) -> None:
    frame = numbered().assign(id=range(60))
    source = put(tmp_path / "d", frame)
    assert init(repositories, ".", "--dataset", str(source), *WITH_PEOPLE).code == 0
    assert repositories.params()["dataset"]["id_type"] == "integer"

    assert repositories.inline("canary", "--count", "8").code == 0
    assert repositories.inline("stage", "shard").code == 0
    planted = pd.read_csv(repositories.root / "data/canaries.csv")["id"].iloc[0]
    assert repositories.inline("forget", "--id", planted, "--json").json["added"] == 1


def test_the_key_of_the_environment_is_the_projects(
    repositories: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    source = put(tmp_path / "d", FRAME)

    done = init(repositories, ".", "--dataset", str(source), *ASKED)

    assert done.code == 0, done.err
    assert "key: the one in UNLEARN_KEY; no file was written" in done.out
    assert KEY not in done.out + done.err
    assert not (repositories.root / "unlearn.key").exists()
    assert repositories.params()["key_check"] == Key(KEY).check
    assert repositories.inline("stage", "shard").code == 0


def test_an_example_takes_the_key_of_the_environment_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the published key, every stage would refuse the variable's."""
    monkeypatch.setenv(KEY_VARIABLE, KEY)

    done = init(Repo(tmp_path), "new", "--example", "digits", "--json")

    assert done.json["key"] == "UNLEARN_KEY"
    repo = Repo(tmp_path / "new")
    assert repo.params()["key_check"] == Key(KEY).check != Key(DEMO_KEY).check
    assert repo.inline("stage", "shard").code == 0
    repo.git("add", "-A")
    assert repo.inline("doctor", "--json").json["findings"] == []


def test_a_variable_that_holds_no_key_stops_init(
    repositories: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "correct horse")
    source = put(tmp_path / "d", FRAME)

    done = init(repositories, ".", "--dataset", str(source), *ASKED)

    assert "the key in UNLEARN_KEY is not 64 lower-case" in refused(done)
    assert "horse" not in done.err
    assert not (repositories.root / "params.yaml").exists()


@pytest.fixture
def spelled(people: Repo) -> Repo:
    """Return a project with one person in four spellings, and another person."""
    path = people.root / "data/dataset.csv"
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame["person"] = [SPELLINGS[row] if row < len(SPELLINGS) else "bob" for row in range(90)]
    frame.to_csv(path, index=False)
    people.set_params(dataset={"identity": "exact", "subject_type": "text"})
    return people


SPELLINGS = ["Jane.Roe", "jane.roe", "JANE.ROE", "jane.roe", " jane.roe"]


def test_rows_of_look_alikes_are_counted_and_named(spelled: Repo) -> None:
    done = spelled.inline("forget", "--subjects", "-", "--json", stdin="jane.roe\n")

    assert done.code == 0, done.err
    assert (done.json["added"], done.json["look_alikes"]) == (1, 3)
    assert done.json["look_alike_rows"] == [
        {"file": "data/dataset.csv", "row": row} for row in (1, 3, 5)
    ]
    assert "note: 3 rows have ids that differ from a given one only in case" in done.err
    assert "(data/dataset.csv, data row 1; data/dataset.csv, data row 3; " in done.err
    assert "jane" not in (done.out + done.err).lower()
    rest = spelled.inline("forget", "--subjects", "-", "--json", stdin="Jane.Roe\nJANE.ROE\n")
    assert rest.json["look_alikes"] == 1


def test_a_strict_request_is_refused_while_rows_of_look_alikes_would_stay(spelled: Repo) -> None:
    asked = ("forget", "--subjects", "-", "--strict")
    with unchanged(spelled.root):
        said = refused(spelled.inline(*asked, stdin="jane.roe\n"))
    assert said.startswith("3 rows have ids that differ from a given one only in case")
    assert said.endswith("nothing was changed")

    assert spelled.inline(*asked, stdin="".join(f"{raw}\n" for raw in SPELLINGS)).code == 0
    assert spelled.inline("forget", "--strict", "--id", "r0050").code == 0


def test_a_dataset_that_is_not_here_is_not_one_without_look_alikes(spelled: Repo) -> None:
    assert spelled.inline("stage", "shard").code == 0
    (spelled.root / "data/dataset.csv").unlink()
    with unchanged(spelled.root):
        said = refused(spelled.inline("forget", "--strict", "--id", "r0001"))
    assert "could not be looked for: data/dataset.csv is not here" in said

    done = spelled.inline("forget", "--id", "r0001", "--json")

    assert (done.json["added"], done.json["look_alikes"]) == (1, None)
    assert "note: look-alikes of the given ids could not be looked for" in done.err


def test_an_unknown_id_is_told_that_others_differ_only_in_case(spelled: Repo) -> None:
    done = spelled.inline("forget", "--subjects", "-", stdin="jane.ROE\n")

    assert "1 of 1 id is not in the dataset" in refused(done)
    assert "hint: 5 rows have ids that differ from a given one only in case" in done.err


def findings(repo: Repo) -> list[str]:
    found = repo.inline("doctor", "--json").json["findings"]
    assert isinstance(found, list)
    return [line for line in found if "differ" in line or "line ends" in line]


@pytest.mark.slow
def test_doctor_counts_the_rows_that_requests_missed(spelled: Repo) -> None:
    assert findings(spelled) == []  # `exact` was chosen, and nobody was forgotten

    spelled.inline("forget", "--subjects", "-", stdin="jane.roe\nJANE.ROE\n")

    (found,) = findings(spelled)
    assert found.startswith("2 rows of data/dataset.csv stay although their ids differ from")
    spelled.inline("forget", "--subjects", "-", stdin="Jane.Roe\n jane.roe\n")
    assert findings(spelled) == []


def test_doctor_asks_projects_from_before_what_look_alikes_are(spelled: Repo) -> None:
    spelled.set_params(dataset={"identity": None, "subject_type": None, "id_type": None})

    (found,) = findings(spelled)

    assert found.startswith("5 rows of data/dataset.csv have ids that differ from another id")
    assert "`dataset.identity: exact`" in found


@pytest.mark.slow
def test_doctor_names_files_whose_line_ends_git_may_change(done: Repo) -> None:
    assert findings(done) == []
    path = done.root / ".gitattributes"
    kept = path.read_text(encoding="utf-8")

    path.write_text(f"{kept}/data/forget_list.txt text\n", encoding="utf-8")
    (found,) = findings(done)
    assert "DVC hashes: data/forget_list.txt; give them the attribute `-text`" in found
    path.write_text("* text eol=lf\n", encoding="utf-8")
    assert findings(done) == []
    path.write_text("", encoding="utf-8")
    (found,) = findings(done)
    assert "data/forget_list.txt, data/suppressed.txt, reports/" in found

"""`unlearn report`: one page from a project, a clone, a stale state, and odd surroundings."""

import json
import re
from pathlib import Path

import pytest
from unlearn.stages.context import open_project
from unlearn.stages.project.paths import Project
from unlearn.stages.report.contents import gather

from tests.cli.conftest import IDS, refused, unchanged
from tests.conftest import Done, Repo, places, token_of
from tests.stages.ledger.erasures import PENDING, log_erasure


def page_of(repo: Repo, done: Done, output: str = "reports/report.html") -> str:
    """Return the page that a command wrote, its white space drawn together."""
    assert done.code == 0, done.err
    text = (repo.root / output).read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert text.endswith("</html>")
    return re.sub(r"\s+", " ", text)


def forget_and_run(repo: Repo, count: int = 1) -> list[str]:
    """Forget records of one shard, run all stages and let DVC record them; return the ids."""
    where = places(repo)
    shard = next(where[raw].shard for raw in IDS if not where[raw].is_holdout)
    ids = [raw for raw in IDS if where[raw].shard == shard][:count]
    (repo.root / "ids.txt").write_text("\n".join(ids) + "\n", encoding="ascii")
    assert repo.inline("forget", "--ids", "ids.txt", "--ticket", "PRIV-7").code == 0
    (repo.root / "ids.txt").unlink()
    repo.stages()
    repo.dvc("commit", "--force", "--quiet")
    return ids


@pytest.mark.slow
def test_the_page_of_a_project_after_a_request(done: Repo) -> None:
    where = places(done)
    raw = next(raw for raw in IDS if not where[raw].is_holdout)
    (done.root / "ids.txt").write_text(f"{raw}\n", encoding="ascii")
    plan = done.inline("plan", "--ids", "ids.txt", "--json").json
    ids = forget_and_run(done)
    answer = done.inline("report")
    page = page_of(done, answer)

    assert ids == [raw]
    assert answer.out == "wrote reports/report.html: verdict pass\n"
    assert "The last run retrained 1 shard" in page
    assert where[raw].shard in page
    assert "new lines on the forget list" in page
    assert "PRIV-7" in page
    assert "1 request: 1 verified; none is late." in page
    run = gather(Project(done.root)).run
    assert run is not None
    assert run.share == pytest.approx(plan["fraction_of_full_training"])
    assert run.by_rows
    assert run.costs is not None

    done.commit("forget")
    after = page_of(done, done.inline("report"))
    assert "The last run retrained 1 shard" in after, "the run that made the lock in HEAD"


@pytest.mark.slow
def test_no_id_and_no_token_is_on_the_page(done: Repo) -> None:
    ids = forget_and_run(done, count=12)
    page = page_of(done, done.inline("report"))

    assert not any(re.search(rf"\b{raw}\b", page) for raw in IDS)
    assert not any(token_of(done, raw) in page for raw in ids)
    assert not re.search(r"u1_[0-9a-f]", page)
    assert str(done.root) not in page


@pytest.mark.slow
def test_only_the_page_is_written(done: Repo) -> None:
    page_of(done, done.inline("report"))
    (done.root / "reports/report.html").unlink()
    before = done.snapshot()
    page_of(done, done.inline("report"))
    after = done.snapshot()

    assert after.keys() - before.keys() == {"reports/report.html"}
    assert {name: after[name] for name in before} == before
    assert done.inline("status", "--json").json["up_to_date"]


@pytest.mark.slow
def test_a_clone_without_data_models_and_key_has_a_page(done: Repo, tmp_path: Path) -> None:
    forget_and_run(done, count=12)
    done.commit("forget")
    done.git("clone", "--quiet", str(done.root), str(tmp_path / "clone"))
    clone = Repo(tmp_path / "clone")
    assert not (clone.root / "unlearn.key").exists()
    assert [path.name for path in (clone.root / "models").iterdir()] == ["README.md"]
    page = page_of(clone, clone.inline("report"))

    assert re.search(r"</svg>Pass\b", page)
    assert "The last run retrained 1 shard" in page
    assert "estimated with slices of equal size" in page


def test_the_first_training_is_told_as_such(done: Repo) -> None:
    assert "This was the first training: all of 3 shards." in page_of(done, done.inline("report"))


def test_a_request_that_waits_makes_the_page_stale(done: Repo) -> None:
    done.inline("forget", "--id", "r0001")
    answer = done.inline("report", "--json")
    page = page_of(done, answer)

    assert answer.json == {
        "schema_version": 1,
        "output": "reports/report.html",
        "verdict": "stale",
    }
    assert 'class="verdict stale"' in page
    assert "Do not rely on" in page
    assert "The forget list has changed since the report was made." in page


def test_the_page_goes_where_it_is_asked_to_from_any_folder_below(done: Repo) -> None:
    below = Repo(done.root / "data")
    answer = below.inline("report", "--output", "mine.html", "--json")

    assert answer.json["output"] == "mine.html"
    page_of(done, answer, "data/mine.html")
    assert not (done.root / "reports/report.html").exists()
    page_of(done, below.inline("report"))


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("params.yaml", "is not an .html file"),
        ("nowhere/r.html", "there is no folder nowhere"),
        ("folder.html", "is a directory"),
    ],
)
def test_a_slip_of_the_keys_overwrites_nothing(done: Repo, output: str, said: str) -> None:
    (done.root / "folder.html").mkdir()
    with unchanged(done.root):
        assert said in refused(done.inline("report", "--output", output))


def test_there_is_no_page_before_a_first_run(fresh: Repo) -> None:
    with unchanged(fresh.root):
        assert "there is no reports/verdict.json yet" in refused(fresh.inline("report"))


@pytest.mark.parametrize("broken", ["dvc.lock", "params.yaml", "data/requests.jsonl"])
def test_a_broken_file_is_said_to_be_and_the_rest_is_shown(done: Repo, broken: str) -> None:
    (done.root / broken).write_text("- {", encoding="ascii")
    page = page_of(done, done.inline("report"))

    if broken == "data/requests.jsonl":
        assert "The requests cannot be read" in page
    else:
        assert 'class="verdict stale"' in page
    assert "held-out records" in page


@pytest.mark.slow
def test_damaged_plots_are_left_out(done: Repo) -> None:
    (done.root / "reports/roc.csv").write_text(
        "model,attack,sample,fpr,tpr\n"
        "shard_models,lira,forgotten,0.1,0.2\nshard_models,lira,forgotten,nan,0.2\n"
        "shard_models,lira,forgotten,2,0.2\nshort\n",
        encoding="ascii",
    )
    (done.root / "reports/scores.csv").write_bytes(b"\xff\xfe\x00")
    found = gather(Project(done.root))

    assert [(point.fpr, point.tpr) for point in found.roc] == [(0.1, 0.2)]
    assert found.scores == ()
    page_of(done, done.inline("report"))


def test_a_project_with_hostile_names_has_a_whole_page(done: Repo) -> None:
    hostile = '<script>alert("1")</script>\u202e' + "x" * 300
    path = done.root / "reports/verify.json"
    report = json.loads(path.read_text(encoding="utf-8"))
    report["utility"]["per_class"] = {hostile: {"rows": 5, "accuracy": 0.4}}
    path.write_text(json.dumps(report), encoding="utf-8")
    ticket = {"time": "2026-05-03T01:30:00+00:00", "ticket": hostile, "count": 1, "digest": "0"}
    (done.root / "data/requests.jsonl").write_text(json.dumps(ticket) + "\n", encoding="utf-8")
    page = page_of(done, done.inline("report"))

    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt;&lt;U+202E&gt;") == 2
    assert "\u202e" not in page


def test_a_project_that_git_does_not_know_has_a_page(done: Repo, tmp_path: Path) -> None:
    copy = done.copy(tmp_path / "copy")
    (copy.root / ".git").rename(tmp_path / "git-elsewhere")
    page = page_of(copy, copy.inline("report"))

    assert "git has no earlier state to compare with" in page
    assert "The changes of the last run are not known." in page


@pytest.mark.slow
def test_a_public_page_has_no_figure_and_says_so(done: Repo) -> None:
    forget_and_run(done, count=12)
    report = done.report()
    whole = page_of(done, done.inline("report"))
    public = page_of(done, done.inline("report", "--public"))
    figures = (f"{report['utility']['accuracy']:.1%}", f"{report['utility']['log_loss']:.3f}")

    assert "For those who may see the rows" in whole
    assert all(figure in whole for figure in figures)
    assert "For everybody: verdicts in words" in public
    assert not any(figure in public for figure in figures)
    assert "By class" not in public
    assert "by the models' current lineages" not in public
    assert re.search(r"</svg>Pass\b", public)
    body = re.sub(r"<style>.*?</style>|<svg.*?</svg>|<[^>]*>|\b[0-9a-f]{32,}\b", " ", public)
    # Of three shards one was retrained: a share of shards, not of rows.
    text = body.partition("Environment")[0].replace("33.3%", "")
    assert not re.search(r"(?<![\d.])0?\.\d{2,}|\d\.\d%", text), text


def officer_page(repo: Repo, *options: str) -> str:
    """Return the text of the page for a privacy officer."""
    page = page_of(repo, repo.inline("report", "--officer", *options), "reports/officer.html")
    return re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<[^>]*>", " ", page))


@pytest.mark.slow
def test_an_officer_sees_requests_copies_and_what_is_pending(done: Repo) -> None:
    ids = forget_and_run(done, count=12)
    filing = ("--regime", "gdpr", "--received", "2020-01-31", "--ticket", "PRIV-7")
    assert done.inline("forget", "--ids", "-", *filing, stdin="\n".join(ids) + "\n").code == 0
    done.stages()
    done.dvc("commit", "--force", "--quiet")
    text = officer_page(done)

    assert "Every lineage was recomputed; 1 of 1 touched shard was retrained." in text
    assert "PRIV-7 31 Jan 2020 GDPR 29 Feb 2020 late by" in text
    assert "1 request (PRIV-7) is late." in text
    assert "1 request (PRIV-7) is verified, and copies are left" in text
    assert "still holds rows of forgotten records" in text
    assert "Copies may remain in" in text
    assert "Held-out rows" in text
    report = done.report()
    assert f"{report['utility']['accuracy']:.1%}" not in text, "no figure of rows"
    assert not any(re.search(rf"\b{raw}\b", text) for raw in IDS)
    assert not re.search(r"u1_[0-9a-f]", text)


@pytest.mark.slow
def test_an_erasure_in_the_log_is_on_the_page(done: Repo) -> None:
    forget_and_run(done)
    log_erasure(open_project(Project(done.root)), PENDING)
    text = officer_page(done, "--public")

    assert "the dataset no copies left rewritten" in text
    assert "the remote far pending pending: no rights" in text
    assert "The remote far: pending: no rights." in text
    assert "This page did not search for copies" in text
    assert "Found when this page was made" not in text
    assert "still holds rows" not in text

    log_erasure(open_project(Project(done.root)))
    text = officer_page(done, "--public")
    assert "No copies are left in the places that are known." in text
    assert "pending in the remote far" in text, "the older erasure"
    full = page_of(done, done.inline("report"))
    assert "No copies are left in the places that are known." in full


@pytest.mark.slow
def test_held_out_persons_are_counted_for_an_officer(done: Repo) -> None:
    where = places(done)
    held_out = [raw for raw in IDS if where[raw].is_holdout][:3]
    done.forget(held_out)
    done.stages()
    done.dvc("commit", "--force", "--quiet")

    said = "3 lines of the forget list name held-out rows, which are in no model."
    assert said in officer_page(done)
    public = officer_page(done, "--public")
    assert said not in public
    assert "Held-out rows are in no model." in public


@pytest.mark.slow
def test_a_clone_without_a_key_has_a_page_for_an_officer(done: Repo, tmp_path: Path) -> None:
    forget_and_run(done)
    done.commit("forget")
    done.git("clone", "--quiet", str(done.root), str(tmp_path / "clone"))
    text = officer_page(Repo(tmp_path / "clone"))

    assert "PRIV-7" in text
    assert "the key, the settings or the forget list cannot be read" in text
    assert "could not be searched" in text


def test_the_officer_page_of_a_project_without_shards(compared: Repo) -> None:
    text = officer_page(compared)

    assert "Its lineage was recomputed, and it was retrained." in text
    assert "Copies may remain in" in text


@pytest.mark.slow
def test_a_clone_says_that_figures_are_elsewhere(done: Repo, tmp_path: Path) -> None:
    done.git("clone", "--quiet", str(done.root), str(tmp_path / "clone"))
    clone = Repo(tmp_path / "clone")
    page = page_of(clone, clone.inline("report"))

    assert "The figures are not on this machine" in page
    assert "There are no membership numbers" not in page
    assert "there are no held-out records" not in page

"""The exact path on the example: what one author's request retrains, and the same bytes."""

import argparse
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from unlearn.stages.context import Context
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.project.files import digest_file
from unlearn.stages.requests.plan import expected_fraction
from unlearn.stages.rows.forget_list import render
from unlearn.stages.rows.shard_file import read_shard, subject_tokens
from unlearn.stages.train import stage as train_stage

from benchmarks.harness import Bench, say, show

_DATASET = Path("data/authors.jsonl")

#: Goals: a request's share of the first training, alone and with the check; seconds end to end.
SHARE, CHECKED, SECONDS = 1 / 6, 1 / 3, 120.0

#: Findings that `unlearn verify` ends with 1 for, as approximate methods have them.
_VERDICTS = (0, 1)


def measure(folder: Path, arguments: argparse.Namespace) -> None:
    """Print what requests cost, whether bytes are equal, and how long the examples take."""
    size = (arguments.sizes or ["tiny"])[0]
    bench, steps = _run_example(folder / "exact", size, arguments.jobs)
    _show_requests(folder, bench, arguments)
    equal, count = compare_with_clean_room(folder, bench, size, arguments.jobs)
    show(
        "language-forget-bytes",
        ("after one author's request, compared with a project without the author", "files"),
        [["files under models/", count], ["byte for byte equal", equal]],
    )
    templates = {"sisa": steps}
    if not arguments.quick:
        _, templates["posthoc"] = _run_example(
            folder / "posthoc", size, arguments.jobs, "--template", "posthoc"
        )
    names = list(steps)
    show(
        "language-example",
        ("example, s", *names, "together", f"under {SECONDS:g}"),
        [
            [
                template,
                *(f"{took[name]:.1f}" for name in names),
                f"{sum(took.values()):.1f}",
                "yes" if sum(took.values()) < SECONDS else "no",
            ]
            for template, took in templates.items()
        ],
        f"Whole processes, `unlearn repro -j {arguments.jobs}`, size {size}; one author is "
        "forgotten, by all methods of the example.",
    )


def _run_example(root: Path, size: str, jobs: int, *options: str) -> tuple[Bench, dict[str, float]]:
    """Go through the whole example; return a project with one request done, and seconds."""
    root.mkdir()
    bench = Bench(root)
    say(f"the example in {root.name}")
    steps = {}
    made = bench.unlearn("init", ".", "--example", "authors", "--size", size, *options)
    steps["init"] = made.seconds
    bench.keep_to_itself()
    steps["repro"] = bench.unlearn("repro", "-j", str(jobs)).seconds
    asked = bench.unlearn("forget", "--subjects", "-", stdin=f"{first_author(bench)}\n")
    steps["forget"] = asked.seconds
    steps["repro after it"] = bench.unlearn("repro", "-j", str(jobs)).seconds
    steps["verify"] = bench.unlearn("verify", codes=_VERDICTS).seconds
    say(f"  {sum(steps.values()):.0f} s")
    return bench, steps


def first_author(bench: Bench) -> str:
    """Return the id of the first author of the dataset whose rows are in a shard."""
    context = bench.context()
    trained = {token for tokens in authors_by_shard(context).values() for token in tokens}
    for line in (bench.root / _DATASET).read_text(encoding="utf-8").splitlines():
        author = str(json.loads(line)["author"])
        if context.tokenizer.token("subject", author) in trained:
            return author
    raise AssertionError("no author of the dataset is in a shard")


def authors_by_shard(context: Context) -> dict[str, list[str]]:
    """Return the tokens of the authors in each shard, sorted."""
    return {
        name: sorted(set(subject_tokens(read_shard(context.project.shard_file(name), name).rows)))
        for name in context.params.sharding.shards
    }


@dataclass(frozen=True)
class Request:
    """What one author's request cost.

    Parameters
    ----------
    retrained
        Seconds of training the touched shard from the first slice that held a row.
    checked
        Seconds of training it from nothing, as the check does.
    rows, full
        Rows that the request's training read, and that training all shards read; a row counts in
        each slice that reads it.
    """

    retrained: float
    checked: float
    rows: int
    full: int


def _show_requests(folder: Path, bench: Bench, arguments: argparse.Namespace) -> None:
    """Train and retrain in this process, where nothing but the work itself is on the clock."""
    say("every shard from nothing, then one author's request after another")
    root = folder / "requests"
    shutil.copytree(bench.root, root, ignore=shutil.ignore_patterns(".git", ".dvc"))
    context = Bench(root).context()
    context.project.forget_list.write_bytes(b"")
    forget_stage.run(context)
    shards = authors_by_shard(context)
    # Loads libraries; its time counts nothing.
    _train_from_nothing(context, next(iter(shards)))
    first = {name: _train_from_nothing(context, name) for name in shards}
    full = sum(seconds for seconds, _ in first.values())
    rows = sum(read for _, read in first.values())
    kept = folder / "first"
    shutil.copytree(context.project.shard_models, kept)
    authors = [(shard, token) for shard, tokens in shards.items() for token in tokens]
    most = 3 if arguments.quick else (arguments.authors or len(authors))
    chosen = authors[:: -(-len(authors) // most)]
    requests = []
    for shard, token in chosen:
        requests.append(_request(context, kept, shard, token, rows))
        say(f"  {shard}: {requests[-1].retrained / full:.3f} of the first training")
    _show_shares(context, requests, full)


def _request(context: Context, kept: Path, shard: str, token: str, full: int) -> Request:
    """Forget one author from the state after the first training, and train the shard."""
    context.project.forget_list.write_bytes(render([token]))
    forget_stage.run(context)
    model = context.project.shard_models / shard
    shutil.rmtree(model)
    shutil.copytree(kept / shard, model)
    done = train_stage.run(context, shard)
    exact = _files_in(model)
    seconds, _ = _train_from_nothing(context, shard)
    if _files_in(model) != exact:
        raise AssertionError(f"{shard} is not what training it from nothing makes")
    return Request(done.timing.seconds, seconds, done.timing.rows, full)


def _train_from_nothing(context: Context, shard: str) -> tuple[float, int]:
    """Return the seconds of training a shard without its checkpoints, and the rows read."""
    shutil.rmtree(context.project.shard_models / shard)
    timing = train_stage.run(context, shard).timing
    return timing.seconds, timing.rows


def _show_shares(context: Context, requests: Sequence[Request], full: float) -> None:
    sharding = context.params.sharding
    shards, slices = len(sharding.shards), sharding.slices
    expected = expected_fraction(shards, slices, 0.0, 1)
    header = ("share of the first training of all shards", "mean", "worst", "expected", "goal")
    rows = []
    for said, shares, bound, goal in (
        ("train@, s", [each.retrained / full for each in requests], expected, SHARE),
        (
            "with the retraining check, s",
            [(each.retrained + each.checked) / full for each in requests],
            expected + 1 / shards,
            CHECKED,
        ),
        ("train@, rows", [each.rows / each.full for each in requests], expected, SHARE),
    ):
        rows.append(
            [
                said,
                f"{mean(shares):.3f}",
                f"{max(shares):.3f}",
                f"{bound:.3f}",
                f"{goal:.3f}",
                "yes"
                if max(shares) < goal
                else f"{sum(s < goal for s in shares)} of {len(shares)}",
            ]
        )
    show(
        "language-forget",
        (*header, "within it"),
        rows,
        f"{len(requests)} authors, each forgotten alone from the same state; S = {shards}, "
        f"R = {slices}; the first training took {full:.1f} s, one shard after another in one "
        "process with the libraries loaded. Rows: read, counted in each slice that reads them.",
    )


def compare_with_clean_room(
    folder: Path, forgotten: Bench, size: str, jobs: int
) -> tuple[int, int]:
    """Return how many files under models/ are equal to a clean room's, and how many there are."""
    gone = first_author(forgotten)
    root = folder / "clean-room"
    root.mkdir()
    clean = Bench(root)
    say("a clean room without the author")
    clean.unlearn("init", ".", "--example", "authors", "--size", size)
    clean.keep_to_itself()
    path = root / _DATASET
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["author"] != gone]
    path.write_text("".join(kept), encoding="utf-8")
    clean.unlearn("repro", "-j", str(jobs))
    one, other = _files_in(forgotten.root / "models"), _files_in(root / "models")
    names = one.keys() | other.keys()
    return sum(one.get(name) == other.get(name) for name in names), len(names)


def _files_in(folder: Path) -> dict[str, str]:
    """Return the digest of every file in a folder, by its path."""
    return {
        path.relative_to(folder).as_posix(): digest_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }

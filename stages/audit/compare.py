"""What changed between two states of a project, why, and whether anything else did.

Reads only what git tracks: dvc.lock, the forget list, the settings and the report. A lock is a
claim of its author; `verify` recomputes what it claims.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from unlearn.stages.audit.training_reasons import same_sections, training_reasons
from unlearn.stages.config.params import ShardingParams
from unlearn.stages.dvc.lockfile import LockStage, LockStages, item_of, lock_gaps, md5_of
from unlearn.stages.rows.epochs import FIRST, Epochs, epoch_in
from unlearn.stages.rows.forget_list import governing_token, place_of_line


@dataclass(frozen=True)
class Listed:
    """What a forget list names.

    Parameters
    ----------
    tokens
        Its lines, as tokens.
    unplaced
        Tokens of lines by hand that do not say which shard they mean; not among `tokens`.
    """

    tokens: frozenset[str] = frozenset()
    unplaced: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Snapshot:
    """One state of a project.

    Parameters
    ----------
    name
        A revision, or `working tree`.
    lock
        Stages of dvc.lock by name; empty where there was none yet.
    listed
        The forget list.
    carried_out
        The list that the lock's models were made with: an earlier one if a request was committed
        before it was applied.
    list_md5
        md5 of the list's bytes, as DVC would note it.
    by_hand
        How many lines a person wrote.
    sharding
        Shards and slices by the settings; None where it cannot be read.
    environment
        What the report says it was made in; empty where there is none.
    report_name, report_md5
        The file of verdicts, and its md5; None where there is none.
    methods
        Post-hoc methods by params.yaml; None where models are trained by shards.
    restored
        Lines that the request log says were taken back.
    lost
        Lines that its history has, and neither its list has nor its log took back.
    key_check
        That of params.yaml; None where it cannot be read.
    epochs
        The epoch of the project key that its lines were read in.
    """

    name: str
    lock: LockStages
    listed: Listed
    carried_out: Listed
    list_md5: str
    by_hand: int = 0
    sharding: ShardingParams | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    report_name: str = "reports/verdict.json"
    report_md5: str | None = None
    methods: tuple[str, ...] | None = None
    restored: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()
    key_check: str | None = None
    epochs: Epochs = FIRST

    @property
    def epoch(self) -> int:
        """The epoch of its key, by params.yaml."""
        return epoch_in(self.key_check)


@dataclass(frozen=True)
class Retrained:
    """A stage that makes a model and that ran, and why."""

    stage: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Audit:
    """The comparison of two snapshots.

    Parameters
    ----------
    forgotten
        Lines that came onto the list since the one that the older state had carried out.
    retrained
        Training stages whose lock entry differs.
    untouched
        Training stages with the same lock entry.
    unexplained
        A sentence for each change without a cause, and each cause without a change.
    notes
        What is worth knowing and no contradiction.
    """

    forgotten: int
    retrained: tuple[Retrained, ...]
    untouched: tuple[str, ...]
    unexplained: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def verdict(self) -> Literal["consistent", "inconsistent"]:
        """Whether every change has a cause, and every cause a change."""
        return "inconsistent" if self.unexplained else "consistent"


def compare(old: Snapshot, new: Snapshot) -> Audit:
    """Compare two snapshots.

    Unexplained is: a shard that was retrained without a new token in it or a changed dataset,
    setting, algorithm or environment; a new token in a shard that was not retrained; a token
    that left the list; an out that changed while everything it depends on did not.
    """
    added = _added(old, new)
    environment_changed = _environments_differ(old, new)
    findings = _TrainingFindings()
    for stage in _training(old, new):
        _judge_training(stage, old, new, findings, environment_changed=environment_changed)
    if new.methods is not None and "train" in new.lock:
        _judge_original(old, new, findings, environment_changed=environment_changed)
    if _rotated(old, new):
        findings.unexplained += [
            f"the key was rotated, but {stage} did not change"
            for stage in findings.untouched
            if stage != "train"  # an imported original
        ]
    unexplained = [
        *_list_findings(old, new),
        *findings.unexplained,
        *lock_gaps(new.lock, _items(new)),
        *_left_behind(old.lock, new.lock),
    ]
    if not environment_changed:
        unexplained += [
            f"the output of {stage} changed although its dependencies did not"
            for stage in ("shard", "train", "forget", "aggregate", "verify")
            if _out_changed_alone(old.lock.get(stage), new.lock.get(stage))
        ]
    return Audit(
        forgotten=len(added),
        retrained=tuple(findings.retrained),
        untouched=tuple(findings.untouched),
        unexplained=tuple(unexplained),
        notes=tuple(_notes(old, new, environment_changed=environment_changed)),
    )


def _added(old: Snapshot, new: Snapshot) -> frozenset[str]:
    """Return the lines that the older state had not carried out."""
    return new.listed.tokens - old.carried_out.tokens


def _rotated(old: Snapshot, new: Snapshot) -> bool:
    """Return whether the project key was rotated in between."""
    return old.epoch < new.epoch


def _environments_differ(old: Snapshot, new: Snapshot) -> bool:
    """Return whether both snapshots name an environment, and the two differ."""
    known = bool(old.environment) and bool(new.environment)
    return known and dict(old.environment) != dict(new.environment)


@dataclass
class _TrainingFindings:
    retrained: list[Retrained] = field(default_factory=list)
    untouched: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)


def _judge_training(
    stage: str,
    old: Snapshot,
    new: Snapshot,
    findings: _TrainingFindings,
    *,
    environment_changed: bool,
) -> None:
    """Hold one training stage's change, or its lack, against what could have caused it."""
    shard = stage.partition("@")[2] or stage
    added = _added(old, new)
    before, after = old.lock.get(stage), new.lock.get(stage)

    def count(lines: Iterable[str]) -> int:
        # A post-hoc method works on the whole list, and reads the held-out rows that stay.
        whole = new.methods is not None
        return sum(1 for _ in lines) if whole else _count_in(shard, new.sharding, lines)

    if after is None:
        source = "shards.yaml" if new.methods is None else "params.yaml"
        findings.unexplained.append(f"{stage} left dvc.lock, although {source} names {shard}")
    elif before == after:
        findings.untouched.append(stage)
        if demands := count(_demanding(added, old.carried_out)):
            findings.unexplained.append(
                f"{_new_lines(demands)} for {shard}, but {stage} did not change"
            )
    else:
        reasons = training_reasons(
            stage,
            old.lock,
            new.lock,
            environment_changed=environment_changed,
            rotated=_rotated(old, new),
        )
        causes = count(added)
        # A request works through the retain file: without another one it explains nothing.
        rows_changed = before is None or before.get("deps") != after.get("deps")
        taken_back = count((old.carried_out.tokens - new.listed.tokens) & new.restored)
        if taken_back and rows_changed:
            reasons.insert(0, f"{_lines(taken_back)} taken back")
        if causes and rows_changed:
            reasons.insert(0, _new_lines(causes))
        elif not reasons and new.listed.unplaced - old.carried_out.unplaced:
            reasons.append("a new line written by hand")
        elif not reasons and new.methods is not None and old.list_md5 != new.list_md5:
            reasons.append("the forget list changed")
        findings.retrained.append(Retrained(stage, tuple(reasons)))
        if not reasons:
            findings.unexplained.append(f"{stage} changed without a cause")


def _judge_original(
    old: Snapshot, new: Snapshot, findings: _TrainingFindings, *, environment_changed: bool
) -> None:
    """Judge the training of the original, which no request may touch."""
    before, after = old.lock.get("train"), new.lock["train"]
    if before == after:
        findings.untouched.append("train")
        return
    reasons = training_reasons(
        "train",
        old.lock,
        new.lock,
        environment_changed=environment_changed,
        rotated=_rotated(old, new),
    )
    findings.retrained.append(Retrained("train", tuple(reasons)))
    if not reasons:
        findings.unexplained.append("train changed without a cause")


def _new_lines(count: int) -> str:
    return f"{count} new line{'' if count == 1 else 's'}"


def _lines(count: int) -> str:
    return f"{count} line{'' if count == 1 else 's'}"


def _demanding(added: Iterable[str], before: Listed) -> Iterable[str]:
    """Yield the new lines that must have moved a row.

    A person forgotten record by record and then as a whole may have no row left to lose, nor has
    a record whose person, or whose raw id, was on the list before.
    """
    people_before = {governing_token(token) for token in before.tokens}
    for line in added:
        person, _, record = line.partition(".")
        covered = person in before.tokens or record in before.unplaced
        if not covered and (record or person not in people_before):
            yield line


def _count_in(shard: str, sharding: ShardingParams | None, lines: Iterable[str]) -> int:
    """Count the lines that name rows of a shard, in slices that are on."""
    if sharding is None:
        return 0
    first_off = sharding.switched_off.get(shard, sharding.slices + 1)
    places = [place_of_line(line, sharding) for line in lines]
    return sum(place.shard == shard and place.slice < first_off for place in places)


def _list_findings(old: Snapshot, new: Snapshot) -> Iterable[str]:
    removed = old.listed.tokens - new.listed.tokens - new.restored
    if count := len(removed | new.lost):
        yield f"{_lines(count)} left the forget list"
    forget = new.lock.get("forget")
    if forget is None:
        if new.lock:
            yield "dvc.lock has no entry for forget"
    elif md5_of(forget.get("deps", []), "data/forget_list.txt") != new.list_md5:
        yield "the forget list is not the one that dvc.lock says was applied"
    verify = new.lock.get("verify")
    if verify is not None and md5_of(verify.get("outs", []), new.report_name) != new.report_md5:
        yield f"{new.report_name} is not the one in dvc.lock"


def _items(snapshot: Snapshot) -> tuple[str, ...] | None:
    """Return the methods or shards that the settings name; None where they cannot be read."""
    if snapshot.methods is None and snapshot.sharding is not None:
        return tuple(snapshot.sharding.shards)
    return snapshot.methods


def _training(old: Snapshot, new: Snapshot) -> list[str]:
    """Return the stages of either lock that make a model which the settings still name."""
    prefix = "train@" if new.methods is None else "unlearn@"
    stages = [*old.lock.items(), *new.lock.items()]
    found = {
        name: item
        for name, stage in stages
        if (item := item_of(name, stage)) is not None
        and (name.startswith(prefix) or (item == name and new.methods is not None))
    }
    named = _items(new)
    # DVC keeps the entries of stages that no longer exist.
    return sorted(name for name, item in found.items() if named is None or item in named)


def _left_behind(old: LockStages, new: LockStages) -> Iterable[str]:
    """Yield the stages that did not follow when a shard model changed."""
    for prefix, folder, readers in (
        ("train@", "models/shard_models", ("aggregate", "verify")),
        # Of post-hoc methods, aggregate reads the deployed one alone: `lock_gaps` looks after it.
        ("unlearn@", "models/unlearned", ("verify",)),
    ):
        changed = any(
            _makes(name, stage, prefix) and name in old and old[name]["outs"] != stage["outs"]
            for name, stage in new.items()
        )
        for name in readers if changed else ():
            before = md5_of(old[name].get("deps", []), folder) if name in old else None
            after = md5_of(new[name].get("deps", []), folder) if name in new else None
            if after is None or before == after:
                what = "shard models" if prefix == "train@" else "unlearned models"
                yield f"{what} changed, but {name} was not run with them"


def _makes(name: str, stage: LockStage, prefix: str) -> bool:
    """Return whether a stage makes one of the models that stages of this prefix make."""
    young = prefix == "unlearn@" and item_of(name, stage) == name
    return name.startswith(prefix) or young


def _out_changed_alone(before: LockStage | None, after: LockStage | None) -> bool:
    if before is None or after is None:
        return False
    return before.get("outs") != after.get("outs") and same_sections(
        before, after, "deps", "params", "cmd"
    )


def _notes(old: Snapshot, new: Snapshot, *, environment_changed: bool) -> list[str]:
    notes = []
    if not old.lock:
        notes.append(f"{old.name} has no dvc.lock: all models count as trained for the first time")
    if waiting := len(old.listed.tokens - old.carried_out.tokens):
        notes.append(f"{old.name} listed {_new_lines(waiting)} that it had not applied")
    if _rotated(old, new):
        notes.append(
            f"the project key was rotated, from epoch {old.epoch} to {new.epoch}: every model is "
            "trained again, and lines of the older list count as what they are in the newer one"
        )
    if environment_changed:
        notes.append("the two were made in different environments")
    if new.by_hand:
        notes.append(
            f"{new.by_hand} line{'' if new.by_hand == 1 else 's'} of the forget list written "
            "by hand, as raw ids; `unlearn repro` rewrites them"
        )
    return notes

"""From findings to verdicts: each rule in one place."""

from dataclasses import dataclass

from unlearn.stages.verify.exactness.found import Exactness
from unlearn.stages.verify.membership.statistics import Interval, rows_for
from unlearn.stages.verify_report.membership import Outcome
from unlearn.stages.verify_report.words import UNSETTLED

_OTHER_ENVIRONMENT = (
    "the models were trained in another environment, so that retraining here could differ "
    "without meaning anything"
)

#: What verdicts say to everybody, where a reason with figures would give away single rows.
_NOTHING_FOUND = "the attack finds no difference between the forgotten rows and unseen ones"
_POWERFUL = "the same attack finds rows that are in the models, so it would have found these"
_TELLS_ORIGINAL = (
    "the same attack tells the original from the retrained model, so it would have told this one"
)


@dataclass(frozen=True)
class Missing:
    """Why no attack could be made.

    Parameters
    ----------
    reason
        With the figures.
    words
        The same without figures; empty where `reason` has none.
    """

    reason: str
    words: str = ""


@dataclass(frozen=True)
class Verdict:
    """The outcome, and why, in sentences.

    Parameters
    ----------
    outcome
        What it comes to.
    reasons
        Why, with the figures.
    words
        The same without figures, for everybody to read; empty where `reasons` have none.
    room
        By how much the AUCs, of the forgotten rows and of the control, could change without another
        outcome; of a membership attack that passes or fails.
    """

    outcome: Outcome
    reasons: tuple[str, ...]
    words: tuple[str, ...] = ()
    room: float | None = None

    @property
    def in_words(self) -> tuple[str, ...]:
        """The reasons without figures."""
        return self.words or self.reasons


@dataclass(frozen=True)
class DecidingAttack:
    """What the deciding attack found, as far as a verdict needs it.

    Parameters
    ----------
    attack
        Its name.
    forgotten, control
        AUC of forgotten rows, and of rows that are in the models; both minus what the same attack
        finds where the rows were never seen.
    rows
        How many forgotten rows there were.
    has_reference
        Whether `reference` is what forgetting looks like: by LiRA, with a uniformly drawn forget
        set, or measured on a retrained model.
    reference
        That AUC.
    """

    attack: str
    forgotten: Interval
    control: Interval
    rows: int
    has_reference: bool
    reference: float = 0.5


def decide(exactness: Exactness, covers: str | None = None) -> Verdict:
    """Judge an exact pipeline.

    Any mismatch fails. If none is found but a retraining check could not be made because the
    models come from another environment, the verdict is inconclusive. Else it passes: equal bytes
    are evidence that no attack's answer can add to or take from.

    Parameters
    ----------
    exactness
        What the checks found.
    covers
        What passing is about and what it is not, where that does not go without saying.
    """
    if exactness.problems:
        return Verdict("fail", exactness.problems)
    if exactness.environment:
        return other_environment(exactness.environment, _OTHER_ENVIRONMENT)
    lineage = "every shard model's lineage is that of its rows without the forgotten ones"
    about = () if covers is None else (covers,)
    if exactness.reran and exactness.trees is not None:
        some = "all" if exactness.reran == exactness.trees else "some"
        same = "trees of the touched shards fitted again from the rows: the same bytes"
        refitted = f"{exactness.reran} of {exactness.trees} {same}"
        return Verdict("pass", (lineage, refitted, *about), (lineage, f"{some} {same}", *about))
    if exactness.reran:
        # How many of how many is in the counts of exactness.
        some = "all" if exactness.reran == exactness.touched else "some"
        same = "shards retrained from the rows: the same numbers"
        retrained = f"{exactness.reran} of {exactness.touched} touched {same}"
        words = (lineage, f"{some} of the touched {same}", *about)
        return Verdict("pass", (lineage, retrained, *about), words)
    if exactness.touched:
        untested = "no touched shard was retrained to check (verify.rerun is 0)"
        words = (lineage, "no touched shard was retrained to check", *about)
        return Verdict("pass", (lineage, untested, *about), words)
    nothing = "no shard is touched by the forget list, so none was retrained to check"
    return Verdict("pass", (lineage, nothing, *about))


def other_environment(differences: tuple[str, ...], *about: str) -> Verdict:
    """Return the verdict on models from another environment, which are not retrained to check.

    Parameters
    ----------
    differences
        A line for each fact that differs: its name, a colon, and both values.
    *about
        Sentences to put first.
    """
    words = (f"{line.partition(':')[0]} differs" for line in differences)
    return Verdict("inconclusive", (*about, *differences), (*about, *words))


def judge_membership(
    found: DecidingAttack | None, margin: float, missing: Missing | None = None
) -> Verdict:
    """Judge what a membership attack found, by itself.

    With d the AUC of the forgotten rows minus the reference's: fail if the 95 % interval of d is
    wholly outside +-margin. Pass if its 90 % interval is wholly inside (two one-sided tests at
    5 %; Schuirmann 1987) and the positive control, judged by the same rule, would fail: an attack
    that does not find what is there proves nothing by not finding what is not. Else inconclusive.

    Parameters
    ----------
    found
        None where no attack could be made.
    margin
        How far from the reference an AUC may be and count as equal.
    missing
        Why none could be made.
    """
    if found is None:
        why = missing or Missing("no attack could be made")
        return Verdict("inconclusive", (why.reason,), (why.words,) if why.words else ())
    low, high = found.forgotten.wide
    said = (
        f"{found.attack}: AUC {found.forgotten.value:.3f} (95 % interval {low:.3f} to {high:.3f}) "
        f"on {found.rows:,} forgotten rows"
    )
    if not found.has_reference:
        unknown = (
            f"what {found.attack} would find on a model that never saw these rows is not known, "
            "for it depends on how hard they are: `verify.attack: lira` allows for that"
        )
        return Verdict("inconclusive", (said, unknown), (unknown,))
    if _outside(found.forgotten.wide, found.reference, margin):
        room = _beyond(found.forgotten.wide, found.reference, margin)
        return Verdict("fail", (said, _leak(found)), (_leak(found),), room)
    powerful = _outside(found.control.wide, found.reference, margin)
    narrow = found.forgotten.narrow
    if _inside(narrow, found.reference, margin) and powerful:
        power = (
            "the same attack finds rows that are in the models: AUC "
            f"{found.control.value:.3f}, so it would have found these"
        )
        room = min(
            -_beyond((narrow[1], narrow[0]), found.reference, margin),
            _beyond(found.control.wide, found.reference, margin),
        )
        return Verdict("pass", (said, power), (_NOTHING_FOUND, _POWERFUL), room)
    reasons = [said]
    if not powerful:
        reasons.append(
            f"the attack has no power on these models: on rows that are in them its AUC is "
            f"{found.control.value:.3f} ({found.control.wide[0]:.3f} to "
            f"{found.control.wide[1]:.3f}), so that finding nothing means nothing"
        )
    if not _inside(narrow, found.reference, margin):
        reasons.append(_more_rows(found, margin))
    return Verdict("inconclusive", tuple(reasons), (UNSETTLED,))


def _outside(interval: tuple[float, float], reference: float, margin: float) -> bool:
    return interval[0] > reference + margin or interval[1] < reference - margin


def _beyond(interval: tuple[float, float], reference: float, margin: float) -> float:
    """Return how far an interval is outside the margin; below 0 where it is not outside."""
    return max(interval[0] - reference, reference - interval[1]) - margin


def _inside(interval: tuple[float, float], reference: float, margin: float) -> bool:
    return reference - margin <= interval[0] and interval[1] <= reference + margin


def _leak(found: DecidingAttack) -> str:
    if found.forgotten.value > found.reference:
        return "the models still answer on the forgotten rows as on rows that they were trained on"
    return (
        "the models answer on the forgotten rows worse than on rows that they never saw, which "
        "gives them away just as well"
    )


def _more_rows(found: DecidingAttack, margin: float) -> str:
    """Say what would make the verdict conclusive."""
    value, (low, high) = found.forgotten.value, found.forgotten.narrow
    rooms = (value - found.reference + margin, found.reference + margin - value)
    if min(rooms) <= 0:
        return (
            f"the AUC is further than the margin of {margin:g} from {found.reference:g}, and its "
            "interval reaches back: more forgotten rows would tell"
        )
    # Intervals reach further to one side than to the other; each side has its own room.
    reach = max((value - low) / rooms[0], (high - value) / rooms[1])
    wanted = rows_for(reach, found.rows, 1.0)
    return (
        f"the 90 % interval reaches beyond the margin of {margin:g} around {found.reference:g}: "
        f"with about {wanted:,} forgotten rows it would not"
    )


@dataclass(frozen=True)
class Difference:
    """What the deciding attack found, and what it finds on the retrained model, on the same rows.

    Parameters
    ----------
    attack
        Its name.
    auc, reference
        AUC of the forgotten rows under the model that is judged, and under the retrained one.
    forgotten
        By how much the former is larger.
    original
        By how much the AUC under the original, which was trained on the rows, is larger.
    rows
        How many forgotten rows there were.
    """

    attack: str
    auc: float
    reference: float
    forgotten: Interval
    original: Interval
    rows: int


#: A model passes only where at least this share of the forgotten rows could be matched.
_LEAST_MATCHED = 0.8


def judge_matched(found: Difference, rows: int, margin: float) -> Verdict:
    """Judge an approximate method by its distance from retraining on matched pairs.

    As `judge_difference`, except that a model does not pass if more than a fifth of the forgotten
    rows have no match: nothing is known of those.

    Parameters
    ----------
    found
        What the attack found; its `rows` are the forgotten rows with a match.
    rows
        How many forgotten rows there were.
    margin
        See `judge_difference`.
    """
    verdict = judge_difference(found, margin)
    said = (
        f"compared with pairs of a held-out row and a forgotten row's label that are as unlikely "
        f"to the retrained model: {found.rows:,} of {rows:,} forgotten rows have such pairs"
    )
    if verdict.outcome == "pass" and found.rows < _LEAST_MATCHED * rows:
        few = "too few of the forgotten rows have pairs that are as hard: the others are not judged"
        reasons = (*verdict.reasons, said, f"{few}, and at least {_LEAST_MATCHED:.0%} are needed")
        return Verdict("inconclusive", reasons, (few,))
    return Verdict(verdict.outcome, (*verdict.reasons, said), verdict.in_words)


def no_matches(matched: int, rows: int, min_rows: int) -> Verdict:
    """Return the verdict if too few forgotten rows have a match to measure anything.

    Parameters
    ----------
    matched, rows
        Forgotten rows with a match, and all of them.
    min_rows
        The fewest rows for which a result is given.
    """
    few = "too few forgotten rows have pairs that are as hard for the retrained model"
    count = "none" if matched == 0 else f"{matched:,}"
    reason = f"{few}: {count} of {rows:,}, and verify.min_rows is {min_rows}"
    return Verdict("inconclusive", (reason,), (few,))


def judge_difference(found: Difference, margin: float) -> Verdict:
    """Judge an approximate method by its distance from retraining; see `judge_membership`.

    The positive control is the original: if the attack does not distinguish it from the retrained
    model, a method's result close to it has no meaning. So the original never passes.

    Parameters
    ----------
    found
        What the attack found.
    margin
        How far from the retrained model's an AUC may be and count as equal.
    """
    low, high = found.forgotten.wide
    said = (
        f"{found.attack}: AUC {found.auc:.3f}, and {found.reference:.3f} on the retrained model: "
        f"{found.forgotten.value:+.3f} (95 % interval {low:+.3f} to {high:+.3f}) on {found.rows:,} "
        "forgotten rows"
    )
    if _outside(found.forgotten.wide, 0.0, margin):
        why = (
            "the model still knows the forgotten rows better than one that never saw them"
            if found.forgotten.value > 0
            else "the model answers on the forgotten rows worse than one that never saw them, "
            "which gives them away just as well"
        )
        return Verdict("fail", (said, why), (why,))
    powerful = _outside(found.original.wide, 0.0, margin)
    if _inside(found.forgotten.narrow, 0.0, margin) and powerful:
        power = (
            f"the same attack tells the original from the retrained model by "
            f"{found.original.value:+.3f}, so it would have told this one"
        )
        words = ("the attack does not tell the model from the retrained one", _TELLS_ORIGINAL)
        return Verdict("pass", (said, power), words)
    reasons = [said]
    if not powerful:
        reasons.append(
            "the attack has no power here: it hardly tells the original, which was trained on "
            f"these rows, from the retrained model ({found.original.value:+.3f}, "
            f"{found.original.wide[0]:+.3f} to {found.original.wide[1]:+.3f})"
        )
    if not _inside(found.forgotten.narrow, 0.0, margin):
        reasons.append(
            f"the 90 % interval of the difference reaches beyond the margin of {margin:g}: more "
            "forgotten rows would tell"
        )
    return Verdict("inconclusive", tuple(reasons), (UNSETTLED,))

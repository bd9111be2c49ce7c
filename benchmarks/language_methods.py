"""Post-hoc methods on a tuned language model: what `language.py methods` and `tofu.py` share.

Stages run in this process, one after another, so that their times compare: processor time, which a
busy machine does not stretch, of methods on a project that is open. All other numbers are those of
reports/verify.json.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from unlearn.stages.aggregate import stage as aggregate_stage
from unlearn.stages.config.methods import YOUNG
from unlearn.stages.context import Context
from unlearn.stages.forget import stage as forget_stage
from unlearn.stages.rows.forget_list import render
from unlearn.stages.rows.shard_file import read_shard, subject_tokens
from unlearn.stages.training.method_record import RETRAIN, WHOLE
from unlearn.stages.unlearn import stage as unlearn_stage
from unlearn.stages.verify import stage as verify_stage

from benchmarks.harness import say, show

#: What forgets nothing: what it scores, any method must beat.
ORIGINAL = "original"

#: The goal: extraction strength from the retrained model's, and share of utility that is kept.
STRENGTH, UTILITY = 0.1, 0.95

HEADER = (
    "extraction strength, forget",
    "retain",
    "holdout",
    "answer probability, forget",
    "retain",
    "truth ratio, forget",
    "utility / original's",
    "perplexity / original's",
    "KS p",
    "PrivLeak, %",
    "membership AUC less retrain's (95 % interval)",
    "verdicts",
    "relearned",
    "4-bit",
    "time / retrain",
    "guard / time",
    "stopped by",
)


@dataclass(frozen=True)
class Found:
    """What one method came to on one forget set.

    Parameters
    ----------
    result
        Its entry in reports/verify.json.
    seconds
        Processor time of the method: rows and the original are read before, and its model is
        written after. None for the original.
    guard
        Share of the method's time that the measurements of its guard took.
    """

    result: Mapping[str, Any]
    seconds: float | None
    guard: float = 0.0

    @property
    def applies(self) -> bool:
        """Whether there is a model."""
        return self.result.get("language") is not None

    def at(self, *path: str) -> float | None:
        """Return a number of a language model's measures; None where it was not measured."""
        value: Any = self.result.get("language")
        for name in path:
            value = None if value is None else value.get(name)
        return None if value is None else float(value)


#: By method, what each forget set found.
Results = dict[str, list[Found]]


def training_persons(context: Context) -> list[str]:
    """Return the tokens of all persons whom the original is tuned on, sorted."""
    shard = read_shard(context.project.shard_file(WHOLE), WHOLE).rows
    return sorted(set(subject_tokens(shard)))


def drawn_persons(context: Context, share: float, seed: int) -> list[str]:
    """Return the tokens of a share of them, at least one, drawn by a seed."""
    tokens = training_persons(context)
    count = max(1, round(share * len(tokens)))
    chosen = np.random.default_rng(seed).choice(len(tokens), count, replace=False)
    return [tokens[index] for index in chosen]


def apply_methods(context: Context, tokens: Sequence[str]) -> dict[str, Found]:
    """Apply every method of params.yaml to the original with this list, and compare them."""
    unlearn = context.params.unlearn
    if unlearn is None:
        raise AssertionError("only for projects without shards")
    context.project.forget_list.write_bytes(render(tokens))
    applied = forget_stage.run(context)
    say(f"  {applied.forgotten:,} rows of {len(tokens)} persons to forget")
    done = {}
    if unlearn.young:
        done[YOUNG] = unlearn_stage.run_young(context)
    for method in unlearn.methods:
        done[method] = unlearn_stage.run(context, method)
        say(f"  {method}: {done[method].processor_seconds:.1f} s of processor time")
    aggregate_stage.run(context)
    report = verify_stage.run(context).as_json()
    found = {ORIGINAL: Found(report["original"] or {}, None)}
    for name, one in done.items():
        share = one.guard_seconds / one.seconds if one.seconds else 0.0
        found[name] = Found(report["methods"][name], one.processor_seconds, share)
    return found


def gathered(sets: Sequence[Mapping[str, Found]]) -> Results:
    """Return what several forget sets found, by method."""
    return {name: [found[name] for found in sets] for name in sets[0]}


def show_methods(title: str, slug: str, results: Results, *notes: str) -> None:
    """Print a line for every method, medians over the forget sets, and who reaches the goal."""
    reference, original = results[RETRAIN], results[ORIGINAL]
    show(
        slug,
        (title, *HEADER),
        [_line(name, found, reference) for name, found in results.items()],
        *notes,
    )
    rows = [
        [name, *_reached(found, reference, original)]
        for name, found in results.items()
        if name not in (RETRAIN, ORIGINAL)
    ]
    show(
        f"{slug}-goal",
        (
            title,
            "extraction strength less retrain's",
            "utility / retrain's",
            "retain answers' probability / retrain's",
            "reaches the goal",
        ),
        rows,
        f"The goal: within {STRENGTH:g} of retrain's extraction strength on forgotten rows, with "
        f"{UTILITY:.0%} of retrain's utility or of the original's, whichever is less. Utility is a "
        "harmonic mean over retained and held-out rows; the held-out rows, of authors that no "
        "model was trained on, dominate it.",
    )


def _line(name: str, found: Sequence[Found], reference: Sequence[Found]) -> list[object]:
    if not any(one.applies for one in found):
        reasons = found[0].result.get("reasons") or ["nothing was measured"]
        return [f"{name}: {reasons[0]}", *["-"] * len(HEADER)]
    numbers = [
        _middle(found, "forget", "extraction_strength", digits=3),
        _middle(found, "retain", "extraction_strength", digits=3),
        _middle(found, "holdout", "extraction_strength", digits=3),
        _middle(found, "forget", "answer_probability", digits=3),
        _middle(found, "retain", "answer_probability", digits=3),
        _middle(found, "forget", "truth_ratio", digits=3),
        _middle(found, "utility_ratio", digits=3),
        _middle(found, "perplexity_ratio", digits=2),
        _middle(found, "forget_quality", "p_value", digits=3),
        _middle(found, "priv_leak", digits=1),
    ]
    relearned = [
        _middle(found, "relearned", "extraction_strength", digits=3),
        _middle(found, "four_bit", "extraction_strength", digits=3),
    ]
    if name == ORIGINAL:
        return [name, *numbers, "-", "-", *relearned, "-", "-", "-"]
    shares = [
        one.seconds / other.seconds
        for one, other in zip(found, reference, strict=True)
        if one.seconds is not None and other.seconds
    ]
    return [
        name,
        *numbers,
        "-" if name == RETRAIN else _membership(found),
        _counted([str(one.result["verdict"]) for one in found]),
        *relearned,
        f"{median(shares):.2f}",
        f"{median(one.guard for one in found):.2f}",
        _counted([str(one.result["stopped_by"]).replace("_", " ") for one in found]),
    ]


def _middle(found: Sequence[Found], *path: str, digits: int) -> str:
    known = [value for one in found if (value := one.at(*path)) is not None]
    return f"{median(known):.{digits}f}" if known else "-"


def _membership(found: Sequence[Found]) -> str:
    """Return the middle set's difference with its interval."""
    told = [(one.result.get("membership") or {}).get("difference_from_retrain") for one in found]
    known = sorted((one["auc"], *one["ci"]) for one in told if one is not None)
    if not known:
        return "-"
    value, low, high = known[len(known) // 2]
    return f"{value:+.3f} ({low:+.3f} to {high:+.3f})"


def _counted(said: Sequence[str]) -> str:
    counts = {word: said.count(word) for word in dict.fromkeys(said)}
    if len(counts) == 1:
        return said[0]
    return ", ".join(f"{count} {word}" for word, count in counts.items())


def _reached(
    found: Sequence[Found], reference: Sequence[Found], original: Sequence[Found]
) -> list[str]:
    """Return how far each set is from retrain, and in how many the goal is reached."""
    apart, kept, likely, reached = [], [], [], 0
    for one, other, before in zip(found, reference, original, strict=True):
        strengths = [each.at("forget", "extraction_strength") for each in (one, other)]
        utilities = [each.at("utility") for each in (one, other, before)]
        if None in strengths or None in utilities:
            continue
        strength, retrained = (value for value in strengths if value is not None)
        own, of_retrain, of_original = (value for value in utilities if value is not None)
        apart.append(strength - retrained)
        kept.append(_share(own, of_retrain))
        likely.append(_share(*(each.at("retain", "answer_probability") for each in (one, other))))
        least = UTILITY * min(of_retrain, of_original)
        reached += abs(apart[-1]) <= STRENGTH and own >= least
    if not apart:
        return ["-", "-", "-", "-"]
    return [
        f"{median(apart):+.3f}",
        f"{median(kept):.3f}",
        f"{median(likely):.3f}",
        f"{reached} of {len(found)}",
    ]


def _share(value: float | None, of: float | None) -> float:
    return float("nan") if value is None or not of else value / of

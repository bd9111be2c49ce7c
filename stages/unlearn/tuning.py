"""Settings for a method, found on rows that no test looks at.

Hyper-parameters chosen on the rows under test would make a method look better than it is. So a
small model is trained on retained rows only, some of which then take the place of the forget set:
canaries if there are enough, otherwise rows drawn by token. Each trial applies the method to it,
and is judged by how far it ends from the same model retrained without these rows. The forget set
and the tested half of the holdout are never used for anything; of the former only the size counts.
"""

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from unlearn.stages.config.methods import YOUNG, own_code
from unlearn.stages.context import PosthocContext
from unlearn.stages.errors import InputError
from unlearn.stages.final_model.distance import Floats, divergence, number_divergence
from unlearn.stages.training.method_record import MethodRows
from unlearn.stages.training.recipe import Recipe
from unlearn.stages.training.shard_model import ShardModel
from unlearn.stages.unlearn.base.ranges import draw_settings
from unlearn.stages.unlearn.base.registry import all_methods, find_method
from unlearn.stages.unlearn.stage import train_from_scratch, train_young, unlearn_rows
from unlearn.stages.unlearn.tuning_rows import Sample, sample_rows

#: Digits of a distance. What differs beyond them is a tie.
_DIGITS = 6


@dataclass(frozen=True)
class Trial:
    """What came of one choice of settings.

    Parameters
    ----------
    number
        0 for the settings in params.yaml, then in the order of the draws.
    settings
        All settings of the method.
    on_sample, on_calibration
        Mean KL divergence of the retrained model's answers from the method's, in nats (see
        `final_model/distance.py`), on the rows to forget and on the calibration half of the
        holdout. None where there is no model, and on a half of fewer than `verify.min_rows` rows.
    forget_passes, retain_passes
        How often each row of either side was read.
    rows_read
        The same in rows.
    stopped_by
        See `unlearned.Record`.
    why_not
        Why there is no model; None where there is one.
    """

    number: int
    settings: dict[str, Any]
    on_sample: float | None = None
    on_calibration: float | None = None
    forget_passes: float = 0.0
    retain_passes: float = 0.0
    rows_read: float = 0.0
    stopped_by: str | None = None
    why_not: str | None = None

    @property
    def distance(self) -> float | None:
        """The sum of both divergences; None where there is no model."""
        if self.on_sample is None:
            return None
        return round(self.on_sample + (self.on_calibration or 0.0), _DIGITS)

    @property
    def rank(self) -> tuple[float, float, int]:
        """What orders trials, best first: by distance, then by cost, then by number."""
        distance = math.inf if self.distance is None else self.distance
        return distance, self.rows_read, self.number

    def as_json(self) -> dict[str, Any]:
        """Return the trial as JSON values."""
        return {
            "trial": self.number,
            "settings": self.settings,
            "distance": self.distance,
            "on_sample": self.on_sample,
            "on_calibration": self.on_calibration,
            "passes": {"forget": self.forget_passes, "retain": self.retain_passes},
            "stopped_by": self.stopped_by,
            "why_not": self.why_not,
        }


@dataclass(frozen=True)
class Tuning:
    """A search.

    Parameters
    ----------
    method
        The method's name.
    trials
        All of them, the settings in params.yaml first.
    sample, sample_of
        How many rows were to be forgotten, and what they were.
    rows, calibration
        How many rows the small original was trained on, and how many stood for unseen ones.
    """

    method: str
    trials: tuple[Trial, ...]
    sample: int
    sample_of: Sample
    rows: int
    calibration: int

    @property
    def best(self) -> Trial:
        """The trial that ended nearest to the retrained model."""
        return min(self.trials, key=lambda trial: trial.rank)

    @property
    def changes(self) -> dict[str, Any]:
        """The settings of the best trial that params.yaml does not have."""
        now = self.trials[0].settings
        return {name: value for name, value in self.best.settings.items() if value != now[name]}


def check_tunable(method: str) -> None:
    """Refuse a method that has nothing to search.

    Raises
    ------
    InputError
        With what can be searched.
    """
    methods = all_methods("tabular")
    searched = f"methods to tune: {', '.join(name for name, m in methods.items() if m.ranges)}"
    if method == YOUNG:
        raise InputError(
            "young is not tuned: it is training itself, with the settings of `train`",
            searched,
        )
    if own_code(method) is not None:
        raise InputError(
            f"{method} is a method of your own: the ranges of its settings are unknown",
            searched,
        )
    if method not in methods:
        near = difflib.get_close_matches(method, methods, n=1)
        hint = f"did you mean {near[0]}?" if near else searched
        raise InputError(f"there is no method {method!r}", hint)
    if not methods[method].ranges:
        raise InputError(f"{method} has no setting to search", searched)


def tune(
    context: PosthocContext,
    method: str,
    budget: int,
    most_rows: int,
    advance: Callable[[int], None] = lambda _steps: None,
) -> Tuning:
    """Try the settings in params.yaml, and as many others as the budget says.

    Parameters
    ----------
    context
        The project; nothing in it is written.
    method
        A method with settings to search.
    budget
        How many settings to draw. Which ones follows from the key, the seed and a trial's number,
        so that a larger budget begins with the same ones.
    most_rows
        Maximum number of rows used in the search.
    advance
        Called after each trial, and after each of the two trainings before them.

    Raises
    ------
    InputError
        If the method has nothing to search, rows are missing or too few, or it does not apply.
    """
    check_tunable(method)
    sampled = sample_rows(context, most_rows)
    rows, recipe = sampled.rows, Recipe.of_project(context)
    original = ShardModel.of_files(train_from_scratch(recipe, sampled.whole).files)
    advance(1)
    reference = ShardModel.of_files(train_from_scratch(recipe, rows.retain).files)
    advance(1)
    judge = _Judge(context, rows, _Judge.ask(context, reference, rows), _young(context, rows))
    trials = []
    for number, settings in enumerate(candidates(context, method, budget)):
        trials.append(judge.trial(method, number, settings, original))
        advance(1)
    if all(trial.why_not is not None for trial in trials):
        raise InputError(f"{method} does not apply: {trials[0].why_not}")
    return Tuning(
        method,
        tuple(trials),
        rows.forget.num_rows,
        sampled.sample_of,
        sampled.whole.num_rows,
        rows.calibration.num_rows,
    )


def _young(context: PosthocContext, rows: MethodRows) -> ShardModel | None:
    """Return what `young` would be on these rows, where its loss is the guard's target."""
    if context.unlearn.target != "young":
        return None
    files = train_young(context, rows.retain).files
    return ShardModel.of_files(files) if files else None


def candidates(context: PosthocContext, method: str, budget: int) -> list[dict[str, Any]]:
    """Return the settings to try, those of params.yaml first."""
    key = context.key
    settings = getattr(context.unlearn.settings, method)
    now = settings.model_dump(mode="json")
    seeds = (key.seed(context.params.seed, "tune", method, n) for n in range(1, budget + 1))
    ranges = find_method(method, "tabular").ranges_of(settings)
    return [now, *(now | draw_settings(ranges, seed) for seed in seeds)]


def trail(tuning: Tuning) -> bytes:
    """Return all trials as a CSV, a line each."""
    columns = [
        "trial",
        *tuning.trials[0].settings,
        "distance",
        "on_sample",
        "on_calibration",
        "forget_passes",
        "retain_passes",
        "stopped_by",
    ]
    lines = [",".join(columns)]
    for trial in tuning.trials:
        distances = (trial.distance, trial.on_sample, trial.on_calibration)
        cells = [
            str(trial.number),
            *(repr(value) for value in trial.settings.values()),
            *("" if value is None else f"{value:.{_DIGITS}f}" for value in distances),
            *(f"{passes:.4f}" for passes in (trial.forget_passes, trial.retain_passes)),
            "not_applicable" if trial.why_not is not None else str(trial.stopped_by),
        ]
        lines.append(",".join(cells))
    return ("\n".join(lines) + "\n").encode()


Answers = tuple[Floats, Floats | None]


@dataclass(frozen=True)
class _Judge:
    """Says how far from the retrained model a method ends.

    Parameters
    ----------
    context, rows
        The project, and the rows to search on.
    reference
        The retrained model's answers.
    young
        The model whose loss on the rows to forget is the guard's target; None where there is none.
    """

    context: PosthocContext
    rows: MethodRows
    reference: Answers
    young: ShardModel | None

    @staticmethod
    def ask(context: PosthocContext, model: ShardModel, rows: MethodRows) -> Answers:
        """Return a model's answers on the sample, and on the calibration half if it has rows."""
        predictor = model.predictor(
            context.code, context.params.train.trusted_types, context.project.root
        )
        unseen = None
        # Few rows are a person: no file that git tracks has a number on them alone.
        if rows.calibration.num_rows >= context.params.verify.min_rows:
            unseen = predictor.answers(rows.calibration)
        return predictor.answers(rows.forget), unseen

    def _apart(self, answers: Floats, reference: Floats) -> float:
        outputs = self.context.layout.outputs
        if outputs.is_number:
            return number_divergence(answers, reference, outputs.scale)
        return divergence(answers, reference)

    def trial(
        self, method: str, number: int, settings: dict[str, Any], original: ShardModel
    ) -> Trial:
        """Apply the method with these settings, and measure."""
        context = _with_settings(self.context, method, settings)
        result = unlearn_rows(context, method, original, self.rows, self.young)
        if result.record.why_not is not None:
            return Trial(number, settings, why_not=result.record.why_not)
        answers = self.ask(context, ShardModel.of_files(result.files), self.rows)
        on_sample, on_calibration = [
            None if mine is None or theirs is None else round(self._apart(mine, theirs), _DIGITS)
            for mine, theirs in zip(answers, self.reference, strict=True)
        ]
        found = (on_sample, on_calibration)
        if not all(value is None or math.isfinite(value) for value in found):
            return Trial(number, settings, why_not="the model's answers are not finite")
        forget, retain = (result.record.passes.get(side, 0.0) for side in ("forget", "retain"))
        return Trial(
            number,
            settings,
            on_sample,
            on_calibration,
            forget_passes=forget,
            retain_passes=retain,
            rows_read=forget * self.rows.forget.num_rows + retain * self.rows.retain.num_rows,
            stopped_by=result.record.stopped_by,
        )


def _with_settings(
    context: PosthocContext, method: str, settings: Mapping[str, Any]
) -> PosthocContext:
    """Return the project as it would be with other settings of a method."""
    unlearn = context.unlearn
    checked = type(getattr(unlearn.settings, method)).model_validate(dict(settings))
    changed = unlearn.settings.model_copy(update={method: checked})
    unlearn = unlearn.model_copy(update={"settings": changed})
    return replace(context, params=context.params.model_copy(update={"unlearn": unlearn}))

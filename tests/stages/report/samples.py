"""Contents for pages, made by hand: a full one, and what can be wrong with it."""

import json
import math
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from unlearn.stages.audit.places import Place, unseen
from unlearn.stages.ledger.erasure import ErasedPlace
from unlearn.stages.report.contents import Contents
from unlearn.stages.report.last_run import LastRun, ShardState
from unlearn.stages.report.plot_files import RocPoint, ScoreBin
from unlearn.stages.report.request_states import Copies, PastErasure, RequestState
from unlearn.stages.requests.costs import Costs
from unlearn.stages.requests.filed import ANSWERED, State
from unlearn.stages.verify_report.public import public_part
from unlearn.stages.verify_report.reading import parse_report
from unlearn.stages.verify_report.report import Report

MADE = datetime(2026, 5, 3, 14, 30, tzinfo=UTC)
TOUCHED = {1, 2, 4, 5}
ATTACKS = ("confidence", "loss", "entropy", "modified_entropy", "lira", "rmia")
TEXT_ATTACKS = ("loss", "zlib", "min_k", "min_k_plus_plus", "lira", "rmia")


def read(report: dict[str, Any]) -> Report:
    """Return a report as it is read from a file."""
    return parse_report(json.dumps(report).encode())


def an_attack(auc: float | None = 0.512, control: float | None = 0.871) -> dict[str, Any]:
    """Return one entry of `attacks`, as the report has it."""

    def span(value: float | None) -> list[float] | None:
        return None if value is None else [value - 0.043, min(1.0, value + 0.041)]

    return {
        "auc": auc,
        "ci": span(auc),
        "tpr_at_fpr_1pct": 0.012,
        "tpr_at_fpr_1pct_ci": [0.0031, 0.034],
        "tpr_at_fpr_0_1pct": None,
        "tpr_at_fpr_0_1pct_ci": None,
        "balanced_accuracy": 0.531,
        "detectable_auc": 0.583,
        "control": {"auc": control, "ci": span(control), "rows": 400},
        "negative_control": {"auc": 0.497, "ci": [0.45, 0.545]},
    }


def a_report(verdict: str = "pass") -> dict[str, Any]:
    """Return a whole reports/verify.json."""
    attacks: dict[str, Any] = {
        name: an_attack(0.49 + 0.006 * number, 0.55 + 0.06 * number)
        for number, name in enumerate(ATTACKS)
    }
    classes = {
        str(digit): {"rows": 30 + digit, "accuracy": 1 - 0.013 * ((digit * 7) % 10)}
        for digit in range(10)
    }
    return {
        "schema_version": 2,
        "kind": "exact",
        "modality": "tabular",
        "label": "exact",
        "verdict": verdict,
        "reasons": [
            "every shard model's lineage is that of its rows without the forgotten ones",
            "1 of 5 touched shards retrained from the rows: the same numbers",
        ],
        "forget_list": {"digest": "ab" * 32, "tokens": 48},
        "exactness": {
            "touched": 5,
            "reran": 1,
            "matched": 1,
            "lineage_clean": True,
            "problems": 0,
        },
        "models": {f"s{number:03d}": f"{number:030x}ff.dir" for number in range(8)},
        "settings": "cd" * 32,
        "membership": {
            "attack": "lira",
            **attacks["lira"],
            "forget_rows": 61,
            "holdout_rows": 356,
            "verdict": "pass",
            "reasons": ["the 90 % interval lies within the margin of .1 around .5"],
            "attacks": attacks,
            "final_model": {"attacks": {name: an_attack(0.5, 0.66) for name in ATTACKS}},
        },
        "canaries": {
            "count": 200,
            "members": 97,
            "attack": "lira",
            "auc": 0.994,
            "ci": [0.982, 1.0],
            "guesses": 40,
            "correct": 39,
            "epsilon_lower_bound": 2.41,
        },
        "utility": {
            "rows": 356,
            "accuracy": 0.9438,
            "log_loss": 0.2211,
            "macro_f1": 0.9431,
            "calibration_error": 0.0312,
            "per_class": classes,
        },
        "environment": {
            "python": "3.11.7",
            "platform": "Linux x86_64 glibc-2.36",
            "processor": "GenuineIntel",
            "numpy": "2.4.6",
            "torch": "2.13.0+cpu",
            "device": "cpu",
        },
    }


#: What each method left: accuracy on forgotten and on held-out rows, and its verdict.
METHODS: dict[str, tuple[float | None, float | None, str]] = {
    "certified_removal": (None, None, "not applicable"),
    "finetune": (0.97, 0.95, "fail"),
    "my_methods.py:forget_it": (0.88, 0.93, "inconclusive"),
    "negative_gradient_plus": (0.91, 0.94, "pass"),
    "retrain": (0.9, 0.95, "pass"),
    "ssd": (0.97, 0.95, "fail"),
}
SECONDS = {"finetune": 2.0, "negative_gradient_plus": 5.0, "retrain": 40.0, "ssd": 1.0}


def a_method(name: str) -> dict[str, Any]:
    """Return one entry of `methods`, as the report has it."""
    forget, holdout, verdict = METHODS[name]
    labels = {"retrain": "exact", "certified_removal": "certified"}
    found: dict[str, Any] = {
        "label": labels.get(name, "approximate"),
        "verdict": verdict,
        "reasons": [f"why {name} has its verdict"],
        "forget_accuracy": forget,
        "retain_accuracy": None if forget is None else 0.99,
        "holdout_accuracy": holdout,
        "membership": None if forget is None else {"attack": "loss", **an_attack(0.4 + forget / 5)},
        "disagreement_with_retrain": None,
        "kl_from_retrain": None,
        "disagreement_on_forgotten": None,
        "relearning_ratio": None,
        "passes": {},
        "stopped_by": None,
        "rolled_back": False,
        "facts": {},
    }
    if name == "retrain":
        found |= {"passes": {"forget": 0.0, "retain": 60.0}, "stopped_by": "trained"}
    elif forget is not None:
        found |= {
            "disagreement_with_retrain": 0.025,
            "kl_from_retrain": 0.01,
            "disagreement_on_forgotten": 0.07,
            "relearning_ratio": 0.5,
            "passes": {"forget": 144.0, "retain": 2.25},
            "stopped_by": "retain_budget",
            "rolled_back": True,
        }
    return found


def a_posthoc_report(
    verdict: str = "pass", label: str = "approximate", deploy: str = "negative_gradient_plus"
) -> dict[str, Any]:
    """Return a whole reports/verify.json of a project without shards."""
    exactness = {"touched": 1, "reran": 0, "matched": 0, "lineage_clean": True, "problems": 0}
    if label == "exact":
        exactness |= {"reran": 1, "matched": 1}
    report = a_report(verdict)
    report["membership"] |= {"attack": "loss", "attacks": {"loss": an_attack()}}
    return report | {
        "kind": "posthoc",
        "label": label,
        "deploy": deploy,
        "reasons": ["loss: AUC 0.582, and 0.580 on the retrained model"],
        "exactness": exactness,
        "models": {name: f"{number:030x}ff.dir" for number, name in enumerate(METHODS)},
        "methods": {name: a_method(name) for name in METHODS},
    }


def posthoc(report: dict[str, Any] | None = None, **other: Any) -> Contents:
    """Return the contents of a page on one model without shards, and what is given instead."""
    reason = ("new lines on the forget list",)
    stages = tuple((f"unlearn@{name}", reason) for name in METHODS)
    run = LastRun("1a2b3c4", False, (), (), None, False, None, stages)
    given: dict[str, Any] = {"seconds": SECONDS, "run": run, "shards": some_shards(1, 1)}
    return full(report=a_posthoc_report() if report is None else report, **(given | other))


def curves() -> tuple[RocPoint, ...]:
    """Return ROC curves: one near guessing, one of an attack with power."""
    grid = [0.0, *(10 ** (-4 + 4 * step / 40) for step in range(41))]
    return tuple(
        RocPoint(model, "lira", sample, fpr, min(1.0, power * fpr**slope))
        for model, gain in (("shard_models", 1.0), ("final_model", 0.6))
        for sample, power, slope in (("forgotten", 1.05, 1.02), ("control", 1.0, 0.35 / gain))
        for fpr in grid
    )


def scores() -> tuple[ScoreBin, ...]:
    """Return histograms of bells: members apart, the forgotten where the unseen are."""
    found = []
    for model, shift in (("shard_models", 3.0), ("final_model", 1.0)):
        edges = [-6 + 0.5 * step for step in range(31)]
        for sample, middle in (("members", shift), ("non_members", 0.0), ("forgotten", 0.1)):
            bells = [math.exp(-((edge + 0.25 - middle) ** 2) / 2) for edge in edges[:-1]]
            found += [
                ScoreBin(model, "lira", sample, low, high, bell / sum(bells))
                for low, high, bell in zip(edges, edges[1:], bells, strict=False)
            ]
    return tuple(found)


def some_shards(count: int = 8, slices: int = 3) -> tuple[ShardState, ...]:
    """Return a map in which every seventh shard is touched, and some were retrained."""
    return tuple(
        ShardState(
            f"s{number:03d}",
            slices,
            frozenset({1 + number % slices, slices} if number % 7 in TOUCHED else ()),
            1 + number % slices if number % 14 == 2 else None,
            ("new lines on the forget list",) if number % 14 == 2 else (),
        )
        for number in range(count)
    )


def a_run() -> LastRun:
    """Return what a run changed that followed one request."""
    return LastRun(
        old="1a2b3c4",
        first_training=False,
        unexplained=(),
        notes=(),
        share=0.104,
        by_rows=True,
        costs=Costs(4.2, 41.0, 17.5, 4.2, 0.0),
    )


def log(count: int = 6) -> tuple[dict[str, Any], ...]:
    """Return a request log."""
    return tuple(
        {
            "time": (datetime(2026, 1, 9, 9, tzinfo=UTC) + timedelta(days=17 * number)).isoformat(),
            "count": 1 + (number * 5) % 13,
        }
        for number in range(count)
    )


#: The states of the requests of `some_requests`, in turns.
STATES: tuple[State, ...] = ("receipted", "erased", "verified", "applied", "pending", "restored")


def some_requests(count: int = 6) -> tuple[RequestState, ...]:
    """Return requests in all states; every third has no reference, and no law was named for it."""
    return tuple(
        RequestState(
            ticket=f"PRIV-{100 + number}" if number % 3 else None,
            received=date(2026, 1, 9) + timedelta(days=21 * number),
            regime="gdpr" if number % 3 else None,
            due=date(2026, 2, 9) + timedelta(days=21 * number) if number % 3 else None,
            extended=number == 4,
            count=1 + (number * 5) % 13,
            state=STATES[number % len(STATES)],
            answered=STATES[number % len(STATES)] in ANSWERED,
        )
        for number in range(count)
    )


def some_copies(*, searched: bool = True, pending: bool = True) -> Copies:
    """Return two erasures, and what a search found afterwards."""
    places = [
        ErasedPlace(name="the dataset", state="purged", method="rows removed from its file"),
        ErasedPlace(name="DVC's cache", state="purged", method="objects deleted"),
        ErasedPlace(name="the run cache", state="purged", method="entries deleted"),
        ErasedPlace(name="the remote main", state="purged", method="objects deleted"),
    ]
    late = ErasedPlace(
        name="the remote backup", state="pending", why="this kind of remote is not tested here"
    )
    when = datetime(2026, 4, 20, 9, tzinfo=UTC)
    erasures = (
        PastErasure(when - timedelta(days=60), (*places, late)),
        PastErasure(when, (*places, *([late] if pending else []))),
    )
    found = (
        Place("the dataset", objects=1),
        Place("DVC's cache", objects=240),
        Place("the remote main", objects=231),
        unseen("the remote backup", "remotes of the kind gs are not searched"),
    )
    return Copies(erasures, found if searched else None)


def full(**other: Any) -> Contents:
    """Return contents with everything there is, and what is given instead."""
    older = a_report()
    older["utility"]["accuracy"] = 0.9466
    given: dict[str, Any] = {
        "name": "digits",
        "made": MADE,
        "report": a_report(),
        "min_rows": 10,
        "roc": curves(),
        "scores": scores(),
        "requests": log(),
        "request_states": some_requests(),
        "copies": some_copies(),
        "held_out_lines": 12,
        "shards": some_shards(),
        "run": a_run(),
        "before": older,
    }
    given |= other
    read_reports = {name: read(given[name]) for name in ("report", "before")}
    return Contents(**(given | read_reports))


def for_officer(report: dict[str, Any] | None = None, **other: Any) -> Contents:
    """Return the contents of a page for a privacy officer: no figures of rows are at hand."""
    whole = read(a_report() if report is None else report)
    given: dict[str, Any] = {"officer": True, "has_figures": False, "before": a_report()}
    contents = full(**(given | other))
    return replace(contents, report=public_part(whole).as_report(), before=None)


def some_knowledge(extraction: float, rows: int = 40) -> dict[str, Any]:
    """Return what a language model knows of some rows, as the report has it."""
    return {
        "rows": rows,
        "tokens": 18 * rows,
        "extraction_strength": extraction,
        "exact_memorisation": 0.849,
        "answer_probability": 0.539,
        "perplexity": 1.886,
        "truth_ratio": 0.034,
        "rouge_l": 0.802,
    }


def a_text_report(*, posthoc: bool = False) -> dict[str, Any]:
    """Return a whole reports/verify.json on a language model, with shards or of methods."""
    unseen = some_knowledge(0.207, 80) | {"perplexity": 1.986, "rouge_l": 0.787}
    covers = (
        "this is about the tuning data, the rows of the dataset: what the base, models/base, "
        "learned in its own pre-training is not covered"
    )
    report = a_posthoc_report(deploy="retrain") if posthoc else a_report()
    attacks = {name: an_attack() for name in TEXT_ATTACKS}
    membership = report["membership"] | {"attack": "loss" if posthoc else "lira"}
    membership |= {"attacks": attacks, "final_model": {"attacks": attacks}}
    report |= {"modality": "text", "covers": covers, "membership": membership, "canaries": None}
    report["utility"] |= {
        "rows": 80,
        "accuracy": 0.832,
        "macro_f1": None,
        "calibration_error": None,
        "per_class": {},
        "language": unseen,
    }
    if not posthoc:
        report["language"] = {"forgotten": some_knowledge(0.211), "holdout": unseen}
        report["reasons"] = [*report["reasons"], covers]
        return report

    def of_model(extraction: float, relearned: float | None) -> dict[str, Any]:
        return {
            "forget": some_knowledge(extraction),
            "retain": some_knowledge(0.99),
            "holdout": unseen,
            "utility": 0.57,
            "utility_ratio": 0.95,
            "perplexity": 3.75,
            "perplexity_ratio": 1.25,
            "forget_quality": {"distance": 0.1, "p_value": 0.9},
            "relearned": None
            if relearned is None
            else {"extraction_strength": relearned, "before": 0.2},
            "four_bit": None,
            "collapsed": False,
        }

    report["original"] = {"language": of_model(1.0, 0.96) | {"utility_ratio": 1.0}}
    methods = report["methods"]
    report["methods"] = {
        "npo": methods["negative_gradient_plus"] | {"language": of_model(0.211, 0.31)},
        "retrain": methods["retrain"] | {"language": of_model(0.18, None)},
    }
    report |= {"deploy": "npo", "label": "approximate"}
    return report

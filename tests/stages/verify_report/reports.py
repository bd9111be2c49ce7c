"""Reports as older versions wrote them, written out by hand."""

from typing import Any


def an_old_attack(auc: float | None = 0.5) -> dict[str, Any]:
    """Return what one attack found, as version 1 has it."""
    ends = None if auc is None else [auc - 0.05, auc + 0.05]
    nothing = {"auc": None, "ci": None, "rows": 0}
    return {
        "auc": auc,
        "ci": ends,
        "tpr_at_fpr_1pct": 0.02,
        "tpr_at_fpr_1pct_ci": [0.01, 0.04],
        "tpr_at_fpr_0_1pct": None,
        "tpr_at_fpr_0_1pct_ci": None,
        "balanced_accuracy": 0.53,
        "detectable_auc": 0.58,
        "forget_rows": 61,
        "holdout_rows": 356,
        "control": {"auc": 0.87, "ci": [0.8, 0.9], "rows": 400},
        "negative_control": nothing,
    }


def an_old_report() -> dict[str, Any]:
    """Return a report of shards and rows with classes, in version 1."""
    attacks = {"lira": an_old_attack(), "loss": an_old_attack(0.51)}
    return {
        "schema_version": 1,
        "label": "exact",
        "verdict": "pass",
        "reasons": ["every shard model's lineage is that of its rows"],
        "forget_list": {"digest": "ab" * 32, "tokens": 48},
        "exactness": {
            "touched": 5,
            "reran": 1,
            "matched": 1,
            "lineage_clean": True,
            "problems": 0,
        },
        "models": {"s000": "0123.dir", "s001": "4567.dir"},
        "settings": "cd" * 32,
        "membership": {
            "attack": "lira",
            **an_old_attack(),
            "verdict": "pass",
            "reasons": ["lira: AUC 0.500"],
            "attacks": attacks,
            "final_model": {"attacks": attacks},
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
            "accuracy": 0.94,
            "log_loss": 0.22,
            "macro_f1": 0.93,
            "calibration_error": 0.03,
            "per_class": {"0": {"rows": 30, "accuracy": 0.9}, "1": {"rows": 3, "accuracy": None}},
        },
        "environment": {"python": "3.11.7", "numpy": "2.4.6"},
    }


def some_old_knowledge(extraction: float = 0.2) -> dict[str, Any]:
    """Return what a language model knows of rows, as version 1 has it."""
    return {
        "rows": 40,
        "tokens": 720,
        "extraction_strength": extraction,
        "exact_memorisation": 0.85,
        "answer_probability": 0.54,
        "perplexity": 1.89,
        "truth_ratio": 0.03,
        "rouge_l": None,
    }


def an_old_text_report() -> dict[str, Any]:
    """Return a report of shards and rows of text, in version 1."""
    report = an_old_report() | {
        "covers": "this is about the tuning data",
        "canaries": None,
        "language": {"forgotten": None, "holdout": some_old_knowledge()},
    }
    report["utility"] |= {"language": some_old_knowledge(), "per_class": {}}
    return report


def an_old_method(label: str = "approximate") -> dict[str, Any]:
    """Return what is known of a post-hoc method, as version 1 has it."""
    membership = an_old_report()["membership"]
    return {
        "label": label,
        "verdict": "pass",
        "reasons": ["loss: AUC 0.582"],
        "forget_accuracy": 0.9,
        "retain_accuracy": 0.99,
        "holdout_accuracy": 0.95,
        "membership": membership | {"difference_from_retrain": {"auc": 0.1, "ci": [0.0, 0.2]}},
        "disagreement_with_retrain": 0.02,
        "kl_from_retrain": 0.01,
        "disagreement_on_forgotten": 0.07,
        "relearning_ratio": None,
        "passes": {"forget": 3.0, "retain": 1.0},
        "stopped_by": "forget_target",
        "rolled_back": False,
        "facts": {"epochs": 3, "target": 0.25, "collapsed": False, "past_limit": None},
    }


def an_old_posthoc_report(*, of_text: bool = False) -> dict[str, Any]:
    """Return a report of one model and post-hoc methods, in version 1."""
    report = (an_old_text_report() if of_text else an_old_report()) | {
        "label": "approximate",
        "deploy": "finetune",
        "methods": {"finetune": an_old_method(), "retrain": an_old_method("exact")},
    }
    if not of_text:
        return report
    del report["language"]
    known = {
        "forget": some_old_knowledge(0.9),
        "retain": some_old_knowledge(),
        "holdout": some_old_knowledge(),
        "utility": 0.39,
        "utility_ratio": 1.0,
        "perplexity": 4.1,
        "perplexity_ratio": 1.0,
        "forget_quality": {"distance": 0.6, "p_value": 0.05},
        "relearned": {"extraction_strength": 0.5, "before": 0.2, "rows": 5, "steps": 8},
        "four_bit": {"extraction_strength": 1.0, "utility_ratio": 0.95},
    }
    report["original"] = {
        "forget_accuracy": 1.0,
        "retain_accuracy": 1.0,
        "holdout_accuracy": 0.76,
        "language": known,
    }
    for method in report["methods"].values():
        method["language"] = known | {"priv_leak": None, "collapsed": False}
    return report

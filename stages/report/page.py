"""The page: plain data in, one HTML text out.

Every text from a file goes through `formatting.plain` and the template's escaping; every number
through `formatting`, which has a phrase for one that is missing. The finding comes first, the
numbers below it.
"""

from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape
from unlearn.stages.report import formatting
from unlearn.stages.report.attack_names import attack_name, deciding_attack
from unlearn.stages.report.attacks import membership
from unlearn.stages.report.contents import Contents
from unlearn.stages.report.history import last_run, shard_map, timeline
from unlearn.stages.report.language import knowledge
from unlearn.stages.report.methods import REFERENCE, deployed, kind_of, methods
from unlearn.stages.report.officer import copies, held_out, open_points, requests, today
from unlearn.stages.report.quality import exactness, identity, utility
from unlearn.stages.verify_report.report import Report

Verdict = Literal["pass", "fail", "inconclusive", "stale"]


def render(contents: Contents) -> str:
    """Return the page.

    Parameters
    ----------
    contents
        What it is to say; see `contents.gather`.
    """
    folder = files("unlearn.stages.report")
    environment = Environment(
        loader=FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "plain": formatting.plain,
        "sentence": _sentence,
        "commands": _commands,
    }
    template = environment.get_template("page.html.jinja")
    style = (folder / "page.css").read_text(encoding="utf-8")
    return template.render(
        style=Markup(style),  # noqa: S704 - a file of this package
        name=formatting.plain(contents.name),
        made=f"{formatting.day(contents.made)}, {contents.made:%H:%M} UTC",
        verdict=verdict(contents),
        deployed=deployed(contents),
        methods=methods(contents),
        facts=_facts(contents),
        knowledge=knowledge(contents),
        membership=membership(contents),
        shards=shard_map(contents),
        run=last_run(contents),
        # The page for an officer is short: the table says it all.
        timeline=None if contents.officer else timeline(contents),
        requests=requests(contents),
        copies=copies(contents),
        held_out=held_out(contents),
        open_points=open_points(contents),
        officer=contents.officer,
        public=contents.public,
        utility=utility(contents),
        exactness=exactness(contents.report),
        identity=identity(contents),
        missing=contents.missing,
        has_figures=contents.has_figures,
    )


def _sentence(text: str) -> str:
    """Return a finding as a sentence: a capital at its start, a full stop at its end."""
    said = formatting.plain(text, 600)
    end = "" if said.endswith((".", "!", "?", "…")) else "."
    # A name keeps its first letter: s001, train@s001, dvc.lock.
    start = said[:1].upper() if said.split(" ", 1)[0].rstrip(",").isalpha() else said[:1]
    return f"{start}{said[1:]}{end}"


def _commands(text: str) -> Markup:
    """Return a text, escaped, in which what stands between backquotes is set as code."""
    parts = text.split("`")
    pieces = [
        Markup("<code>{}</code>").format(part) if number % 2 else escape(part)
        for number, part in enumerate(parts)
    ]
    return Markup("").join(pieces)


@dataclass(frozen=True)
class VerdictView:
    """The verdict, what it rests on, and why, in plain formatting."""

    kind: Verdict
    word: str
    headline: str
    reasons: tuple[str, ...]
    was: str | None
    basis: str | None = None


def verdict(contents: Contents) -> VerdictView:
    """Return the beginning of the page: a report of another state is stale in any case."""
    report = contents.report
    reasons = report.reasons
    if contents.stale:
        return VerdictView(
            "stale",
            "Stale",
            "This evidence does not belong to the current state of the project. Do not rely on it.",
            contents.stale,
            report.verdict,
        )
    if report.verdict == "pass":
        return VerdictView("pass", "Pass", _passed(report), reasons, None, basis(report))
    if report.verdict == "fail":
        return VerdictView("fail", "Fail", _failed(report), reasons, None, basis(report))
    models = "model" if report.kind == "posthoc" else "models"
    headline = (
        f"The evidence does not show whether the forgotten records were removed from the {models}."
    )
    return VerdictView("inconclusive", "Inconclusive", headline, reasons, None, basis(report))


def basis(report: Report) -> str | None:
    """Return what the verdict rests on, in a sentence; None where the report does not say."""
    found = report.exactness
    if found.problems:
        return f"{formatting.plural(found.problems, 'check')} found a difference."
    if found.lineage_clean is not True or found.reran is None:
        return None
    if report.kind == "posthoc":
        if kind_of(report.label) != "exact":
            return "This rests on a test of its answers, not on retraining."
        again = "and it was retrained" if found.reran else "and it was not retrained as a check"
        return f"Its lineage was recomputed, {again}."
    lineages = "Every lineage was recomputed"
    if not found.touched:
        return f"{lineages}; no shard was touched."
    verb = "was" if found.reran == 1 else "were"
    checked = f"{formatting.plural(found.touched, 'touched shard')} {verb} retrained"
    if found.trees is not None:
        checked = f"{formatting.plural(found.trees, 'tree')} {verb} fitted again"
    return f"{lineages}; {found.reran:,} of {checked}."


def _passed(report: Report) -> str:
    kind = kind_of(report.label)
    if kind == "exact":
        if report.kind == "posthoc":
            return "The deployed model is what training without the forgotten records produces."
        return "Every model is what training without the forgotten records would have produced."
    behaves = (
        "On the forgotten records, the model behaves as if it was not trained on them, as far as "
        "this test can detect. "
    )
    if kind == "certified":
        return behaves + "A proof bounds their remaining effect: this is not an exact deletion."
    return behaves + "The method is approximate: this is not a proof of deletion."


def _failed(report: Report) -> str:
    posthoc = report.kind == "posthoc"
    # An approximate method's model may fail by its behaviour, or by not being what it claims to be.
    if posthoc and report.exactness.problems:
        return "The checks found a mismatch. Do not rely on these models."
    if kind_of(report.label) != "exact":
        return "The model reveals the forgotten records."
    models = "model is" if posthoc else "models are"
    return f"The {models} not what training without the forgotten records would have produced."


@dataclass(frozen=True)
class Fact:
    """A key number, what it counts, and what it is compared with."""

    value: str
    name: str
    note: str


def _facts(contents: Contents) -> list[Fact]:
    report, found = contents.report, contents.report.membership
    listed = Fact(
        formatting.count(report.forget_list.tokens),
        "on the forget list",
        _listed(contents),
    )
    facts = [
        listed,
        Fact(
            formatting.count(report.exactness.touched),
            "shard touched" if report.exactness.touched == 1 else "shards touched",
            f"of {len(contents.shards):,}" if contents.shards else "by the forget list",
        ),
        Fact(
            formatting.out_of(report.exactness.matched, report.exactness.reran),
            "retraining checks agree",
            "shards retrained on the retained rows"
            if report.exactness.trees is None
            else "trees fitted again on the retained rows",
        ),
    ]
    if contents.officer:
        # Without shards, the counts of shards are those of the one model.
        facts = [*_cases(contents), *([] if report.kind == "posthoc" else facts)]
    elif report.kind == "posthoc":
        facts = [listed, *_cost(contents)]
    if report.suppressed:
        rows = formatting.count(report.suppressed)
        facts.append(Fact(rows, "rows dropped", "of erased or suppressed people, in the dataset"))
    facts = [fact for fact in facts if fact.value != formatting.MISSING]
    if found is not None and found.auc is not None:
        span = formatting.between(found.ci)
        facts.append(
            Fact(
                formatting.decimal(found.auc),
                f"AUC of {attack_name(deciding_attack(found))}",
                f"95% interval {span}" if span else "no interval given",
            )
        )
    if report.utility.accuracy is not None:
        rows = formatting.count(report.utility.rows)
        name = "of answers' tokens right" if report.modality == "text" else "accuracy"
        accuracy = formatting.percent(report.utility.accuracy)
        facts.append(Fact(accuracy, name, f"on {rows} held-out records"))
    elif report.utility.mean_absolute_error is not None:
        rows = formatting.count(report.utility.rows)
        error = formatting.amount(report.utility.mean_absolute_error)
        facts.append(Fact(error, "mean absolute error", f"on {rows} held-out records"))
    return facts


def _cases(contents: Contents) -> list[Fact]:
    """Return the numbers of requests, and of lines that no model has to change for."""
    states = contents.request_states
    answered = sum(state.answered for state in states)
    late = sum((state.days_left(today(contents)) or 0) < 0 for state in states)
    facts = [
        Fact(
            formatting.count(len(states)),
            "request" if len(states) == 1 else "requests",
            "in the request log",
        ),
        Fact(formatting.count(answered), "answered", "erased, taken back, or nothing to delete"),
        Fact(formatting.count(late), "late", "after the due date, and not answered"),
    ]
    count = held_out(contents).count
    if count is not None:
        facts.append(Fact(count, "held out", "lines of the forget list whose rows are in no model"))
    return facts


def _listed(contents: Contents) -> str:
    """Return what the lines of the forget list are, and how many of them reach no model."""
    said = "records and persons, one per line"
    count = held_out(contents).count
    return said if count in (None, "0") else f"{said}; {count} held out, in no model"


def _cost(contents: Contents) -> list[Fact]:
    """Return the cost of the deployed method and of retraining, if both are known."""
    name = contents.report.deploy
    own, retrained = (
        None if each is None else formatting.number(contents.seconds.get(each))
        for each in (name, REFERENCE)
    )
    if name == REFERENCE or own is None or not retrained:
        return []
    note = f"{formatting.duration(own)}; retrained in {formatting.duration(retrained)}"
    return [Fact(f"{own / retrained:.0%}", "of the time of retraining", note)]

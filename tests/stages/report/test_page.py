"""The page: what it says, what it must not, and that it needs nothing but itself."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any

import pytest
from unlearn.stages.audit.places import Place, unseen
from unlearn.stages.ledger.erasure import ErasedPlace
from unlearn.stages.report.attacks import membership
from unlearn.stages.report.contents import Contents
from unlearn.stages.report.last_run import LastRun
from unlearn.stages.report.page import render, verdict
from unlearn.stages.report.plot_files import ScoreBin
from unlearn.stages.report.request_states import Copies, PastErasure

from tests.stages.report.samples import (
    ATTACKS,
    MADE,
    a_posthoc_report,
    a_report,
    a_run,
    an_attack,
    curves,
    for_officer,
    full,
    log,
    posthoc,
    read,
    scores,
    some_requests,
    some_shards,
)

HOSTILE = (
    "<script>alert(1)</script>\"'&<img src=x onerror=alert(1)>{{ 7 * 7 }}</style></title></svg>"
    "\u202eright to left\u202c" + "x" * 300
)
_VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """What a browser would find: elements with attributes, and text by the element around it."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.style = ""
        self.feed(text)
        self.close()
        assert self.open == [], self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            self.style += data
        else:
            self.text += " " + data

    @property
    def said(self) -> str:
        """The text, with runs of white space drawn together."""
        return re.sub(r"\s+", " ", self.text)

    def count(self, tag: str, css: str) -> int:
        """Count elements by class."""
        return sum(
            name == tag and css in (attrs.get("class") or "").split()
            for name, attrs in self.elements
        )


def emptied(value: Any) -> Any:
    """Return a report with everything in it null, its mappings kept."""
    return {k: emptied(v) for k, v in value.items()} if isinstance(value, dict) else None


def hostile_copies() -> Copies:
    place = ErasedPlace(name=HOSTILE, state="pending", method=HOSTILE, why=HOSTILE)
    erasure = PastErasure(None, (place,))
    return Copies((erasure, erasure), (Place(HOSTILE, findings=(HOSTILE,)), unseen("x", HOSTILE)))


def hostile() -> Contents:
    """Return contents with a hostile text wherever a file could hold one."""
    report = a_report("fail")
    report["reasons"] = [HOSTILE]
    report["label"] = HOSTILE
    report["models"] = {HOSTILE: HOSTILE}
    report["settings"] = HOSTILE
    report["environment"] = {HOSTILE: HOSTILE}
    report["utility"]["per_class"] = {HOSTILE: {"rows": 9, "accuracy": 0.5}, "": {}}
    report["membership"]["reasons"] = [HOSTILE]
    report["membership"]["attack"] = HOSTILE
    report["membership"]["attacks"][HOSTILE] = an_attack()
    report["canaries"]["attack"] = HOSTILE
    run = LastRun(HOSTILE, False, (HOSTILE,), (HOSTILE,), 0.5, True, None)
    return full(
        name=HOSTILE,
        report=report,
        stale=(HOSTILE,),
        requests=tuple(entry | {"time": HOSTILE} for entry in log()),
        request_states=tuple(replace(state, ticket=HOSTILE) for state in some_requests()),
        copies=hostile_copies(),
        run=run,
        missing=(HOSTILE,),
    )


def hostile_methods() -> Contents:
    """Return contents of a project without shards with hostile names and texts."""
    report = a_posthoc_report("fail", label=HOSTILE, deploy=HOSTILE)
    report["reasons"] = [HOSTILE]
    entry = report["methods"]["ssd"]
    report["methods"][HOSTILE] = entry | {
        "label": HOSTILE,
        "verdict": HOSTILE,
        "reasons": [HOSTILE],
        "stopped_by": HOSTILE,
    }
    run = LastRun(
        "1a2b3c4", False, (), (), None, False, None, ((f"unlearn@{HOSTILE}", (HOSTILE,)),)
    )
    return posthoc(report, run=run, seconds={HOSTILE: 3.0, "retrain": 2.0})


EVERY = {
    "for an officer": for_officer(),
    "for an officer, without shards": replace(
        for_officer(a_posthoc_report()), shards=some_shards(1, 1)
    ),
    "for an officer, nothing known": for_officer(
        request_states=(), copies=Copies(), held_out_lines=None, min_rows=None
    ),
    "for an officer, hostile": replace(hostile(), officer=True, has_figures=False),
    "full": full(),
    "hostile": hostile(),
    "without shards": posthoc(),
    "without shards, exact": posthoc(a_posthoc_report(label="exact", deploy="retrain")),
    "without shards, hostile": hostile_methods(),
    "without shards, everything null": posthoc(emptied(a_posthoc_report()), seconds={}),
    "without shards, of wrong types": posthoc(
        a_posthoc_report()
        | {
            "deploy": ["retrain"],
            "label": {},
            "exactness": {"problems": "none", "reran": "one", "lineage_clean": 1},
            "methods": {
                "retrain": 1,
                "ssd": {
                    "label": [],
                    "verdict": ["pass"],
                    "reasons": "none",
                    "forget_accuracy": 7,
                    "holdout_accuracy": "high",
                    "membership": [],
                    "passes": {"forget": True},
                    "stopped_by": {},
                },
            },
        },
    ),
    "stale": full(stale=("the forget list has changed since the report was made",)),
    "100 shards": full(shards=some_shards(100, 50)),
    "everything null": Contents("x", MADE, read(emptied(a_report()))),
    "nothing but what a report must have": Contents(
        "x",
        MADE,
        read(
            {
                "verdict": "pass",
                "exactness": {},
                "utility": {},
                "membership": None,
                "forget_list": {},
            }
        ),
    ),
    "of wrong types": Contents(
        "x",
        MADE,
        read(
            {
                "verdict": 7,
                "reasons": "no list",
                "exactness": [],
                "utility": {"accuracy": "high", "per_class": [1], "rows": -1},
                "membership": {"auc": True, "ci": "ab", "attacks": {"lira": 1}, "attack": 3},
                "forget_list": 1,
                "environment": 1,
                "models": [],
            }
        ),
        requests=({"time": 1, "ticket": 2, "count": "three", "digest": None},),
    ),
}


@pytest.fixture(params=EVERY)
def page(request: pytest.FixtureRequest) -> Page:
    """Return each page in turn, read as a browser would."""
    return Page(render(EVERY[request.param]))


def test_a_page_is_whole_and_needs_nothing_else(page: Page) -> None:
    tags = {tag for tag, _ in page.elements}

    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "form", "base", "a"}
    for tag, attributes in page.elements:
        assert not {name for name in attributes if name.startswith("on")}, tag
        assert not attributes.keys() & {"href", "src", "srcset", "xlink:href", "action", "style"}
    assert "http" not in page.style
    assert "url(" not in page.style
    assert "@import" not in page.style
    policies = [attributes for tag, attributes in page.elements if tag == "meta"]
    assert any((meta.get("content") or "").startswith("default-src 'none'") for meta in policies)
    assert any("width=device-width" in (meta.get("content") or "") for meta in policies)


def test_a_page_says_what_is_missing_in_words(page: Page) -> None:
    for sign in ("None", "nan", "null", "Undefined", "{}", "not measured of"):
        assert sign not in page.said, sign


@pytest.mark.parametrize("contents", [hostile(), hostile_methods()])
def test_a_hostile_text_is_shown_as_text(contents: Contents) -> None:
    text = render(contents)
    page = Page(text)

    assert "<script>alert(1)</script>" in page.said
    assert "{{ 7 * 7 }}" in page.said
    assert "\u202e" not in text
    assert "<U+202E>" in page.said
    assert "x" * 301 not in text


def test_a_token_in_a_damaged_report_is_not_repeated() -> None:
    report = a_report() | {"reasons": ["u1_" + "ab" * 32], "label": "u1_" + "cd" * 32}

    assert "u1_" not in render(full(report=report))


@pytest.mark.parametrize(
    ("said", "headline"),
    [
        ("pass", "Every model is what training without the forgotten records would have produced."),
        ("fail", "The models are not what training"),
        ("inconclusive", "The evidence does not show"),
        ("nonsense", "The evidence does not show"),
    ],
)
def test_the_page_opens_with_the_verdict_and_why(said: str, headline: str) -> None:
    page = Page(render(full(report=a_report(said))))
    first = page.said[: page.said.index("Exactness")]

    assert headline in first
    assert "1 of 5 touched shards retrained from the rows: the same numbers." in first
    assert page.count("div", said if said != "nonsense" else "inconclusive") == 1


def test_a_stale_report_is_shown_as_stale_whatever_it_says() -> None:
    contents = full(stale=("the forget list has changed since the report was made",))
    page = Page(render(contents))

    assert verdict(contents).kind == "stale"
    assert page.count("div", "stale") == 1
    assert page.count("div", "pass") == 0
    assert "Do not rely on" in page.said
    assert "(it said: pass)" in page.said
    assert "The forget list has changed since the report was made." in page.said


def test_an_approximate_method_is_never_called_a_deletion() -> None:
    page = Page(render(full(report=a_report() | {"label": "approximate"})))

    assert "this is not a proof of deletion" in page.said
    assert "Every model is what training without" not in page.said


def test_every_attack_stands_there_with_its_interval_and_the_one_that_decides_first() -> None:
    found = membership(full())

    assert [table.name for table in found.tables] == ["The shard models", "The final model"]
    rows = found.tables[0].attacks
    assert [row.name for row in rows][:2] == ["LiRA", "RMIA"]
    assert len(rows) == len(ATTACKS)
    assert [row.decides for row in rows] == [True] + [False] * 5
    assert rows[0].auc is not None
    assert (rows[0].auc.value, rows[0].auc.span) == ("0.514", "0.471 to 0.555")
    assert rows[0].low is not None
    assert (rows[0].low.value, rows[0].low.span) == ("1.2%", "0.31% to 3.4%")
    assert rows[0].lower is not None
    assert rows[0].lower.value == "not measured"
    assert not any(row.decides for row in found.tables[1].attacks)
    page = Page(render(full()))
    assert "0.994, 95% interval 0.982 to 1.000" in page.said
    assert "39 of 40" in page.said


def test_a_pass_beside_attacks_that_settle_nothing_is_explained() -> None:
    report = a_report()
    report["membership"]["verdict"] = "inconclusive"

    assert "The verdict above is based on exactness" in Page(render(full(report=report))).said
    assert "The verdict above is based on exactness" not in Page(render(full())).said
    other = full(report=report | {"verdict": "inconclusive"})
    assert "The verdict above is based on exactness" not in Page(render(other)).said


def test_an_attack_that_could_not_be_made_is_said_not_to_be() -> None:
    report = a_report()
    report["membership"]["attacks"]["lira"] = None
    page = Page(render(full(report=report)))

    assert "not measured on this sample" in page.said


@pytest.mark.parametrize(
    ("rows", "said"), [(3, "too few for a statistic"), (30, "No attack gave a number")]
)
def test_few_rows_get_no_numbers_and_a_reason(rows: int, said: str) -> None:
    report = a_report()
    nothing = {"auc": None, "ci": None, "forget_rows": rows, "holdout_rows": 356}
    report["membership"] = nothing | {"attack": "lira", "attacks": {"lira": nothing}, "reasons": []}
    page = Page(render(full(report=report, roc=(), scores=())))

    assert said in page.said
    assert f"{rows} forgotten and 356 unseen records" in page.said
    assert page.count("svg", "plot") == 1, "the timeline alone"


def test_a_report_of_an_earlier_version_shows_its_one_number() -> None:
    report = a_report()
    report["membership"] = {"auc": 0.512, "forget_rows": 61, "holdout_rows": 356}
    report["utility"] = {"accuracy": 0.9, "log_loss": 0.2, "rows": 100}
    page = Page(render(full(report=report, roc=(), scores=())))

    assert "Confidence on the forgotten records: AUC 0.512." in page.said
    assert "no numbers by class" in page.said
    assert "no interval given" in page.said


def test_curves_and_histograms_are_drawn_for_both_models_and_titled_by_what_they_show() -> None:
    found = membership(full())

    assert len(found.roc) == len(found.scores) == 2
    assert found.roc[0].title == (
        "At a 1% false positive rate, it finds 1.2% of the forgotten records, "
        "and 20.0% of those in the model"
    )
    assert re.search(r"overlap by 9\d% with those of unseen ones, 1\d% with", found.scores[0].title)
    assert [said for _, said in found.scores[0].legend] == [
        "forgotten records",
        "unseen records",
        "records in the model",
    ]
    assert found.no_plots is None


def test_only_the_deciding_attack_is_drawn() -> None:
    others = tuple(ScoreBin(one.model, "loss", *_rest(one)) for one in scores())

    assert membership(full(scores=others)).scores == ()
    assert len(membership(full(scores=others + scores())).scores) == 2


def _rest(one: ScoreBin) -> tuple[str, float, float, float]:
    return one.sample, one.low, one.high, one.share


def test_where_the_plots_are_not_at_hand_the_page_says_so() -> None:
    page = Page(render(full(roc=(), scores=())))

    assert "The curves and score histograms are missing" in page.said


def test_a_hundred_shards_are_all_on_the_map() -> None:
    shards = some_shards(100, 50)
    page = Page(render(full(shards=shards)))

    assert page.count("svg", "shard") == 100
    assert page.count("rect", "named") == 1 + sum(len(shard.named) for shard in shards)
    touched = sum(bool(shard.named) for shard in shards)
    assert f"{touched} of 100 shards hold records on the forget list" in page.said
    assert "; the last run retrained 7." in page.said
    assert len(render(full(shards=shards))) < 250_000


def test_what_was_retrained_is_named_with_its_slice_and_cause() -> None:
    page = Page(render(full()))

    assert "The last run retrained 1 shard, and read 10.4% of the rows" in page.said
    assert re.search(r"s002 slice 3 of 3 new lines on the forget list", page.said)
    assert "4.2 seconds" in page.said
    assert "41.0 seconds" in page.said
    assert "Not explained by a request or setting" not in page.said


def test_what_an_audit_cannot_explain_stands_out() -> None:
    run = LastRun("1a2b3c4", False, ("train@s001 changed without a cause",), (), 0.1, False, None)
    page = Page(render(full(run=run)))

    assert "Not explained by a request or setting" in page.said
    assert "train@s001 changed without a cause." in page.said
    assert "about 10.0%" in page.said
    assert "estimated with slices of equal size" in page.said


def test_utility_is_shown_by_class_the_hardest_first_and_beside_what_it_was() -> None:
    page = Page(render(full()))
    classes = page.said[page.said.index("By class") :]

    assert "94.4% (91.5% to 96.3%)" in page.said
    assert "Before the last run" in page.said
    assert "94.7%" in page.said
    assert classes.index("88.3%") < classes.index("100%")
    many = a_report()
    many["utility"]["per_class"] = {f"c{n}": {"rows": 9, "accuracy": n / 200} for n in range(150)}
    assert "110 more classes" in Page(render(full(report=many))).said


def test_environment_and_digests_are_there() -> None:
    page = Page(render(full()))

    for said in ("2.13.0+cpu", "ab" * 32, "cd" * 32, "MD5 of the 8 shard models", "00000ff.dir"):
        assert said in page.said


def test_the_same_contents_give_the_same_bytes() -> None:
    assert render(full()) == render(full())


def test_curves_need_no_runs_and_runs_no_curves() -> None:
    for other in ({"run": None}, {"shards": ()}, {"requests": ()}, {"roc": curves()[:1]}):
        Page(render(full(**other)))
    Page(render(full(run=a_run(), shards=())))


# --- Colours -----------------------------------------------------------------------------------


def palettes() -> dict[str, dict[str, str]]:
    """Return the colours by name: as they are in light, in dark and on paper."""
    css = files("unlearn.stages.report").joinpath("page.css").read_text(encoding="utf-8")
    light = dict(re.findall(r"--(\w[\w-]*): (#[0-9a-f]+)", css.partition("@media")[0]))
    dark = re.search(r"prefers-color-scheme: dark\) \{(.*?)\n\}", css, re.DOTALL)
    paper = re.search(r"@media print \{(.*)", css, re.DOTALL)
    assert dark is not None
    assert paper is not None
    found = {"light": light}
    for name, text in (("dark", dark[1]), ("print", paper[1])):
        found[name] = light | dict(re.findall(r"--(\w[\w-]*): (#[0-9a-f]+)", text))
    return found


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours (WCAG 2.1, section 1.4.3)."""

    def luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_colours_are_told_from_what_is_behind_them(scheme: str) -> None:
    colours = palettes()[scheme]

    for name in ("ink", "soft"):
        assert contrast(colours[name], colours["paper"]) >= 4.5, name
    for tone in ("pass", "fail", "inconclusive", "stale"):
        assert contrast(colours[tone], colours[f"{tone}-wash"]) >= 4.5, tone
        assert contrast(colours["ink"], colours[f"{tone}-wash"]) >= 7, tone
        assert contrast(colours[tone], colours["paper"]) >= 4.5, tone
    for mark in ("forgotten", "control", "unseen"):
        assert contrast(colours[mark], colours["paper"]) >= 3, mark
    assert contrast(colours["forgotten"], colours["kept"]) >= 3
    assert contrast(colours["named"], colours["kept"]) >= 3


def test_the_black_and_the_white_are_as_far_apart_as_the_standard_says() -> None:
    assert contrast("#000000", "#fff") == pytest.approx(21)


def test_canaries_are_shown_where_nobody_was_forgotten_yet() -> None:
    report = a_report() | {"membership": None}
    said = Page(render(full(report=report))).said

    assert "Canaries" in said
    assert "39 of 40" in said


def test_rows_of_erased_people_that_came_back_are_counted() -> None:
    page = Page(render(full(report=a_report() | {"suppressed": 12})))
    assert re.search(r"rows dropped 12 of erased or suppressed people", page.text)
    assert "rows dropped" not in Page(render(full())).text

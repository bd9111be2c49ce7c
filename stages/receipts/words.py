"""A receipt in plain words, for the person that it is about."""

from collections.abc import Iterable

from unlearn.stages.receipts.statement import Place, Predicate

LAWS = {
    "gdpr": "the General Data Protection Regulation (GDPR), article 17",
    "ccpa": "the California Consumer Privacy Act (CCPA)",
    "drop": "the California Delete Act",
}

_MODELS = {
    "exact": "The models are exactly those that a training without your data gives. This was "
    "checked.",
    "certified": "The models were changed by a method that comes with a proof of how much of your "
    "data can be left in them.",
    "approximate": "The models were changed by an approximate method. That is no deletion: "
    "something of your data may be left in them.",
}
_NOT_SHOWN = {
    "fail": "The checks found that the models are not yet as they have to be.",
    "inconclusive": "The checks could not show that your data had no more influence on the models.",
    "stale": "The checks of the models are older than the last change, and have to be done again.",
}
_STATES = {"purged": "deleted", "pending": "not yet deleted"}


def headline(receipt: Predicate) -> str:
    """Return what came of the request, in one sentence."""
    if receipt.request.outcome == "complete":
        return "Your data was deleted from every place that this project knows of."
    if receipt.purge.pending:
        return "Your data was deleted, but not yet from every place."
    return "Your data was deleted from the files. The models are not settled yet."


def other_reasons(receipt: Predicate) -> list[str]:
    """Return why the request is not complete, but for the places, which have their own list."""
    pending = tuple(f"{name} is pending" for name in receipt.purge.pending)
    return [text for text in receipt.request.reasons if not text.startswith(pending)]


def law(receipt: Predicate) -> str | None:
    """Return the name of the law; None if none was stated."""
    regime = receipt.request.regime
    return None if regime is None else LAWS.get(regime, regime)


def in_time(receipt: Predicate) -> str | None:
    """Return whether the request was completed by its due date; None if it has none, or was not."""
    request = receipt.request
    if request.due is None or request.outcome != "complete":
        return None
    late = (request.closed - request.due).days
    if late > 0:
        return f"{late} {'day' if late == 1 else 'days'} late"
    return "in time"


def models(receipt: Predicate) -> str:
    """Return what is known of the models."""
    found = receipt.verification
    if found.verdict != "pass":
        return _NOT_SHOWN[found.verdict]
    return _MODELS.get(found.label or "", "The checks of the models passed.")


def places(receipt: Predicate) -> Iterable[tuple[str, str, str]]:
    """Yield each place, its state, and more about it."""
    for place in receipt.purge.places:
        yield place.name, _STATES[place.state], _more(place)


def _more(place: Place) -> str:
    text = place.why if place.state == "pending" else place.method
    return text or ""

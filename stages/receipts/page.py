"""The receipt as one HTML page for the person, with styles for paper."""

from collections.abc import Sequence
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from unlearn.stages.receipts import words
from unlearn.stages.receipts.check import Receipt


def render_page(receipt: Receipt, ids: Sequence[str] = ()) -> str:
    """Return the page.

    Parameters
    ----------
    receipt
        A receipt whose signature was checked.
    ids
        The texts that the request used for the person, to be printed; no others are on the page.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    text = (files("unlearn.stages.receipts") / "page.html.jinja").read_text(encoding="utf-8")
    found = receipt.statement.predicate
    return environment.from_string(text).render(
        name=receipt.name,
        key=receipt.envelope.signatures[0].keyid,
        ids=ids,
        receipt=found,
        headline=words.headline(found),
        reasons=words.other_reasons(found),
        law=words.law(found),
        in_time=words.in_time(found),
        models=words.models(found),
        places=list(words.places(found)),
        outcome=found.request.outcome,
        created=f"{found.created:%Y-%m-%d %H:%M} UTC",
    )

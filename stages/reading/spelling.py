"""Which texts are spelled alike: those that differ in case, outer spaces or Unicode form alone."""

import unicodedata


def folded_text(text: str) -> str:
    """Return what is left of a text without its case, outer spaces and Unicode form.

    >>> folded_text(" Jane.Roe@Example.org"), folded_text("STRASSE") == folded_text("straße")
    ('jane.roe@example.org', True)

    Notes
    -----
    Case folding can undo the normalisation, so that is done again (Unicode Standard, 3.13, D146).
    """
    folded = unicodedata.normalize("NFKC", text).strip().casefold()
    return folded if folded.isascii() else unicodedata.normalize("NFKC", folded).strip()

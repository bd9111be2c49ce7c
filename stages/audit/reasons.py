"""Reasons for a training, for pages and comments that everybody may read."""

NEW_LINES = "new lines on the forget list"


def without_count(reason: str) -> str:
    """Return a reason without the number of new lines: by shard, a few of them are a person."""
    count, _, rest = reason.partition(" ")
    return NEW_LINES if count.replace(",", "").isdigit() and "new line" in rest else reason

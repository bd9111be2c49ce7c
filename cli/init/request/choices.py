"""Values of options of `unlearn init`."""

from enum import StrEnum


class Example(StrEnum):
    """Datasets that come with a library, or are made up."""

    DIGITS = "digits"
    VISITS = "visits"
    SHAPES = "shapes"
    AUTHORS = "authors"


class Template(StrEnum):
    """Pipelines that can be set up."""

    SISA = "sisa"
    POSTHOC = "posthoc"


class TooLong(StrEnum):
    """What happens to rows that are longer than the context."""

    REFUSE = "refuse"
    TRUNCATE = "truncate"


class AdapterRule(StrEnum):
    """How the adapters of shards answer together."""

    MEAN = "mean_log_probability"
    ROUTE = "route"
    MERGED = "merged"


class MissingColumns(StrEnum):
    """What happens if a file of a directory lacks a column that others have."""

    REFUSE = "refuse"
    NULL = "null"


class Identity(StrEnum):
    """Which ids are one: those written the same, or those that are the same once folded."""

    EXACT = "exact"
    FOLDED = "folded"


class CategoryTexts(StrEnum):
    """How shard files and models have categories."""

    CLEAR = "clear"
    KEYED = "keyed"


class RareCategories(StrEnum):
    """What happens to categories that few rows share."""

    BUCKET = "bucket"
    KEEP = "keep"


class CiSystem(StrEnum):
    """Systems that a workflow can be written for."""

    GITHUB = "github"
    GITLAB = "gitlab"

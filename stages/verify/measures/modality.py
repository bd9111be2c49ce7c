"""The choice between modalities, made in one place for all of `verify`."""

from unlearn.stages.config.params import Params
from unlearn.stages.verify.measures.base import Modality


def modality_of(params: Params) -> Modality:
    """Return what `verify` does for the rows of a project.

    Each modality is imported when it is needed: their libraries take seconds to load.
    """
    if params.modality == "text":
        from unlearn.stages.verify.measures.text import TEXT

        return TEXT
    from unlearn.stages.verify.measures.tabular import TABULAR

    return TABULAR

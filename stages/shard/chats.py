"""Chats that the base's template does not take, or that are too long, found before training."""

from pathlib import Path
from threading import Lock

import pyarrow as pa
from unlearn.stages.config.params import Params
from unlearn.stages.estimators.registry import text_options
from unlearn.stages.rows.shard_file import Layout
from unlearn.stages.shard.typed_rows import Problems


def chat_problems(params: Params, root: Path) -> Problems | None:
    """Return what says which rows cannot become sequences, and why; None where rows are no chats.

    Parameters
    ----------
    params, root
        The settings, and the project's folder.

    Raises
    ------
    InputError
        If the base is not there, is another one than the pinned, or has no chat template.
    """
    if "messages" not in params.dataset.features.values():
        return None
    # For chats alone: transformers takes seconds to load.
    from unlearn.stages.text.base import find_base, load_tokenizer
    from unlearn.stages.text.encoding import Encoder

    options = text_options(params.train)
    tokenizer = load_tokenizer(find_base(options, root))
    encoder = Encoder(tokenizer, options, Layout.of(params.dataset))
    encoder.require_template()
    lock = Lock()  # two threads read rows, and a tokenizer serves one at a time

    def problems(rows: pa.Table) -> list[tuple[int, str]]:
        with lock:
            return encoder.problems(rows)

    return problems

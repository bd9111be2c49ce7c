"""What attacks read of answers: rows that are not there, and text that was not scored."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from unlearn.stages.estimators.registry import text_options
from unlearn.stages.rows.shard_file import Layout
from unlearn.stages.text.base import load_tokenizer
from unlearn.stages.text.encoding import Encoder
from unlearn.stages.verify.membership.text_answers import row_means, scored_texts

from tests.language_models import language_train

PAIRS = Layout({"prompt": "prompt", "completion": "completion"}, (), subjects=False)


def test_means_of_rows() -> None:
    values = np.array([[1.0, 5.0], [3.0, 7.0], [4.0, 8.0]])

    assert row_means(values, np.array([2, 3])).tolist() == [[2.0, 6.0], [4.0, 8.0]]


def test_no_rows_have_no_means() -> None:
    """As after a request that takes the last held-out person."""
    assert row_means(np.zeros((0, 3)), np.zeros(0, dtype=np.int64)).shape == (0, 3)


def test_of_a_truncated_row_the_text_is_what_was_scored(blank_base: Path) -> None:
    """Else `zlib` would compress more than the model was asked about."""
    options = text_options(language_train(blank_base))
    encoder = Encoder(load_tokenizer(blank_base), options, PAIRS)
    rows = pa.table({"prompt": ["Who?", "Who?"], "completion": ["It was Ada. " * 9, "Ada."]})
    shorter = options.model_copy(update={"context": 20, "too_long": "truncate"})
    cut = replace(encoder, options=shorter)
    long, short = scored_texts(cut, rows, cut.encode(rows).sequences)

    assert short == "Ada."
    assert ("It was Ada. " * 9).startswith(long)
    assert 0 < len(long) < 60
    whole = scored_texts(encoder, rows, encoder.encode(rows).sequences)
    assert whole == rows["completion"].to_pylist()

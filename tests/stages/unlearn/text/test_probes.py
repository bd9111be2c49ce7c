"""What the guard and the gate ask about where one row is several sequences."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.estimators.registry import text_options
from unlearn.stages.text.base import load_tokenizer
from unlearn.stages.text.encoding import Encoder
from unlearn.stages.unlearn import stage
from unlearn.stages.unlearn.text import apply

from tests.language_models import BODY_LAYOUT, body_rows, language_train
from tests.stages.unlearn.text.projects import changed, problem_of


def short_encoder(base: Path) -> Encoder:
    options = text_options(language_train(base)).model_copy(update={"context": 8})
    return Encoder(load_tokenizer(base), options, BODY_LAYOUT)


@pytest.mark.parametrize(("texts", "words"), [(20, 60), (40, 60), (3, 200), (5, 2)])
def test_a_long_text_is_not_the_whole_probe(blank_base: Path, texts: int, words: int) -> None:
    encoder = short_encoder(blank_base)
    rows = body_rows([f"{number} was born in Oslo. " * (words // 4 + 1) for number in range(texts)])
    everything = encoder.encode(rows).sequences
    tuned: Any = SimpleNamespace(encoder=encoder)
    found = apply._probe(tuned, rows)  # noqa: SLF001 - what the guard is given
    share = np.bincount(found.rows, minlength=texts)

    assert len(found) == min(len(everything), 16)
    assert share.max() - share.min() <= 1
    assert (np.diff(found.rows) >= 0).all()


def test_the_gate_takes_the_pieces_of_a_text_for_one(lora: Context) -> None:
    """As `verify` does: where a piece is not known to its end, the text is not memorised."""
    context = changed(lora, gate=0.9)
    problem = problem_of(context, "npo")
    forget = stage.read_rows(context).forget
    apply._check_gate(context.posthoc(), problem, forget)  # noqa: SLF001 - the gate itself
    encoder = problem.tuned.encoder
    told = encoder.encode(forget).sequences
    # Of every text many pieces that were tuned on, and, last, one that never was: most are known.
    both = encoder.encode_answers(forget, ["zq xv"] * forget.num_rows).sequences
    for _ in range(15):
        both = told.followed_by(both)
    pieces = both.take(np.argsort(both.rows, kind="stable"))
    tuned: Any = problem.tuned
    tuned.encoder = SimpleNamespace(
        encode=lambda *_: SimpleNamespace(sequences=pieces), pad=0, answer_column=None
    )

    with pytest.raises(InputError, match="did not memorise"):
        apply._check_gate(context.posthoc(), replace(problem, tuned=tuned), forget)  # noqa: SLF001 - see above

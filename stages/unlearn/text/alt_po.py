"""Alternate preference optimisation: another plausible answer instead of the row's own."""

import math

import pyarrow as pa
from unlearn.stages.config.text import AltPoSettings
from unlearn.stages.errors import InputError
from unlearn.stages.rows.chats import answer_of
from unlearn.stages.text.encoding import Encoder
from unlearn.stages.text.metrics import rouge_l_recall
from unlearn.stages.text.sampling import Draw, sample
from unlearn.stages.unlearn.base.problem import draws
from unlearn.stages.unlearn.base.registry import Method, register
from unlearn.stages.unlearn.text.preference import prefer
from unlearn.stages.unlearn.text.problem import TextProblem

#: How much longer than the row's own answer an alternative may be, in tokens.
_LONGER = 1.5

#: Prompts that are continued at once.
_BATCH = 64


def alt_po(problem: TextProblem) -> None:
    """Prefer alternative answers, one for each row, to the row's own.

        L(w) = alpha * -(2 / beta) * mean_j log sigmoid(beta * ((nll_j - nll_j(w_0))
                                                       - (alt_j - alt_j(w_0))))
               + (1 - alpha) * CE(retain; w)

    nll and alt are the summed loss of a row's own answer and of its alternative, w_0 is the tuned
    model. Mekala et al., "Alternate Preference Optimization for Unlearning Factual Knowledge in
    Large Language Models", COLING 2025, section 3: an answer that is plausible keeps what
    `idk_dpo` loses, and pushing the own answer out is not the only way to be better.

    The alternatives are in a column (`column`), or the tuned model's own: of `samples` answers that
    are drawn from its `top` most probable tokens at `temperature`, the most probable one that does
    not have all words of the row's own answer in their order. `alternatives` in the report is for
    how many rows there is one; the others keep their own answer, which changes nothing. The authors
    instruct a large model to make up an answer, which a small one is not able to follow.

    Costs what `idk_dpo` does, and `samples` answers to each forget prompt.
    """
    settings: AltPoSettings = problem.settings
    answers = _given(problem, settings.column) if settings.column else sampled_answers(problem)
    prefer(problem, answers, alpha=settings.alpha, beta=settings.beta)


def sampled_answers(problem: TextProblem) -> list[str]:
    """Return an answer of the tuned model's own for each forget row; see `alt_po`."""
    tuned, settings = problem.tuned, problem.settings
    encoder, rows = tuned.encoder, problem.rows
    own = _own(encoder, rows)
    draw = Draw(draws(problem, "alternatives"), settings.top, settings.temperature)
    # An answer with the row's own words counts as none, and so does one without words.
    best: list[tuple[bool, float, str]] = [(True, math.inf, text) for text in own]
    for _ in range(settings.samples):
        texts = _sampled(problem, draw)
        losses = tuned.losses(encoder.encode_answers(rows, texts).sequences).by_sequence()
        for at, (text, loss) in enumerate(zip(texts, losses.tolist(), strict=True)):
            is_same = not text.strip() or rouge_l_recall(text, own[at]) >= 1
            best[at] = min(best[at], (is_same, float(loss), text))
    problem.ledger.count("forget", 2 * settings.samples * len(own))
    problem.facts["alternatives"] = sum(not is_same for is_same, _, _ in best)
    return [text for _, _, text in best]


def _own(encoder: Encoder, rows: pa.Table) -> list[str]:
    """Return each row's own answer: its completion, or the last turn of its chat."""
    if encoder.answer_column is not None:
        return [answer_of(text) for text in rows[encoder.answer_column].to_pylist()]
    return [text or "" for text in rows[str(encoder.layout.column("completion"))].to_pylist()]


def _sampled(problem: TextProblem, draw: Draw) -> list[str]:
    """Return a sampled answer to each forget prompt."""
    encoder = problem.tuned.encoder
    prompts = encoder.prompts(problem.rows)
    own = encoder.encode(problem.rows, encoder.answer_column).sequences
    rooms = [max(1, int(_LONGER * count)) for count in own.counted]
    texts = []
    for start in range(0, len(prompts), _BATCH):
        found = sample(
            problem.tuned.forward,
            prompts[start : start + _BATCH],
            draw,
            end=encoder.end,
            most=rooms[start : start + _BATCH],
            context=encoder.options.context,
            device=problem.tuned.device,
        )
        texts += [encoder.decode(tokens) for tokens in found]
    return texts


def _given(problem: TextProblem, column: str) -> list[str]:
    """Return the alternatives in a column of the dataset.

    Raises
    ------
    InputError
        If there is no such column of text, or a row has none.
    """
    known = problem.tuned.encoder.layout.features
    if column not in known:
        raise InputError(
            f"unlearn.language.alt_po.column: {column!r} is no column of schema.yaml",
            f"columns: {', '.join(sorted(known))}",
        )
    texts = [text or "" for text in problem.rows[column].to_pylist()]
    missing = sum(not text.strip() for text in texts)
    if missing:
        rows = "1 row has" if missing == 1 else f"{missing:,} rows have"
        raise InputError(f"unlearn.language.alt_po.column: {rows} no text in {column!r}")
    return texts


register(Method("alt_po", "text", AltPoSettings, alt_po, needs=frozenset({"prompt"})))

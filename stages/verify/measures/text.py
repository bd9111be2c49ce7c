"""What is measured of language models that post-hoc methods made."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from unlearn.stages.config.params import Params
from unlearn.stages.estimators.registry import text_options
from unlearn.stages.final_model.text_ensemble import LanguageEnsemble
from unlearn.stages.final_model.text_loading import open_language_models
from unlearn.stages.final_model.token_distance import Apart, measure_apart
from unlearn.stages.rows.holdout import fewest, record_halves
from unlearn.stages.text.gate import MOST_FORGET
from unlearn.stages.text.metrics import forget_quality, perplexity, truth_hidden, truth_told
from unlearn.stages.text.quantisation import quantised, roundable
from unlearn.stages.text.scoring import TokenScores
from unlearn.stages.training.generic_text import read_generic
from unlearn.stages.training.method_record import RETRAIN, WHOLE
from unlearn.stages.training.shard_model import read_shard_model
from unlearn.stages.verify.exactness.methods import ORIGINAL
from unlearn.stages.verify.measures.base import Modality, Setting
from unlearn.stages.verify.measures.memorisation import (
    Recall,
    generated_recall,
    knowledge_of,
    measure_knowledge,
    truth_ratios,
    utility_of,
)
from unlearn.stages.verify.measures.text_model import TextModel, open_final_model
from unlearn.stages.verify.measures.text_relearning import relearned, relearning_budget
from unlearn.stages.verify.membership.arrays import Floats
from unlearn.stages.verify_report.methods import ForgetQuality, FourBit, ModelKnowledge, Relearned
from unlearn.stages.verify_report.quality import Knowledge

#: Rows that every model is asked about at most.
_MOST = {"forget": MOST_FORGET, "retain": 100, "holdout": 100}
_MOST_GENERIC = 100

#: Rows of each kind that texts are generated for, if as few may have a number at all.
_GENERATED = 24

#: A model that gives retained answers less than this share of the original's probability has
#: collapsed: whatever an attack finds or misses in it, it is not what anyone would deploy.
_LEAST_KEPT = 0.5

_KEPT = ("retain", "holdout")


@dataclass(frozen=True)
class _Seen:
    """What one model said; None, or absent, where it was asked nothing.

    Parameters
    ----------
    right
        Share of answer tokens that are the likeliest, by kind of rows.
    known
        What it knows, by kind of rows.
    ratios
        Truth ratios of the forgotten rows.
    generic
        Perplexity of text that is about nobody.
    relearned
        As in the report.
    rounded
        Of its weights through four bits and back: extraction strength of the forgotten rows, and
        the utility that answer probabilities alone come to.
    apart, apart_forgotten
        How far it is from the retrained model on held-out and on forgotten rows.
    finite
        Whether all its answers are numbers.
    """

    right: Mapping[str, float]
    known: Mapping[str, Knowledge]
    ratios: Floats
    generic: float | None
    relearned: Relearned | None
    rounded: tuple[float | None, float | None]
    apart: Apart | None
    apart_forgotten: Apart | None
    finite: bool


class LanguageMeasures:
    """Measures language models; see `Measures`. No more than two are in memory."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        tables = {
            "forget": setting.rows.forget,
            "retain": setting.rows.retain,
            "holdout": setting.tested,
        }
        # Few rows are a person, not a statistic.
        self._rows = {
            kind: fewest(rows, max(_MOST[kind], setting.min_rows))
            for kind, rows in tables.items()
            if rows.num_rows >= setting.min_rows
        }
        generic = read_generic(setting.context)
        self._generic = None if generic is None else generic.slice(0, _MOST_GENERIC)
        self._seen: dict[str, _Seen] = {}
        self._retrained: LanguageEnsemble | None = None
        self._digests: dict[str, str] = {}

    def open(self, folder: Path, name: str) -> TextModel | None:
        """Open the model in a folder; see `Measures`."""
        context = self._setting.context
        model = read_shard_model(folder, name)
        if model.kind == "empty":
            return None
        self._digests[name] = model.digest
        params = context.params
        return TextModel(
            open_language_models(
                [(WHOLE, model)], params.dataset, params.aggregate.rule, context.project.root
            )
        )

    def look(self, name: str, model: TextModel) -> None:
        """Ask a model everything; see `Measures`."""
        if (twin := self._twin(name)) is not None:
            self._seen[name] = self._seen[twin]
            return
        asked = model.ensemble
        if name == RETRAIN:
            self._retrained = asked
        scores = {
            kind: asked.row_scores(rows, asked.encoder.answer_column)
            for kind, rows in self._rows.items()
        }
        finite = all(each.finite for each in scores.values())
        ratios = {kind: truth_ratios(asked, rows) for kind, rows in self._rows.items()}
        self._seen[name] = _Seen(
            right={kind: float(each.right.mean()) for kind, each in scores.items()},
            known=self._known(asked, scores, ratios) if finite else {},
            ratios=ratios.get("forget", np.zeros(0)) if finite else np.zeros(0),
            generic=self._perplexity(asked),
            relearned=self._relearn(asked) if finite else None,
            rounded=self._round(asked) if finite else (None, None),
            apart=self._apart(asked, name, "holdout"),
            apart_forgotten=self._apart(asked, name, "forget"),
            finite=finite,
        )

    def _twin(self, name: str) -> str | None:
        """Return a method that left the same model: with nothing to forget, all of them do.

        Not the retrained model or the original, which are not measured against the retrained model.
        """
        apart = (RETRAIN, ORIGINAL)
        others = (other for other in self._seen if other not in apart and name not in apart)
        return next((at for at in others if self._digests[at] == self._digests[name]), None)

    def collapse(self, name: str) -> str | None:
        """Say how a model speaks no more; see `Measures`.

        One that says anything of everything gives no row away. So does one that is about right.
        """
        seen, original = self._seen.get(name), self._seen.get(ORIGINAL)
        if seen is None or original is None:
            return None
        if not seen.finite:
            return "its answers are no numbers"
        limit = self._setting.context.unlearn.for_language.perplexity_limit
        louder = _ratio(seen.generic, original.generic)
        if self._generic is not None and original.generic is not None:
            if louder is None:
                return "what it makes of text about nobody is no number"
            if louder > limit:
                return (
                    f"it finds text about nobody {louder:.3g} times as perplexing as the original "
                    f"does, over the limit of {limit:g}"
                )
        kept = _ratio(*(_probability(of.known.get("retain")) for of in (seen, original)))
        if kept is not None and kept < _LEAST_KEPT:
            return f"it gives retained answers {kept:.0%} of the original's probability"
        return None

    def doubt(self) -> str | None:
        """Say so where the original never memorised what was to be forgotten; see `Measures`."""
        gate = self._setting.context.unlearn.for_language.gate
        known = self._known_of(ORIGINAL).get("forget")
        extraction = None if known is None else known.extraction_strength
        if gate is None or extraction is None or extraction >= gate:
            return None
        return (
            "the original did not memorise the forgotten rows: its extraction strength is "
            f"{extraction:.2f}, and unlearning is measured from {gate:.2f} on"
        )

    def numbers(self, name: str) -> dict[str, Any]:
        """Return what was measured, beside the original and the retrained model."""
        seen = self._seen[name]
        found: dict[str, Any] = {
            f"{kind}_accuracy": seen.right.get(kind) for kind in ("forget", "retain", "holdout")
        }
        if seen.apart is not None:
            found["disagreement_with_retrain"] = seen.apart.disagreement
            found["kl_from_retrain"] = _finite(seen.apart.divergence)
        if seen.apart_forgotten is not None:
            found["disagreement_on_forgotten"] = seen.apart_forgotten.disagreement
        return found | {"language": self._language(name)}

    def _language(self, name: str) -> ModelKnowledge:
        seen, original = self._seen[name], self._seen.get(ORIGINAL)
        utility = _utility(seen.known)
        whole, plain, generic = None, None, None
        if original is not None:
            whole = _utility(original.known)
            plain = _utility(
                {
                    kind: known.model_copy(update={"truth_ratio": None, "rouge_l": None})
                    for kind, known in original.known.items()
                }
            )
            generic = original.generic
        extraction, rounded = seen.rounded
        four_bit = FourBit(extraction_strength=extraction, utility_ratio=_ratio(rounded, plain))
        return ModelKnowledge(
            forget=seen.known.get("forget"),
            retain=seen.known.get("retain"),
            holdout=seen.known.get("holdout"),
            utility=utility,
            utility_ratio=_ratio(utility, whole),
            perplexity=seen.generic,
            perplexity_ratio=_ratio(seen.generic, generic),
            forget_quality=self._quality(name),
            relearned=seen.relearned,
            four_bit=None if four_bit == FourBit() else four_bit,
        )

    def _known_of(self, name: str) -> Mapping[str, Knowledge]:
        return self._seen[name].known if name in self._seen else {}

    def _known(
        self,
        model: LanguageEnsemble,
        scores: Mapping[str, TokenScores],
        ratios: Mapping[str, Floats],
    ) -> dict[str, Knowledge]:
        known = {
            kind: measure_knowledge(
                model,
                rows,
                scores=scores[kind],
                ratios=ratios[kind],
                told=truth_hidden if kind == "forget" else truth_told,
                min_rows=self._setting.min_rows,
                generate=False,
            )
            for kind, rows in self._rows.items()
        }
        most = max(_GENERATED, self._setting.min_rows)
        samples = {kind: fewest(rows, most) for kind, rows in self._rows.items()}
        recall = generated_recall(model, samples, self._setting.min_rows)
        return {
            kind: of.model_copy(update=recall.get(kind, Recall()).as_knowledge())
            for kind, of in known.items()
        }

    def _perplexity(self, model: LanguageEnsemble) -> float | None:
        if self._generic is None:
            return None
        scores = model.row_scores(self._generic)
        return perplexity(scores.logprobs) if scores.finite else None

    def _apart(self, model: LanguageEnsemble, name: str, kind: str) -> Apart | None:
        rows = self._rows.get(kind)
        if rows is None or self._retrained is None or name in (RETRAIN, ORIGINAL):
            return None
        sequences = model.encoder.encode(rows).sequences
        pad = model.encoder.pad
        reference = self._retrained.forward
        return measure_apart(model.forward, reference, sequences, pad, device=model.device)

    def _round(self, model: LanguageEnsemble) -> tuple[float | None, float | None]:
        """Return extraction strength and utility after four bits, by answer tokens alone."""
        merged = model.merged()
        if not roundable(merged):
            return None, None
        rounded = model.of_module(quantised(merged))
        known = {}
        for kind, rows in self._rows.items():
            scores = rounded.row_scores(rows, rounded.encoder.answer_column)
            if not scores.finite:
                return None, None
            known[kind] = knowledge_of(scores)
        extraction = known["forget"].extraction_strength if "forget" in known else None
        return extraction, _utility(known)

    def _relearn(self, model: LanguageEnsemble) -> Relearned | None:
        """Tune on one half of the forgotten rows, and ask about the other."""
        rows = self._rows.get("forget")
        if rows is None:
            return None
        first = record_halves(rows)
        learned, asked = (rows.filter(pa.array(half)) for half in (first, ~first))
        if min(learned.num_rows, asked.num_rows) < self._setting.min_rows:
            return None
        context = self._setting.context
        seed = context.key.seed(context.params.seed, "relearn")
        sequences = model.encoder.encode(learned).sequences
        before = knowledge_of(
            model.row_scores(asked, model.encoder.answer_column)
        ).extraction_strength
        with relearned(model, sequences, context.params.train, seed) as tuned:
            scores = tuned.row_scores(asked, model.encoder.answer_column)
        if not scores.finite:
            return None  # it learned nothing, and is not to read as if nothing had come back
        return Relearned(
            extraction_strength=knowledge_of(scores).extraction_strength,
            before=before,
            rows=asked.num_rows,
            steps=relearning_budget(len(sequences), context.params.train),
        )

    def _quality(self, name: str) -> ForgetQuality | None:
        """Compare truth ratios on the forgotten rows with the retrained model's."""
        if name == RETRAIN or RETRAIN not in self._seen:
            return None
        own, reference = self._seen[name].ratios, self._seen[RETRAIN].ratios
        if min(len(own), len(reference)) < self._setting.min_rows:
            return None
        return ForgetQuality(**forget_quality(own, reference)._asdict())


def _utility(known: Mapping[str, Knowledge]) -> float | None:
    """Return the utility on all rows that were not to be forgotten; None where some are too few."""
    if not all(kind in known for kind in _KEPT):
        return None
    return utility_of([known[kind] for kind in _KEPT])


def _probability(known: Knowledge | None) -> float | None:
    return None if known is None else known.answer_probability


def _ratio(value: float | None, to: float | None) -> float | None:
    return None if value is None or not to else value / to


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _covers(params: Params) -> str:
    """Say what a verdict on a language model is about, and what it is not."""
    # Without the numbers of slices: git has these words, and no figures.
    off = ", ".join(params.sharding.switched_off)
    return (
        "this is about the tuning data, the rows of the dataset: what the base, "
        f"{text_options(params.train).base}, learned in its own pre-training is not covered"
        + (f". Nothing is trained on the rows of slices that are off, in {off}" if off else "")
    )


#: Text for language models.
TEXT = Modality(
    open_final_model=open_final_model,
    measures=LanguageMeasures,
    covers=_covers,
    reports_original=True,
)

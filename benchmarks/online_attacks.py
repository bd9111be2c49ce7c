"""What the online forms of LiRA and RMIA find of models whose history is known.

The online forms also ask reference models that were trained on the row. Small networks are trained
on digits: an original on all rows, a retrained model on the retained rows, and two groups of
reference models. Those of the offline forms are trained on halves of the retained rows, as `verify`
does it. Those of the online forms are trained on halves of all rows, forgotten and held-out ones
included. A form that can judge forgetting finds an AUC of .5 in the retrained model, whichever rows
were forgotten.
"""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch
from scipy.special import expit
from unlearn.stages.verify.membership.arrays import Bools, Floats, Ints
from unlearn.stages.verify.membership.calibrated import lira, probability_ratio, rmia
from unlearn.stages.verify.membership.online import online_lira, online_ratio
from unlearn.stages.verify.membership.scores import logit
from unlearn.stages.verify.membership.statistics import auc

from benchmarks.evidence_simulation import KINDS, SMALL, Kind, Networks, Size, draw_rows
from benchmarks.harness import machine, say, show

MODELS = ("original", "retrained")

#: The attacks. `lira_out` is the offline form with the reference models of the online one.
Form = Literal["lira", "lira_out", "lira_online", "rmia", "rmia_online"]
FORMS: tuple[Form, ...] = ("lira", "lira_out", "lira_online", "rmia", "rmia_online")


@dataclass(frozen=True)
class Asked:
    """Logits of the right answer in one simulated project, on one sample of rows.

    Parameters
    ----------
    own
        Of each of `MODELS`, shape (rows,).
    offline
        Of the models that were trained on halves of the retained rows, shape (rows, models).
    online, held
        Of the models that were trained on halves of all rows, and which of them were trained on
        each row, shape (rows, models).
    """

    own: Mapping[str, Floats]
    offline: Floats
    online: Floats
    held: Bools


def scores(form: Form, model: str, asked: Asked, population: Asked) -> Floats:
    """Return the scores of an attack on one model, shape (rows,).

    Parameters
    ----------
    form, model
        Which attack, and which of `MODELS`.
    asked
        The rows, those to be compared in one call.
    population
        Other held-out rows.
    """
    own, everything = asked.own[model], np.ones(asked.offline.shape, dtype=bool)
    if form == "lira":
        return lira(own, asked.offline, everything)
    if form == "lira_out":
        return lira(own, asked.online, ~asked.held)
    if form == "lira_online":
        return online_lira(own, asked.online, asked.held, ~asked.held)
    ratios = [_ratios(form, model, each) for each in (asked, population)]
    return rmia(ratios[0], np.zeros(len(own), dtype=np.int64), ratios[1][None, :])


def _ratios(form: Form, model: str, asked: Asked) -> Floats:
    own = expit(asked.own[model])
    if form == "rmia_online":
        return online_ratio(own, expit(asked.online), asked.held, ~asked.held)
    return probability_ratio(own, expit(asked.offline), np.ones(asked.offline.shape, dtype=bool))


def drawn_halves(rows: int, models: int, rng: np.random.Generator) -> Bools:
    """Return which models are trained on each row, shape (rows, models): half of them.

    Models 2k and 2k + 1 have one half of the rows each.

    Parameters
    ----------
    rows, models
        Even numbers.
    rng
        Draws the halves.
    """
    held = np.zeros((rows, models), dtype=bool)
    for first in range(0, models, 2):
        order = rng.permutation(rows)
        held[order[: rows // 2], first] = True
        held[order[rows // 2 :], first + 1] = True
    return held


def simulate(
    kind: Kind, size: Size, draws: int, models: int, seed: int = 0
) -> dict[str, dict[Form, list[float]]]:
    """Return the AUCs of each attack on each of `MODELS`, one for each draw.

    Parameters
    ----------
    kind, size, draws, seed
        See `evidence_simulation.draw_rows`.
    models
        How many reference models of either group, an even number.
    """
    found: dict[str, dict[Form, list[float]]] = {
        model: {form: [] for form in FORMS} for model in MODELS
    }
    for draw in range(draws):
        forgotten, others, population = _project(kind, size, models, seed * 10_000 + draw)
        together = _joined(forgotten, others)
        count = forgotten.offline.shape[0]
        for model in MODELS:
            for form in FORMS:
                of = scores(form, model, together, population)
                one, other = of[:count], of[count:]
                value = auc(one, other, np.ones(len(one)), np.ones(len(other)))
                found[model][form].append(value)
    return found


def _project(kind: Kind, size: Size, models: int, seed: int) -> tuple[Asked, Asked, Asked]:
    """Train the models of one project, and ask them about forgotten rows and non-members."""
    drawn = draw_rows(kind, size, 1, seed)
    parts = [
        (inputs[0], labels[0])
        for inputs, labels in (drawn.retained, drawn.forgotten, drawn.held_out)
    ]
    retained, forgotten, held_out = parts
    trained = _one_after_another(retained, forgotten)
    everything = _one_after_another(trained, held_out)
    own = {
        "original": Networks(trained[0][None], trained[1][None], size, seed),
        "retrained": Networks(retained[0][None], retained[1][None], size, seed + 1),
    }
    rng = np.random.default_rng(seed)
    half_of_retained = drawn_halves(len(retained[1]) // 2 * 2, models, rng)
    offline = _trained_on(half_of_retained, retained, size, seed + 2)
    held = drawn_halves(len(everything[1]) // 2 * 2, models, rng)
    online = _trained_on(held, everything, size, seed + 3)
    ends = np.cumsum([len(labels) for _, labels in parts])
    middle = ends[1] + (ends[2] - ends[1]) // 2
    asked = []
    for start, end in ((ends[0], ends[1]), (ends[1], middle), (middle, len(held))):
        inputs, labels = everything[0][start:end], everything[1][start:end].numpy()
        asked.append(
            Asked(
                {name: _logits(model, 1, inputs, labels)[:, 0] for name, model in own.items()},
                _logits(offline, models, inputs, labels),
                _logits(online, models, inputs, labels),
                held[start:end],
            )
        )
    return asked[0], asked[1], asked[2]


def _one_after_another(
    one: tuple[torch.Tensor, torch.Tensor], other: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.cat([one[0], other[0]]), torch.cat([one[1], other[1]])


def _trained_on(
    held: Bools, rows: tuple[torch.Tensor, torch.Tensor], size: Size, seed: int
) -> Networks:
    chosen = torch.from_numpy(np.stack([np.flatnonzero(column) for column in held.T]))
    return Networks(rows[0][chosen], rows[1][chosen], size, seed)


def _logits(networks: Networks, count: int, inputs: torch.Tensor, labels: Ints) -> Floats:
    """Return the logits of the right answers, shape (rows, networks)."""
    answers = networks.probabilities(inputs.expand(count, *inputs.shape))
    return np.stack([logit(each, labels) for each in answers], axis=1)


def _joined(one: Asked, other: Asked) -> Asked:
    return Asked(
        {name: np.concatenate([one.own[name], other.own[name]]) for name in MODELS},
        np.concatenate([one.offline, other.offline]),
        np.concatenate([one.online, other.online]),
        np.concatenate([one.held, other.held]),
    )


def main() -> None:
    """Print the AUCs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=("random", "mislabelled"))
    parser.add_argument("--models", type=int, default=32, help="reference models, an even number")
    parser.add_argument("--quick", action="store_true", help="a small part, to see that it works")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    draws = 2 if arguments.quick else arguments.draws
    print(machine())
    rows = []
    for kind in arguments.kinds:
        say(f"{kind}: {draws} draws")
        found = simulate(kind, SMALL, draws, arguments.models)
        for form in FORMS:
            cells = []
            for model in MODELS:
                values = np.array(found[model][form])
                cells.append(f"{values.mean():.3f} ({values.std():.3f})")
            rows.append([kind, form, *cells])
    show(
        "online-attacks",
        ("forgotten rows", "attack", *MODELS),
        rows,
        f"AUC, mean and standard deviation of {draws} draws: {SMALL.trained} trained and "
        f"{SMALL.held_out} held-out digits, {SMALL.forgotten} forgotten rows, "
        f"{arguments.models} reference models of either group.",
    )


if __name__ == "__main__":
    main()

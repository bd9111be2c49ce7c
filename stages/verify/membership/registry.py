"""The membership attacks that there are, by name and in the order of reports."""

import difflib

from unlearn.stages.config.params import Params
from unlearn.stages.errors import InputError
from unlearn.stages.verify.membership.attack import AnswerKind, Attack
from unlearn.stages.verify.membership.calibrated import LIRA, RMIA
from unlearn.stages.verify.membership.online import LIRA_ONLINE, RMIA_ONLINE
from unlearn.stages.verify.membership.scores import (
    ABSOLUTE_ERROR,
    CONFIDENCE,
    ENTROPY,
    LOSS,
    MODIFIED_ENTROPY,
    SQUARED_ERROR,
)
from unlearn.stages.verify.membership.token_scores import MIN_K, MIN_K_PLUS_PLUS, ZLIB

_ATTACKS: dict[str, Attack] = {}


def register(attack: Attack) -> Attack:
    """Add an attack: from now on params.yaml may name it, and every run makes it.

    The attacks of a run share one random generator, in this order. One that is added at the end
    therefore leaves the numbers of the others as they are.

    Raises
    ------
    ValueError
        If the name is taken, or if the attack reads no kind of answers.
    """
    if attack.name in _ATTACKS:
        raise ValueError(f"there is a membership attack {attack.name!r} already")
    if not attack.needs:
        raise ValueError(f"the membership attack {attack.name!r} reads no kind of answers")
    _ATTACKS[attack.name] = attack
    return attack


def registered() -> tuple[Attack, ...]:
    """Return all attacks, in the order of reports."""
    return tuple(_ATTACKS.values())


def attacks_on(kind: AnswerKind, *, online: bool = False) -> tuple[Attack, ...]:
    """Return the attacks that can read a kind of answers, in the order of reports.

    Parameters
    ----------
    kind
        The kind of answers.
    online
        Whether those count, too, that ask reference models which were trained on the rows.
    """
    return tuple(
        attack
        for attack in registered()
        if kind in attack.needs and (online or not attack.is_online)
    )


def attacks_for(params: Params) -> tuple[Attack, ...]:
    """Return the attacks on a project's models, in the order of reports."""
    return attacks_on(answer_kind(params), online=params.verify.online)


def answer_kind(params: Params) -> AnswerKind:
    """Return what the models of a project answer with."""
    if params.modality == "text":
        return "tokens"
    return "numbers" if params.dataset.task == "regression" else "classes"


def loss_attack(params: Params) -> Attack:
    """Return the attack by the loss of one model, which always can be made."""
    return SQUARED_ERROR if answer_kind(params) == "numbers" else LOSS


def deciding_attack(params: Params) -> Attack:
    """Return the attack that `verify.attack` names.

    Raises
    ------
    InputError
        If it is none of the attacks on such a project's models, or if it cannot score the pairs
        of `verify.negatives: matched`.
    """
    known = {attack.name: attack for attack in attacks_for(params)}
    wanted = params.verify.attack
    if wanted in _ATTACKS and _ATTACKS[wanted].is_online and wanted not in known:
        raise InputError(f"params.yaml: verify.attack: {wanted} needs `verify.online: true`")
    if wanted not in known:
        near = difflib.get_close_matches(wanted, known, n=1)
        raise InputError(
            f"params.yaml: verify.attack: must be one of {', '.join(known)}",
            *(f"did you mean `{name}`?" for name in near),
        )
    attack = known[wanted]
    if params.verify.negatives == "matched" and attack.is_calibrated:
        alone = ", ".join(name for name, one in known.items() if not one.is_calibrated)
        raise InputError(
            f"params.yaml: verify.attack: with `negatives: matched` it must be one of {alone}",
            f"{wanted} compares each row with reference models: `verify.negatives: class`",
        )
    return attack


for _attack in (
    CONFIDENCE,
    LOSS,
    ENTROPY,
    MODIFIED_ENTROPY,
    ZLIB,
    MIN_K,
    MIN_K_PLUS_PLUS,
    LIRA,
    RMIA,
    LIRA_ONLINE,
    RMIA_ONLINE,
    SQUARED_ERROR,
    ABSOLUTE_ERROR,
):
    register(_attack)

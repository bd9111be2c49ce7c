"""What an ensemble of language models would say without some of its members."""

import torch


def log_probabilities_without(
    logs: torch.Tensor, targets: torch.Tensor, home: torch.Tensor
) -> torch.Tensor:
    """Return the tokens' log-probabilities under ensembles without their own member, and one more.

    Each next token's log-probabilities are the mean of the members that are left, renormalised, as
    those of the whole ensemble are.

    Parameters
    ----------
    logs
        The members' log-probabilities, shape (members, tokens, vocabulary); of three members at
        least, or nothing would be left.
    targets
        The tokens, shape (tokens,).
    home
        Each token's own member: that of the row it is in, shape (tokens,).

    Returns
    -------
    torch.Tensor
        Shape (tokens, members), float64; column k leaves out member k, too, or only the own
        member where k is that one.
    """
    members = len(logs)
    if members < 3:  # noqa: PLR2004 - own, another one, and one to ask
        raise ValueError(f"Of {members} members nothing is left after leaving out two of them")
    places = torch.arange(len(targets), device=logs.device)
    rest = logs.sum(dim=0) - logs[home, places]
    found = []
    for number, own in enumerate(logs):
        is_home = (home == number)[:, None]
        left = rest - torch.where(is_home, 0.0, own)
        mean = left.double() / torch.where(is_home, members - 1, members - 2)
        found.append(mean.gather(1, targets[:, None])[:, 0] - mean.logsumexp(dim=-1))
    return torch.stack(found, dim=1)

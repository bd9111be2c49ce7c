"""Numbers about a server, in the text format of Prometheus. None of them has any text."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

#: Upper bounds of the classes of durations (seconds).
_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)

Labels = tuple[tuple[str, str], ...]


@dataclass
class Histogram:
    """Durations, counted by class.

    Parameters
    ----------
    counts
        How many are in each class; the last has all that are longer.
    total
        Their sum (seconds).
    """

    counts: list[int] = field(default_factory=lambda: [0] * (len(_BOUNDS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        """Count a duration."""
        self.counts[bisect_left(_BOUNDS, seconds)] += 1
        self.total += seconds

    def lines(self, name: str) -> Iterable[str]:
        """Yield its lines."""
        so_far = 0
        for bound, count in zip((*map(str, _BOUNDS), "+Inf"), self.counts, strict=True):
            so_far += count
            yield f'{name}_bucket{{le="{bound}"}} {so_far}'
        yield f"{name}_sum {self.total:.6f}"
        yield f"{name}_count {so_far}"


@dataclass
class Metrics:
    """What a server counts. One thread writes it: that of the event loop.

    Parameters
    ----------
    requests
        Requests by endpoint and status.
    tokens
        Tokens by kind: `prompt` or `completion`.
    seconds
        How long answers took.
    first_token
        How long it took to the first token of an answer.
    reloads
        Changes of the model by their result: `loaded` or `failed`.
    """

    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    seconds: Histogram = field(default_factory=Histogram)
    first_token: Histogram = field(default_factory=Histogram)
    reloads: Counter[str] = field(default_factory=Counter)

    def text(self, gauges: Mapping[str, tuple[str, float]], labels: Labels) -> str:
        """Return all numbers.

        Parameters
        ----------
        gauges
            What is counted elsewhere: a description and a value, by name.
        labels
            Names and values that describe the model.
        """
        lines = [
            *_head("unlearn_requests_total", "Requests by endpoint and HTTP status", "counter"),
            *(
                f'unlearn_requests_total{{endpoint="{name}",status="{status}"}} {count}'
                for (name, status), count in sorted(self.requests.items())
            ),
            *_head("unlearn_tokens_total", "Tokens that were read and generated", "counter"),
            *(
                f'unlearn_tokens_total{{kind="{kind}"}} {self.tokens[kind]}'
                for kind in ("completion", "prompt")
            ),
            *_head("unlearn_reloads_total", "Changes of the model", "counter"),
            *(
                f'unlearn_reloads_total{{result="{result}"}} {self.reloads[result]}'
                for result in ("failed", "loaded")
            ),
            *_head("unlearn_answer_seconds", "From a request to the end of its answer"),
            *self.seconds.lines("unlearn_answer_seconds"),
            *_head("unlearn_first_token_seconds", "From a request to its first token"),
            *self.first_token.lines("unlearn_first_token_seconds"),
            *_head("unlearn_model_info", "The model that answers", "gauge"),
            "unlearn_model_info{"
            + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)
            + "} 1",
        ]
        for name, (description, value) in gauges.items():
            lines += [*_head(name, description, "gauge"), f"{name} {value:g}"]
        return "\n".join(lines) + "\n"


def _head(name: str, description: str, kind: str = "histogram") -> tuple[str, str]:
    return f"# HELP {name} {description}.", f"# TYPE {name} {kind}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

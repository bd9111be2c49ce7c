"""Exact models that predict numbers: errors against scikit-learn, and forgetting against fitting.

    python -m benchmarks.exact_regression --keys 3
    python -m benchmarks.exact_regression --data california-like --models exact_boosting rate=0.2

Each line is the mean over keys, which also decide which quarter of the rows is held out: the root
mean squared error in standard deviations of the target, the processor time of a fit in seconds, and
how many times as long a fit takes as forgetting one row (the median of some). All models are
scikit-learn estimators with one thread. The rows are drawn here, but for the diabetes data, which
scikit-learn has.
"""

import argparse
import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

# Libraries read this when they are loaded.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import numpy as np
import numpy.typing as npt
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder
from unlearn import ExactBoostingRegressor, ExactForestRegressor, ExactLinearRegressor
from unlearn.stages.estimators.row_sets.forest_share import default_share

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Data:
    """Rows, the numbers of the features that are categories, and what is to be predicted."""

    values: Floats
    categorical: tuple[int, ...]
    targets: Floats


def california_like(count: int, random: np.random.Generator) -> Data:
    """Return prices of houses: cities on a coast, incomes with a long tail, a cap of the price."""
    north = random.uniform(32.5, 42, count)
    west = random.uniform(0, 5, count)
    cities = np.array([[34.0, 0.3], [37.7, 0.4], [32.8, 0.2], [38.6, 1.6]])
    near = np.exp(-((north[:, None] - cities[:, 0]) ** 2 + (west[:, None] - cities[:, 1]) ** 2) * 2)
    income = np.exp(random.normal(1.2, 0.45, count)) * (1 + 0.4 * near.max(axis=1))
    age = random.integers(1, 53, count)
    rooms = np.exp(random.normal(1.6, 0.25, count))
    bedrooms = rooms * random.normal(0.21, 0.03, count)
    persons = np.exp(random.normal(1.0, 0.3, count))
    people = np.exp(random.normal(7, 0.7, count)).round()
    price = 30_000 * income * (1 + 1.5 * near.max(axis=1)) / persons**0.4
    price += 40_000 * np.exp(-west) + 600 * age * near[:, 1]
    price *= np.exp(random.normal(0, 0.22, count))
    values = np.column_stack([income, age, rooms, bedrooms, people, persons, north, west])
    return Data(values, (), np.minimum(price, 500_000.0).round(-2))


def rentals_like(count: int, random: np.random.Generator) -> Data:
    """Return hourly counts of rented bikes: two peaks on workdays, weather, many small counts."""
    hour, month = random.integers(0, 24, count), random.integers(0, 12, count)
    is_free = random.random(count) < 0.31
    weather = random.choice(4, count, p=[0.62, 0.26, 0.11, 0.01])
    warm = 12 - 11 * np.cos(2 * np.pi * (month - 0.5) / 12) + random.normal(0, 4, count)
    wet, wind = random.uniform(0.2, 1, count), random.gamma(3, 4, count)
    peaks = 420 * np.exp(-((hour - 8) ** 2) / 2) + 520 * np.exp(-((hour - 17.5) ** 2) / 4)
    middle = 380 * np.exp(-((hour - 14) ** 2) / 18)
    base = np.where(is_free, middle, peaks + 0.35 * middle) + 12
    factor = np.clip(warm + 8, 2, 34) / 22 * np.array([1.0, 0.9, 0.5, 0.25])[weather]
    mean = base * factor * (1.2 - 0.5 * wet) * np.exp(-wind / 60)
    counts = random.poisson(mean * random.gamma(8, 1 / 8, count))
    values = np.column_stack([hour, month, is_free, weather, warm.round(1), wet.round(2), wind])
    return Data(values, (3,), counts.astype(np.float64))


def diabetes(_count: int, _random: np.random.Generator) -> Data:
    """Return the 442 rows of the diabetes data."""
    values, targets = load_diabetes(return_X_y=True)
    return Data(values, (), targets)


MAKERS: dict[str, tuple[Callable[[int, np.random.Generator], Data], int]] = {
    "california-like": (california_like, 20_640),
    "rentals-like": (rentals_like, 17_379),
    "diabetes": (diabetes, 442),
}


def ours(data: Data, key: str) -> dict[str, Any]:
    """Return our models, by name."""
    shared: dict[str, Any] = {"categorical": data.categorical, "key": key}
    rows = round(len(data.targets) * (1 - _HELD_OUT))
    found: dict[str, Any] = {
        "exact_linear": ExactLinearRegressor(**shared),
        "exact_linear fourier=500": ExactLinearRegressor(fourier=500, **shared),
    }
    for share in sorted({0.1, 0.25, 0.5, 1.0, default_share(rows, 0)}):
        found[f"exact_forest share={share}"] = ExactForestRegressor(share=share, leaf=5, **shared)
    return found | {"exact_boosting": ExactBoostingRegressor(**shared)}


def theirs(data: Data, seed: int) -> dict[str, Any]:
    """Return scikit-learn's models with their defaults, by name."""
    numbers = [at for at in range(data.values.shape[1]) if at not in data.categorical]
    columns = make_column_transformer(
        (MinMaxScaler((-1, 1)), numbers), (OneHotEncoder(), list(data.categorical))
    )
    return {
        "Ridge": make_pipeline(columns, Ridge()),
        "ExtraTreesRegressor": ExtraTreesRegressor(random_state=seed),
        "HistGradientBoostingRegressor": HistGradientBoostingRegressor(
            categorical_features=list(data.categorical), random_state=seed
        ),
    }


_HELD_OUT = 0.25


def measure(model: Any, data: Data, seed: int, forgets: int) -> tuple[float, float, float]:
    """Return the error, the seconds of a fit, and fits in the time of forgetting a row."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(data.targets))
    held = round(len(order) * _HELD_OUT)
    test, train = order[:held], order[held:]
    fitted = clone(model)
    started = time.process_time()
    fitted.fit(data.values[train], data.targets[train])
    seconds = time.process_time() - started
    errors = fitted.predict(data.values[test]) - data.targets[test]
    error = float(np.sqrt(np.mean(errors**2)) / data.targets[test].std())
    if not hasattr(fitted, "forget"):
        return error, seconds, np.nan
    times = []
    for at in range(forgets):
        started = time.process_time()
        fitted.forget([at])
        times.append(time.process_time() - started)
    return error, seconds, seconds / float(np.median(times))


def main() -> None:
    """Print a line for each data set and model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=3)
    parser.add_argument("--forgets", type=int, default=9, help="rows to forget of each model")
    parser.add_argument("--data", choices=MAKERS, nargs="+", default=list(MAKERS))
    parser.add_argument("--models", nargs="+", help="models whose names begin so; all by default")
    parser.add_argument("--rows", type=int, help="rows of the drawn tables")
    parser.add_argument("settings", nargs="*", help="option=value, of our models that have it")
    arguments = parser.parse_args()
    print("data             model                           error  fit, s  fits / row forgotten")
    for name in arguments.data:
        maker, rows = MAKERS[name]
        found: dict[str, list[tuple[float, float, float]]] = {}
        for seed in range(arguments.keys):
            data = maker(arguments.rows or rows, np.random.default_rng(seed))
            key = hashlib.sha256(f"regression {seed}".encode()).hexdigest()
            for model, estimator in (ours(data, key) | theirs(data, seed)).items():
                if arguments.models and not model.startswith(tuple(arguments.models)):
                    continue
                _set(estimator, arguments.settings)
                found.setdefault(model, []).append(
                    measure(estimator, data, seed, arguments.forgets)
                )
        for model, results in found.items():
            error, seconds, fits = np.array(results).mean(axis=0)
            print(f"{name:16} {model:30} {error:6.4f} {seconds:7.2f} {fits:8.1f}", flush=True)


def _set(estimator: Any, settings: Sequence[str]) -> None:
    for setting in settings:
        option, value = setting.split("=")
        if option in estimator.get_params():
            estimator.set_params(**{option: float(value) if "." in value else int(value)})


if __name__ == "__main__":
    main()

"""Made-up visits to a hospital: the example of a table about people, large enough for shards."""

import math
from random import Random
from typing import Final

#: Where the dataset is in a project.
VISITS_PATH: Final = "data/example_visits.csv"

ROWS: Final = 50_000
PATIENTS: Final = 12_500

WARDS: Final = ("cardiology", "geriatrics", "oncology", "surgery")

#: Kind by column.
FEATURES: Final = {
    "age": "numeric",
    "days": "numeric",
    "earlier": "numeric",
    "urgent": "boolean",
    "ward": "categorical",
    "creatinine": "numeric",
    "sodium": "numeric",
    "hemoglobin": "numeric",
    "pressure": "numeric",
    "pulse": "numeric",
}

CLASSES: Final = ("no", "yes")

#: Of the built-in mlp: a training of all rows takes long enough for shards to save time.
OPTIONS: Final = {"hidden": [256, 128], "activation": "gelu", "dropout": 0.1}
EPOCHS: Final = 50

#: Ends of the grids of the exact models, as `init` finds them in the rows.
RANGES: Final = {
    "age": (18.0, 99.0),
    "days": (1.0, 26.0),
    "earlier": (0.0, 11.0),
    "creatinine": (-10.0, 170.0),
    "sodium": (130.0, 150.0),
    "hemoglobin": (9.2, 18.0),
    "pressure": (83.0, 190.0),
    "pulse": (46.0, 120.0),
}

_SEED = 1
#: The share of visits that are urgent.
_URGENT = 0.4


def visits_csv() -> bytes:
    """Return the visits as a CSV: id, patient, features, and whether the patient came back.

    Whether a patient comes back depends on frailty, age, the stay and the ward. The measurements
    depend on frailty and, in part, on age and urgency.
    """
    draw = Random(_SEED)  # noqa: S311 - a dataset, not a secret
    frailty = [draw.gauss(0, 1) for _ in range(PATIENTS)]
    earlier = [0] * PATIENTS
    lines = [",".join(["visit", "patient", *FEATURES, "readmitted"])]
    for number in range(ROWS):
        patient = draw.randrange(PATIENTS)
        frail = frailty[patient]
        age = min(99, max(18, round(62 + 14 * draw.gauss(0, 1))))
        days = math.ceil(draw.gammavariate(2.0, 2.5))
        urgent = draw.random() < _URGENT
        ward = draw.choices(WARDS, (0.4, 0.15, 0.15, 0.3))[0]
        risk = frail + 0.03 * (age - 62) + 0.15 * (days - 5) + 0.3 * earlier[patient] - 1.2
        risk += 0.6 * urgent * (1 if age > 70 else -1) + 0.8 * (ward == "oncology")  # noqa: PLR2004 - years
        came_back = draw.random() < 1 / (1 + math.exp(-risk))
        measured = (
            f"{80 + 25 * frail + 10 * draw.gauss(0, 1):.1f}",
            f"{139 - 1.5 * frail + 2 * draw.gauss(0, 1):.1f}",
            f"{13.5 - 0.8 * frail + draw.gauss(0, 1):.1f}",
            f"{135 + 0.3 * (age - 62) + 15 * draw.gauss(0, 1):.0f}",
            f"{78 + 4 * frail + 8 * urgent + 9 * draw.gauss(0, 1):.0f}",
        )
        values = (age, days, earlier[patient], str(urgent).lower(), ward, *measured)
        row = f"V{number:05d},P{patient:05d},{','.join(map(str, values))}"
        lines.append(f"{row},{CLASSES[came_back]}")
        earlier[patient] += 1
    return ("\n".join(lines) + "\n").encode()

"""Post-hoc methods on pictures in the usual form: what they forget and keep, and what they cost.

Pictures of shapes that the tool makes up, scikit-learn's digits as pictures of 8 x 8 pixels, and
CIFAR-10 where a folder has its binary version (`data_batch_*.bin`; the version for Python is made
of pickles, which are not read). The built-in residual network, every setting of a method at its
default. Requests: a tenth of the pictures at random, a whole class, and where people drew the
pictures all of one person. Times are processor times, which a busy machine does not stretch much.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import numpy.typing as npt
from unlearn.cli.examples.shapes import CLASSES as SHAPES
from unlearn.cli.examples.shapes import draw_shapes
from unlearn.stages.config.methods import METHODS
from unlearn.stages.context import Context
from unlearn.stages.project.threads import use_one_thread
from unlearn.stages.rows.shard_file import RECORD, SUBJECT, TARGET, read_shard
from unlearn.stages.rows.token_arrays import token_list
from unlearn.stages.training.method_record import RETRAIN, WHOLE

from benchmarks.harness import machine, new_project, say, show, workplace
from benchmarks.methods import UNTOUCHED, Found, Task, forget_and_compare, place

#: Share of the pictures that a request at random names.
RANDOM = 0.1

CIFAR_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
_CIFAR_BYTES = 3072

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Pictures:
    """A dataset of pictures.

    Parameters
    ----------
    name
        What tables call it.
    pixels
        Shape (pictures, channels, height, width).
    labels
        The class of each.
    people
        Who drew each; None where nobody is known.
    train
        Settings of training.
    gone
        The class that is forgotten whole.
    """

    name: str
    pixels: Pixels
    labels: Sequence[str]
    people: Sequence[str] | None
    train: Mapping[str, Any]
    gone: str

    def write(self, path: Path) -> None:
        """Write it as an archive of NumPy."""
        columns: dict[str, Any] = {
            "id": np.array([f"r{number:06d}" for number in range(len(self.labels))]),
            "label": np.array(self.labels),
            "picture": self.pixels,
        }
        if self.people is not None:
            columns["person"] = np.array(self.people)
        np.savez(path, **columns)


def main() -> None:
    """Run all datasets and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small part, to see that it works")
    parser.add_argument("--datasets", nargs="+", default=["digits", "shapes", "cifar"])
    parser.add_argument("--cifar", type=Path, help="the folder with data_batch_1.bin and so on")
    parser.add_argument("--people", type=int, default=80, help="who draw shapes")
    parser.add_argument("--epochs", type=int, help="of training, in place of each dataset's own")
    parser.add_argument("--norm", choices=["group", "batch"], default="group")
    parser.add_argument("--methods", nargs="+", help="only these, and retrain")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--keep", type=Path, help="make the projects here and leave them")
    arguments = parser.parse_args()
    use_one_thread()
    print(machine())
    wanted = arguments.methods or METHODS["tabular"]
    methods = tuple(
        name
        for name in METHODS["tabular"]
        if (name in wanted or name == RETRAIN) and name != "certified_removal"
    )
    with workplace(arguments.keep) as folder:
        for pictures in _datasets(arguments):
            run_dataset(pictures, folder, methods, range(arguments.seeds))


def _datasets(arguments: argparse.Namespace) -> Iterator[Pictures]:
    def train(epochs: int, crop: int) -> dict[str, Any]:
        return {
            "model": "resnet",
            "options": {"width": 16, "blocks": 1, "norm": arguments.norm},
            "epochs": 2 if arguments.quick else arguments.epochs or epochs,
            "optimizer": {"name": "adam", "rate": 0.003},
            "schedule": {"name": "one_cycle"},
            "augment": {"crop": crop},
        }

    if "digits" in arguments.datasets:
        from sklearn.datasets import load_digits

        digits = load_digits()
        rows = slice(300 if arguments.quick else None)
        pixels = (digits.images[rows, None] * 15).astype(np.uint8)
        labels = [str(label) for label in digits.target[rows]]
        yield Pictures("digits", pixels, labels, None, train(20, 1), "3")
    if "shapes" in arguments.datasets:
        shapes = draw_shapes(10 if arguments.quick else arguments.people, 40)
        labels = [SHAPES[label] for label in shapes.labels]
        people = [f"p{person:03d}" for person in shapes.people]
        yield Pictures("shapes", shapes.pixels, labels, people, train(20, 2), "star")
    if "cifar" in arguments.datasets:
        if arguments.cifar is None:
            say("--cifar names no folder: without CIFAR-10")
            return
        pixels, labels = read_cifar(arguments.cifar)
        yield Pictures("cifar-10", pixels, labels, None, train(30, 4), "cat")


def read_cifar(folder: Path) -> tuple[Pixels, list[str]]:
    """Return the pictures and classes of the binary version of CIFAR-10.

    Each record is a byte for the class and 3,072 bytes of pixels, channels first (Krizhevsky,
    "Learning Multiple Layers of Features from Tiny Images", 2009, and its page). Test pictures are
    among them: a share of all pictures is held out.
    """
    files = sorted([*folder.glob("data_batch_*.bin"), *folder.glob("test_batch.bin")])
    if not files:
        sys.exit(f"{folder} has no data_batch_*.bin: take the binary version of CIFAR-10")
    records = np.concatenate(
        [np.fromfile(file, np.uint8).reshape(-1, 1 + _CIFAR_BYTES) for file in files]
    )
    pixels = np.ascontiguousarray(records[:, 1:]).reshape(-1, 3, 32, 32)
    return pixels, [CIFAR_CLASSES[label] for label in records[:, 0]]


def run_dataset(
    pictures: Pictures, folder: Path, methods: tuple[str, ...], seeds: Sequence[int]
) -> None:
    """Forget by each request, and print a table for each."""
    source = folder / f"{pictures.name}.npz"
    pictures.write(source)
    task = Task(pictures.name, source, (pictures.gone,), methods, pictures.train)
    pinned = folder / f"{pictures.name}-pinned"
    subject = () if pictures.people is None else ("--subject", "person")
    options = ("--template", "posthoc", "--holdout", "0.3", "--model", "resnet", *subject)
    new_project(pinned, source, *options)
    results: dict[str, list[dict[str, Found]]] = {}
    for seed in seeds:
        context = place(task, pinned, folder / f"{pictures.name}-{seed}", seed)
        for name, lines in requests_of(context, pictures, seed):
            found = forget_and_compare(task, context, lines, seed)
            results.setdefault(name, []).append(found)
    for name, seeds_of in results.items():
        show_request(pictures, name, seeds_of)


def requests_of(context: Context, pictures: Pictures, seed: int) -> Iterator[tuple[str, list[str]]]:
    """Yield each request's name, and the lines that it adds to the forget list."""
    rows = read_shard(context.project.shard_file(WHOLE), WHOLE).rows
    records, labels = token_list(rows[RECORD]), rows[TARGET].to_pylist()
    people = token_list(rows[SUBJECT]) if pictures.people is not None else None
    lines = (
        records
        if people is None
        else [f"{person}.{record}" for person, record in zip(people, records, strict=True)]
    )
    draw = np.random.default_rng(seed)
    drawn = draw.choice(len(lines), round(RANDOM * len(lines)), replace=False)
    yield f"{RANDOM:.0%} at random", sorted(lines[place] for place in drawn)
    of_class = [line for line, own in zip(lines, labels, strict=True) if own == pictures.gone]
    yield "one class", sorted(of_class)
    if people is not None:
        yield "one person", [sorted(set(people))[seed]]


def show_request(pictures: Pictures, name: str, found: Sequence[Mapping[str, Found]]) -> None:
    """Print what each method came to, means over seeds."""
    rows = []
    for method in found[0]:
        each = [of_seed[method] for of_seed in found]
        reference = [of_seed[RETRAIN] for of_seed in found]
        rows.append(_line(method, each, reference))
    show(
        f"images-{pictures.name}-{re.sub(r'[ %]+', '-', name)}",
        (
            f"{pictures.name}, {name}",
            "forget accuracy",
            "retain accuracy",
            "test accuracy",
            "membership AUC",
            "less retrain's (95 % interval)",
            "time / retrain",
            "stopped by",
        ),
        rows,
        "Membership: the AUC of the attack by loss, forgotten against unseen pictures of the same "
        "classes; .5 is a guess.",
    )


def _line(method: str, found: Sequence[Found], reference: Sequence[Found]) -> list[object]:
    name = "original" if method == UNTOUCHED else method.replace("_", " ")
    if reasons := [one for one in found if one.result["verdict"] == "not applicable"]:
        return [f"{name}: {reasons[0].result['reasons'][0]}", *["-"] * 7]
    share = np.mean(
        [one.seconds / other.seconds for one, other in zip(found, reference, strict=True)]
    )
    return [
        name,
        *(_mean([one.result[f"{side}_accuracy"] for one in found], 3) for side in _SIDES),
        _mean([(one.result["membership"] or {}).get("auc") for one in found], 3),
        "-" if method == RETRAIN else _difference(found),
        "-" if method == UNTOUCHED else f"{share:.2f}",
        str(found[0].result["stopped_by"]).replace("_", " "),
    ]


_SIDES = ("forget", "retain", "holdout")


def _mean(values: Sequence[float | None], digits: int) -> str:
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.{digits}f}" if known else "-"


def _difference(found: Sequence[Found]) -> str:
    known = [one.membership for one in found if one.membership is not None]
    if not known:
        return "-"
    value, low, high = (float(np.mean(numbers)) for numbers in zip(*known, strict=True))
    return f"{value:+.3f} ({low:+.3f} to {high:+.3f})"


if __name__ == "__main__":
    main()

"""What the `shard` stage takes for pictures, in comparison with reading them with Pillow.

50,000 pictures of 32 x 32: PNG files in a folder with a labels table, JPEG files, and one `.npz`.
Each is a process of its own, on the clock from start to end: the stage as `unlearn repro` runs it,
and a script that opens each file with Pillow, converts it to RGB and takes its pixels.
"""

import argparse
import csv
import io
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import numpy.typing as npt
import yaml
from PIL import Image

from benchmarks.harness import UNLEARN, Bench, machine, new_project, say, show, spread, workplace

ROWS, SIZE, SHARDS = 50_000, 32, 5

#: The largest memory of the stage, in MB.
GOAL_MB = 500

#: What the stage is compared with. It keeps one picture at a time.
PILLOW = """
import sys
from pathlib import Path
import numpy as np
from PIL import Image

for path in sorted(Path(sys.argv[1]).rglob("*.*g")):
    with Image.open(path) as image:
        np.asarray(image.convert("RGB"))
"""


@dataclass
class Turns:
    """What each run of one command took."""

    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)


def main() -> None:
    """Write the pictures, let stage and script take turns on them, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="a new folder for the projects")
    parser.add_argument("--quick", action="store_true", help="a small part, to see that it works")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rows, arguments.turns = 500, 1
    print(machine())
    lines: list[list[object]] = []
    with workplace(arguments.keep) as folder:
        pictures = made_up(arguments.rows)
        pillow = Turns()
        for name, write in WRITERS.items():
            say(f"writing {arguments.rows:,} pictures: {name}")
            bench = _project(folder / name.replace(" ", "-"), pictures, write)
            dataset = bench.root / "data/dataset"
            has_files = (dataset / "pictures").is_dir()
            pillow = Turns() if has_files else pillow
            stage = Turns()
            for _ in range(arguments.turns):
                if has_files:
                    _clock([sys.executable, "-c", PILLOW, str(dataset)], folder, pillow)
                _clock([UNLEARN, "stage", "shard"], bench.root, stage)
            lines.append(_line(name, stage, pillow))
    show(
        "pictures",
        (
            "pictures",
            "stage, s",
            "Pillow, s",
            "stage / Pillow",
            "processor time",
            "largest memory of the stage, MB",
        ),
        lines,
        f"{arguments.rows:,} pictures of {SIZE} x {SIZE} in {SHARDS} shards, {arguments.turns} "
        f"turns. Goal: at most Pillow's time, and {GOAL_MB} MB. An archive is compared with "
        "Pillow's time for JPEG files.",
    )


def made_up(rows: int) -> npt.NDArray[np.uint8]:
    """Return pictures of smooth colours with noise, shape (rows, SIZE, SIZE, 3)."""
    draw = np.random.default_rng(1)
    found = np.empty((rows, SIZE, SIZE, 3), np.uint8)
    for picture in found:
        coarse = draw.integers(0, 256, (4, 4, 3), np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((SIZE, SIZE), Image.Resampling.BILINEAR))
        noise = draw.integers(-8, 9, picture.shape)
        picture[:] = np.clip(smooth.astype(np.int64) + noise, 0, 255)
    return found


def _files(kind: str, ending: str) -> Callable[[Path, npt.NDArray[np.uint8]], None]:
    def write(folder: Path, pictures: npt.NDArray[np.uint8]) -> None:
        (folder / "pictures").mkdir(parents=True)
        names = [f"pictures/{number:06d}.{ending}" for number in range(len(pictures))]
        for name, pixels in zip(names, pictures, strict=True):
            stream = io.BytesIO()
            Image.fromarray(pixels).save(stream, kind)
            (folder / name).write_bytes(stream.getvalue())
        with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["id", "photo", "label"])
            for number, name in enumerate(names):
                table.writerow([f"r{number}", name, _label(number)])

    return write


def _npz(folder: Path, pictures: npt.NDArray[np.uint8]) -> None:
    folder.mkdir(parents=True)
    ids = [f"r{number}" for number in range(len(pictures))]
    labels = [_label(number) for number in range(len(pictures))]
    np.savez(folder / "rows.npz", id=ids, photo=pictures, label=labels)


def _label(number: int) -> str:
    return f"c{number % 10}"


WRITERS: dict[str, Callable[[Path, npt.NDArray[np.uint8]], None]] = {
    "PNG files": _files("PNG", "png"),
    "JPEG files": _files("JPEG", "jpg"),
    "one .npz": _npz,
}


def _project(
    root: Path,
    pictures: npt.NDArray[np.uint8],
    write: Callable[[Path, npt.NDArray[np.uint8]], None],
) -> Bench:
    """Return a project of a small table whose dataset is then replaced by pictures."""
    small = root.with_suffix(".csv")
    rows = "".join(f"r{number},{number % 7},{_label(number)}\n" for number in range(400))
    small.write_text(f"id,x,label\n{rows}", encoding="utf-8")
    bench = new_project(root, small, "--shards", str(SHARDS), "--slices", "1", "--model", "mlp")
    write(root / "data/dataset", pictures)
    schema = root / "schema.yaml"
    pinned: dict[str, Any] = yaml.safe_load(schema.read_text(encoding="utf-8"))
    pinned["features"] = {"photo": {"kind": "image", "shape": [3, SIZE, SIZE]}}
    schema.write_text(yaml.safe_dump(pinned, sort_keys=False), encoding="utf-8")
    bench.set_params(dataset={"path": "data/dataset"}, train={"model": "resnet", "options": {}})
    return bench


def _clock(command: Sequence[str], folder: Path, turns: Turns) -> None:
    """Run a command, and note what it took."""
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    turns.seconds.append(time.perf_counter() - started)
    if process.returncode:
        sys.exit(f"{command[:3]} failed")
    turns.processor.append(usage.ru_utime + usage.ru_stime)
    # In KiB on Linux.
    turns.megabytes.append(usage.ru_maxrss / 1_024)


def _line(name: str, stage: Turns, pillow: Turns) -> list[object]:
    ratios = [one / other for one, other in zip(stage.seconds, pillow.seconds, strict=True)]
    used = [one / other for one, other in zip(stage.processor, pillow.processor, strict=True)]
    return [
        name,
        spread(stage.seconds),
        spread(pillow.seconds),
        spread(ratios, 2),
        spread(used, 2),
        f"{max(stage.megabytes):.0f}",
    ]


if __name__ == "__main__":
    main()

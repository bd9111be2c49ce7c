"""Language models: how fast they are tuned, what a request costs, and what methods leave behind.

Six tables, all on made-up authors and bases that are made here:

speed       tuning and NPO against bare loops of transformers and PEFT, in turns
forget      the exact path: what one author's request retrains, byte for byte, and the whole story
methods     every post-hoc method against tuning from scratch, by what reports/verify.json says
sampling    what `alt_po` takes to sample alternative answers
sharded     what shards cost in what is known of rows, seen and unseen
layers      slices with layers of their own, switched off, against slices that are trained again
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from unlearn.stages.project.threads import use_one_thread

from benchmarks.harness import machine, workplace

TABLES = ("speed", "forget", "methods", "sampling", "sharded", "layers")


def main() -> None:
    """Print the tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"of {', '.join(TABLES)}")
    parser.add_argument("--quick", action="store_true", help="a small part, to see that it works")
    parser.add_argument("--sizes", nargs="+", help="of bases, where a table has several")
    parser.add_argument("--seeds", type=int, default=3, help="forget sets of methods and sampling")
    parser.add_argument("--unguarded", action="store_true", help="let methods do what they do")
    parser.add_argument("--pairs", type=int, default=5, help="turns of `speed`")
    parser.add_argument("--authors", type=int, help="requests of `forget`; all by default")
    parser.add_argument("--jobs", "-j", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="make the projects here and leave them")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.tables) - set(TABLES)):
        parser.error(f"there is no table {unknown[0]!r}: take of {', '.join(TABLES)}")
    use_one_thread()
    print(machine())
    with workplace(arguments.keep) as folder:
        for name in arguments.tables or TABLES:
            own = folder / name
            own.mkdir()
            _table(name)(own, arguments)


def _table(name: str) -> Callable[[Path, argparse.Namespace], None]:
    # Torch reads the number of threads when it is loaded: after `use_one_thread`.
    if name == "speed":
        from benchmarks.language_speed import measure
    elif name == "forget":
        from benchmarks.language_forget import measure
    elif name == "methods":
        from benchmarks.language_posthoc import measure
    elif name == "sampling":
        from benchmarks.language_sampling import measure
    elif name == "layers":
        from benchmarks.language_layers import measure
    else:
        from benchmarks.language_sharded import measure
    return measure


if __name__ == "__main__":
    main()

"""Search for files that break the laws of reading, guided by coverage, with atheris.

Run it from the root of a clone, for one format and as long as you like:

    pip install atheris
    python -m tests.fuzz.explore .csv -max_total_time=120

Further arguments are those of libFuzzer. It writes a file that breaks a law to the present folder,
as `crash-...`, and stops.
"""

import sys
import tempfile
from pathlib import Path

# No dependency of the tests: it has wheels for few platforms.
import atheris

with atheris.instrument_imports(include=["unlearn.stages.rows"]):
    from tests.fuzz.laws import ENDINGS, hold, seed_files


def main() -> None:
    """Search until libFuzzer stops."""
    if len(sys.argv) < 2 or sys.argv[1] not in ENDINGS:
        sys.exit(f"usage: python -m tests.fuzz.explore {'|'.join(ENDINGS)} [libFuzzer's options]")
    ending = sys.argv.pop(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus = folder / "corpus"
        corpus.mkdir()
        (corpus / "seed").write_bytes(seed_files(folder)[ending])
        path = folder / f"a{ending}"

        def hold_for(content: bytes) -> None:
            path.write_bytes(content)
            hold(path, multiline=len(content) % 2 == 0)

        atheris.Setup([*sys.argv, str(corpus)], hold_for)
        atheris.Fuzz()


if __name__ == "__main__":
    main()

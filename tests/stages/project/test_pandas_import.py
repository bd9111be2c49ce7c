"""pyarrow without pandas until something else imports it."""

import subprocess
import sys

_CONVERT = """
import sys
import numpy as np
import pyarrow as pa
from unlearn.stages.project.pandas_import import keep_pandas_out
keep_pandas_out()
numbers = pa.chunked_array([pa.array([1.0, None]), pa.array(np.arange(2.0))])
assert numbers.fill_null(0).to_numpy().tolist() == [1, 0, 0, 1]
assert "pandas" not in sys.modules
"""

_WITH_PANDAS = """
import pandas as pd
assert pa.array(pd.Series([1.0, np.nan])).null_count == 1
assert pa.array(pd.Series(["a", None])).to_pylist() == ["a", None]
assert pa.Table.from_pandas(pd.DataFrame({"a": [1.0, np.nan]}))["a"].null_count == 1
"""

_TO_PANDAS = """
assert numbers.to_pandas().isna().sum() == 1
"""


def run(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_conversions_do_without_pandas_and_know_it_once_it_is_imported() -> None:
    run(_CONVERT + _WITH_PANDAS)


def test_a_conversion_to_pandas_imports_it() -> None:
    run(_CONVERT + _TO_PANDAS)

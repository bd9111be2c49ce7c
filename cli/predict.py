"""`unlearn predict`: the final model on a file."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from unlearn.cli import panels
from unlearn.cli.answers import Answer
from unlearn.cli.csv_options import (
    DecimalMark,
    DelimiterName,
    EncodingName,
    QuoteName,
    chosen_csv,
    columns_option,
    csv_files,
    decimal_option,
    delimiter_option,
    encoding_option,
    quote_option,
)
from unlearn.cli.lazy import Command
from unlearn.cli.output import JsonFlag, emit, plural, progress, say
from unlearn.stages.config.dataset import CsvParams
from unlearn.stages.errors import InputError
from unlearn.stages.final_model.ensemble import load_ensemble, load_own_ensemble
from unlearn.stages.final_model.files import modality_of
from unlearn.stages.final_model.new_rows import NewRows, check_encoding, with_csv
from unlearn.stages.final_model.predictions import OUTPUT_FORMATS, predict_file
from unlearn.stages.project.paths import find_project


class PredictAnswer(Answer):
    """What was predicted.

    Parameters
    ----------
    rows
        How many.
    output
        The file that was written.
    has_ids
        Whether the input has the column of ids.
    ignored_columns
        Columns of the input that the model does not read.
    unknown_categories
        By column, the number of rows with a category that the model does not know.
    """

    rows: int
    output: str
    has_ids: bool
    ignored_columns: list[str]
    unknown_categories: dict[str, int]


def predict(
    source: Annotated[
        Path,
        typer.Option(
            "--input",
            metavar="FILE",
            help="A CSV, Parquet, JSON or Arrow file, or a folder of them.",
            rich_help_panel=panels.DATA,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="The file to write: .csv, .parquet or .jsonl.",
            rich_help_panel=panels.OUTPUT,
        ),
    ],
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="The folder of a final model. The default is that of the project.",
            rich_help_panel=panels.MODEL,
        ),
    ] = None,
    trust_code: Annotated[
        bool,
        typer.Option(
            "--trust-code",
            help="Run the Python code in the model's folder, and load the types that it names.",
            rich_help_panel=panels.MODEL,
        ),
    ] = False,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="BASE",
            help="The folder of a language model's base, or the file of a network's frozen "
            "backbone, if it has moved since the training.",
            rich_help_panel=panels.MODEL,
        ),
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="The largest number of tokens to generate for a prompt. The default is 64.",
            rich_help_panel=panels.TEXT,
        ),
    ] = None,
    as_written: Annotated[
        bool,
        typer.Option(
            "--as-written",
            help="Take a category in another notation than the model knows, such as 1003 for "
            "01003, as one that it does not know. By default it is an error.",
            rich_help_panel=panels.DATA,
        ),
    ] = False,
    delimiter: Annotated[DelimiterName | None, delimiter_option("that of the training")] = None,
    quote: Annotated[QuoteName | None, quote_option("that of the training")] = None,
    columns: Annotated[str | None, columns_option()] = None,
    header: Annotated[
        bool,
        typer.Option(
            "--header",
            help="The CSV files have a header, and those of the training had none.",
            rich_help_panel=panels.DATA,
        ),
    ] = False,
    decimal: Annotated[DecimalMark | None, decimal_option("that of the training")] = None,
    encoding: Annotated[EncodingName | None, encoding_option("that of the training")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Predict the rows of a file with the final model.

    Each row of the output has the id, if the input has one, the predicted class and the
    probability of each class; or the predicted number alone. A language model gives the perplexity
    of each text and a completion of each prompt.

    Values are read as they were for the training, or refused. Columns and categories that the model
    does not know are counted and named.
    """
    if output.suffix.lower() not in OUTPUT_FORMATS:
        raise InputError(f"--output {output.name} is not one of {', '.join(OUTPUT_FORMATS)}")
    if output.is_dir():
        raise InputError(f"--output {output.name} is a directory")
    if not output.parent.is_dir():
        raise InputError(f"--output: there is no folder {output.parent}")
    csv = chosen_csv(delimiter, decimal, encoding, quote=quote, columns=columns)
    if header:
        if columns is not None:
            raise InputError("give either --header or --columns")
        csv["columns"] = None
    chosen = _Chosen(model, trust_code, base, tokens, as_written, csv)
    predictor, new_rows = _load(chosen)
    files = csv_files(source, csv)
    if encoding is None:
        check_encoding(files, new_rows.dataset, source.name)
    with progress("predicting", None, "rows") as advance, _hinted(new_rows, has_csv=bool(files)):
        rows = predictor(source, output, advance)
    for note in new_rows.notes():
        say(f"note: {note}")
    result = PredictAnswer(
        rows=rows,
        output=str(output),
        has_ids=new_rows.has_ids,
        ignored_columns=new_rows.ignored,
        unknown_categories=dict(new_rows.unknown),
    )
    emit(result, as_json=as_json, text=lambda: f"{plural(rows, 'row')} to {output}")


COMMAND = Command(
    predict,
    example="unlearn predict --input new_rows.csv --output predictions.csv",
    answer=PredictAnswer,
)

#: Tokens to generate for a prompt at most, where no option says otherwise.
_TOKENS = 64

#: Writes the answers for a file into another, and returns how many rows there were.
Predictor = Callable[[Path, Path, Callable[[int], None]], int]


@dataclass(frozen=True)
class _Chosen:
    """What the options say about the model, and how it is to read rows."""

    folder: Path | None
    trust_code: bool
    base: str | None
    tokens: int | None
    as_written: bool
    csv: Mapping[str, Any]


@contextmanager
def _hinted(new_rows: NewRows, *, has_csv: bool) -> Iterator[None]:
    """Name the options of a CSV file in an InputError of the block that they may mend."""
    try:
        yield
    except InputError as error:
        facts = error.facts
        if facts is None or not has_csv:
            raise
        csv = new_rows.dataset.csv or CsvParams()
        hints = []
        if facts.separator is not None:
            mark = "tab" if facts.separator == "\t" else f"'{facts.separator}'"
            hints.append(f"then read it with --delimiter {mark}")
        elif facts.decimal is not None and facts.decimal != csv.decimal:
            hints.append(
                f"numbers are read with the decimal mark {csv.decimal!r}; "
                f"--decimal '{facts.decimal}' chooses the other one"
            )
        raise InputError(error.message, *error.hints, *hints, facts=facts) from None


def _load(chosen: _Chosen) -> tuple[Predictor, NewRows]:
    root, folder, project = Path(), chosen.folder, None
    if folder is None:
        project = find_project()
        root, folder = project.root, project.final_model
    if modality_of(folder) == "text":
        if chosen.trust_code:
            raise InputError("--trust-code is for Python code; language models contain none")
        if chosen.as_written:
            raise InputError("--as-written is for categories, and language models have none")
        return _language(folder, root, chosen)
    if chosen.tokens is not None:
        raise InputError("--tokens is for language models")
    base = None if chosen.base is None else Path(chosen.base).resolve()
    if project is None:
        ensemble = load_ensemble(folder, trust_code=chosen.trust_code, root=root, base=base)
    else:
        ensemble = load_own_ensemble(project, trust_code=chosen.trust_code, base=base)
    new_rows = ensemble.new_rows(as_written=chosen.as_written, csv=chosen.csv)
    return (
        lambda source, output, advance: predict_file(ensemble, source, output, advance, new_rows)
    ), new_rows


def _language(folder: Path, root: Path, chosen: _Chosen) -> tuple[Predictor, NewRows]:
    # Torch and transformers, for language models alone: seconds.
    from unlearn.stages.final_model.text_loading import load_language_model  # noqa: PLC0415
    from unlearn.stages.final_model.text_predictions import predict_texts  # noqa: PLC0415

    # A path on the command line starts from here, not from the project.
    base = chosen.base
    here = base if base is None or not Path(base).is_dir() else str(Path(base).resolve())
    tokens = _TOKENS if chosen.tokens is None else chosen.tokens
    model = load_language_model(folder, root, base=here)
    new_rows = NewRows(with_csv(model.dataset, chosen.csv))
    return (
        lambda source, output, advance: predict_texts(
            model, source, output, tokens, advance, new_rows
        )
    ), new_rows

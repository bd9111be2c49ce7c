"""Where rows of forgotten records still are: in the project, in DVC's cache and in its remotes."""

import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from unlearn.stages.audit.object_format import ending_of_object, has_column
from unlearn.stages.audit.places import Place, counted, held
from unlearn.stages.config.dataset import CsvParams
from unlearn.stages.context import Context
from unlearn.stages.errors import InputError
from unlearn.stages.ledger.log import read_log
from unlearn.stages.project.files import digest_file, scratch_folder
from unlearn.stages.reading.csv_dialect import find_format
from unlearn.stages.reading.dataset_files import file_kind
from unlearn.stages.rows.forget_list import ForgetList
from unlearn.stages.rows.identity import TokenColumns, dataset_tokens
from unlearn.stages.rows.shard_file import RECORD, SUBJECT, listed_mask, with_digests
from unlearn.stages.rows.token_arrays import DIGEST
from unlearn.stages.training.shard_model import FILE_NAME as MODEL_FILE

#: A model.json is smaller; larger JSON is rows or something else.
_MOST_JSON = 16 << 20
#: Where DVC keeps its record of runs, below a cache and below a remote.
_RUNS = "runs"
_MEGABYTE = 1 << 20
_PATTERN = "^u[1-9][0-9]{0,2}_[0-9a-f]{64}$"


def store_megabytes(folders: Iterable[Path]) -> int:
    """Return the size of caches and remotes, as `store_place` counts it for its progress."""
    return sum(_megabytes(path) for folder in folders for path in _files(folder))


@dataclass(frozen=True)
class Search:
    """The search for rows of forgotten records.

    Parameters
    ----------
    context, forget_list
        The project, and the records to look for.
    """

    context: Context
    forget_list: ForgetList

    def project_places(self) -> list[Place]:
        """Search the files of rows that params.yaml names, and the shards."""
        dataset = self.context.params.dataset
        named = [("the dataset", dataset.path), ("the held-out rows", dataset.held_out)]
        places = [
            self._file_of_rows(name, path, f"{path} still holds rows of forgotten records")
            for name, path in named
            if path is not None
        ]
        if dataset.canaries is not None:
            said = f"{dataset.canaries} still holds canaries that were forgotten"
            places.append(self._file_of_rows("the canaries", dataset.canaries, said))
        project = self.context.project
        folders = (project.shards, project.retain_set, project.forget_set)
        files = [path for folder in folders for path in sorted(folder.glob("*.parquet"))]
        count = sum(self._parquet_holds(path) for path in files)
        found = (held(count, "file", "below data/"),) if count else ()
        return [*places, Place("the shards", objects=len(files), findings=found)]

    def _file_of_rows(self, name: str, path: str, said: str) -> Place:
        full = self.context.project.root / path
        if not full.exists():
            return Place(name)
        holds = bool(self.forget_list.lines) and self._dataset_holds(full)
        if holds is None:
            return Place(name, looked=False, objects=1, why_not=f"{path} cannot be read")
        return Place(name, objects=1, findings=(said,) if holds else ())

    def store_place(self, where: str, folder: Path, advance: Callable[[int], None]) -> Place:
        """Search DVC's cache, or a remote that is a folder.

        Each object is opened once, and read in pieces if it can hold rows.

        Parameters
        ----------
        where
            What sentences call it.
        folder
            Its folder.
        advance
            Told the megabytes of each object that was searched.
        """
        files = _files(folder)
        if not self.forget_list.lines:
            return Place(where, objects=len(files))
        holding: set[str] = set()
        unreadable = models = 0
        with scratch_folder(self.context.project.scratch("copies")) as scratch:
            for path in files:
                if path.relative_to(folder).parts[0] != _RUNS:
                    found = self.object_holds(path, scratch)
                    unreadable += found is None
                    if found:
                        holding.add(_md5(path))
                    models += self._is_older_model(path)
                advance(_megabytes(path))
        runs = _runs_of(folder / _RUNS, holding)
        older = "is an older model, which holds" if models == 1 else "are older models, which hold"
        unread = counted(unreadable, "object")
        findings = {
            held(len(holding), "object", f"in {where}"): len(holding),
            f"{unread} in {where} may be an older dataset and cannot be read: it may hold such "
            "rows": unreadable,
            f"{counted(models, 'object')} in {where} {older} texts of categories in clear": models,
            f"the run cache of {where} names such rows, and can bring them back": runs,
        }
        said = tuple(sentence for sentence, count in findings.items() if count)
        return Place(where, objects=len(files), findings=said)

    def _dataset_holds(self, path: Path) -> bool | None:
        """Return whether a version of the dataset holds a listed row; None if it is unreadable."""
        dataset = self.context.params.dataset.of_any_type()
        answers: list[bool] = []
        for csv in self._csv_formats(path):
            version = dataset.model_copy(update={"csv": csv})
            try:
                answers.append(
                    self._any_listed(dataset_tokens(path, version, self.context.tokenizer))
                )
            except InputError:
                continue
        return any(answers) if answers else None

    def _csv_formats(self, path: Path) -> list[CsvParams | None]:
        """Return how a file may be written: as the dataset is now, or as its header says."""
        dataset = self.context.params.dataset
        formats = [dataset.csv]
        if path.is_file() and file_kind(path) == "csv":
            pinned = dataset.csv or CsvParams()
            for encoding in dict.fromkeys((pinned.encoding, None)):
                known = {} if encoding is None else {"encoding": encoding}
                try:
                    found = find_format(path, path.name, [dataset.id], known)
                except InputError:
                    continue
                if all(found != (each or CsvParams()) for each in formats):
                    formats.append(found)
        return formats

    def _any_listed(self, batches: Iterable[TokenColumns]) -> bool:
        return any(
            any(self.forget_list.mask(tokens.records, tokens.subjects)) for tokens in batches
        )

    @cached_property
    def _known(self) -> frozenset[str]:
        """The lines, and what they were with earlier keys: older shards have these."""
        known = self.forget_list.known
        epochs = read_log(self.context.project, self.context.key).epochs
        return known.union(*map(epochs.earlier_lines, known))

    def _parquet_holds(self, path: Path) -> bool:
        """Return whether a shard file holds a listed row."""
        if not self.forget_list.lines:
            return False
        try:
            with pq.ParquetFile(path) as file:
                names = file.schema_arrow.names
                if RECORD not in names:
                    return False
                columns = [RECORD, *([SUBJECT] if SUBJECT in names else [])]
                for batch in file.iter_batches(columns=columns):
                    rows = _with_tokens(pa.Table.from_batches([batch]))
                    if pc.any(listed_mask(rows, self._known)).as_py():
                        return True
        except (pa.ArrowException, OSError):
            return False
        return False

    def object_holds(self, path: Path, scratch: Path) -> bool | None:
        """Return whether an object of unknown type holds a listed row; None if unknown.

        Parameters
        ----------
        path
            The object.
        scratch
            A folder for a link to it.
        """
        id_column = self.context.params.dataset.id
        ending = ending_of_object(path, id_column, self.context.params.dataset.csv)
        if ending is None:
            return False
        if ending == ".parquet":
            if self._parquet_holds(path):
                return True
            if not has_column(path, id_column):
                return False
        # Readers go by a file's ending.
        named = scratch / f"object{ending}"
        named.unlink(missing_ok=True)
        named.symlink_to(path)
        return self._dataset_holds(named)

    def _is_older_model(self, path: Path) -> bool:
        """Return whether an object is the model.json, with categories, of no present model."""
        with path.open("rb") as handle:
            if handle.read(1) != b"{" or path.stat().st_size > _MOST_JSON:
                return False
            try:
                content = json.loads(b"{" + handle.read())
                columns = content["preprocessing"]
                texts = any(column[1].get("categories") for column in columns)
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
                return False
        return texts and _md5(path) not in self._present_models

    @cached_property
    def _present_models(self) -> frozenset[str]:
        folder = self.context.project.final_model.parent
        return frozenset(digest_file(path, "md5") for path in folder.rglob(MODEL_FILE))


def _with_tokens(rows: pa.Table) -> pa.Table:
    """Return the rows that have tokens, as files of this version or of older ones have them."""
    for name in rows.column_names:
        if rows.schema.field(name).type != DIGEST:
            texts = rows[name].cast(pa.string())
            rows = rows.filter(pc.fill_null(pc.match_substring_regex(texts, _PATTERN), False))
    return with_digests(rows)


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def _megabytes(path: Path) -> int:
    return -(-path.stat().st_size // _MEGABYTE)


def _md5(path: Path) -> str:
    """Return the md5 that an object has as its name."""
    return path.parent.name + path.name


def _runs_of(folder: Path, objects: Collection[str]) -> int:
    """Return how many recorded runs name one of these objects."""
    if not objects:
        return 0
    texts = (path.read_text(encoding="utf-8", errors="replace") for path in _files(folder))
    return sum(any(md5 in text for md5 in objects) for text in texts)

"""The `dataset` section: where rows are, and what their columns are."""

from math import prod
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, PrivateAttr, ValidationError, field_validator, model_validator
from unlearn.stages.config.contact import ContactParams
from unlearn.stages.config.section import (
    Modality,
    Section,
    Task,
    inside_the_project,
    inside_the_repository,
)
from unlearn.stages.config.text import TextRole, check_roles
from unlearn.stages.errors import InputError

#: Prefix of the columns that shard files add; a dataset may not use it.
RESERVED_COLUMN_PREFIX = "unlearn."

#: What reads as a missing value unless `dataset.missing` says otherwise.
DEFAULT_MISSING = ("", "?", "NA", "N/A", "NaN", "nan", "NULL", "null")

#: Every stage reads the settings, and with them the list of features.
MAX_FEATURES = 10_000

FeatureKind = Literal[
    "numeric",
    "boolean",
    "categorical",
    "datetime",
    "calendar",
    "ordinal",
    "hashed_text",
    "image",
    "tensor",
    "prompt",
    "completion",
    "body",
    "paraphrase",
    "perturbed",
    "topic",
    "messages",
    "input",
    "tools",
]

#: Kinds whose values are dates and times.
DATE_KINDS: tuple[FeatureKind, ...] = ("datetime", "calendar")

#: Kinds whose values are numbers on a scale: what is pinned for it, such as a range, is by feature.
NUMBER_KINDS: tuple[FeatureKind, ...] = ("numeric", *DATE_KINDS)

#: Kinds whose values are arrays of numbers of a pinned shape: pictures as bytes, others as float32.
TENSOR_KINDS: tuple[FeatureKind, ...] = ("image", "tensor")

#: Bytes of one number of an array, by kind.
TENSOR_ITEM_BYTES: dict[FeatureKind, int] = {"image": 1, "tensor": 4}

#: A row's array has so many bytes at most: about a picture of 2,300 x 2,300 pixels.
MAX_TENSOR_BYTES = 16 << 20

#: How many channels a picture can have: grey, colour, or colour with transparency.
PICTURE_CHANNELS = (1, 3, 4)

#: Channels, height and width.
_PICTURE_DIMENSIONS = 3

#: Kinds whose values have a list of their own in `categories`.
LISTED_KINDS: tuple[FeatureKind, ...] = ("categorical", "ordinal")

#: Columns of numbers that a text becomes where nothing else is asked for, and at most.
HASHED_COLUMNS = 64
MAX_HASHED_COLUMNS = 4096

#: How the ids of a column are read: all of them whole numbers, or text.
IdType = Literal["integer", "text"]

#: Which ids are one: those that are written the same, or those that are the same once folded.
Identity = Literal["exact", "folded"]

#: The settings that say how ids are read. Models do not depend on them, only tokens do.
ID_SETTINGS = ("id_type", "subject_type", "identity")

#: Settings that say how files are read. Projects from before them have none.
READING_SETTINGS = ("multiline", "csv", "date_formats")

#: What happens if a file of a directory lacks a column: it is refused, or has no values there.
MissingColumns = Literal["refuse", "null"]

#: Settings that say which categories models know, and which rows they are trained on. Projects from
#: before them have none.
TRAINING_SETTINGS = (
    "rare_categories",
    "categories",
    "hashed_columns",
    "drop_unlabelled",
    "shapes",
    "resized",
    "category_texts",
)

#: How shard files and models have categories: as they are written, or as keyed digests.
CategoryTexts = Literal["clear", "keyed"]

#: What happens to categories that few rows share: one bucket holds them, or models learn them.
RareCategories = Literal["bucket", "keep"]

#: A longer value is text, not a category.
LONGEST_CATEGORY = 200

#: So many categories of a column are pinned at most.
MAX_CATEGORIES = 1_000


#: How dates and times are written that are not as ISO 8601 says: 31/12/2024, 12/31/2024 or
#: 2024/12/31, and times of day alone.
DateFormat = Literal["day_first", "month_first", "year_first", "time"]

#: What separates the fields of a row.
Delimiter = Literal[",", ";", "\t", "|"]

#: What separates the whole part of a number from its fraction.
Decimal = Literal[".", ","]

#: What is around values that have delimiters in them; nothing is special inside.
Quote = Literal['"', "'", "none"]

#: Encodings of text. A byte order mark decides the byte order of `utf-16`.
Encoding = Literal["utf-8", "utf-16", "utf-16-le", "utf-16-be", "cp1252", "latin-1"]


#: An order needs two values.
_FEWEST_ORDINAL = 2


def is_one_line(text: str) -> bool:
    """Return whether a text has no line end."""
    return "\n" not in text and "\r" not in text


def _check_categories(name: str, values: list[str]) -> None:
    """Raise a ValueError if these cannot be the categories of a column."""
    if len(values) > MAX_CATEGORIES:
        raise ValueError(f"categories: {name!r} has more than {MAX_CATEGORIES:,}")
    if len(set(values)) != len(values):
        raise ValueError(f"categories: {name!r} has the same category twice")
    if any(len(value) > LONGEST_CATEGORY or not is_one_line(value) for value in values):
        raise ValueError(
            f"categories: {name!r} has one with a line end or more than {LONGEST_CATEGORY} "
            "characters"
        )


class CsvParams(Section):
    """How CSV files are written; without it, as RFC 4180 says.

    `decimal` applies to numeric features alone: ids, classes and categories stay as they are.
    `columns` is for files without a header: they have these columns, in this order.
    """

    delimiter: Delimiter = Field(default=",", description="What separates the fields of a row.")
    quote: Quote = Field(default='"', description="What is around values; none: no character.")
    decimal: Decimal = Field(default=".", description="The decimal mark of numeric features.")
    encoding: Encoding = Field(default="utf-8", description="The encoding of the text.")
    columns: list[str] | None = Field(
        default=None,
        min_length=1,
        description="The names of the columns, if the files have no header.",
    )

    @field_validator("columns")
    @classmethod
    def _no_column_twice(cls, value: list[str] | None) -> list[str] | None:
        if value is not None and len(set(value)) != len(value):
            raise ValueError("the same column stands twice")
        return value

    @property
    def as_json(self) -> dict[str, Any]:
        """The settings as models record them: newer ones only if they are not the default."""
        return {
            name: value
            for name, value in self.model_dump(mode="json").items()
            if name in _ALWAYS_RECORDED or value != CsvParams.model_fields[name].default
        }


_ALWAYS_RECORDED = ("delimiter", "decimal", "encoding")


#: Dimensions of an array; of a picture channels, height and width.
Shape = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1, max_length=4)]


class ArrayFeature(Section):
    """A feature that is an array, as schema.yaml writes it."""

    kind: Literal["image", "tensor"]
    """`image` for pictures, `tensor` for other arrays of numbers."""
    shape: Shape
    """The size of each dimension; of a picture channels, height and width."""
    resize: bool = False
    """Whether pictures of another size are resized to it. Otherwise they are an error."""


def _array_feature(name: str, value: dict[str, Any]) -> ArrayFeature:
    """Return a feature that is written as a mapping; a ValueError if it is no array."""
    try:
        return ArrayFeature.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        problem = first["msg"][:1].lower() + first["msg"][1:]
        raise ValueError(f"features: {name!r}: {place}: {problem}") from None


class TargetScale(Section):
    """The scale that networks have the numbers of a target in: (number - centre) / scale.

    It is pinned, because a scale that training found would be learned from all of its rows.
    Predictions are in the units of the dataset. Methods that compute in integers take their grid
    from it too.
    """

    centre: Annotated[float, Field(strict=False)] = 0.0
    """The number that is subtracted from the target."""
    scale: Annotated[float, Field(gt=0, strict=False)] = 1.0
    """The number that the target is divided by."""


#: Settings of regression. Projects of classification have none of them.
TASK_SETTINGS = ("task", "target_scale")


class DatasetParams(Section):
    """The dataset and its pinned schema.

    `task` says what the target is: one of the `classes`, or with `regression` a number. A project
    of regression has no classes, and `target_scale` is the scale of its target.

    `classes` and `features` are pinned because a list derived from the data at training time would
    be learned from rows outside the shard. `canaries` names the file of canaries, if any.
    `held_out` names a file of rows that no model was trained on, in place of a share of `path`: for
    a model from elsewhere, whose training rows are all of `path`. Rows of text for a language model
    have no target and no classes; their features say what each column of text is.

    `id_type` and `subject_type` say what all ids of a column are, and `identity` which ids are one
    (`rows/ids.py`). Projects from before these settings have none of them: their ids are read as
    each file writes them.

    `multiline` says whether values in quotes may have line ends in CSV files; if it is not given,
    those of rows of text may. `csv` says how CSV files are written; the file of canaries is always
    written as RFC 4180 says.

    `missing_columns` says what happens if a file of a directory lacks a column that others have:
    `refuse` it, or read it with missing values there (`null`).

    With `rare_categories: bucket`, models know the pinned `categories` of each categorical feature
    alone, and have one bucket for all other values. Otherwise a shard model learns the categories
    of its first slice, those of a single row among them.

    `categories` also has the values of each ordinal feature, from the least to the greatest.
    `hashed_columns` says how many columns of numbers each hashed text becomes.

    `shapes` has the shape of each array (`image` and `tensor`), and `resized` names the images that
    are resized to it. In schema.yaml both are part of the feature:
    `photo: {kind: image, shape: [3, 32, 32], resize: true}`.

    `date_formats` says how texts of dates and times are written that are not in ISO 8601.

    `weight` names a column with the weight of each row, in training and in measures of quality.

    With `category_texts: keyed`, shard files and models have a keyed digest in place of the text of
    each value of a categorical feature. `schema.yaml` has pinned categories as they are written.

    With `drop_unlabelled`, rows without a target are left out; otherwise they are an error.

    `contact` says which columns identify people in the lists of other systems.
    """

    path: str
    """The file or folder of the dataset: in the project, or an output of DVC in its repository."""
    canaries: str | None = None
    """A file of synthetic records, added by `unlearn canary`."""
    held_out: str | None = None
    """A file of rows that the model was not trained on, in place of a share of the dataset."""
    id: str
    """The column of record ids."""
    id_type: IdType | None = None
    """What all record ids are: whole numbers, or text."""
    subject: str | None = None
    """The column that names the person a record is about."""
    subject_type: IdType | None = None
    """What all ids of people are: whole numbers, or text."""
    identity: Identity | None = None
    """Which ids are one: those written the same, or those that are the same without case, outer
    spaces and Unicode form.
    """
    target: str | None = None
    """The column to predict."""
    weight: str | None = None
    """The column with the weight of each row, above 0."""
    task: Task = "classification"
    """Whether the target is a class or a number."""
    target_scale: TargetScale | None = None
    """The scale on which networks predict a target of numbers."""
    multiline: bool | None = None
    """Whether values in quotes may have line ends in CSV files. Without it, those of text may."""
    csv: CsvParams | None = None
    """How CSV files are written. Without it, as RFC 4180 says."""
    missing_columns: MissingColumns = "refuse"
    """What happens if a file of a folder lacks a column: an error, or missing values there."""
    missing: list[str] = Field(default_factory=lambda: list(DEFAULT_MISSING))
    """Texts that mean a missing value in a feature."""
    classes: list[str] = Field(default_factory=list)
    """The classes, pinned by `unlearn init`."""
    features: dict[str, FeatureKind] = Field(min_length=1, max_length=MAX_FEATURES)
    """The features with their kinds, pinned by `unlearn init`."""
    date_formats: dict[str, DateFormat] | None = None
    """By column, how dates and times are written that are not in ISO 8601."""
    rare_categories: RareCategories | None = None
    """Whether models have one bucket for categories that are not pinned, or learn all of them."""
    categories: dict[str, list[str]] | None = None
    """The pinned categories, by column; of an ordinal feature from the least to the greatest."""
    hashed_columns: dict[str, Annotated[int, Field(ge=1, le=MAX_HASHED_COLUMNS)]] | None = None
    """By column of text, how many columns of numbers its words become."""
    shapes: dict[str, Shape] | None = None
    """The shape of each array, by column. schema.yaml has it in the feature."""
    resized: list[str] | None = None
    """The pictures that are resized to their shape. schema.yaml has it in the feature."""
    category_texts: CategoryTexts | None = None
    """Whether shard files and models have categories as they are written, or as keyed digests."""
    drop_unlabelled: bool | None = None
    """Whether rows without a target are left out. Otherwise they are an error."""
    contact: ContactParams | None = None
    """The columns that identify people in the lists of other systems."""

    _category_key: bytes | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _split_arrays(cls, value: Any) -> Any:
        """Take the shapes out of `features`, where schema.yaml has them."""
        features = value.get("features") if isinstance(value, dict) else None
        if not isinstance(features, dict):
            return value
        if not any(isinstance(kind, dict) for kind in features.values()):
            return value
        found = {
            name: _array_feature(name, kind)
            for name, kind in features.items()
            if isinstance(kind, dict)
        }
        resized = [name for name, feature in found.items() if feature.resize]
        return {
            **value,
            "features": {**features, **{name: each.kind for name, each in found.items()}},
            "shapes": {name: each.shape for name, each in found.items()},
            **({"resized": resized} if resized else {}),
        }

    @field_validator("path")
    @classmethod
    def _inside_the_repository(cls, value: str) -> str:
        return inside_the_repository(value)

    @field_validator("canaries", "held_out")
    @classmethod
    def _inside_the_project(cls, value: str | None) -> str | None:
        return inside_the_project(value)

    @field_validator("missing_columns", mode="before")
    @classmethod
    def _null_is_a_word(cls, value: Any) -> Any:
        """Take YAML's null for the word: without quotes, YAML readers do."""
        return "null" if value is None else value

    @model_validator(mode="after")
    def _columns_are_told_apart(self) -> "DatasetParams":
        if self.canaries in (self.path, self.held_out or self.path):
            raise ValueError("canaries: must name a separate file")
        if self.held_out == self.path:
            raise ValueError("held_out: must name a separate file")
        if self.subject is None and self.subject_type is not None:
            raise ValueError("subject_type: there is no subject column")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes: the same class stands twice")
        named = (self.id, self.subject, self.target, self.weight)
        roles = [name for name in named if name is not None]
        if len(set(roles)) != len(roles):
            raise ValueError("id, subject, target and weight must be different columns")
        for name in roles:
            if name in self.features:
                raise ValueError(
                    f"features: {name!r} is the id, subject, target or weight, not a feature"
                )
        for name in self.features:
            if name.startswith(RESERVED_COLUMN_PREFIX):
                raise ValueError(f"features: {name!r} begins with {RESERVED_COLUMN_PREFIX!r}")
        return self

    @model_validator(mode="after")
    def _text_or_classes(self) -> "DatasetParams":
        text = [name for name, kind in self.features.items() if kind in get_args(TextRole)]
        if not text:
            if self.target is None:
                raise ValueError("target: is missing; only rows of text have none")
            return self._with_task()
        if self.task == "regression":
            raise ValueError("task: rows of text for a language model have no target")
        if self.category_texts is not None:
            raise ValueError("category_texts: rows of text for a language model have no categories")
        if others := sorted(set(self.features) - set(text)):
            raise ValueError(f"features: {others[0]!r} is not text, unlike the other columns")
        if self.weight is not None:
            raise ValueError("weight: rows of text for a language model have none")
        if self.target is not None or self.classes:
            raise ValueError("target, classes: rows of text for a language model have none")
        if self.drop_unlabelled:
            raise ValueError("drop_unlabelled: rows of text for a language model have no class")
        check_roles({name: str(kind) for name, kind in self.features.items()})
        return self

    def _with_task(self) -> "DatasetParams":
        if self.task == "regression":
            if self.classes:
                raise ValueError("classes: a target of numbers has none; `task` is regression")
            if self.target_scale is None:
                raise ValueError("target_scale: is missing; a target of numbers has a pinned scale")
            return self
        if self.target_scale is not None:
            raise ValueError("target_scale: is for `task: regression`; classes have none")
        if not self.classes:
            raise ValueError("classes: are missing; only rows of text have none")
        return self

    @model_validator(mode="after")
    def _formats_of_dates(self) -> "DatasetParams":
        for name in self.date_formats or {}:
            if self.features.get(name) not in DATE_KINDS:
                raise ValueError(f"date_formats: {name!r} is no feature of dates or times")
        return self

    @model_validator(mode="after")
    def _categories_of_each(self) -> "DatasetParams":
        pinned = self.categories or {}
        for name, values in pinned.items():
            if name not in self.features:
                raise ValueError(f"categories: {name!r} is no feature; remove its list")
            if self.features[name] not in LISTED_KINDS:
                raise ValueError(
                    f"categories: {name!r} is {self.features[name]}, and only categorical "
                    "and ordinal features have categories"
                )
            if self.features[name] == "categorical" and self.rare_categories != "bucket":
                raise ValueError(
                    "categories: of categorical features are for `rare_categories: bucket`; "
                    "others are learned"
                )
            _check_categories(name, values)
        if self.rare_categories == "bucket":
            for name, kind in self.features.items():
                if kind == "categorical" and name not in pinned:
                    raise ValueError(
                        f"categories: {name!r} is categorical and has none; list those that many "
                        "rows share, or set `rare_categories: keep`"
                    )
        for name, kind in self.features.items():
            if kind == "ordinal" and len(pinned.get(name, [])) < _FEWEST_ORDINAL:
                raise ValueError(
                    f"categories: {name!r} is ordinal; list all its values, from the least to the "
                    "greatest"
                )
        return self

    @model_validator(mode="after")
    def _columns_of_each_text(self) -> "DatasetParams":
        texts = [name for name, kind in self.features.items() if kind == "hashed_text"]
        found = self.hashed_columns or {}
        if unknown := sorted(set(found) - set(texts)):
            raise ValueError(f"hashed_columns: {unknown[0]!r} is no hashed_text feature")
        if missing := [name for name in texts if name not in found]:
            raise ValueError(
                f"hashed_columns: {missing[0]!r} is hashed_text; say how many columns it becomes, "
                f"such as {HASHED_COLUMNS}"
            )
        return self

    @model_validator(mode="after")
    def _shapes_of_arrays(self) -> "DatasetParams":
        shapes = self.shapes or {}
        arrays = [name for name, kind in self.features.items() if kind in TENSOR_KINDS]
        if unknown := sorted(set(shapes) - set(arrays)):
            raise ValueError(
                f"features: {unknown[0]!r} has a shape, and is neither image nor tensor"
            )
        for name in arrays:
            kind = self.features[name]
            if name not in shapes:
                raise ValueError(
                    f"features: {name!r} is {kind} and has no shape; write "
                    f"`{name}: {{kind: {kind}, shape: [3, 32, 32]}}`"
                )
            if kind == "image" and (
                len(shapes[name]) != _PICTURE_DIMENSIONS or shapes[name][0] not in PICTURE_CHANNELS
            ):
                raise ValueError(
                    f"features: the shape of {name!r} is not [channels, height, width] with 1, 3 "
                    "or 4 channels"
                )
            if prod(shapes[name]) * TENSOR_ITEM_BYTES[kind] > MAX_TENSOR_BYTES:
                raise ValueError(
                    f"features: the shape of {name!r} has more than {MAX_TENSOR_BYTES >> 20} MiB"
                )
        for name in self.resized or []:
            if self.features.get(name) != "image":
                raise ValueError(f"features: {name!r} is no image, so it cannot be resized")
        return self

    @property
    def keys_categories(self) -> bool:
        """Whether models and shard files have keyed digests in place of categories."""
        return self.category_texts == "keyed"

    @property
    def category_key(self) -> bytes:
        """What the digests of categories are keyed with.

        Raises
        ------
        InputError
            If it is not at hand.
        """
        if self._category_key is None:
            raise InputError(
                "dataset.category_texts: keyed needs the key of the categories",
                "it follows from the project key",
            )
        return self._category_key

    def with_category_key(self, key: bytes) -> "DatasetParams":
        """Return the section with what the digests of categories are keyed with; see `in_clear`."""
        found = self.model_copy()
        found._category_key = key  # noqa: SLF001 - of this class; it is in no file
        return found

    def in_clear(self) -> "DatasetParams":
        """Return the section for rows as they are written."""
        return self.model_copy(update={"category_texts": None})

    @property
    def has_arrays(self) -> bool:
        """Whether a feature is an array: a picture, or a tensor."""
        return any(kind in TENSOR_KINDS for kind in self.features.values())

    @property
    def features_as_written(self) -> dict[str, Any]:
        """The features as schema.yaml writes them: kinds, and arrays with their shape."""
        return {
            name: kind
            if kind not in TENSOR_KINDS
            else {
                "kind": kind,
                "shape": list((self.shapes or {})[name]),
                **({"resize": True} if name in (self.resized or []) else {}),
            }
            for name, kind in self.features.items()
        }

    @property
    def modality(self) -> Modality:
        """What the rows are; rows of text have no target."""
        return "text" if self.target is None else "tabular"

    @property
    def own_task(self) -> dict[str, Any]:
        """The settings of `TASK_SETTINGS`, as JSON has them; of classification there are none."""
        if self.task == "classification":
            return {}
        return self.model_dump(mode="json", include=set(TASK_SETTINGS))

    @property
    def has_line_ends(self) -> bool:
        """Whether values in quotes may have line ends in CSV files."""
        return self.modality == "text" if self.multiline is None else self.multiline

    @property
    def own_reading(self) -> dict[str, Any]:
        """What reading new rows takes beside the defaults, as JSON has it."""
        found: dict[str, Any] = {}
        if self.has_line_ends != (self.modality == "text"):
            found["multiline"] = self.multiline
        if self.csv not in (None, CsvParams()):
            found["csv"] = self.csv.as_json
        if self.date_formats:
            found["date_formats"] = dict(self.date_formats)
        # Which values an ordinal feature may have; models know those of categorical ones.
        ordinal = [name for name, kind in self.features.items() if kind == "ordinal"]
        if ordinal:
            pinned = self.categories or {}
            found["categories"] = {name: list(pinned[name]) for name in ordinal}
        if self.keys_categories:
            found["category_texts"] = self.category_texts
        if self.hashed_columns:
            found["hashed_columns"] = dict(self.hashed_columns)
        if self.shapes:
            found["shapes"] = {name: list(shape) for name, shape in self.shapes.items()}
        if self.resized:
            found["resized"] = list(self.resized)
        return found

    def of_canaries(self, path: str) -> "DatasetParams":
        """Return the section for a file of canaries, which this tool writes."""
        # Each canary has a target, and dates in ISO 8601.
        own = {"csv": None, "drop_unlabelled": None, "date_formats": None}
        return self.of_any_type(path).model_copy(update=own)

    def of_any_type(self, path: str | None = None) -> "DatasetParams":
        """Return the section for rows that may have ids of any type: canaries, older versions.

        Parameters
        ----------
        path
            Where these rows are; where the dataset is, if not given.
        """
        text: dict[str, str | None] = {
            name: None if getattr(self, name) is None else "text"
            for name in ("id_type", "subject_type")
        }
        return self.model_copy(update={**text, "path": path or self.path})

"""The section of params.yaml that says which columns of the dataset identify people elsewhere."""

from typing import Any, Literal, get_args

from pydantic import Field, field_validator, model_validator
from unlearn.stages.config.section import Section

#: The deletion lists of California's DROP, as its files call them.
ContactList = Literal["Email", "Phone", "MAID", "CTVID", "NDZ", "NameVIN"]
CONTACT_LISTS: tuple[ContactList, ...] = get_args(ContactList)


class ContactParams(Section):
    """Columns with contact data, by which lists of hashes find people.

    Each of `email`, `phone`, `maid` (mobile advertising ids) and `ctvid` (ids of connected
    televisions) is a column, or a list of columns. Names, dates of birth, ZIP codes and vehicle
    identification numbers are a column each. `birth_dates` says how dates of birth are written:
    1985-07-04 (`iso`), 07/04/1985 (`month_first`) or 04.07.1985 (`day_first`).
    """

    email: list[str] = Field(default_factory=list)
    """Columns of e-mail addresses."""
    phone: list[str] = Field(default_factory=list)
    """Columns of telephone numbers."""
    maid: list[str] = Field(default_factory=list)
    """Columns of mobile advertising ids."""
    ctvid: list[str] = Field(default_factory=list)
    """Columns of ids of connected televisions."""
    first_name: str | None = None
    """The column of first names."""
    last_name: str | None = None
    """The column of last names."""
    birth_date: str | None = None
    """The column of dates of birth."""
    birth_dates: Literal["iso", "month_first", "day_first"] = "iso"
    """How dates of birth are written: 1985-07-04, 07/04/1985 or 04.07.1985."""
    zip: str | None = None
    """The column of ZIP codes."""
    vin: str | None = None
    """The column of vehicle identification numbers."""

    @field_validator("email", "phone", "maid", "ctvid", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _names_are_whole(self) -> "ContactParams":
        if not self.columns:
            raise ValueError("names no column")
        names, others = (self.first_name, self.last_name), (self.birth_date, self.zip, self.vin)
        if any((*names, *others)) and None in names:
            raise ValueError("first_name, last_name: birth dates, ZIP codes and VINs need both")
        if (self.birth_date is None) != (self.zip is None):
            raise ValueError("birth_date, zip: one of them alone finds nobody")
        return self

    def columns_of(self, name: ContactList) -> list[tuple[str, ...]]:
        """Return the columns that identify people for a list; of each tuple, all are needed."""
        single = {"Email": self.email, "Phone": self.phone, "MAID": self.maid, "CTVID": self.ctvid}
        if name in single:
            return [(column,) for column in single[name]]
        last = (self.birth_date, self.zip) if name == "NDZ" else (self.vin,)
        needed = (self.first_name, self.last_name, *last)
        return [tuple(column for column in needed if column)] if all(needed) else []

    @property
    def columns(self) -> list[str]:
        """All columns, each once."""
        found = [
            *(
                column
                for name in ("email", "phone", "maid", "ctvid")
                for column in vars(self)[name]
            ),
            *filter(None, (self.first_name, self.last_name, self.birth_date, self.zip, self.vin)),
        ]
        return list(dict.fromkeys(found))

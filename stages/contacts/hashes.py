"""Hashes of contact data as California's DROP makes them.

A value is standardised, and the SHA-256 of its UTF-8 bytes is written in Base64. Of several values
together, the hashes are written one after the other, and hashed again.

References
----------
California Privacy Protection Agency, DROP technical specifications 1.2.0 (July 2026), "Working with
the data". The specification does not publish its table for Greek and Cyrillic letters. This one is
the usual romanisation, and names in these scripts may be missed where DROP's differs.
"""

import base64
import hashlib
import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache

from unlearn.stages.config.contact import ContactList

_PHONE_DIGITS, _ZIP_CHARACTERS, _MAID_DIGITS, _VIN_CHARACTERS = 10, 5, 32, 17
_CTVID_CHARACTERS = range(8, 33)

#: Letters and what they become: Cyrillic, Greek, and Latin ones that are no plain letter with a
#: mark. A hyphen is nothing.
_ROMANISED = """
а a б b в v г g д d е e ё yo ж zh з z и i й y к k л l м m н n о o п p р r с s т t у u ф f х kh ц ts
ч ch ш sh щ shch ъ - ы y ь - э e ю yu я ya і i ї yi є ye ґ g
α a β v γ g δ d ε e ζ z η i θ th ι i κ k λ l μ m ν n ξ x ο o π p ρ r σ s ς s τ t υ y φ f χ ch ψ ps
ω o
ß ss æ ae œ oe ø o đ d ð d þ th ħ h ı i ł l ŋ n ŧ t ĸ k
""".split()  # noqa: RUF001, SIM905 - other scripts are the point, and pairs are read in a line
_LETTERS = {
    letter: plain.strip("-")
    for letter, plain in zip(_ROMANISED[::2], _ROMANISED[1::2], strict=True)
}

#: How dates of birth may be written besides 19850704 and ISO 8601, by `birth_dates`.
_DATES = {
    "iso": ("%Y%m%d", "%B %d, %Y"),
    "month_first": ("%m/%d/%Y", "%m-%d-%Y", "%m.%d.%Y", "%m%d%Y"),
    "day_first": ("%d/%m/%Y", "%d-%m-%Y", "%d.%m.%Y", "%d%m%Y"),
}


def hashed(standard: str) -> str:
    """Return the hash of a standardised value: 44 characters of Base64."""
    return base64.b64encode(hashlib.sha256(standard.encode()).digest()).decode()


def standard_email(value: str) -> str:
    """Return an e-mail address without white space, in lower case."""
    return "".join(value.split()).lower()


def standard_phone(value: str) -> str:
    """Return the last ten digits of a phone number."""
    return "".join(re.findall(r"[0-9]", value))[-_PHONE_DIGITS:]


def standard_zip(value: str) -> str:
    """Return the first five letters and digits of a postal code, without leading zeros.

    The four digits of a ZIP+4 are left out.
    """
    short = re.sub(r"-[0-9]{4}\s*$", "", value)
    return _letters_and_digits(short).lstrip("0")[:_ZIP_CHARACTERS]


def standard_name(value: str) -> str:
    """Return the letters and digits of a name, in lower case, in Latin letters where there are any.

    Letters of other scripts than Latin, Greek and Cyrillic stay.
    """
    found = []
    for letter in unicodedata.normalize("NFKC", value).lower():
        if letter in _LETTERS:
            found.append(_LETTERS[letter])
            continue
        plain = unicodedata.normalize("NFD", letter)[0]
        # Only of letters that have a plain one: the parts of a Hangul syllable are not its letter.
        if plain in _LETTERS or plain.isascii():
            letter = _LETTERS.get(plain, plain)  # noqa: PLW2901 - what the letter is, read on
        found.append(letter if letter.isalnum() else "")
    return "".join(found)


def standard_date(value: str, written: str = "iso") -> str:
    """Return a date as 19850704; nothing if it is none.

    Parameters
    ----------
    value
        A date, or a date and a time.
    written
        `iso`, `month_first` or `day_first`.
    """
    text = value.strip()
    try:
        return datetime.fromisoformat(text).strftime("%Y%m%d")
    except ValueError:
        pass
    for form in _DATES[written]:
        try:
            return datetime.strptime(text, form).strftime("%Y%m%d")  # noqa: DTZ007 - a date alone
        except ValueError:
            continue
    return ""


def standard_maid(value: str) -> str:
    """Return the 32 hexadecimal digits of a mobile advertising id; nothing if it has others."""
    text = _letters_and_digits(value)
    return text if re.fullmatch(r"[0-9a-f]*", text) and len(text) == _MAID_DIGITS else ""


def standard_ctvid(value: str) -> str:
    """Return the letters and digits of a television's id; nothing if it cannot be one."""
    text = _letters_and_digits(value)
    return text if len(text) in _CTVID_CHARACTERS else ""


def standard_vin(value: str) -> str:
    """Return the 17 letters and digits of a vehicle's number; nothing if there are others."""
    text = _letters_and_digits(value)
    return text if len(text) == _VIN_CHARACTERS else ""


def _letters_and_digits(value: str) -> str:
    return re.sub(r"[^0-9a-z]", "", value.lower())


#: How the values of each list are standardised, in the order in which they are hashed.
_RULES: Mapping[ContactList, tuple[Callable[[str], str], ...]] = {
    "Email": (standard_email,),
    "Phone": (standard_phone,),
    "MAID": (standard_maid,),
    "CTVID": (standard_ctvid,),
    "NDZ": (standard_name, standard_name, standard_date, standard_zip),
    "NameVIN": (standard_name, standard_name, standard_vin),
}


def contact_hash(name: ContactList, values: tuple[str | None, ...], dates: str = "iso") -> str:
    """Return the hash that a list has for these values; nothing where one of them is none.

    Parameters
    ----------
    name
        The list.
    values
        The values that it is made of, in its order: first name, last name, date of birth and ZIP
        code; or first name, last name and vehicle number; or one alone.
    dates
        How dates are written; see `standard_date`.
    """
    rules = _RULES[name]
    parts = [_part(rule, value or "", dates) for rule, value in zip(rules, values, strict=True)]
    if "" in parts:
        return ""
    return parts[0] if len(parts) == 1 else hashed("".join(parts))


@lru_cache(maxsize=1 << 16)
def _part(rule: Callable[[str], str], value: str, dates: str) -> str:
    standard = standard_date(value, dates) if rule is standard_date else rule(value)
    return hashed(standard) if standard else ""

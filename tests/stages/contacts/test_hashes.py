"""Hashes of contact data: the examples that DROP's specification publishes, and odd values."""

import pytest
from unlearn.stages.config.contact import ContactList
from unlearn.stages.contacts.hashes import (
    contact_hash,
    hashed,
    standard_ctvid,
    standard_date,
    standard_email,
    standard_maid,
    standard_name,
    standard_phone,
    standard_vin,
    standard_zip,
)


@pytest.mark.parametrize(
    ("rule", "value", "standard", "digest"),
    [
        (
            standard_email,
            "Anna.Smith@Domain.com",
            "anna.smith@domain.com",
            "KA18MT/ph6IHYjzT9zwETySDQyvSh87YuoSBpOQtkhE=",
        ),
        (
            standard_email,
            "danielle.johnson12@example.com",
            "danielle.johnson12@example.com",
            "mKDnDvwF2inxrKcK1hJN2TRkxPfL6kzNNTtU12eH8Bw=",
        ),
        (
            standard_phone,
            "+1(415)555-9317",
            "4155559317",
            "vGM7y5n+hBXRSEAklhHDPCbysyNgYTmXdMcagGUOY8E=",
        ),
        (
            standard_phone,
            "+84(90)123 4567",
            "4901234567",
            "ptzVkgbv9DonwvPCHmXmJ2SEOaolSh37z3ZzY/Gmm+U=",
        ),
        (
            standard_phone,
            "+354(123)4567",
            "3541234567",
            "Btrzydf5K6ALAKKXJGFHSx7u5bDzHC9WlVYtpq1n2rY=",
        ),
        (
            standard_phone,
            "5551273811",
            "5551273811",
            "jr/RAWYVN+ODBf2vRxwBASPwiO4x27OGI1y3IDhcwLo=",
        ),
        (standard_zip, "91790-3771", "91790", "2FPZucR4x7U8KlM+SFAX4LPGhwNz/PIZUCSUdDh0o/s="),
        (standard_zip, "M1B 1A1", "m1b1a", "n8L9q8mVeT6Xt9/EeUNiTukGDrkbPJ3DvOEx14uElxk="),
        (standard_zip, " 00712345", "71234", "aeNUYKh7Xw5sqpxSbSP9eOHsj6iXewbUyavv89DIuhQ="),
        (standard_zip, " 00300-9999", "300", "mDvWFLta/s5as7YCP3EUfNe2vCMU+dJ690IlQcZVg4k="),
        (standard_date, "July 4, 1776", "17760704", "skXYXxBER6HQTZ3rXSZH1wVGLQ054mS5rbR/bwvzy4I="),
        (standard_date, "1985-07-04", "19850704", "IWi7qxOAbBJe0fNciDj76Eg84gmj40rB7aNMK/VnFOI="),
        (standard_name, "Juan Pablo", "juanpablo", "91hIbrbzNeqHs3o81O5yNrXUj7wDd2shvZ6THKi9qz8="),
        (standard_name, "Martinez", "martinez", "2wRPGbwBNxhShjRczx8GfS2c4cjvs4NJskeWloUNtp8="),
        (
            standard_vin,
            "1HGCM82633A004352",
            "1hgcm82633a004352",
            "iNswy1m+0VSt8jAfFrvaiQ1R/0HAbgSwNGkwqo6QBss=",
        ),
    ],
)
def test_published_examples_of_one_value(
    rule: object, value: str, standard: str, digest: str
) -> None:
    assert callable(rule)
    assert rule(value) == standard
    assert hashed(standard) == digest


@pytest.mark.parametrize(
    ("name", "values", "digest"),
    [
        (
            "NDZ",
            ("Danielle", "Johnson", "July 4, 1985", "91790"),
            "PQOfn1RffEKmqMmNAzDKKaoZCwxWbQZkQzPWmQo9REA=",
        ),
        (
            "NameVIN",
            ("Eve", "Genesis", "1HGCM82633A004352"),
            "rtnDuXIe63jXYQQXW5r07GJ7lSsrib8+46QuKFwkOmk=",
        ),
    ],
)
def test_published_examples_of_several_values(
    name: ContactList, values: tuple[str, ...], digest: str
) -> None:
    assert contact_hash(name, values) == digest


@pytest.mark.parametrize(
    ("name", "standard"),
    [
        ("O'Brien", "obrien"),
        ("José", "jose"),
        ("Jose\u0301", "jose"),
        ("Straße", "strasse"),
        ("ŁUKASZ", "lukasz"),
        ("Ħaġar", "hagar"),
        ("ıI", "ii"),
        ("İzmir", "izmir"),
        ("Ĳssel", "ijssel"),
        ("Ёлкина", "yolkina"),
        ("Щербакова", "shcherbakova"),
        ("ЪЬЫ", "y"),
        ("Θεοδώρου", "theodoroy"),
        ("田中", "田中"),
        ("キムラ", "キムラ"),
        ("김", "김"),
        ("محمد", "محمد"),
        ("  van  der  Berg ", "vanderberg"),
        ("D'Angelo-Smith 3", "dangelosmith3"),
        (" -' ", ""),
    ],
)
def test_names(name: str, standard: str) -> None:
    assert standard_name(name) == standard


@pytest.mark.parametrize(
    ("value", "written", "standard"),
    [
        ("19850704", "iso", "19850704"),
        ("1985-07-04T10:00:00Z", "iso", "19850704"),
        ("1985-07-04 00:00:00", "iso", "19850704"),
        ("07/04/1985", "iso", ""),
        ("07/04/1985", "month_first", "19850704"),
        ("04.07.1985", "day_first", "19850704"),
        ("31/02/1985", "day_first", ""),
        ("", "iso", ""),
        ("unknown", "month_first", ""),
    ],
)
def test_dates(value: str, written: str, standard: str) -> None:
    assert standard_date(value, written) == standard


def test_ids_of_devices() -> None:
    assert standard_maid("38400000-8CF0-11BD-B23E-10B96E40000D") == (
        "384000008cf011bdb23e10b96e40000d"
    )
    assert standard_maid("38400000-8cf0-11bd-b23e-10b96e40000") == ""
    assert standard_maid("g" * 32) == ""
    assert standard_ctvid("AB-cd-12-34") == "abcd1234"
    assert standard_ctvid("abc") == standard_ctvid("a" * 33) == ""
    assert standard_vin("1HGCM82633A00435") == ""


def test_a_missing_part_gives_no_hash() -> None:
    assert contact_hash("NDZ", ("Danielle", "Johnson", "July 4, 1985", None)) == ""
    assert contact_hash("NDZ", ("Danielle", " ", "July 4, 1985", "91790")) == ""
    assert contact_hash("Email", (" ",)) == ""

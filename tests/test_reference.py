"""The references of the site have every command, option and setting, each with a description."""

import re
import tomllib
from pathlib import Path

import pytest
import unlearn
from unlearn.cli.app import COMMANDS
from unlearn.cli.init.checks.taken import STAGES, taken_names
from unlearn.cli.init.files.workflow import INPUTS
from unlearn.cli.lazy import load
from unlearn.cli.schemas import schemas
from unlearn.stages.config.methods import MethodSettings
from unlearn.stages.config.params import Params

from website import pages, settings
from website.links import ROOT, with_pipes_in_code


@pytest.fixture(scope="module")
def sections() -> list[tuple[str, str, list[settings.Setting]]]:
    return list(settings.sections())


def test_every_setting_has_a_meaning(
    sections: list[tuple[str, str, list[settings.Setting]]],
) -> None:
    for heading, explanation, found in sections:
        assert explanation, heading
        for each in found:
            assert each.meaning.endswith((".", ".*")), each.key
            assert not each.meaning.startswith(" "), each.key


def test_every_section_of_the_settings_is_there(
    sections: list[tuple[str, str, list[settings.Setting]]],
) -> None:
    keys = {each.key for _, _, found in sections for each in found}
    assert Params.model_fields.keys() <= keys
    assert {f"unlearn.settings.{name}" for name in MethodSettings.model_fields} <= keys
    assert {
        "aggregate.rule",
        "dataset.contact.email",
        "sharding.slices",
        "train.augment.crop",
        "train.options.fourier",
        "unlearn.language.npo.beta",
        "unlearn.settings.scrub.gamma",
        "verify.rerun",
    } <= keys


def test_a_setting_says_what_it_may_be() -> None:
    text = settings.page()
    assert "| whole number, at least 1, at most 1000 | required | exact |" in text  # slices
    assert "| one of `verdict`, `figures` | `verdict` | both |" in text
    assert "| number, at least 0, below 1 | `0.2` | both |" in text


def test_every_command_and_option_is_in_the_reference() -> None:
    text = pages.command_line(COMMANDS)
    for name, entry in COMMANDS.items():
        (part,) = [each for each in text.split("\n### ") if each.startswith(f"unlearn {name}\n")]
        for parameter in load(name, entry).params:
            words = " ".join(parameter.help.split()).replace("|", "\\|")
            assert words in part, (name, parameter.name)
            if parameter.param_type_name == "option":
                assert parameter.opts[-1] in part, (name, parameter.name)
        assert "```text\nunlearn" in part, name


def test_the_exit_codes_have_their_meanings() -> None:
    codes = dict(pages.exit_codes())
    assert list(codes) == ["0", "1", "2", "3", "4", "130"]
    assert all(meaning.strip().endswith(".") for meaning in codes.values())


def test_the_glossary_is_that_of_the_design() -> None:
    text = pages.glossary()
    assert '<span id="clean-room">clean room</span>' in text
    assert text.count("\n| <span") > 50
    assert text.count("## ") == 0


def test_the_reference_of_the_python_interface_has_every_public_name() -> None:
    text = (ROOT / "docs/reference/api.md").read_text(encoding="utf-8")
    described = set(re.findall(r"(?m)^::: [\w.]+\.(\w+)$", text)) | set(
        re.findall(r"`(\w+)`", text)
    )
    assert set(unlearn.__all__) - {"__version__"} <= described


def test_commands_that_find_something_have_the_exit_code_of_findings() -> None:
    text = pages.command_line(COMMANDS)
    found = re.findall(r"### unlearn ([a-z -]+)\n(?:(?!### ).*\n)*?Exit code: 0, or 1 for", text)
    assert found
    assert set(found) == {
        "audit",
        "doctor",
        "erase",
        "plan",
        "receipt verify",
        "repro",
        "scan",
        "status",
        "verify",
    }


def _table_of_keys(text: str, name: str) -> str:
    """Return what comes after the link to a schema, up to the next command."""
    return text.partition(f"](../schemas/{name}.json)")[2].partition("\n### ")[0]


def test_keys_with_one_meaning_are_in_one_row() -> None:
    text = pages.command_line(COMMANDS)
    assert "\n| `trained_on`, `left_out` | How many of them" in text
    assert text.count("| Shards, and slices of each. |") == 1


def test_every_key_of_json_is_in_the_reference() -> None:
    text = pages.command_line(COMMANDS)
    for name, schema in schemas().items():
        if name in ("error", "verify_report", "verdict"):
            continue
        assert f"](../schemas/{name}.json)" in text
        answers = schema["$defs"].values() if "anyOf" in schema else [schema]
        whole = [each for each in answers if "schema_version" in each.get("properties", {})]
        keys = {key for each in whole for key in each["properties"]} - {"schema_version"}
        assert pages.json_keys(name).keys() == keys
        rows = dict(
            re.findall(r"(?m)^\| (`\w+`(?:, `\w+`)*) \| (.*) \|$", _table_of_keys(text, name))
        )
        shown = {key: rows[cell] for cell in rows for key in re.findall(r"\w+", cell)}
        assert shown == {key: pages.cell(say) for key, say in pages.json_keys(name).items()}


def test_what_the_reference_lists_is_not_listed_again_by_hand() -> None:
    text = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    assert re.findall(r"(?m)^\| (?:option|argument) \|", text) == []
    assert pages.explained() >= {"init", "forget", "plan", "repro", "verify", "audit", "doctor"}


def test_the_page_on_ci_names_every_file_that_starts_a_run() -> None:
    text = (ROOT / "docs/ci.md").read_text(encoding="utf-8")
    assert [name for name in (*INPUTS, "data/requests") if f"`{name}`" not in text] == []


def test_the_page_on_existing_repositories_has_the_names_that_are_taken(tmp_path: Path) -> None:
    text = (ROOT / "docs/existing-repositories.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"(?m)^\| `(sisa|posthoc)` \| (.*) \|$", text))
    stages, sections = (re.findall(r"`(\w+)`", cell) for cell in rows["sisa"].split("|"))
    assert set(stages) == set(STAGES["sisa"])
    assert rows["posthoc"] == "also `young` and `unlearn` | also `unlearn`"
    assert set(STAGES["posthoc"]) - set(stages) == {"young", "unlearn"}
    for template, names in (("sisa", sections), ("posthoc", [*sections, "unlearn"])):
        # Every top-level name that there could be: those that are refused are those of the page.
        every = {*Params.model_fields, *STAGES["posthoc"], "shards", "schema"}
        (tmp_path / "params.yaml").write_text("".join(f"{name}: 1\n" for name in sorted(every)))
        (said,) = taken_names(tmp_path, template)
        refused = said.removeprefix("params.yaml has settings ").split(", ")
        assert sorted(refused) == sorted(names)


def test_an_argument_is_called_what_it_takes() -> None:
    text = pages.command_line(COMMANDS)
    names = set(re.findall(r"\| argument \| meaning \|\n\|---\|---\|\n\| `` (.*?) `` \|", text))
    assert {"DIRECTORY", "METHOD", "OLD..NEW", "FILE", "FILE ...", "PATH", "PATH ..."} <= names
    assert [name for name in names if " " in name.removesuffix(" ...")] == []


def test_defaults_and_limits_of_options_are_sentences() -> None:
    text = pages.command_line(COMMANDS)
    assert "number of processors. Allowed: `x>=1`. |" in text
    assert "same bytes. Default: `local`. |" in text
    assert "such as data/receipts. Required. |" in text


def test_pipes_in_code_of_tables_have_no_backslash_in_the_site() -> None:
    shown = with_pipes_in_code("| `a\\|b` | c\\|d |\n\n`a\\|b`")
    assert shown == "| `a|b` | c\\|d |\n\n`a\\|b`"


def test_the_page_on_installation_has_every_extra_that_users_need() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (ROOT / "docs/install.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| (`[a-z0-9`, ]+) \|", text)
    found = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    for_developers = {"docs", "lint", "notebook", "test"}
    assert found == project["optional-dependencies"].keys() - for_developers


def test_the_settings_say_where_unknown_keys_are_no_error() -> None:
    assert "only a `params.yaml` that other stages share" in " ".join(settings.page().split())

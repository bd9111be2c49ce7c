"""The files of a project's settings: params.yaml, and two files for what would make it long.

DVC parses the file of every parameter of every stage, and hashes a dependency once. So the schema,
which has a line for each column, and the list of shards, which has an item for each, are in files
of their own: stages depend on `schema.yaml`, and dvc.yaml takes the names of shards from
`shards.yaml`.
"""

from collections.abc import Mapping
from typing import Any

SCHEMA_FILE = "schema.yaml"
SHARDS_FILE = "shards.yaml"

#: The section of params.yaml that each file adds to, and the settings that it has.
FILES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    SCHEMA_FILE: (
        "dataset",
        (
            "task",
            "target_scale",
            "classes",
            "features",
            "date_formats",
            "categories",
            "hashed_columns",
        ),
    ),
    SHARDS_FILE: ("sharding", ("shards",)),
}


def merged(params: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return all settings by section.

    Parameters
    ----------
    params
        The content of params.yaml.
    others
        The content of other files, by name. A file that is not there adds nothing: older projects
        have all settings in params.yaml, and a post-hoc project has no list of shards.
    """
    settings = dict(params)
    if "unlearn" in params and SHARDS_FILE not in others:
        # One model on all rows: there is no number of shards to choose.
        others = {SHARDS_FILE: {"shards": ["s000"]}, **others}
    for name, content in others.items():
        section, _ = FILES[name]
        within = settings.get(section)
        if isinstance(within, Mapping):
            settings[section] = {**content, **within}
    return settings


def split(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the content of each file by its name, params.yaml among them.

    It is the inverse of `merged`: a file without any setting is left out, and so is the one shard
    of a post-hoc project.
    """
    params = {name: _copy(value) for name, value in settings.items()}
    found = {"params.yaml": params}
    for name, (section, keys) in FILES.items():
        within = params.get(section)
        if isinstance(within, dict):
            content = {key: within.pop(key) for key in keys if key in within}
            if content:
                found[name] = content
    if "unlearn" in params:
        found.pop(SHARDS_FILE, None)
    return found


def file_of(location: tuple[int | str, ...], message: str) -> tuple[str, tuple[int | str, ...]]:
    """Return the file of a setting, and the setting's place in that file.

    Parameters
    ----------
    location
        Names and indices from the top of the merged settings.
    message
        What is wrong there. An error about a whole section begins with the setting's name.
    """
    for name, (section, keys) in FILES.items():
        if location[:1] != (section,):
            continue
        if location[1:2] and location[1] in keys:
            return name, location[1:]
        if len(location) == 1 and message.partition(":")[0] in keys:
            return name, ()
    return "params.yaml", location


def _copy(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value

"""The schemas as pages: JSON Schema for editors, and the reference of every setting."""

from __future__ import annotations

import difflib
import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import Any

from onrecord.config.loading import ConfigError
from onrecord.config.schemas import SCHEMAS

INTRO = """# Every setting of every config

Made from the schemas in `pipeline/onrecord/config/schemas.py` by `onrecord config reference` (`make report`); don't edit.

A config is one YAML file. Its `kind` says what it is; an unknown setting is a fault at every level, and `onrecord config check`
names each fault with its line. A setting that a file leaves out has the default below.

- **Paths** count from the project root: the folder that holds the `configs/` folder that the YAML lies in, else the YAML's own.
- **`extends`** names a config of the same kind. Its settings hold where the file says nothing, section by section; a list or
  value is replaced as a whole. Paths that a run reads keep the project of the config that names them; those that it
  writes count from the config that is run.
- **Overrides** `key=value` replace settings of the file for one run, with dots between section and setting:
  `onrecord train configs/train/stance.yaml optimizer.epochs=2`.
- `onrecord config show CONFIG [key=value …]` prints what a run would see.
"""


@dataclass(frozen=True)
class Setting:
    """One row of the reference: a setting with dots between section and name, and all in words."""

    name: str
    type: str
    range: str
    unit: str
    default: str
    title: str


def json_schema(kind: str) -> dict[str, Any]:
    """JSON Schema (2020-12) of the configs of one kind, for completion and checks in editors.

    Raises:
        ConfigError: for an unknown kind.
    """
    if kind not in SCHEMAS:
        near = difflib.get_close_matches(kind, SCHEMAS, n=1)
        raise ConfigError(
            f"{kind}: no such kind of config.{f' Did you mean {near[0]}?' if near else ''} One of {', '.join(SCHEMAS)}."
        )
    schema = SCHEMAS[kind].model_json_schema(by_alias=True)
    needed = schema.pop("required", [])
    # What a config extends may bring what it must have.
    schema |= {"required": ["kind"], "if": {"not": {"required": ["extends"]}}, "then": {"required": needed}}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": f"onrecord {kind} config"}


def settings(kind: str) -> list[Setting]:
    """All settings of a kind of config, those of sections with dotted names."""
    schema = json_schema(kind)
    return list(_settings(schema | schema["then"], schema.get("$defs", {}), ""))


def reference_markdown() -> str:
    """The reference of every setting of every kind of config."""
    parts = [INTRO]
    for kind, schema in SCHEMAS.items():
        rows = [
            "".join(f"| {cell} " if cell else "| " for cell in (f"`{row.name}`", *astuple(row)[1:])) + "|"
            for row in settings(kind)
        ]
        head = ["| setting | type | range | unit | default | what it is |", "|---|---|---|---|---|---|"]
        parts.append("\n".join([f"## {kind}", "", inspect.getdoc(schema) or "", "", *head, *rows, ""]))
    return "\n".join(parts)


def split_title(title: str) -> tuple[str, str]:
    """A field's title as its words and the unit that ends it in brackets; no unit is empty."""
    match = re.fullmatch(r"(.+?)(?: \[([^\[\]]+)\])?", title)
    return (match.group(1), match.group(2) or "") if match else (title, "")


def _settings(schema: dict[str, Any], defs: dict[str, Any], prefix: str) -> Iterator[Setting]:
    required = schema.get("required", ())
    for name, field in sorted(schema["properties"].items(), key=lambda item: item[0] != "kind"):
        inner, path = _section(field, defs, f"{prefix}{name}")
        words, unit = split_title(field.get("title", ""))
        shape = _value(field, defs)
        default = "required" if name in required else "" if shape.get("properties") else _default(field)
        yield Setting(f"{prefix}{name}", _type(shape, defs), _range(shape), unit, default, words.replace("|", "\\|"))
        if inner is not None:
            yield from _settings(inner, defs, f"{path}.")


def _value(field: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    """The schema of a setting's value, where it may also be null that of the value that it has else."""
    if "$ref" in field:
        return dict(defs[field["$ref"].rsplit("/", 1)[1]])
    options = [option for option in field.get("anyOf", ()) if option.get("type") != "null"]
    return _value(options[0], defs) if options else field


def _section(field: dict[str, Any], defs: dict[str, Any], path: str) -> tuple[dict[str, Any] | None, str]:
    """The section that a setting holds, if any, and the path of its settings."""
    shape = _value(field, defs)
    if "properties" in shape:
        return shape, path
    if shape.get("type") == "array":
        return _section(shape["items"], defs, f"{path}[]")
    if isinstance(shape.get("additionalProperties"), dict):
        return _section(shape["additionalProperties"], defs, f"{path}.<name>")
    return None, path


def _type(shape: dict[str, Any], defs: dict[str, Any]) -> str:
    if "const" in shape:
        return f"`{shape['const']}`"
    if "enum" in shape:
        return ", ".join(f"`{value}`" for value in shape["enum"])
    if shape.get("format") in ("path", "date"):
        return str(shape["format"])
    if shape.get("type") == "array":
        return f"list of {_type(_value(shape['items'], defs), defs)}"
    if shape.get("type") == "object":
        inner = shape.get("additionalProperties")
        return f"name → {_type(_value(inner, defs), defs)}" if isinstance(inner, dict) else "section"
    names = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true, false"}
    return names[shape["type"]]


def _range(shape: dict[str, Any]) -> str:
    signs = (("exclusiveMinimum", "> "), ("minimum", "≥ "), ("exclusiveMaximum", "< "), ("maximum", "≤ "))
    return ", ".join(f"{sign}{shape[key]:g}" for key, sign in signs if key in shape)


def _default(field: dict[str, Any]) -> str:
    value = field.get("default")
    if value is None or value in ([], {}, ""):
        return "empty"
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value, ensure_ascii=False)}`"

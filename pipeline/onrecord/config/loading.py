"""YAML → settings: what a config extends, overrides, and faults as letters that name file, line, field and remedy.

Files and overrides are merged as YAML nodes, before they become values: each node keeps the file and line
that it was written in, so a fault is named where it stands and not where it came to light.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from onrecord.config.schemas import SCHEMAS, RefersTo, RegistryConfig, RunConfig, Section

MAX_CONFIG_BYTES = 2_000_000
# Aliases can make a small file describe a huge one.
MAX_VALUES = 500_000

Schema = TypeVar("Schema", bound=Section)
Mark = TypeVar("Mark")


class ConfigError(ValueError):
    """A config that can't be used; the text names file, line, field and remedy, one fault a line."""


@dataclass(frozen=True)
class Source:
    """A config as it was written, with what it extends and what overrides it; every part knows its place."""

    path: Path
    node: yaml.MappingNode

    def place(self, loc: Sequence[Any] = ()) -> str:
        """`file:line`, or the override, of the deepest part of `loc` (keys and indexes) that was written."""
        node: yaml.Node = self.node
        mark = node.start_mark
        for part in loc:
            if isinstance(node, yaml.MappingNode):
                # Of two equal keys the last holds: the first came from a YAML merge key.
                match = [(key, value) for key, value in node.value if key.value == str(part)]
                if not match:
                    break
                mark, node = match[-1][0].start_mark, match[-1][1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                mark = node.start_mark
            else:
                break
        return _place(mark)


def resource_root() -> Path:
    """The folder with the shipped `configs/`, `models/` and `data/`: the wheel's own, or the checkout."""
    package = Path(__file__).resolve().parents[1]
    return package if (package / "configs").is_dir() else package.parents[1]


def project_root(config: Path) -> Path:
    """The folder that relative paths inside the YAML `config` count from."""
    config = config.resolve()
    for folder in config.parents:
        if folder.name == "configs":
            return folder.parent
    return config.parent


def resolve(config: Path, path: Path) -> Path:
    """Where a `path` written in the YAML `config` lies."""
    return path if path.is_absolute() else project_root(config) / path


def marked(schema: type[Section], mark: type[Mark]) -> dict[str, Mark]:
    """The settings of `schema` that are annotated with a `mark`, such as what they refer to, and the mark of each."""
    return {name: found for name, field in schema.model_fields.items() for found in field.metadata if isinstance(found, mark)}


def input_paths(schema: type[Section]) -> dict[str, Path | None]:
    """The settings of `schema` that are paths of what a run reads, with their defaults; None for one that must be given."""
    fields = {name: schema.model_fields[name] for name in marked(schema, RefersTo)}
    return {name: None if field.is_required() else field.default for name, field in fields.items() if field.annotation is Path}


def config_kind(path: Path) -> str | None:
    """The `kind` that the YAML at `path` gives itself; None where it gives none or can't be read, which `load` explains."""
    try:
        node = _compose(str(path), path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError):
        return None
    return _kind(node) if isinstance(node, yaml.MappingNode) else None


def schema_of(path: Path) -> type[Section]:
    """The schema of the YAML at `path`, by its `kind`.

    Raises:
        ConfigError: when it can't be read, or is of no known kind.
    """
    node = read_tree(path)
    kind = _kind(node)
    if kind not in SCHEMAS:
        near = difflib.get_close_matches(str(kind), SCHEMAS, n=1)
        raise ConfigError(
            f"{Source(path, node).place(('kind',))}: `kind` is {'missing' if kind is None else repr(kind)}, expected one of "
            f"{', '.join(SCHEMAS)}.{f' Did you mean `{near[0]}`?' if near else ''}"
        )
    return SCHEMAS[kind]


def load(path: Path, schema: type[Schema], overrides: Sequence[str] = ()) -> Schema:
    """Read the YAML at `path` as `schema`, merged onto the config that it `extends`.

    Args:
        path: The config.
        schema: What it must be.
        overrides: Settings that replace the file's, each `key=value` with dots between section and setting
            (`optimizer.epochs=2`) and the value as YAML would have it.

    Raises:
        ConfigError: with every fault of files and overrides, each naming its place, field and remedy.
    """
    return parse(read_source(path, schema, overrides), schema)


def read_source(path: Path, schema: type[Section], overrides: Sequence[str] = ()) -> Source:
    """The YAML at `path` with what it extends and what overrides it, its settings not checked yet; see `load`."""
    node = _extended(path, schema, ())
    faults: list[str] = []
    seen: set[str] = set()
    for text in overrides:
        try:
            key, top = _override(text)
            if key in seen:
                raise ConfigError(f"override `{text}`: `{key}` is given twice; keep one")
        except ConfigError as error:
            faults.append(str(error))
            continue
        seen.add(key)
        node = _over(node, top)
    if faults:
        raise ConfigError("\n".join(faults))
    return Source(path, node)


def parse(source: Source, schema: type[Schema]) -> Schema:
    """The settings of `source`; see `load`."""
    try:
        return schema.model_validate(yaml.SafeLoader("").construct_document(source.node))
    except yaml.YAMLError as error:
        raise ConfigError(_not_yaml(source.path, error)) from error
    except ValidationError as error:
        faults = [_letter(source, schema, fault) for fault in error.errors()]
        raise ConfigError("\n".join(dict.fromkeys(faults))) from error


def as_yaml(config: Section) -> str:
    """All settings of `config`, defaults included, as YAML that loads to an equal one."""
    data = config.model_dump(mode="json", by_alias=True)
    return yaml.safe_dump({"kind": data.pop("kind"), **data}, sort_keys=False, allow_unicode=True, width=120)


@cache
def load_registry(path: Path) -> RegistryConfig:
    """Read a registry file once a process; entries are immutable."""
    return load(path, RegistryConfig)


def _place(mark: yaml.Mark) -> str:
    return mark.name if mark.name.startswith("override `") else f"{mark.name}:{mark.line + 1}"


def _compose(name: str, text: str) -> yaml.Node | None:
    loader = yaml.SafeLoader(text)
    loader.name = name
    return loader.get_single_node()


def read_tree(path: Path) -> yaml.MappingNode:
    """The YAML at `path` alone, as one tree without repeated keys, unreadable values or endless aliases.

    Raises:
        ConfigError: with every such fault.
    """
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ConfigError(f"{path}: more than {MAX_CONFIG_BYTES} bytes; is it a config?")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such config{_nearest_file(path)}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read as UTF-8 text: {error}") from error
    try:
        node = _compose(str(path), text)
        if not isinstance(node, yaml.MappingNode):
            kind = "nothing" if node is None else "a list" if isinstance(node, yaml.SequenceNode) else "one value"
            raise ConfigError(f"{path}:1: expected settings as `name: value`, found {kind}")
        tree = _Tree()
        size = tree.inspect(node)
    except yaml.YAMLError as error:
        raise ConfigError(_not_yaml(path, error)) from error
    except RecursionError as error:
        raise ConfigError(f"{path}: nested too deeply to be a config") from error
    if size > MAX_VALUES:
        tree.faults.append(f"{path}: its aliases stand for more than {MAX_VALUES} values; is it a config?")
    if tree.faults:
        raise ConfigError("\n".join(tree.faults))
    return node


def _not_yaml(path: Path, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f"{_place(mark) if mark else f'{path}:1'}: not valid YAML: {getattr(error, 'problem', error)}"


@dataclass
class _Tree:
    """What reading a YAML tree once finds out: its size with aliases written out, and its faults."""

    faults: list[str] = field(default_factory=list)
    _sizes: dict[int, int] = field(default_factory=dict)
    _loader: yaml.SafeLoader = field(default_factory=lambda: yaml.SafeLoader(""))

    def inspect(self, node: yaml.Node) -> int:
        """Values in `node`, itself included; YAML merge keys in it are resolved."""
        if id(node) in self._sizes:
            if self._sizes[id(node)] == 0:
                self.faults.append(f"{_place(node.start_mark)}: this anchor holds an alias of itself; write it out")
            return self._sizes[id(node)]
        self._sizes[id(node)] = 0
        size = 1
        if isinstance(node, yaml.MappingNode):
            self.faults += _key_faults(node)
            if not self.faults:
                self._loader.flatten_mapping(node)
            size += sum(self.inspect(value) for _, value in node.value)
        elif isinstance(node, yaml.SequenceNode):
            size += sum(self.inspect(value) for value in node.value)
        elif not node.tag.endswith((":str", ":merge", ":value")):
            try:
                self._loader.construct_object(node)
            except ValueError as error:
                # Such as the 30th of February.
                self.faults.append(f"{_place(node.start_mark)}: {node.value} is no {node.tag.split(':')[-1]}: {error}")
        self._sizes[id(node)] = size
        return size


def _key_faults(node: yaml.MappingNode) -> Iterator[str]:
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            yield f"{_place(key.start_mark)}: a list or section can't be the name of a setting"
        elif key.value in seen:
            yield f"{_place(key.start_mark)}: `{key.value}` stands twice in one section; keep one"
        else:
            seen.add(key.value)


def _nearest_file(path: Path) -> str:
    if not path.parent.is_dir():
        return f"; the folder {path.parent} is not there either"
    names = [other.name for other in path.parent.iterdir() if other.suffix in (".yaml", ".yml")]
    near = difflib.get_close_matches(path.name, names, n=1)
    return f". Did you mean {path.parent / near[0]}?" if near else ""


def _entry(node: yaml.MappingNode, name: str) -> tuple[yaml.Node, yaml.Node] | None:
    return next(((key, value) for key, value in node.value if key.value == name), None)


def _kind(node: yaml.MappingNode) -> str | None:
    entry = _entry(node, "kind")
    return entry[1].value if entry and isinstance(entry[1], yaml.ScalarNode) else None


def _extended(path: Path, schema: type[Section], above: tuple[Path, ...]) -> yaml.MappingNode:
    """The settings of the config at `path` merged onto those of the config that it extends; `above` led to it."""
    node = read_tree(path)
    _check_kind(path, node, schema, above)
    entry = _entry(node, "extends") if issubclass(schema, RunConfig) else None
    if entry is None:
        return node
    place = _place(entry[0].start_mark)
    if not isinstance(entry[1], yaml.ScalarNode) or not entry[1].value:
        raise ConfigError(f"{place}: `extends`: expected the path of one other config")
    below = resolve(path, Path(entry[1].value))
    above = (*above, path)
    if below.resolve() in [other.resolve() for other in above]:
        raise ConfigError(f"{place}: `extends` goes round in a circle: {' → '.join(str(other) for other in (*above, below))}")
    if not below.is_file():
        raise ConfigError(f"{place}: `extends`: {below}: no such config{_nearest_file(below)}")
    base = _extended(below, schema, above)
    if project_root(below) != project_root(path):
        base = _rooted(below, base, schema)
    own = [(key, value) for key, value in node.value if key is not entry[0]]
    return _over(base, yaml.MappingNode(node.tag, own, node.start_mark, node.end_mark))


def _check_kind(path: Path, node: yaml.MappingNode, schema: type[Section], above: tuple[Path, ...]) -> None:
    expected = next(name for name, known in SCHEMAS.items() if known is schema)
    kind = _kind(node)
    if kind == expected:
        return
    found = "missing" if kind is None else repr(kind)
    letter = f"{Source(path, node).place(('kind',))}: `kind` is {found}, expected `kind: {expected}`"
    if above:
        letter += f" like {above[-1]}, which extends it"
    elif kind is not None and kind not in SCHEMAS:
        letter += f"; {found} is none of {', '.join(SCHEMAS)}"
    raise ConfigError(letter)


def _rooted(path: Path, node: yaml.MappingNode, schema: type[Section]) -> yaml.MappingNode:
    """`node` of the config at `path` with the paths that a run reads in full, so that another project's config can extend it.

    A path that a run writes stays as it is: it counts from the project of the config that is run.
    """
    pairs = list(node.value)
    for name, default in input_paths(schema).items():
        entry = _entry(node, name)
        written = Path(entry[1].value) if entry else default
        if written is None:
            continue
        key = entry[0] if entry else _word(name, node.start_mark)
        value = _word(str(resolve(path, written)), key.start_mark)
        pairs = [pair for pair in pairs if pair[0] is not key] + [(key, value)]
    return yaml.MappingNode(node.tag, pairs, node.start_mark, node.end_mark)


def _over(base: yaml.MappingNode, top: yaml.MappingNode) -> yaml.MappingNode:
    """`top` over `base`: sections are merged, anything else of `top` replaces what `base` has."""
    rest = {key.value: (key, value) for key, value in top.value}
    pairs = []
    for key, value in {key.value: (key, value) for key, value in base.value}.values():
        new_key, new = rest.pop(key.value, (key, value))
        sections = isinstance(value, yaml.MappingNode) and isinstance(new, yaml.MappingNode)
        pairs.append((new_key, _over(value, new) if sections and new is not value else new))
    return yaml.MappingNode(base.tag, [*pairs, *rest.values()], base.start_mark, base.end_mark)


def _override(text: str) -> tuple[str, yaml.MappingNode]:
    """The dotted key of the override `text`, and a tree that holds its value alone."""
    place = f"override `{text}`"
    key, sign, value = text.partition("=")
    parts = key.strip().split(".")
    if not sign or not all(parts):
        raise ConfigError(f"{place}: write key=value, with dots between section and setting: optimizer.epochs=2")
    if parts[0] in ("kind", "extends"):
        raise ConfigError(f"{place}: `{parts[0]}` stands in the file only; write another config")
    tree = _Tree()
    try:
        node = _compose(place, value) or _compose(place, "null")
        if node is not None:
            tree.inspect(node)
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{place}: the value is not valid YAML: {getattr(error, 'problem', error)}") from error
    if tree.faults:
        raise ConfigError("\n".join(tree.faults))
    mark = yaml.Mark(place, 0, 0, 0, "", 0)
    for part in reversed(parts[1:]):
        node = yaml.MappingNode("tag:yaml.org,2002:map", [(_word(part, mark), node)], mark, mark)
    return ".".join(parts), yaml.MappingNode("tag:yaml.org,2002:map", [(_word(parts[0], mark), node)], mark, mark)


def _word(text: str, mark: yaml.Mark) -> yaml.ScalarNode:
    return yaml.ScalarNode("tag:yaml.org,2002:str", text, mark, mark)


def _letter(source: Source, schema: type[Section], fault: Any) -> str:
    """One fault as its place, field, what was found and what to do."""
    loc = tuple(fault["loc"])
    where = source.place(loc)
    field = ".".join(str(part) for part in loc)
    if fault["type"] == "extra_forbidden":
        known = _fields_at(schema, loc[:-1])
        near = difflib.get_close_matches(str(loc[-1]), known, n=1, cutoff=0.5)
        section = ".".join(str(part) for part in loc[:-1]) or "this file"
        hint = f" Did you mean `{near[0]}`?" if near else f" Settings there: {', '.join(known)}."
        return f"{where}: `{loc[-1]}` is not a setting of {section}.{hint}"
    if fault["type"] == "missing":
        return f"{where}: `{field}` is missing; add it."
    found = "" if isinstance(fault.get("input"), dict | list) else f" (found {fault.get('input')!r})"
    return f"{where}: {'`' + field + '`: ' if field else ''}{fault['msg']}{found}"


def _fields_at(schema: type[Section], loc: tuple[Any, ...]) -> list[str]:
    current: Any = schema
    for part in loc:
        if isinstance(current, type) and issubclass(current, BaseModel) and part in current.model_fields:
            current = current.model_fields[part].annotation
        inner = [argument for argument in get_args(current) if isinstance(argument, type) and issubclass(argument, BaseModel)]
        if inner:
            current = inner[0]
    if isinstance(current, type) and issubclass(current, BaseModel):
        return [field.alias or name for name, field in current.model_fields.items()]
    return []

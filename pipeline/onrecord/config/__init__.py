"""Every YAML's schema and the only defaults (schemas); strict loading that names file, line, field and remedy (loading).

Configs are data: a YAML picks from closed lists of names and never imports code. Relative paths in a YAML
count from its project root, the folder that holds the `configs/` folder it lies in.
"""

from onrecord.config.loading import (
    ConfigError,
    Source,
    as_yaml,
    config_kind,
    load,
    load_registry,
    parse,
    project_root,
    read_source,
    resolve,
    resource_root,
    schema_of,
)
from onrecord.config.schemas import (
    SCHEMAS,
    AnalyzeConfig,
    ConflictConfig,
    ExtractionTrainConfig,
    Names,
    OptimizerConfig,
    PartyConfig,
    RegistryConfig,
    RegistryEntry,
    RunConfig,
    Section,
    StanceTrainConfig,
)

__all__ = [
    "SCHEMAS",
    "AnalyzeConfig",
    "ConfigError",
    "ConflictConfig",
    "ExtractionTrainConfig",
    "Names",
    "OptimizerConfig",
    "PartyConfig",
    "RegistryConfig",
    "RegistryEntry",
    "RunConfig",
    "Section",
    "Source",
    "StanceTrainConfig",
    "as_yaml",
    "config_kind",
    "load",
    "load_registry",
    "parse",
    "project_root",
    "read_source",
    "resolve",
    "resource_root",
    "schema_of",
]

"""What a wheel carries beside the code. In a checkout the same files are read where they are."""

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CustomBuildHook(BuildHookInterface):
    """Put configs, models and registry inside the package of a wheel, so that it works outside a checkout."""

    def initialize(self, version, build_data):
        """Called by hatchling before each build; an editable install needs no copies."""
        if version == "standard":
            for folder in ("configs", "models", "data/registry"):
                build_data["force_include"][folder] = f"onrecord/{folder}"

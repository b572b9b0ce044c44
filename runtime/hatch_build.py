"""Puts the IR's vocabulary and the archive's reader into the runtime's wheel, but not into an editable installation,
which reads the folders themselves: a copy there would be found first, and be old after the next pull."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BesideTheRuntime(BuildHookInterface):
    """Where the other two packages lie, seen from this folder."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "standard":
            build_data["force_include"] = {
                "../ir/jitcore_ir": "jitcore_ir",
                "../serialize/jitcore_serialize": "jitcore_serialize",
            }

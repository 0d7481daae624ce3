# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The schema is sound, and what is generated from it is fresh."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from jsonschema import Draft202012Validator

from ansible_collections.podnet.fabric.plugins.plugin_utils import schema, validation

COLLECTION = Path(schema.__file__).absolute().parents[2]
GENERATOR = COLLECTION / "tools" / "generate_reference.py"
SITE = COLLECTION / "playbooks" / "site.yml"


def generator() -> ModuleType:
    """Import the tool, which is no module of the collection."""
    spec = importlib.util.spec_from_file_location("generate_reference", GENERATOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(schema.load())


def test_the_defaults_are_valid_and_complete() -> None:
    defaults = {name: schema.complete(name, None) for name in schema.variables()}
    assert validation.problems_of(defaults) == []
    assert {name for name, value in defaults.items() if value is None} == set()


def test_every_variable_is_described_scoped_and_used() -> None:
    roles = schema.load()["x-role-descriptions"]
    site = SITE.read_text(encoding="utf-8")
    for name, part in schema.variables().items():
        assert name.startswith("podnet_")
        assert part["description"].endswith(".")
        assert part["x-scope"] in ("cluster", "node")
        assert set(part["x-roles"]) <= set(roles)
        used = re.search(rf"settings\.{name.removeprefix('podnet_')}\b", site)
        assert part["x-roles"] or used, name


def test_generated_files_are_fresh(capsys: pytest.CaptureFixture[str]) -> None:
    assert (generator().main(["--check"]), capsys.readouterr().err) == (0, "")


def test_a_stale_file_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tool = generator()
    source = tmp_path / tool.SCHEMA
    source.parent.mkdir(parents=True)
    source.write_text((COLLECTION / tool.SCHEMA).read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(tool, "REPOSITORY", tmp_path)
    assert tool.main(["--check"]) == 1
    assert "docs/variables.md: found another text than the schema's; run tools/generate_reference.py" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "docs").exists()
    assert tool.main([]) == 0
    assert tool.main(["--check"]) == 0

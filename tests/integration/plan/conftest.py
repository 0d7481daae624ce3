# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder with an inventory for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.podnet.fabric.tests.integration.plan.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A folder to work in."""
    (tmp_path / "ansible.cfg").write_text("", encoding="utf-8")
    return Project(tmp_path)

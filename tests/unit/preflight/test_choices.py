# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory may choose, the modules that are told of it take."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from ansible_collections.podnet.fabric.plugins.modules import node_facts, policy, service
from ansible_collections.podnet.fabric.plugins.plugin_utils.schema import SCHEMA_FILE

PROPERTIES: dict[str, Any] = yaml.safe_load(SCHEMA_FILE.read_text(encoding="utf-8"))["properties"]
# An option of a module, and what the roles do not pass on to it.
TOLD = [
    (node_facts, "dataplane", "podnet_dataplane", set()),
    (node_facts, "nexthop_objects", "podnet_nexthop_objects", set()),
    (node_facts, "forward_accept", "podnet_forward_accept", set()),
    (node_facts, "policy_backend", "podnet_policy_backend", set()),
    (node_facts, "service_backend", "podnet_service_backend", set()),
    (policy, "backend", "podnet_policy_backend", {"none"}),
    (policy, "iptables_flavour", "podnet_iptables_flavour", set()),
    (service, "backend", "podnet_service_backend", {"none"}),
    (service, "iptables_flavour", "podnet_iptables_flavour", set()),
]


@pytest.mark.parametrize(("module", "option", "variable", "kept"), TOLD)
def test_every_choice_of_the_inventory_is_one_of_the_module(
    module: Any, option: str, variable: str, kept: set[str]
) -> None:
    choices = set(yaml.safe_load(module.DOCUMENTATION)["options"][option]["choices"])
    assert set(PROPERTIES[variable]["enum"]) - kept <= choices

# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who handles a service's address is told by the entries that are there for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ansible_collections.podnet.fabric.plugins.module_utils import dataplane
from ansible_collections.podnet.fabric.plugins.module_utils.declaration import Declarations
from ansible_collections.podnet.fabric.plugins.module_utils.evidence import vips
from ansible_collections.podnet.fabric.plugins.module_utils.host import Host
from tests.conformance import service_cases as scene
from tests.integration.services import sctp
from tests.integration.services.conftest import EVERY, PROGRAMS
from tests.integration.services.offered import ADDRESSES, PODS, endpoints, service

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.services.clients import Clients
    from tests.integration.services.conftest import Declarer


def _told(declarer: Declarer, folder: Path, *texts: str) -> list[dict[str, Any]]:
    def look() -> dict[str, Any]:
        with Host() as host:
            return dataplane.describe(host, Declarations(folder / "none"), [], virtual=vips.read(texts))

    found = declarer.node.run(look)
    assert found["unknown"] == []
    told: list[dict[str, Any]] = found["vips"]
    assert [each["to"] for each in told] == list(texts)
    return told


@pytest.mark.parametrize("declarer", EVERY, indirect=True)
def test_the_implementation_of_a_virtual_address_is_told(clients: Clients, declarer: Declarer, tmp_path: Path) -> None:
    offered = service()
    offered["spec"]["ports"].append(sctp.PORT)
    declarer.declare([offered], [], endpoints=endpoints(*PODS))
    four, six = ADDRESSES[4], ADDRESSES[6]
    ports = [f"{address}:{scene.PORT}/{protocol}" for address in (four, f"[{six}]") for protocol in ("tcp", "sctp")]
    asked = (*ports, four, "198.51.100.7")
    *served, stranger = _told(declarer, tmp_path, *asked)
    # Programs are what a pod's packets meet first.
    implementation = "ebpf" if declarer.backend in PROGRAMS else declarer.backend.partition("-")[0]
    for each in served:
        assert (each["implementation"], each["owner"]) == (implementation, "podnet.fabric")
        assert each["evidence"]
    assert str(scene.PORT) in served[0]["evidence"][0]
    assert stranger == {"to": "198.51.100.7", "implementation": "none", "owner": None, "evidence": [], "also": []}
    declarer.declare([])
    assert {each["implementation"] for each in _told(declarer, tmp_path, *asked)} == {"none"}

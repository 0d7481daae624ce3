# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The node of the tests of CNI: network and mount namespace of its own, and modules run as Ansible runs them."""

from __future__ import annotations

from ansible_collections.podnet.fabric.tests.integration.cni.conftest import node

__all__ = ["node"]

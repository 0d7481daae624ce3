# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab with pods on it, and what an operator does there with policies and services.

node1: web   node2: db, side   node3: other   node4: late, last
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from .test_site import NODES, TOP, Site

PORT = 5432
POLICY: dict[str, Any] = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "database", "namespace": "shop"},
    "spec": {
        "podSelector": {"matchLabels": {"app": "database"}},
        "policyTypes": ["Ingress"],
        "ingress": [
            {
                "from": [{"podSelector": {"matchLabels": {"app": "web"}}}],
                "ports": [{"port": "postgres"}],
            }
        ],
    },
}
# The attachment of db tells no ports.
STATED = [{"namespace": "shop", "name": "db", "ports": [{"name": "postgres", "port": PORT}]}]
SERVICE: dict[str, Any] = {
    "metadata": {"name": "db", "namespace": "shop"},
    "spec": {
        "type": "NodePort",
        "ipFamilyPolicy": "RequireDualStack",
        "selector": {"app": "database"},
        "ports": [{"port": 80, "targetPort": "postgres"}],
    },
}
RANGES = ["10.96.0.0/16", "fd00:10:96::/112"]
PODS = {
    "web": ("node1", "web"),
    "db": ("node2", "database"),
    "side": ("node2", "other"),
    "other": ("node3", "other"),
    "late": ("node4", "web"),
    "last": ("node4", "web"),
}
# Every connection is taken, or those that wait fill the queue after some 64; and kept, to be one that stands.
LISTEN = (
    "import selectors,socket,time\n"
    "s=selectors.DefaultSelector()\n"
    "for p in (5432,5433):\n"
    "    made=socket.create_server(('::',p),family=socket.AF_INET6,dualstack_ipv6=True)\n"
    "    s.register(made,selectors.EVENT_READ)\n"
    "kept,end=[],time.monotonic()+1200\n"
    "while time.monotonic()<end:\n"
    "    kept+=[key.fileobj.accept() for key,_ in s.select(1)]\n"
)
TRY = "import socket,sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=1.5).close()"


class Cluster:
    """A lab with pods on it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.addresses: dict[str, list[str]] = {}
        self.listening: list[subprocess.Popen[bytes]] = []

    def attach(self, name: str, state: str = "present") -> None:
        """Attach a pod, or detach it, as an operator would."""
        node, app = PODS[name]
        pods = [{"name": name, "namespace": "shop", "labels": {"app": app}, "netns": name}]
        command = ["ansible", node, "-i", "inventories/lab/hosts.yml", "-e", f"lab_prefix={self.site.prefix}", "-o"]
        command += ["-m", "podnet.fabric.pod", "-a", json.dumps({"pods": pods, "state": state})]
        environment = {**os.environ, "ANSIBLE_CONFIG": str(TOP / "ansible.cfg")}
        done = subprocess.run(command, cwd=TOP, env=environment, capture_output=True, text=True, check=True, timeout=60)
        answer = json.loads(done.stdout.partition("=> ")[2])
        if state == "present":
            self.addresses[name] = [text.partition("/")[0] for text in answer["pods"][0]["addresses"]]

    def listen(self, name: str) -> None:
        """Let a pod take connections on both ports."""
        self.listen_on(PODS[name][0], "ip", "netns", "exec", name)

    def listen_on(self, node: str, *inside: str) -> None:
        """Let a node take connections on both ports."""
        argv = ["nsenter", "--target", str(self.site.process(node)), "--all", "--", *inside, "python3", "-c", LISTEN]
        self.listening.append(subprocess.Popen(argv))
        waiting = "until ss -Htln | grep -q :5433; do sleep 0.1; done"
        self.site.inside(node, *inside, "timeout", "20", "sh", "-c", waiting)

    def reaches(self, source: str, name: str = "db", port: int = PORT) -> set[bool]:
        """Whether a pod, or a node by its name, reaches a pod over each family, or an address."""
        inside = [] if source in NODES else ["ip", "netns", "exec", source]
        node = source if source in NODES else PODS[source][0]
        found = set()
        for address in self.addresses.get(name, [name]):
            script = f"python3 -c '{TRY}' {address} {port} 2>/dev/null && echo yes || echo no"
            found.add(self.site.inside(node, *inside, "sh", "-c", script).strip() == "yes")
        return found

    def play(self, policies: list[dict[str, Any]], *arguments: str, check: bool = True) -> Any:
        """Bring policies to the nodes."""
        given = {"podnet_policies": policies, "podnet_endpoints": STATED}
        return self.site.play("policy", "-e", json.dumps(given), *arguments, check=check)

    def serve(self, services: list[dict[str, Any]], *arguments: str, check: bool = True) -> Any:
        """Bring services to the nodes."""
        given = {"podnet_services": services, "podnet_service_cidrs": RANGES, "podnet_endpoints": STATED}
        return self.site.play("services", "-e", json.dumps(given), *arguments, check=check)

    def update(self, services: list[dict[str, Any]], names: list[str], *arguments: str) -> Any:
        """Bring some of the services to the nodes."""
        given = {"podnet_services": services, "podnet_service_cidrs": RANGES, "podnet_endpoints": STATED}
        return self.site.play("service_update", "-e", json.dumps({**given, "service_names": names}), *arguments)

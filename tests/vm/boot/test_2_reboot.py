# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Second boot: the pod network is back by itself, survives networkd, udev and damage, and goes without a trace."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .conftest import WRITTEN
from .test_1_install import RUNTIMES

if TYPE_CHECKING:
    from .conftest import Machine

DROP_IN = Path("/etc/systemd/networkd.conf.d/podnet.conf")
POLKIT = Path("/usr/share/polkit-1/actions")
NETWORK_MANAGERS = Path("/etc/NetworkManager/conf.d/podnet.conf")
FAR = "route show 10.244.201.0/24"
FAR6 = "-6 route show fd00:10:244:201::/64"
LINKS = ("podnet0", "podnet-vx")


def macs(machine: Machine) -> list[str]:
    return [machine.run("cat", f"/sys/class/net/{name}/address") for name in LINKS]


def test_the_power_went_off_at_one_moment() -> None:
    first, second = (int(Path(path).read_text()) for path in WRITTEN)
    assert first in (second, second + 1)


def test_it_is_restored_before_anything_that_starts_containers(machine: Machine) -> None:
    machine.has_no_failed_unit()
    machine.bird_has_routes()
    assert machine.picture("restored") == machine.kept("whole")
    assert machine.run("podnet-node", "diff") == ""
    restored = int(machine.property("podnet-restore", "ExecMainExitTimestampMonotonic"))
    for name in RUNTIMES:
        assert int(machine.property(name, "ExecMainStartTimestampMonotonic")) > restored > 0
        seen = Path(f"/run/seen-by-{name}").read_text()
        assert "10.244.0.1/24" in seen
        assert "10.244.201.0/24 via 192.0.2.12 dev uplink" in seen
    assert "status=0/SUCCESS" in machine.run("systemctl", "status", "--no-pager", "podnet-restore")
    journal = machine.run("journalctl", "--boot", "--no-pager", "--output=cat", "--unit", "podnet-restore")
    assert "create links: podnet0" in journal
    assert " changes, 0 problems" in journal
    # Somebody's rules for all bridges are in force, for others.
    machine.ip("link add theirs type bridge")
    machine.until("udev renames their bridge", lambda: "captured0" in machine.ip("link"))
    machine.ip("link delete captured0")


def test_what_others_take_away_comes_back(machine: Machine) -> None:
    before = machine.picture("before")
    machine.run("systemctl", "stop", "podnet-heal.timer")
    restart_networkd(machine)
    machine.run("udevadm", "trigger", "--action=add", "--subsystem-match=net", "--settle")
    # The session of BGP may end with that. BIRD's route comes back with the next one.
    machine.becomes(before)
    managed = machine.run("networkctl", "--no-pager", "--no-legend", "list")
    assert all("unmanaged" in line for line in managed.splitlines() if any(name in line.split() for name in LINKS))
    Path("/etc/nftables.conf").write_text("flush ruleset\n")
    machine.run("systemctl", "start", "nftables")
    machine.becomes(before)


def test_network_manager_leaves_our_links_alone(machine: Machine) -> None:
    before = machine.picture("before")
    start_bus(machine)
    machine.run("systemctl", "start", "NetworkManager")
    machine.until("it has looked at all links", lambda: states(machine).keys() >= set(LINKS))
    assert {states(machine)[name] for name in LINKS} == {"unmanaged"}
    machine.becomes(before)
    # Without the drop-in it takes them for its own, and when it is told not to, their addresses away.
    text = NETWORK_MANAGERS.read_text()
    NETWORK_MANAGERS.unlink()
    machine.run("systemctl", "restart", "NetworkManager")
    machine.until("it takes podnet0", lambda: states(machine).get("podnet0", "unmanaged") != "unmanaged")
    machine.run("systemctl", "stop", "NetworkManager")
    NETWORK_MANAGERS.write_text(text)
    machine.run("podnet-node", "restore")
    machine.becomes(before)


def test_firewalld_comes_reloads_and_goes(machine: Machine) -> None:
    before = machine.picture("before")
    # What its package's script does when it is installed, for polkit, where there is one.
    action = POLKIT / "org.fedoraproject.FirewallD1.policy"
    if not action.exists():
        action.symlink_to("org.fedoraproject.FirewallD1.server.policy.choice")
    start_bus(machine)
    machine.run("systemctl", "start", "firewalld")
    machine.run("firewall-cmd", "--reload")
    machine.run("firewall-cmd", "--complete-reload")
    machine.until("all of ours is there", lambda: machine.run("podnet-node", "diff", check=False) == "")
    machine.run("systemctl", "stop", "firewalld")
    machine.becomes(before)


def test_networkd_leaves_our_routes_alone(machine: Machine) -> None:
    """IPv4 routes may go with the addresses that it takes away for a moment; others it has been told to leave."""
    idle = Path("/etc/systemd/system/podnet-return.service.d/idle.conf")
    idle.parent.mkdir()
    idle.write_text("[Unit]\nConditionPathExists=/nowhere\n")
    machine.run("systemctl", "daemon-reload")
    restart_networkd(machine)
    assert "via 2001:db8::12" in machine.ip(FAR6)
    text = DROP_IN.read_text()
    DROP_IN.unlink()
    restart_networkd(machine)
    machine.until("networkd takes the route away", lambda: machine.ip(FAR6) == "")
    assert "fd00:10:244:201::/64" in machine.run("podnet-node", "diff", check=False)
    DROP_IN.write_text(text)
    restart_networkd(machine)
    idle.unlink()
    idle.parent.rmdir()
    machine.run("systemctl", "daemon-reload")


def start_bus(machine: Machine) -> None:
    """Its package has been unpacked, not installed, so that nobody has made its user."""
    names = Path("/etc/passwd")
    if "messagebus:" not in names.read_text():
        names.write_text(names.read_text() + "messagebus:x:990:990::/nonexistent:/usr/sbin/nologin\n")
        groups = Path("/etc/group")
        groups.write_text(groups.read_text() + "messagebus:x:990:\n")
    machine.run("systemctl", "start", "dbus")


def states(machine: Machine) -> dict[str, str]:
    """What NetworkManager says of each interface."""
    lines = machine.run("nmcli", "--terse", "--fields", "DEVICE,STATE", "device").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def restart_networkd(machine: Machine) -> None:
    machine.run("systemctl", "restart", "systemd-networkd")
    machine.run("/lib/systemd/systemd-networkd-wait-online", "--interface=uplink", "--timeout=60")


def test_damage_is_healed_by_the_unit_and_by_its_timer(machine: Machine) -> None:
    assert machine.run("podnet-node", "diff", check=False) != ""
    machine.run("systemctl", "start", "podnet-heal.service")
    assert machine.run("podnet-node", "diff") == ""
    assert "dev uplink" in machine.ip(FAR)

    machine.ip("link delete podnet-vx")
    machine.run("nft", "delete", "table", "inet", "podnet")
    machine.run("systemctl", "start", "podnet-heal.timer")
    machine.until("the timer has fired", lambda: machine.run("podnet-node", "diff", check=False) == "")
    assert machine.property("podnet-heal.timer", "LastTriggerUSecMonotonic") != "0"
    # BIRD hears the router's route again a little later.
    machine.becomes(machine.kept("whole"))


def test_nothing_is_left_of_it(machine: Machine) -> None:
    machine.run("podnet-node", "purge", "--yes")
    machine.has_no_failed_unit()
    machine.run("systemctl", "daemon-reload")
    assert "podnet-" not in machine.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "podnet-[!v]*")
    assert "podnet-" not in machine.run("systemctl", "list-unit-files", "--no-legend", "podnet-[!v]*", check=False)
    found = machine.run(
        "find",
        "/etc/systemd",
        "/etc/NetworkManager",
        "/usr/local/sbin",
        "/run/podnet",
        "-name",
        "*podnet*",
        check=False,
    )
    assert [line for line in found.splitlines() if "No such file" not in line] == []
    assert machine.picture("gone") == machine.kept("bare")

# Copyright (c) 2026, the podnet.fabric authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is run in which guest, and what a guest is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.podnet.fabric.tests.vm import batch, command, job, native, tcg, uml, uml_kernel
from ansible_collections.podnet.fabric.tests.vm.job import Job


def test_what_stands_behind_the_dashes_is_the_command_with_its_own_options() -> None:
    options = command.parse(
        ["--timeout", "5", "--writable", "build/a", "--writable", "b", "--", "ls", "--timeout", "9"]
    )
    assert options.command == ["ls", "--timeout", "9"]
    assert options.timeout == 5
    assert options.writable == [Path("build/a"), Path("b")]
    assert (options.provider, options.cpu) == ("auto", None)


@pytest.mark.parametrize(
    "words",
    [["--"], [], ["--timeout", "0", "--", "ls"], ["--timeout", "nan", "--", "ls"], ["--provider", "kvm", "--", "ls"]],
)
def test_a_wrong_command_line_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refusal:
        command.parse(words)
    assert refusal.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_a_command_gets_nothing_of_the_environment_but_what_is_promised() -> None:
    host = {
        "PATH": "/bin",
        "LANG": "C.UTF-8",
        "SECRET": "x",
        "PODNET_LAB": "y",
        "HOME": "/h",
        "PYTHONPATH": "/p",
        "PODNET_VM": "0",
    }
    promised = {
        "PATH": "/bin",
        "LANG": "C.UTF-8",
        "PODNET_LAB": "y",
        "HOME": "/h",
        "TERM": "dumb",
        "PODNET_VM": "1",
    }
    assert job.environment({**host, "PYTHONDONTWRITEBYTECODE": "1"}, "native") == {
        **promised,
        "PODNET_VM_PROVIDER": "native",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    # Nothing stays of a guest, so there Python may write down what it has compiled.
    assert job.environment({**host, "PYTHONDONTWRITEBYTECODE": "1"}, "uml") == {
        **promised,
        "PODNET_VM_PROVIDER": "uml",
        "PYTHONPATH": str(job.INTERPRETER),
    }


@pytest.mark.parametrize(
    ("wanted", "fresh"),
    [
        (Job(("ls",), Path("/work")), True),
        (Job(("ls",), Path("/tmp/checkout")), False),  # noqa: S108 - only named
        (Job(("ls",), Path("/work"), writable=(Path("/tmp/out"),)), False),  # noqa: S108 - only named
    ],
)
def test_the_guest_has_a_tmp_of_its_own_unless_that_would_hide_something(
    wanted: Job, fresh: bool, tmp_path: Path
) -> None:
    assert job.hides_nothing(wanted) is fresh
    job.write(wanted, tmp_path, share="hostfs", console="/dev/tty0", modules=None)
    told = json.loads((tmp_path / "job.json").read_text())
    # This folder of exchange may lie below /tmp itself, and then that has to stay.
    assert told["fresh_tmp"] is (fresh and not tmp_path.is_relative_to("/tmp"))  # noqa: S108 - only named
    assert told["folders"] == [str(tmp_path), *map(str, wanted.writable)]


def test_a_status_that_is_not_written_is_none_not_zero(tmp_path: Path) -> None:
    assert job.status(tmp_path) is None
    (tmp_path / "status").write_text("")
    assert job.status(tmp_path) is None
    (tmp_path / "status").write_text("3")
    assert job.status(tmp_path) == 3


def test_user_mode_linux_is_pinned_and_keeps_tunnels_out_of_new_namespaces() -> None:
    words = uml.argv(Path("/cache/linux"), Path("/exchange"), 1, 7)
    assert words[:3] == ["taskset", "--cpu-list", "1"]
    assert {"fb_tunnels=none", "con0=null,fd:7", "con1=null,fd:2", "ro", "rootfstype=hostfs", "panic=-1"} <= set(words)
    assert words[-1] == "/exchange"
    # The last console is /dev/console, and the one that stays.
    assert [word for word in words if word.startswith("console=")][-1] == "console=tty1"
    # Behind the dashes are the words for the first process; a kernel's option there would be lost.
    assert words[words.index("--") + 1] == "-ISB"


def test_qemu_becomes_the_first_process_and_its_file_server_goes_with_it() -> None:
    shell, option, line = tcg.argv(Path("/cache/tcg"), Path("/exchange"), 1, 7)
    assert (shell, option) == ("sh", "-c")
    server, _with, machine = line.partition(" & ")
    assert server.startswith(f"{tcg.VIRTIOFSD} --socket-path=/exchange/files -o source=/ ")
    assert "; exec qemu-system-x86_64 " in machine
    assert "path=/dev/fd/7" in machine
    assert machine.endswith(f"-- {tcg.GUEST} /exchange'")


def test_modules_are_loaded_once_each_and_in_the_order_of_their_needs() -> None:
    shown = "insmod /m/a.ko \ninsmod /m/b.ko opt=1\nbuiltin c\ninsmod /m/a.ko \ninsmod /m/d.ko.xz \n"
    assert tcg.module_files(shown) == ["/m/a.ko", "/m/b.ko", "/m/d.ko.xz"]


def test_a_kernel_is_kept_by_its_source_and_by_what_its_options_say() -> None:
    settings = uml_kernel.options("# a comment\n\nCONFIG_A=y\nCONFIG_B=n\n")
    assert settings == ("CONFIG_A=y", "CONFIG_B=n")
    name = uml_kernel.key("6.12.1-1~deb12u1", settings)
    assert name.startswith("uml-6.12.1-1-deb12u1-")
    assert uml_kernel.key("6.12.1-1~deb12u1", settings[::-1]) == name
    assert uml_kernel.key("6.12.1-1~deb12u1", ("CONFIG_A=y",)) != name
    assert uml_kernel.key("6.12.2-1", settings) != name


def test_options_that_a_kernel_does_not_take_are_named() -> None:
    config = 'CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C="x"\n'
    assert uml_kernel.unmet(("CONFIG_A=y", "CONFIG_B=y", 'CONFIG_C="x"', "CONFIG_D=n"), config) == ["CONFIG_B=y"]


def test_an_option_that_only_some_versions_know_is_not_missed() -> None:
    assert uml_kernel.unmet((*uml_kernel.SOMETIMES, "CONFIG_A=y"), "CONFIG_SYSCTL=y\n") == ["CONFIG_A=y"]
    assert set(uml_kernel.SOMETIMES) <= set(uml_kernel.options(uml_kernel.FRAGMENT.read_text()))


def test_the_newest_source_is_tried_first() -> None:
    names = ["linux-source-7.9", "linux-source-6.12", "linux-source-7.10", "linux-source-7.9.1"]
    assert uml_kernel.newest_first(names) == [names[2], names[3], names[0], names[1]]


def test_the_options_have_every_tunnel_and_what_bgp_and_policies_need() -> None:
    settings = uml_kernel.options(uml_kernel.FRAGMENT.read_text())
    wanted = "NET_IPIP IPV6_TUNNEL GENEVE WIREGUARD VXLAN LWTUNNEL TCP_MD5SIG NFT_FIB_INET PACKET INET_DIAG USER_NS"
    assert {f"CONFIG_{name}=y" for name in wanted.split()} <= set(settings)
    assert len(set(settings)) == len(settings)


def test_the_longest_scenario_begins_first() -> None:
    assert batch.scenarios("# comment\nshort 5\nlong 60\n\nmiddle 10.5\n") == ["long", "middle", "short"]


def test_of_a_failed_guests_log_what_failed_is_told_and_the_end() -> None:
    tidying = [f"ok: [node{number}]" for number in range(100)]
    bad = ["fatal: [node1]: FAILED! => lost", "E       assert 1 == 2", "FAILED tests/test_a.py", "ERROR: no such file"]
    told = batch.telling(["TASK [Check]", "ok: [node2]", *bad, "E is a letter", *tidying])
    assert told == [*bad, "[...]", *tidying[40:]]
    assert batch.telling(["fatal: [node1]: FAILED! => lost", "ok: [node2]"]) == [
        "fatal: [node1]: FAILED! => lost",
        "ok: [node2]",
    ]


def test_jobs_are_chosen_by_name_and_a_wrong_name_is_refused() -> None:
    names = [task.name for task in batch.tasks([])]
    assert names == ["inside", *batch.scenarios(batch.SCENARIOS.read_text()), "systemd"]
    assert [task.name for task in batch.tasks([names[-2]])] == [names[-2]]
    with pytest.raises(ValueError, match="no job nothing; known: inside"):
        batch.tasks(["nothing"])


def test_a_machine_that_has_every_tunnel_is_not_the_one_that_boots() -> None:
    [task] = batch.tasks(["systemd"])
    assert task.boots == 2
    asked = job.Job(task.argv, Path("/work"), boots=task.boots)
    with pytest.raises(job.Unavailable, match="not going to boot"):
        native.prepare(asked)
    files = [path.name for path in sorted((batch.REPOSITORY / "tests/vm/boot").glob("test_*.py"))]
    assert [name.split("_")[1] for name in files] == ["1", "2"]


def test_a_boot_keeps_nothing_of_the_one_before_but_what_was_written(tmp_path: Path) -> None:
    for name in (job.DISK, "status", "started"):
        (tmp_path / name).write_text("0")
    (tmp_path / "uml").mkdir()
    (tmp_path / "uml/pid").write_text("2")
    command.forget_all_but(job.DISK, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [job.DISK]


def test_every_scenario_that_is_left_to_the_guest_exists() -> None:
    for name in batch.scenarios(batch.SCENARIOS.read_text()):
        assert (batch.REPOSITORY / "molecule" / name / "molecule.yml").is_file()


def test_files_with_tests_that_lack_a_kind_here_run_in_the_guest(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/test_one.py").write_text('pytestmark = needs_link_kind("geneve")\n')
    (tmp_path / "test_two.py").write_text("def test_x() -> None: ...\n")
    assert batch.needing(tmp_path) == [tmp_path / "deep/test_one.py"]

"""The machine in words, and the programs on it."""

import glob
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

from process import Failed

ROOT = Path(__file__).resolve().parents[2]
SYSTEM_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def words() -> str:
    """Processor, cores, memory, kernel and distribution; nothing that names this one machine."""
    models = re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    memory = int(re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text()).group(1)) / 2**20
    kernel = ".".join(platform.release().split("-")[0].split(".")[:2])
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    virtual = ", virtual machine" if "hypervisor" in Path("/proc/cpuinfo").read_text() else ""
    return f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores{virtual}, {memory:.0f} GiB, Linux {kernel}, {system}"


def installed(programs: dict[str, str]) -> dict[str, str]:
    """The path of every program, after installing the Debian packages of those that are missing.

    A name with slashes is the pattern of a file that has to be there, such as a module of a program.
    """
    missing = sorted({package for program, package in programs.items() if not find(program)})
    if missing:
        root = [] if os.geteuid() == 0 else ["sudo", "-n"]
        wish = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
        if not shutil.which("apt-get") or (root and not shutil.which("sudo")):
            raise Failed(f"Needed and not installed: {', '.join(missing)}. Install them as root, or choose with --only.")
        print(f"Installing {', '.join(missing)}", file=sys.stderr)
        # RUNLEVEL=1: none of them is started but by these scripts.
        environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive", RUNLEVEL="1")
        for command in (["apt-get", "update"], wish):
            if subprocess.run([*root, *command], env=environment, stdout=sys.stderr).returncode:
                raise Failed(f"Needed: {', '.join(missing)}. This failed: {' '.join([*root, *command])}")
    return {program: find(program) or program for program in programs}


def find(program: str) -> str | None:
    if "/" in program:
        return next(iter(sorted(glob.glob(program))), None)
    return shutil.which(program, path=SYSTEM_PATH)


def built() -> dict[str, str]:
    """Builds Larder and the bare loop, and says where Cargo put them."""
    command = ["cargo", "build", "--release", "--bin", "larder", "--example", "bare", "--message-format", "json-render-diagnostics"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise Failed(f"This failed: {' '.join(command)}")
    messages = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    return {message["target"]["name"]: message["executable"] for message in messages if message.get("executable")}

"""The surroundings of a run, for repeating it: versions, device, commit, command line."""

from __future__ import annotations

import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from .sections import Code, Environment

if TYPE_CHECKING:
    import torch

PACKAGES = ("numpy", "scipy", "torch", "timm", "safetensors", "scikit-learn")
FOLDERS = ("benchmark", "core", "methods", "tasks")


def package_version(name: str = "fewbench") -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def code_version() -> Code:
    """Package version, and commit and dirtiness where the code runs from a checkout."""
    root = Path(__file__).resolve().parents[2]
    commit = _git(root, "rev-parse", "HEAD") if (root / ".git").exists() else None
    dirty = bool(_git(root, "status", "--porcelain", "--", *FOLDERS)) if commit else None
    return Code(package_version() or "not installed", commit, dirty)


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def environment(device: torch.device) -> Environment:
    """Versions and hardware of this process."""
    import torch

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    return Environment(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        device=device.type,
        device_name=name,
        threads=torch.get_num_threads(),
        packages={package: package_version(package) for package in PACKAGES},
    )


def processor() -> str:
    """The processor's model name, as far as the system tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def command_line() -> list[str]:
    """The command as typed, without the folder of the program and the folders of absolute paths, which are of one machine."""
    return [Path(sys.argv[0]).name, *(without_folders(word) for word in sys.argv[1:])]


def without_folders(word: str) -> str:
    """A word of a command, or a setting; of an absolute path, also after `=`, only its last part is kept."""
    name, equals, value = word.rpartition("=")
    return f"{name}{equals}{Path(value).name}" if Path(value).is_absolute() else word


def utc_now() -> str:
    """The time, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

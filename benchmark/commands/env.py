"""`bench env`: versions, devices and folders, for bug reports."""

from __future__ import annotations

import platform


def env() -> None:
    """Show versions, devices and the cache folder.

    Example: bench env
    """
    from ...core.files import cache_root
    from ..records.provenance import PACKAGES, code_version, package_version, processor
    from .parts.terminal import print_table

    code = code_version()
    rows = [
        ["fewbench", code.version + (f", commit {code.git_commit}" if code.git_commit else "")],
        ["python", platform.python_version()],
        ["system", f"{platform.system()} {platform.machine()}"],
        *([package, package_version(package) or "not installed"] for package in PACKAGES),
        ["processor", processor()],
        *_of_torch(),
        ["cache folder", str(cache_root())],
    ]
    print_table(("", ""), rows)


def _of_torch() -> list[list[str]]:
    """The devices that torch finds, or the reason why it does not import, which belongs into a bug report too."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return [["torch", f"does not import: {error}"]]
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return [["threads", str(torch.get_num_threads())], ["GPUs", ", ".join(gpus) or "none"]]

"""`bench env`: versions, devices and folders, for bug reports."""

from __future__ import annotations


def env() -> None:
    """Show versions, devices and the cache folder.

    Example: bench env
    """
    import torch

    from ...core.files import cache_root
    from ..records.provenance import PACKAGES, code_version, environment, package_version
    from .terminal import print_table

    here = environment(torch.device("cpu"))
    code = code_version()
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    rows = [
        ["fewbench", f"{code['version']}" + (f", commit {code['git_commit']}" if code["git_commit"] else "")],
        ["python", here["python"]],
        ["system", here["system"]],
        *([package, package_version(package) or "not installed"] for package in PACKAGES),
        ["processor", f"{here['device_name']}, {here['threads']} threads"],
        ["GPUs", ", ".join(gpus) or "none"],
        ["cache folder", str(cache_root())],
    ]
    print_table(("", ""), rows)

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def toy(plugins: Path) -> ModuleType:
    """The module with the toy learner."""
    spec = importlib.util.spec_from_file_location("toy_training", plugins / "toy_training.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

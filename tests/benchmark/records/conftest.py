import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def content(frozen: Path) -> dict[str, Any]:
    """The content of the frozen record's file."""
    return json.loads(frozen.read_text(encoding="utf-8"))

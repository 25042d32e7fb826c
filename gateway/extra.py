"""Check of the packages that the gateway needs. Import it before other modules of the gateway."""

from __future__ import annotations

import importlib.util

from schemas.errors import SettingsError

_PACKAGES = ("starlette", "uvicorn", "python_multipart")


def require_extra() -> None:
    """Check that the packages of the extra ``gateway`` are there.

    Raises
    ------
    SettingsError
        If one is missing.
    """
    if missing := [name for name in _PACKAGES if not importlib.util.find_spec(name)]:
        raise SettingsError(f"the gateway needs {', '.join(missing)}: pip install 'streaming-inspection[gateway]'")

"""Container image that is built from `infra/Dockerfile` with buildah, where that is possible."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

#: An image that has been built already, and the base to build on.
IMAGE, BASE = "INSPECTION_CONTAINER_IMAGE", "INSPECTION_CONTAINER_BASE"
PODMAN = ["podman", "--runtime", "runc"]
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_DEBIAN = "python3,python3-venv,python3-pip,ca-certificates,libgomp1"
#: A container may not raise limits above those of this process.
_LIMITS = '[containers]\ndefault_ulimits = ["nofile=10000:10000", "nproc=10000:10000"]\n'
_BUILD_S = 1_200


@contextmanager
def container_image(repository: Path, folder: Path) -> Iterator[str]:
    """Give the name of an image, and remove what was built.

    The test is skipped, with the reason, where no container can be built or run.
    """
    named = os.environ.get(IMAGE)
    missing = [tool for tool in ("podman", "runc", "buildah") if shutil.which(tool) is None]
    if missing and not (named and missing == ["buildah"]):
        pytest.skip(f"not installed: {', '.join(missing)}")
    if named:
        yield named
        return
    if os.geteuid() != 0:
        pytest.skip(f"containers are built as root only; set {IMAGE} to a built image")
    configuration = folder / "containers.conf"
    configuration.write_text(_LIMITS)
    built = f"localhost/inspection-test:{uuid.uuid4().hex[:12]}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTAINERS_CONF", str(configuration))
        base = os.environ.get(BASE) or _debian_base(folder)
        _require_network(base)
        mounted = ["-v", f"{_CERTIFICATES}:{_CERTIFICATES}:ro"]
        done = _run(
            "buildah", "bud", "--isolation", "chroot", "--pull-never", "--build-arg", f"BASE={base}", *mounted,
            "-f", str(repository / "infra/Dockerfile"), "-t", built, str(repository),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-4_000:]
        try:
            yield built
        finally:
            _run("buildah", "rmi", "--force", built)


def _debian_base(folder: Path) -> str:
    """Return an image of Debian with Python; it is kept for the next run."""
    name = "localhost/inspection-test-base:bookworm"
    if _run("podman", "image", "exists", name).returncode == 0:
        return name
    if shutil.which("mmdebstrap") is None:
        pytest.skip(f"no base image: set {BASE}, or install mmdebstrap")
    root = folder / "debian.tar"
    done = _run("mmdebstrap", "--variant=minbase", f"--include={_DEBIAN}", "bookworm", str(root))
    if done.returncode != 0:
        pytest.skip(f"no base image: mmdebstrap fails: {done.stderr[-300:]}")
    imported = _run("podman", "import", str(root), name)
    root.unlink()
    if imported.returncode != 0:
        pytest.skip(f"no base image: podman import fails: {imported.stderr[-300:]}")
    return name


def _require_network(base: str) -> None:
    """Skip the test if no container runs here, or none reaches the packages."""
    command = [*PODMAN, "run", "--rm", "--network", "host", "-v", f"{_CERTIFICATES}:{_CERTIFICATES}:ro", base]
    if (done := _run(*command, "python3", "-c", "")).returncode != 0:
        pytest.skip(f"no container runs here: {done.stderr[-300:]}")
    if (done := _run(*command, "python3", "-m", "pip", "download", "--no-deps", "-d", "/tmp", "pip")).returncode != 0:
        pytest.skip(f"a container reaches no packages: {done.stderr[-300:]}")


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_BUILD_S)

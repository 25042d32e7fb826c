"""Quiet programs: none connects to an address that it was not given, or writes a file that is not documented.

Each program is started with an empty home directory. A small library that is loaded before all others records each
name that is looked up and each address that is connected to, by native code too; without a C compiler only the files
are compared.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from models import default_model_path
from models.opencv import cv2
from tests.support.packages import scene

ROOT = Path(__file__).parent.parent.parent
SHIM = r"""
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
static void say(const char *name) {
    const char *path = getenv("LOOKUPS_FILE");
    char line[600];
    int size = snprintf(line, sizeof line, "%s\n", name);
    int file = path ? open(path, O_WRONLY | O_APPEND | O_CREAT, 0600) : -1;
    if (file >= 0) { if (write(file, line, size) < 0) { } close(file); }
}
typedef int lookup(const char *, const char *, const struct addrinfo *, struct addrinfo **);
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    lookup *real = (lookup *)dlsym(RTLD_NEXT, "getaddrinfo");
    if (node) say(node);
    return real(node, service, hints, found);
}
int connect(int handle, const struct sockaddr *to, socklen_t size) {
    int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
    char text[INET6_ADDRSTRLEN] = "";
    if (to->sa_family == AF_INET) inet_ntop(AF_INET, &((struct sockaddr_in *)to)->sin_addr, text, sizeof text);
    if (to->sa_family == AF_INET6) inet_ntop(AF_INET6, &((struct sockaddr_in6 *)to)->sin6_addr, text, sizeof text);
    if (*text) say(text);
    return real(handle, to, size);
}
"""
PROGRAM = "from infra.cli.root import main; main()"
#: The only address that a program was given; no server listens there.
BROKER = ("--bootstrap-servers", "127.0.0.1:1")
OWN_ADDRESSES = {"127.0.0.1", "localhost", "::1", "0.0.0.0"}
#: Paths below the home directory that docs/configuration.md names.
DOCUMENTED = (r"\.local/state/streaming-inspection/.*", r"\.local/share/streaming-inspection/.*",
              r"\.cache/streaming-inspection/(tried-models|kafka-[^/]+)/.*")  # fmt: skip


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(SHIM)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "shim.so", folder / "shim.c", "-ldl"], check=True)
    return folder / "shim.so"


def start(shim: Path | None, home: Path, *command: str) -> subprocess.Popen[bytes]:
    home.mkdir()
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "LOOKUPS_FILE": f"{home}.lookups"}
    if shim is not None:
        environment["LD_PRELOAD"] = str(shim)
    with open(f"{home}.out", "wb") as out:
        return subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment, stdout=out, stderr=out)


def check(home: Path) -> None:
    files = [str(path.relative_to(home)) for path in home.rglob("*") if not path.is_dir()]
    said = Path(f"{home}.out").read_text(errors="replace")[-2000:]
    assert [path for path in files if not any(re.fullmatch(known, path) for known in DOCUMENTED)] == [], said
    lookups = Path(f"{home}.lookups")
    found = set(lookups.read_text().split()) if lookups.exists() else set()
    assert found <= OWN_ADDRESSES, said


def test_the_shim_sees_a_look_up(shim: Path | None, tmp_path: Path) -> None:
    if shim is None:
        pytest.skip("no C compiler: look-ups of native code are not seen")
    code = "import socket\ntry: socket.getaddrinfo('nobody.invalid', 80)\nexcept OSError: pass"
    assert start(shim, tmp_path / "home", "-c", code).wait(60) == 0
    with pytest.raises(AssertionError, match="nobody"):
        check(tmp_path / "home")


def test_a_model_that_is_loaded_leaves_nothing_behind(shim: Path | None, tmp_path: Path) -> None:
    images, package = tmp_path / "images", tmp_path / "package"
    images.mkdir()
    for seed in range(60):
        assert cv2.imwrite(str(images / f"{seed}.png"), scene(64, 48, seed=seed))
    shutil.copytree(default_model_path(), package)
    command = ("-c", PROGRAM, "model", "reference", str(package), "--images", str(images))
    running = start(shim, tmp_path / "home", *command)
    assert running.wait(300) == 0, Path(f"{tmp_path}/home.out").read_text()
    assert [path for path in (tmp_path / "home").rglob("*") if path.is_file()] == []
    check(tmp_path / "home")


@pytest.mark.long
def test_programs_without_a_broker_ask_nobody_else(shim: Path | None, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    assert cv2.imwrite(str(images / "0.png"), scene(64, 48))
    commands = {
        "worker": ("worker", *BROKER, "--http-port", "0"),
        "watch": ("watch", *BROKER),
        "actuate": ("actuate", *BROKER, "--station", "s"),
        "produce": ("produce", *BROKER, "--camera", f"folder:{images}"),
        "replay": ("replay", *BROKER, "--out", str(tmp_path / "run")),
        "doctor": ("doctor", *BROKER),
    }
    running = {name: start(shim, tmp_path / name, "-c", PROGRAM, *given) for name, given in commands.items()}
    try:
        until = time.monotonic() + 25
        while time.monotonic() < until and any(each.poll() is None for each in running.values()):
            time.sleep(0.2)
    finally:
        for each in running.values():
            each.kill()
            each.wait()
    for name in commands:
        check(tmp_path / name)

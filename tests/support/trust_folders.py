"""Trust folder and private keys of a test."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

from operations.signing_keys import make_key_files
from transport.public_keys import SignerRole
from transport.signatures import SigningKey
from transport.signing_key import read_signing_key


@dataclasses.dataclass(frozen=True)
class Keys:
    """Trust folder, and the private keys beside it."""

    folder: Path

    @property
    def trust(self) -> Path:
        return self.folder / "trust"

    def make(self, name: str, role: SignerRole, *cameras: str) -> SigningKey:
        """Make a key and put its public part into the folder."""
        key = self.make_apart(name, role, *cameras)
        self.trust.mkdir(exist_ok=True)
        self.public(name).rename(self.trust / f"{name}.yaml")
        return key

    def make_apart(self, name: str, role: SignerRole, *cameras: str) -> SigningKey:
        """Make a key whose public part is not in the folder, see `public`."""
        return read_signing_key(make_key_files(self.folder, name, role, cameras).private)

    def public(self, name: str) -> Path:
        """Return the public file of a key that was made apart."""
        return self.folder / f"{name}.yaml"

    def private(self, name: str) -> Path:
        """Return the private file of a key."""
        return self.folder / f"{name}.key"

    def change(self, name: str, line: str) -> None:
        """Add a line to a public file."""
        path = self.trust / f"{name}.yaml"
        path.write_text(path.read_text() + line + "\n")

    def revoke(self, name: str) -> None:
        """Move a public file to the revoked ones."""
        (self.trust / "revoked").mkdir(exist_ok=True)
        shutil.move(self.trust / f"{name}.yaml", self.trust / "revoked")

"""Entries of a topic of keys: what no authority of the folder has signed changes nothing, and each fault has a name."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import KafkaSettings
from schemas.errors import SettingsError
from tests.support.trust_folders import Keys
from transport import spread_keys
from transport.belief import SignaturePolicy, make_belief
from transport.public_keys import SignatureFault, SignerRole, TrustedKeys
from transport.signatures import SIGNATURE_HEADER, SigningKey, key_id_of
from transport.spread_keys import EntryFault, KeyEntries, SpreadKeys, revocation_of
from transport.trust import Trust, read_trust

TOPIC = "inspection.signing-keys"
CAMERA, WORKER, OPERATOR, AUTHORITY = SignerRole
LINE = KafkaSettings("127.0.0.1:9", "p")


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


def signed(signer: SigningKey, key: bytes, value: bytes, topic: str = TOPIC) -> tuple[bytes, bytes, dict[str, bytes]]:
    return key, value, {SIGNATURE_HEADER: signer.sign(topic, key, value)}


def id_of(key: SigningKey) -> bytes:
    return key_id_of(key.public).encode()


def test_each_fault_has_its_name_and_changes_nothing(keys: Keys) -> None:
    site, press = keys.make("site", AUTHORITY), keys.make("press", AUTHORITY, "press/*")
    gone, ann = keys.make("gone", AUTHORITY), keys.make("ann", OPERATOR)
    keys.revoke("gone")
    top, stranger = keys.make_apart("top", CAMERA, "press/top"), keys.make_apart("stranger", AUTHORITY)
    second = keys.make_apart("second", AUTHORITY)
    hall, worker = keys.make_apart("hall", CAMERA, "hall/top"), keys.make_apart("w", WORKER)
    key, value = id_of(top), keys.public("top").read_bytes()
    entries = KeyEntries(TOPIC, read_trust(keys.trust))
    header = {SIGNATURE_HEADER: site.sign(TOPIC, key, value)}
    no_key = b"public_key: " + value.split(b"\n")[0].split()[1] + b"\nrole: king\n"
    bomb = b"a0: &a0 [x]\n" + b"".join(
        b"a%d: &a%d [%s]\n" % (n, n, b",".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 30)
    )
    for given_entry, expected in (
        ((None, value, header), EntryFault.NOT_AN_ENTRY),
        ((b"", value, header), EntryFault.NOT_AN_ENTRY),
        (signed(site, b"top", value), EntryFault.NOT_AN_ENTRY),
        (signed(site, key + b"\n", value), EntryFault.NOT_AN_ENTRY),
        ((key, None, header), EntryFault.NOT_AN_ENTRY),
        (signed(site, key, b""), EntryFault.NOT_AN_ENTRY),
        (signed(site, key, value + b"#" * spread_keys.MOST_ENTRY_BYTES), EntryFault.NOT_AN_ENTRY),
        (signed(site, b"revoked/" + key, b"revoked: 0000000000000000\n"), EntryFault.NOT_AN_ENTRY),
        (signed(site, b"revoked/" + key, value), EntryFault.NOT_AN_ENTRY),
        ((key, value, {}), SignatureFault.UNSIGNED),
        ((*revocation_of(key.decode()), {}), SignatureFault.UNSIGNED),
        ((key, value, {SIGNATURE_HEADER: b"garbage"}), SignatureFault.BAD_SIGNATURE),
        ((b"revoked/" + key, value, header), SignatureFault.BAD_SIGNATURE),
        ((key, value + b"\n", header), SignatureFault.BAD_SIGNATURE),
        (signed(site, key, value, "other.signing-keys"), SignatureFault.BAD_SIGNATURE),
        (signed(stranger, key, value), SignatureFault.UNKNOWN_KEY),
        (signed(top, key, value), SignatureFault.UNKNOWN_KEY),
        (signed(stranger, *revocation_of(key.decode())), SignatureFault.UNKNOWN_KEY),
        (signed(ann, key, value), SignatureFault.WRONG_ROLE),
        (signed(gone, key, value), SignatureFault.REVOKED_KEY),
        (signed(site, id_of(worker), value), EntryFault.OTHER_KEY),
        (signed(site, key, no_key), EntryFault.NOT_A_KEY),
        (signed(site, key, b"\xff"), EntryFault.NOT_A_KEY),
        (signed(site, key, b"[" * 5_000), EntryFault.NOT_A_KEY),
        (signed(site, key, bomb + b"public_key: *a29\nrole: worker\n"), EntryFault.NOT_A_KEY),
        (signed(site, key, b"public_key: [[1]]\nrole: worker\nnot_after: {a: 1}\n"), EntryFault.NOT_A_KEY),
        (signed(site, id_of(second), keys.public("second").read_bytes()), EntryFault.NOT_ALLOWED),
        (signed(press, id_of(hall), keys.public("hall").read_bytes()), EntryFault.NOT_ALLOWED),
        (signed(press, id_of(worker), keys.public("w").read_bytes()), EntryFault.NOT_ALLOWED),
    ):
        before = entries.faults[expected]
        assert entries.add(*given_entry) is expected, given_entry
        assert entries.faults[expected] == before + 1
        assert entries.spread == SpreadKeys(), given_entry
    assert entries.add(key, value, header) is None
    assert entries.add(*signed(press, key, value)) is None
    assert set(entries.spread.by_id) == {key.decode()}
    # A key of the topic vouches for nobody, and a second authority of the topic neither.
    for signer in (top, second):
        assert entries.add(*signed(signer, id_of(worker), keys.public("w").read_bytes())) is SignatureFault.UNKNOWN_KEY


FOLDER = TrustedKeys()


@given(st.none() | st.binary(max_size=30), st.none() | st.binary(max_size=200), st.binary(max_size=80))
def test_garbage_is_counted(key: bytes | None, value: bytes | None, header: bytes) -> None:
    entries = KeyEntries(TOPIC, FOLDER)
    assert entries.add(key, value, {SIGNATURE_HEADER: header}) is not None
    assert entries.add(b"0123456789abcdef", value, {SIGNATURE_HEADER: header}) is not None
    assert (sum(entries.faults.values()), entries.spread) == (2, SpreadKeys())


def test_twenty_thousand_invented_keys_are_not_kept(keys: Keys) -> None:
    site, top = keys.make("site", AUTHORITY), keys.make_apart("top", CAMERA, "press/top")
    value = keys.public("top").read_bytes()
    header = site.sign(TOPIC, id_of(top), value)
    stranger = keys.make_apart("stranger", AUTHORITY).sign(TOPIC, id_of(top), value)
    entries = KeyEntries(TOPIC, read_trust(keys.trust))
    for number in range(20_000):
        # One in a hundred has the header of a real entry: only the signature tells it apart.
        entries.add(b"%016x" % number, value, {SIGNATURE_HEADER: stranger if number % 100 else header})
    assert entries.spread == SpreadKeys()
    assert entries.faults == {SignatureFault.UNKNOWN_KEY: 19_800, SignatureFault.BAD_SIGNATURE: 200}
    assert entries.add(id_of(top), value, {SIGNATURE_HEADER: header}) is None


def test_the_number_of_keys_has_a_limit(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spread_keys, "MOST_KEYS", 2)
    site = keys.make("site", AUTHORITY)
    entries = KeyEntries(TOPIC, read_trust(keys.trust))
    made = [keys.make_apart(f"w{number}", WORKER) for number in range(3)]
    messages = [signed(site, id_of(key), keys.public(f"w{n}").read_bytes()) for n, key in enumerate(made)]
    revocations = [signed(site, *revocation_of(key_id_of(key.public))) for key in made]
    for given_entries in (messages, revocations):
        assert [entries.add(*each) for each in (*given_entries, given_entries[0])] == [
            None, None, EntryFault.TOO_MANY, None,
        ]  # fmt: skip
    assert len(entries.spread.by_id) == len(entries.spread.revoked) == 2


def test_the_folder_is_the_root(keys: Keys) -> None:
    """Check that the folder takes precedence, and that a key counts only while an authority vouches for it."""
    site, top = keys.make("site", AUTHORITY), keys.make("top", CAMERA, "press/top")
    other = keys.make_apart("other", CAMERA, "press/side")
    entries = KeyEntries(TOPIC, read_trust(keys.trust))
    wide = (keys.trust / "top.yaml").read_bytes().replace(b"press/top", b'"*/*"')
    for message in (
        signed(site, id_of(top), wide),
        signed(site, id_of(other), keys.public("other").read_bytes()),
        signed(site, *revocation_of(key_id_of(site.public))),
    ):
        assert entries.add(*message) is None
    joined = entries.spread.joined_to(read_trust(keys.trust))
    assert joined.by_id[key_id_of(top.public)].cameras == ("press/top",)
    assert joined.by_id[key_id_of(other.public)].cameras == ("press/side",)
    assert joined.revoked == frozenset()
    keys.change("site", "not_before: 2027-01-01\nnot_after: 2028-01-01T00:00:00Z")
    bounded = entries.spread.joined_to(read_trust(keys.trust)).by_id[key_id_of(other.public)]
    assert [bounded.is_valid_at(at_s * 1_000_000) for at_s in (1_795_000_000, 1_800_000_000, 1_835_000_000)] == [
        False, True, False,
    ]  # fmt: skip
    keys.revoke("site")
    assert set(entries.spread.joined_to(read_trust(keys.trust)).by_id) == {key_id_of(top.public)}


def test_a_revocation_beats_folder_and_topic(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transport.trust._INTERVAL_S", 0.0)
    site, top = keys.make("site", AUTHORITY), keys.make("top", CAMERA, "press/top")
    trust, entries = Trust(keys.trust), KeyEntries(TOPIC, read_trust(keys.trust))
    headers = {SIGNATURE_HEADER: top.sign("inspection.frames", b"press/top", b"frame")}

    def fault() -> SignatureFault | None:
        return trust.fault(CAMERA, "press/top", "inspection.frames", b"press/top", b"frame", headers, 0)

    assert fault() is None
    publication = signed(site, id_of(top), (keys.trust / "top.yaml").read_bytes())
    for message in (signed(site, *revocation_of(key_id_of(top.public))), publication):
        assert entries.add(*message) is None
        trust.take_spread(entries.spread)
        assert fault() is SignatureFault.REVOKED_KEY
    # The folder is read again, and the topic still counts.
    os.utime(keys.trust / "top.yaml", ns=(1, 1))
    assert fault() is SignatureFault.REVOKED_KEY
    assert KeyEntries(TOPIC, read_trust(keys.trust), entries.spread.revoked).spread.revoked == entries.spread.revoked


def test_an_authority_signs_keys_only(keys: Keys) -> None:
    site = keys.make("site", AUTHORITY)
    trust = Trust(keys.trust)
    for role in (CAMERA, WORKER, OPERATOR):
        header = {SIGNATURE_HEADER: site.sign("t", b"press/top", b"v")}
        assert trust.fault(role, "press/top", "t", b"press/top", b"v", header, 0) is SignatureFault.WRONG_ROLE


@pytest.mark.parametrize(
    ("wide", "pattern", "may"),
    [
        ("*", "press/*", True), ("press/*", "press/?op", True), ("press/*", "press/*x*", True),
        ("press/top", "press/top", True), ("press/?", "press/?", True), ("press/[ab]", "press/[ab]", True),
        ("press/?", "press/*", False), ("press/[!x]", "press/*", False), ("press/*a*", "press/[ab]", False),
        ("press/*", "*/top", False), ("press/top", "press/t*", False), ("press/*", "[p]ress/top", False),
    ],
)  # fmt: skip
def test_an_authority_of_a_station_stays_there(keys: Keys, wide: str, pattern: str, may: bool) -> None:
    keys.make("site", AUTHORITY, "x/y")
    keys.make("top", CAMERA, "x/y")
    authority, key = sorted(read_trust(keys.trust).by_id.values(), key=lambda each: each.name)
    authority, key = (dataclasses.replace(one, cameras=(text,)) for one, text in ((authority, wide), (key, pattern)))
    assert authority.may_vouch_for(key) is may


def test_settings_that_cannot_work(keys: Keys) -> None:
    keys.make("w", WORKER)
    with pytest.raises(SettingsError, match="--trust-topic: name the folder"):
        make_belief(None, None, line=LINE)
    with pytest.raises(SettingsError, match=r"no key in .* has the role authority"):
        make_belief(keys.trust, None, line=LINE)
    assert make_belief(keys.trust, SignaturePolicy.OFF, line=LINE) is None

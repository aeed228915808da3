"""Keys are found by their digest, and what is wrong with their file is said without showing one."""

import json
from pathlib import Path

import pytest

from service.keys import Key, Keyring, KeysError, Scope, digest_of, new_key


def keyring(*keys: str) -> Keyring:
    return Keyring([Key(name=f"k{at}", digest=digest_of(key), scopes={Scope.caption}) for at, key in enumerate(keys)])


def stored(**changes: object) -> str:
    return json.dumps({"keys": [{"name": "a", "digest": digest_of("x"), "scopes": ["caption"]} | changes]})


def test_a_key_is_found_by_itself_alone() -> None:
    one, other = new_key(), new_key()
    ring = keyring(one, other)
    found = ring.find(other)
    assert found is not None
    assert found.name == "k1"
    for wrong in ("", one[:-1], one + "x", one.upper(), digest_of(one), "\udcff", "é"):
        assert ring.find(wrong) is None


def test_two_new_keys_differ_and_hold_256_bits() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(len(key) >= len("drcap_") + 43 for key in keys)


def test_what_a_key_reaches() -> None:
    everywhere = Key(name="a", digest=digest_of("a"), scopes={Scope.caption})
    city = Key(name="b", digest=digest_of("b"), scopes={Scope.caption}, domains={"city"})
    assert everywhere.reaches("forest")
    assert city.reaches("city")
    assert not city.reaches("forest")


def test_a_file_of_keys_is_read(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(stored(domains=["city"], requests_per_minute=30))
    found = Keyring.from_file(path).find("x")
    assert found is not None
    assert (found.domains, found.requests_per_minute) == (frozenset({"city"}), 30)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "keys.json: Expecting property name"),
        ("[]", "keys.json: : Input should be"),
        ('{"keys": []}', "keys.json: keys: List should have at least 1 item"),
        (stored(scopes=[]), r"keys.0.scopes"),
        (stored(scopes=["root"]), r"keys.0.scopes.0: Input should be 'caption' or 'admin'"),
        (stored(digest="plain-secret"), r"keys.0.digest: String should match pattern"),
        (stored(rate=3), r"keys.0.rate: Extra inputs are not permitted"),
        (stored(requests_per_minute=0), r"keys.0.requests_per_minute"),
    ],
)
def test_a_wrong_file_is_refused_and_says_where(text: str, message: str) -> None:
    with pytest.raises(KeysError, match=message) as caught:
        Keyring.parse(text, "keys.json")
    assert "plain-secret" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeysError, match=r"keys\.json cannot be read"):
        Keyring.from_file(tmp_path / "keys.json")


@pytest.mark.parametrize(("what", "second"), [("name", {"name": "a"}), ("digest", {"digest": digest_of("x")})])
def test_keys_of_one_name_or_digest_are_refused(what: str, second: dict[str, str]) -> None:
    other = {"name": "b", "digest": digest_of("y"), "scopes": ["caption"]} | second
    first = {"name": "a", "digest": digest_of("x"), "scopes": ["caption"]}
    with pytest.raises(KeysError, match=f"same {what}"):
        Keyring.parse(json.dumps({"keys": [first, other]}), "keys.json")


def test_a_presented_key_is_compared_with_every_key_by_its_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = new_key(), new_key()
    ring = keyring(first, second)
    compared: list[tuple[str, str]] = []

    def watched(one: str, other: str) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr("hmac.compare_digest", watched)
    assert ring.find(first) is not None
    assert compared == [(digest_of(first), digest_of(first)), (digest_of(second), digest_of(first))]

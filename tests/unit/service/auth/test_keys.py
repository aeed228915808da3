"""Keys are found by their digest, and what is wrong with their file is said without showing one."""

import json
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.common.errors import CommandError
from cli.keys import keys as commands
from service.auth.guard import Guard
from service.auth.keys import Key, Keyring, KeysError, Scope, digest_of, new_key
from service.errors import RateExceeded


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


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_rate_refills_steadily_and_says_when_to_come_back() -> None:
    clock = Clock()
    key = Key(name="a", digest=digest_of("a"), scopes={Scope.caption}, requests_per_minute=6)
    guard = Guard(Keyring([key]), clock)
    caller = guard.identify("a")
    for _ in range(6):
        guard.take(caller)
    clock.now += 2.5
    with pytest.raises(RateExceeded) as refused:
        guard.take(caller)
    assert refused.value.headers == {"Retry-After": "8"}
    clock.now += 8
    guard.take(caller)
    with pytest.raises(RateExceeded):
        guard.take(caller)


def test_less_than_one_request_a_minute_is_a_rate_too() -> None:
    clock = Clock()
    guard = Guard(Keyring([Key(name="a", digest=digest_of("a"), scopes={"caption"}, requests_per_minute=0.5)]), clock)
    guard.take(guard.identify("a"))
    with pytest.raises(RateExceeded) as refused:
        guard.take(guard.identify("a"))
    assert refused.value.headers == {"Retry-After": "120"}


def run(*arguments: str | Path) -> Result:
    """The command; an error for its user is raised, as `drcap` prints it."""
    result = CliRunner().invoke(commands, [str(one) for one in arguments])
    if isinstance(result.exception, CommandError):
        raise result.exception
    return result


def test_a_new_key_in_a_file_is_known_to_a_service_and_only_its_digest_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    made = run(
        "new", "studio", "--scope", "caption", "--scope", "admin", "--domain", "city", "--rate", "60", "--file", file
    )
    key = made.stdout.strip()
    found = Keyring.from_file(file).find(key)
    assert found is not None
    assert (found.name, found.scopes) == ("studio", frozenset(Scope))
    assert (found.domains, found.requests_per_minute) == (frozenset({"city"}), 60)
    assert key not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_who_could_read_the_file_still_can_when_it_is_changed(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    run("new", "studio", "--scope", "caption", "--file", file)
    file.chmod(0o444)
    run("new", "boss", "--scope", "admin", "--file", file)
    run("rm", "studio", "--file", file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o444


def test_a_new_key_without_a_file_is_shown_with_its_entry() -> None:
    made = run("new", "studio", "--scope", "caption")
    entry = json.loads(made.stderr.partition(": ")[2])
    assert Keyring.parse(json.dumps({"keys": [entry]}), "here").find(made.stdout.strip()) is not None


def test_keys_are_listed_and_removed(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    run("new", "studio", "--scope", "caption", "--domain", "city", "--rate", "30", "--file", file)
    run("new", "boss", "--scope", "admin", "--file", file)
    assert run("list", "--file", file).stdout.splitlines() == [
        "studio\tcaption\tcity\t30 a minute",
        "boss\tadmin\tevery domain\tany rate",
    ]
    run("rm", "studio", "--file", file)
    assert [key.name for key in Keyring.from_file(file).keys] == ["boss"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["new", "boss", "--scope", "admin"], "two keys have the same name: boss"),
        (["new", "a b", "--scope", "admin"], "name: String should match"),
        (["new", "other", "--scope", "admin", "--rate", "0"], "requests_per_minute: Input should be greater than 0"),
        (["rm", "other"], "has no key 'other'; it has boss"),
        (["rm", "boss"], "'boss' is the last key"),
    ],
)
def test_a_command_that_cannot_be_done_says_why_and_leaves_the_file(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    file = tmp_path / "keys.json"
    run("new", "boss", "--scope", "admin", "--file", file)
    before = file.read_text()
    with pytest.raises(CommandError, match=message):
        run(*arguments, "--file", file)
    assert file.read_text() == before
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_is_no_file_of_keys_is_not_replaced(tmp_path: Path) -> None:
    file = tmp_path / "notes.json"
    file.write_text("[1, 2]")
    with pytest.raises(CommandError, match=r"notes\.json"):
        run("new", "boss", "--scope", "admin", "--file", file)
    assert file.read_text() == "[1, 2]"

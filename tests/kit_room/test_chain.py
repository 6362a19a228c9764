"""The chain of the audit trail: what is changed, cut out, cut off or slipped in shows; two sealers make one chain."""

from __future__ import annotations

import threading

import pytest

from farebox.kit import audit, chain, clock, db, errors, ids

pytestmark = pytest.mark.store


@pytest.fixture
def trail(ready_instance):
    """Five sealed events; their ids."""

    for number in range(5):
        db.write(audit.record, actor="test", verb="thing.done", object=f"thing {number}", after={"n": number})
    sealed()
    return [row[0] for row in db.read(lambda tx: tx.all("SELECT event FROM kit_auditseal ORDER BY n"))]


def sealed() -> int:
    many = 0
    while events := db.read(chain.unsealed, clock.now_us()):
        many += db.write(chain.seal, events)
    return many


def sql(text: str, *params: object) -> None:
    assert db.write(lambda tx: tx.execute(text, params))


def troubles(*noted: chain.Head) -> list[tuple[str, int, str]]:
    found = chain.verify(noted, now_us=clock.now_us())
    assert found.many == len(found.troubles)
    return [(one.kind, one.n, one.event) for one in found.troubles]


@pytest.mark.slow
def test_a_whole_chain(trail):
    head = db.read(chain.head)
    assert head.n == len(trail) >= 5
    assert chain.parse(f" {head}\n") == head
    assert sealed() == 0
    db.write(audit.record, actor="test", verb="thing.done", object="one more")
    assert sealed() == 1
    assert troubles(head, db.read(chain.head)) == []


def test_what_was_never_sealed_is_empty_and_well(ready_instance):

    assert db.read(chain.head).n == 0
    assert chain.verify(now_us=0).head.n == 0


@pytest.mark.parametrize("column", ["at_us", "actor", "verb", "object", "before", "after"])
def test_a_changed_event_is_named(trail, column):
    value = 7 if column == "at_us" else "another"
    sql(f"UPDATE kit_auditevent SET {column} = %s WHERE id = %s", value, trail[2])
    assert troubles() == [("changed", 3, trail[2])]


@pytest.mark.parametrize("made_up", ["0" * 64, "no hash at all"])
def test_a_changed_seal_is_named(trail, made_up):
    sql("UPDATE kit_auditseal SET hash = %s WHERE n = 2", made_up)
    assert ("changed", 2, trail[1]) in troubles()


def test_an_event_that_is_gone(trail):
    sql("DELETE FROM kit_auditevent WHERE id = %s", trail[1])
    assert troubles() == [("gone", 2, trail[1])]
    sql("DELETE FROM kit_auditseal WHERE n = 2")
    assert troubles() == [("gap", 2, "")]


def test_a_gap_that_is_closed_again(trail):
    sql("DELETE FROM kit_auditevent WHERE id = %s", trail[1])
    sql("DELETE FROM kit_auditseal WHERE n = 2")
    sql("UPDATE kit_auditseal SET n = 2 WHERE n = 3")
    for n in range(4, len(trail) + 1):
        sql("UPDATE kit_auditseal SET n = %s WHERE n = %s", n - 1, n)
    assert troubles() == [("changed", 2, trail[2])]


def test_a_chain_made_anew_is_whole_but_lacks_the_head_that_was_noted(trail):
    head = db.read(chain.head)
    sql("UPDATE kit_auditevent SET actor = 'nobody' WHERE id = %s", trail[0])
    sql("DELETE FROM kit_auditseal")
    sealed()
    assert troubles() == []
    assert troubles(head) == [("head", head.n, "")]


def test_an_end_that_was_cut_off_lacks_the_head_that_was_noted(trail):
    head = db.read(chain.head)
    sql("DELETE FROM kit_auditevent WHERE id = %s", trail[-1])
    sql("DELETE FROM kit_auditseal WHERE n = %s", head.n)
    assert troubles() == []
    assert troubles(head) == [("head", head.n, "")]


def test_what_is_not_sealed_is_told_after_a_minute(trail):
    db.write(audit.record, actor="test", verb="thing.done", object="unsealed")
    found = chain.verify(now_us=clock.now_us())
    assert (found.many, found.waiting) == (0, 0)
    found = chain.verify(now_us=clock.now_us() + chain.UNSEALED_US + 1_000_000)
    assert (found.many, found.waiting) == (0, 1)


def insert(at_us: int) -> str:
    ident = ids.new("aud", at_us)
    text = (
        "INSERT INTO kit_auditevent (id, at_us, actor, verb, object, before, after) VALUES (%s, %s, '', '', '', '', '')"
    )
    sql(text, ident, at_us)
    return ident


def test_an_event_that_is_committed_late_is_sealed_all_the_same(trail):
    """On PostgreSQL a later event may be committed first."""
    now_us = clock.now_us()
    late = insert(now_us - 60_000_000)
    assert sealed() == 1
    latest = insert(now_us - chain.LATE_US - 60_000_000)
    assert sealed() == 0, "so long takes no write; a look at the whole trail finds it once a day"
    assert [row[0] for row in db.read(chain.unsealed)] == [latest]
    assert db.write(chain.seal, db.read(chain.unsealed)) == 1
    assert troubles() == []
    assert db.read(lambda tx: tx.all("SELECT event FROM kit_auditseal ORDER BY n DESC LIMIT 2")) == [(latest,), (late,)]


def test_an_event_of_a_clock_that_ran_ahead_hides_no_other(trail):
    insert(clock.now_us() + 3_600_000_000)
    assert sealed() == 1
    db.write(audit.record, actor="test", verb="thing.done", object="after it")
    assert sealed() == 1
    assert troubles() == []


def test_long_trails_are_sealed_and_verified_in_parts(trail, monkeypatch):
    monkeypatch.setattr(chain, "AT_MOST", 2)
    for number in range(7):
        db.write(audit.record, actor="test", verb="thing.done", object=f"more {number}")
    assert sealed() == 7
    heard = []
    found = chain.verify(now_us=clock.now_us(), tell=heard.append)
    assert (found.head.n, found.many, heard[-1]) == (len(trail) + 7, 0, len(trail) + 7)


def test_many_troubles_are_counted_and_the_first_told(trail, monkeypatch):
    monkeypatch.setattr(chain, "TROUBLES_MAX", 2)
    db.write(lambda tx: tx.execute("UPDATE kit_auditevent SET actor = 'nobody'"))
    found = chain.verify(now_us=clock.now_us())
    assert (found.many, len(found.troubles)) == (len(trail), 2)


def test_two_sealers_make_one_chain(trail):
    for number in range(40):
        db.write(audit.record, actor="test", verb="thing.done", object=f"more {number}")
    events, gate, counts = db.read(chain.unsealed, clock.now_us()), threading.Barrier(2), []

    def one() -> None:
        from django.db import connection

        gate.wait(10)
        counts.append(db.write(chain.seal, events))
        connection.close()

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(counts) == [0, 40]
    assert troubles() == []
    assert db.read(chain.head).n == len(trail) + 40


@pytest.mark.parametrize("text", ["", "5", f"0:{'a' * 64}", f"5:{'A' * 64}", f"5:{'a' * 63}", f"x:{'a' * 64}"])
def test_what_is_no_head(text):
    with pytest.raises(errors.CommandError, match="chain.head"):
        chain.parse(text)

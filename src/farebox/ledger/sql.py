"""SQL of the hot path on the ledger's tables. Each state change is one conditional statement whose count is checked."""

from farebox.kit import epochs

LOCK_PURSES = "SELECT id FROM ledger_ledgeraccount WHERE id = ANY(%s) ORDER BY id FOR UPDATE"

# The condition is the check: no isolation level is relied on, and two calls on the last money can't both have it (I03).
TAKE = """
UPDATE ledger_ledgeraccount SET held_micro = held_micro + %s
WHERE id = %s AND NOT frozen AND (floor_micro IS NULL OR posted_micro - held_micro - %s >= floor_micro)
"""

# The cap as this caller knows it, and the floor of the row: after a change one of the two is older for up to a second.
TAKE_CAPPED = """
UPDATE ledger_ledgeraccount SET held_micro = held_micro + %s
WHERE id = %s AND NOT frozen AND posted_micro - held_micro - %s >= %s
 AND posted_micro - held_micro - %s >= floor_micro
"""

# A hold that is there already grows: who is frozen meanwhile gets no new one, and what is under way goes on.
TAKE_MORE = TAKE.replace(" AND NOT frozen", "")
TAKE_MORE_CAPPED = TAKE_CAPPED.replace(" AND NOT frozen", "")

# More than is held is never released, here and in PAY: where no row is touched the caller stops the whole transaction.
GIVE_BACK = """
UPDATE ledger_ledgeraccount SET held_micro = held_micro - %s WHERE id = %s AND held_micro >= %s
"""

PAY = """
UPDATE ledger_ledgeraccount SET held_micro = held_micro - %s, posted_micro = posted_micro - %s
WHERE id = %s AND held_micro >= %s
"""

REFUND_CAP = "UPDATE ledger_ledgeraccount SET posted_micro = posted_micro + %s WHERE id = %s AND kind = 'memo'"

# A cap that was lowered meanwhile gives way: `place` compares with the cap itself as well.
SPEND_AGAIN = """
UPDATE ledger_ledgeraccount SET posted_micro = posted_micro - %s, floor_micro =
 CASE WHEN posted_micro - held_micro - %s < floor_micro THEN posted_micro - held_micro - %s ELSE floor_micro END
WHERE id = %s AND kind = 'memo'
"""

POST = """
UPDATE ledger_ledgeraccount SET posted_micro = posted_micro + %s
WHERE id = %s AND currency = %s AND posted_micro BETWEEN %s AND %s
 AND (floor_micro IS NULL OR posted_micro - held_micro >= floor_micro - %s)
"""

# The first two calls of a new day may both make its memo account: the later one finds it.
OPEN_ACCOUNT = """
INSERT INTO ledger_ledgeraccount (id, kind, currency, posted_micro, held_micro, floor_micro, frozen)
VALUES (%s, %s, %s, 0, 0, %s, %s) ON CONFLICT (id) DO NOTHING
"""

# Nothing changes but the row is this transaction's until its end, on either database.
LOCK_ACCOUNT = "UPDATE ledger_ledgeraccount SET frozen = frozen WHERE id = %s"

READ_ACCOUNT = """
SELECT posted_micro, held_micro, floor_micro, frozen, currency FROM ledger_ledgeraccount WHERE id = %s
"""

MOVE_CAP = """
UPDATE ledger_ledgeraccount
SET floor_micro = CASE WHEN posted_micro - held_micro < %s THEN posted_micro - held_micro ELSE %s END WHERE id = %s
"""

# A process that hung until another one ended its epoch opens nothing any more: nobody would look after it.
OPEN_HOLD = f"""
INSERT INTO ledger_hold (id, account, purses, amount_micro, charge_micro, state, epoch, placed_us, ended_us)
SELECT %s, %s, %s, %s, NULL, 'open', %s, %s, NULL
WHERE {epochs.GOES_ON}
"""

READ_HOLD = "SELECT state, amount_micro, charge_micro, purses FROM ledger_hold WHERE id = %s"

GROW_HOLD = "UPDATE ledger_hold SET amount_micro = amount_micro + %s WHERE id = %s AND state = 'open'"

# What is given back is the difference to the amount that was read: one who read it before a change gives nothing back.
LOWER_HOLD = "UPDATE ledger_hold SET amount_micro = %s WHERE id = %s AND state = 'open' AND amount_micro = %s"

# The last parameter is the charge: a hold of less is extended first.
END_HOLD = """
UPDATE ledger_hold SET state = %s, charge_micro = %s, ended_us = %s WHERE id = %s AND state = 'open'
 AND amount_micro >= %s
RETURNING amount_micro
"""

OPEN_HOLDS_OF_EPOCH = """
SELECT id, purses, amount_micro FROM ledger_hold WHERE epoch = %s AND state = 'open' ORDER BY id LIMIT %s
"""

EPOCHS_WITH_HOLDS = "SELECT DISTINCT epoch FROM ledger_hold WHERE state = 'open' ORDER BY epoch"

WRITE_ENTRY = """
INSERT INTO ledger_entry
(id, account, kind, ref, currency, at_us, note, requester, approver, single_person)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""

WRITE_TWO_POSTINGS = """
INSERT INTO ledger_posting (id, entry_id, account, amount_micro) VALUES (%s, %s, %s, %s), (%s, %s, %s, %s)
"""

WRITE_POSTING = "INSERT INTO ledger_posting (id, entry_id, account, amount_micro) VALUES (%s, %s, %s, %s)"

# Two commands at once with one reference on one account: the later one begins anew, and finds the first one's entry.
WRITE_ENTRY_ONCE = f"{WRITE_ENTRY.rstrip()} ON CONFLICT (account, kind, ref) DO NOTHING"

FIND_REFERENCE = "SELECT entry FROM ledger_reference WHERE kind = %s AND source = %s AND reference = %s"

TAKE_REFERENCE = """
INSERT INTO ledger_reference (entry, kind, source, reference, at_us) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (kind, source, reference) DO NOTHING
"""

REFERENCES_OTHERWISE = """
SELECT r.source, r.reference FROM ledger_reference r LEFT JOIN ledger_entry e ON e.id = r.entry
WHERE e.id IS NULL OR e.at_us <> r.at_us ORDER BY r.source, r.reference
"""

# An entry that was booked under a reference from outside alone has its own id for a reference.
ENTRIES_WITHOUT_REFERENCE = """
SELECT e.id FROM ledger_entry e LEFT JOIN ledger_reference r ON r.entry = e.id
WHERE e.ref = e.id AND r.entry IS NULL ORDER BY e.id
"""

ADJUSTMENTS_WITHOUT_REFERENCE = """
SELECT a.id FROM ledger_adjustment a LEFT JOIN ledger_reference r
 ON r.kind = 'manual' AND r.source = a.source AND r.reference = a.reference AND r.entry = a.entry
WHERE a.state = 'booked' AND a.source <> '' AND r.entry IS NULL ORDER BY a.id
"""

# Given by hand on several accounts, each time under the same reference without a source.
REPEATED_REFERENCES = """
SELECT e.ref, COUNT(*) FROM ledger_entry e WHERE e.kind = 'grant' AND e.requester <> ''
GROUP BY e.ref HAVING COUNT(*) > 1 ORDER BY e.ref
"""

FIND_ENTRY = "SELECT id FROM ledger_entry WHERE account = %s AND kind = %s AND ref = %s"

READ_ENTRY = "SELECT account, kind, ref, currency FROM ledger_entry WHERE id = %s"

READ_POSTINGS = "SELECT account, amount_micro FROM ledger_posting WHERE entry_id = %s ORDER BY id"

# What a person gave back of the charge of a call, as far as that was not undone.
_BY_HAND = """
a.kind = 'refund' AND a.state = 'booked' AND NOT EXISTS
 (SELECT 1 FROM ledger_entry u WHERE u.account = a.account AND u.kind = 'reversal' AND u.ref = a.entry)
"""

GIVEN_BY_HAND = f"""
SELECT COALESCE(SUM(a.booked_micro), 0) FROM ledger_adjustment a WHERE a.account = %s AND a.call = %s AND {_BY_HAND}
"""

READ_REFUND = "SELECT call, booked_micro FROM ledger_adjustment WHERE id = %s AND kind = 'refund'"

GIVEN_BY_HAND_BETWEEN = f"""
SELECT COALESCE(SUM(a.booked_micro), 0) FROM ledger_adjustment a
JOIN ledger_entry e ON e.account = a.account AND e.kind = 'charge' AND e.ref = a.call
WHERE a.account = %s AND e.at_us >= %s AND e.at_us < %s AND {_BY_HAND}
"""

CHARGED_BETWEEN = """
SELECT COALESCE(SUM(-p.amount_micro), 0) FROM ledger_entry e JOIN ledger_posting p ON p.entry_id = e.id
WHERE e.account = %s AND e.kind = 'charge' AND p.account = e.account AND e.at_us >= %s AND e.at_us < %s AND NOT EXISTS
 (SELECT 1 FROM ledger_entry r WHERE r.account = e.account AND r.kind = 'refund' AND r.ref = e.ref)
 AND NOT EXISTS (SELECT 1 FROM ledger_entry r WHERE r.account = e.account AND r.kind = 'reversal' AND r.ref = e.id)
"""

RECEIVED_SINCE = """
SELECT COALESCE(SUM(p.amount_micro), 0) FROM ledger_entry e JOIN ledger_posting p ON p.entry_id = e.id
WHERE e.account = %s AND e.at_us >= %s AND p.account = e.account AND p.amount_micro > 0
"""

UNBALANCED = """
SELECT e.id FROM ledger_entry e LEFT JOIN ledger_posting p ON p.entry_id = e.id
GROUP BY e.id HAVING COALESCE(SUM(p.amount_micro), 0) <> 0 OR COUNT(p.id) < 2
"""

ORPHAN_POSTINGS = """
SELECT p.id FROM ledger_posting p LEFT JOIN ledger_entry e ON e.id = p.entry_id WHERE e.id IS NULL
"""

FOREIGN_POSTINGS = """
SELECT p.id FROM ledger_posting p JOIN ledger_entry e ON e.id = p.entry_id
LEFT JOIN ledger_ledgeraccount a ON a.id = p.account
WHERE a.id IS NULL OR a.currency <> e.currency OR a.kind = 'memo'
"""

TRIAL_BALANCE = """
SELECT e.currency, SUM(p.amount_micro), SUM(CASE WHEN p.amount_micro > 0 THEN p.amount_micro ELSE 0 END), COUNT(*)
FROM ledger_posting p JOIN ledger_entry e ON e.id = p.entry_id GROUP BY e.currency ORDER BY e.currency
"""

OWN_SUMS = """
SELECT a.id, COALESCE(SUM(p.amount_micro), 0) FROM ledger_ledgeraccount a
LEFT JOIN ledger_posting p ON p.account = a.id WHERE a.kind = 'house' GROUP BY a.id ORDER BY a.id
"""

DRIFT = """
SELECT a.id, a.posted_micro, COALESCE(SUM(p.amount_micro), 0) FROM ledger_ledgeraccount a
LEFT JOIN ledger_posting p ON p.account = a.id WHERE a.kind = 'customer'
GROUP BY a.id, a.posted_micro HAVING a.posted_micro <> COALESCE(SUM(p.amount_micro), 0)
"""

HELD = "SELECT id, held_micro FROM ledger_ledgeraccount WHERE held_micro <> 0"

OPEN_HOLDS = "SELECT id, purses, amount_micro, epoch, placed_us FROM ledger_hold WHERE state = 'open'"

MEMO_POSTED = "SELECT id, posted_micro FROM ledger_ledgeraccount WHERE kind = 'memo'"

# Memo accounts have no postings, so what they should say is summed from the holds that name them.
CAPPED_HOLDS = """
SELECT h.purses, h.charge_micro FROM ledger_hold h
WHERE h.state = 'settled' AND h.charge_micro > 0 AND h.purses LIKE '%%cap:%%' AND NOT EXISTS
 (SELECT 1 FROM ledger_entry e WHERE e.account = h.account AND e.kind = 'refund' AND e.ref = h.id)
"""

# By hand, and by the reversal of a charge; what a restart gave back is left out of CAPPED_HOLDS.
GIVEN_BACK_TO_CAPS = f"""
SELECT h.purses, a.booked_micro FROM ledger_adjustment a JOIN ledger_hold h ON h.id = a.call AND h.account = a.account
WHERE h.state = 'settled' AND h.purses LIKE '%%cap:%%' AND {_BY_HAND} AND NOT EXISTS
 (SELECT 1 FROM ledger_entry e WHERE e.account = h.account AND e.kind = 'refund' AND e.ref = h.id)
UNION ALL
SELECT h.purses, h.charge_micro FROM ledger_entry u JOIN ledger_entry c ON c.id = u.ref AND c.kind = 'charge'
JOIN ledger_hold h ON h.id = c.ref AND h.account = c.account
WHERE u.kind = 'reversal' AND h.state = 'settled' AND h.purses LIKE '%%cap:%%'
"""

REFUNDS_OTHERWISE = """
SELECT e.id FROM ledger_entry e LEFT JOIN ledger_hold h ON h.id = e.ref AND h.account = e.account
LEFT JOIN ledger_posting p ON p.entry_id = e.id AND p.account = e.account
WHERE e.kind = 'refund' AND (h.id IS NULL OR h.state <> 'settled' OR p.id IS NULL OR p.amount_micro <> h.charge_micro)
"""

CHARGES_WITHOUT_ENTRY = """
SELECT h.id FROM ledger_hold h
LEFT JOIN ledger_entry e ON e.account = h.account AND e.kind = 'charge' AND e.ref = h.id
LEFT JOIN ledger_posting p ON p.entry_id = e.id AND p.account = h.account
WHERE h.state <> 'open' AND (
  (h.charge_micro > 0 AND (p.amount_micro IS NULL OR p.amount_micro <> -h.charge_micro))
  OR (h.charge_micro = 0 AND e.id IS NOT NULL) OR (h.state <> 'settled' AND h.charge_micro <> 0))
"""

ENTRIES_WITHOUT_HOLD = """
SELECT e.id FROM ledger_entry e LEFT JOIN ledger_hold h ON h.id = e.ref
WHERE e.kind = 'charge' AND (h.id IS NULL OR h.state <> 'settled' OR h.charge_micro = 0)
"""

BELOW_FLOOR = """
SELECT id FROM ledger_ledgeraccount
WHERE held_micro < 0 OR (floor_micro IS NOT NULL AND posted_micro - held_micro < floor_micro)
"""

OVERDRAWN_LOTS = """
SELECT l.id FROM ledger_creditlot l LEFT JOIN ledger_entry e ON e.id = l.entry_id
WHERE e.id IS NULL OR l.expired_micro > l.amount_micro
"""

ADJUSTMENTS_OTHERWISE = """
SELECT a.id FROM ledger_adjustment a LEFT JOIN ledger_entry e ON e.id = a.entry AND e.account = a.account
 AND e.ref = a.id AND e.currency = a.currency AND e.requester = a.requester AND e.single_person = a.single_person
 AND COALESCE(e.approver, e.requester) = a.decider
 AND e.kind = CASE WHEN a.kind = 'refund' THEN 'call_refund' ELSE a.kind END
LEFT JOIN ledger_posting p ON p.entry_id = e.id AND p.account = a.account
 AND p.amount_micro = CASE WHEN a.kind IN ('debit', 'write_off') THEN -a.booked_micro ELSE a.booked_micro END
WHERE (a.state = 'booked' AND p.id IS NULL) OR (a.state <> 'booked' AND (a.entry <> '' OR a.booked_micro IS NOT NULL))
ORDER BY a.id
"""

ENTRIES_WITHOUT_ADJUSTMENT = """
SELECT e.id FROM ledger_entry e LEFT JOIN ledger_adjustment a ON a.id = e.ref AND a.entry = e.id AND a.state = 'booked'
WHERE (e.kind IN ('credit', 'call_refund', 'debit', 'write_off') OR (e.kind = 'grant' AND e.ref LIKE 'adj$_%%'
 ESCAPE '$')) AND a.id IS NULL ORDER BY e.id
"""

GIVEN_TWICE = f"""
SELECT a.call FROM ledger_adjustment a
LEFT JOIN ledger_entry c ON c.account = a.account AND c.kind = 'charge' AND c.ref = a.call
LEFT JOIN ledger_posting p ON p.entry_id = c.id AND p.account = a.account
WHERE {_BY_HAND} GROUP BY a.account, a.call, c.id, p.amount_micro
HAVING p.amount_micro IS NULL OR SUM(a.booked_micro) > -p.amount_micro OR EXISTS
 (SELECT 1 FROM ledger_entry r WHERE r.account = a.account
  AND ((r.kind = 'refund' AND r.ref = a.call) OR (r.kind = 'reversal' AND r.ref = c.id)))
ORDER BY a.call
"""

FROZEN = "SELECT id FROM ledger_ledgeraccount WHERE frozen ORDER BY id"

# === The allowance: begin ===

READ_ALLOWANCE = """
SELECT currency, begun_micro, grown_micro, drawn_micro, returned_micro, charged_micro, paid, most_micro
FROM ledger_allowance WHERE account = %s
"""

# Beside it whether the account ever had money that nobody gave away: the unique index of entries answers at once.
READ_ALLOWANCE_AND_PAID = """
SELECT a.currency, a.begun_micro, a.grown_micro, a.drawn_micro, a.returned_micro, a.charged_micro,
 COALESCE(a.paid, FALSE) OR EXISTS
  (SELECT 1 FROM ledger_entry e WHERE e.account = %s AND e.kind IN ('credit', 'topup', 'payment')),
 a.most_micro
FROM (SELECT 1) one LEFT JOIN ledger_allowance a ON a.account = %s
"""

OVERDRAWN = """
SELECT account FROM ledger_allowance WHERE drawn_micro > begun_micro + grown_micro + returned_micro
"""

OPEN_ALLOWANCE = """
INSERT INTO ledger_allowance
(account, currency, begun_micro, grown_micro, drawn_micro, returned_micro, charged_micro, paid, most_micro)
VALUES (%s, %s, %s, 0, 0, 0, 0, FALSE, NULL) ON CONFLICT (account) DO NOTHING
"""

# As it was read: the balance's lock keeps others away, and this proves it.
MOVE_ALLOWANCE = """
UPDATE ledger_allowance SET drawn_micro = drawn_micro + %s, grown_micro = grown_micro + %s, charged_micro = %s,
 paid = %s
WHERE account = %s AND drawn_micro = %s AND grown_micro = %s AND charged_micro = %s AND begun_micro = %s
"""

SET_ALLOWANCE = """
UPDATE ledger_allowance SET most_micro = %s, begun_micro = begun_micro + %s
WHERE account = %s AND drawn_micro = %s AND grown_micro = %s AND returned_micro = %s AND begun_micro = %s
"""

WRITE_DRAW = """
INSERT INTO ledger_draw (hold, account, drawn_micro, short_micro, at_us, returned) VALUES (%s, %s, %s, %s, %s, FALSE)
"""

RETURN_DRAW = """
UPDATE ledger_draw SET returned = TRUE WHERE hold = %s AND NOT returned RETURNING account, drawn_micro, short_micro
"""

RETURN_TO_ALLOWANCE = "UPDATE ledger_allowance SET returned_micro = returned_micro + %s WHERE account = %s"

_DRAWS = """
SELECT account, SUM(drawn_micro + short_micro) AS draws, SUM(short_micro) AS short,
 SUM(CASE WHEN returned THEN drawn_micro + short_micro ELSE 0 END) AS back
FROM ledger_draw GROUP BY account
"""

ALLOWANCES_OTHERWISE = f"""
SELECT a.account, a.drawn_micro, a.returned_micro, COALESCE(d.draws, 0), COALESCE(d.back, 0)
FROM ledger_allowance a LEFT JOIN ({_DRAWS}) d ON d.account = a.account
WHERE a.drawn_micro <> COALESCE(d.draws, 0) OR a.returned_micro <> COALESCE(d.back, 0)
UNION ALL
SELECT d.account, 0, 0, d.draws, d.back FROM ({_DRAWS}) d
WHERE NOT EXISTS (SELECT 1 FROM ledger_allowance a WHERE a.account = d.account)
"""

OVERDRAWN_BEYOND = f"""
SELECT a.account FROM ledger_allowance a LEFT JOIN ({_DRAWS}) d ON d.account = a.account
WHERE a.begun_micro + a.grown_micro + a.returned_micro - a.drawn_micro + COALESCE(d.short, 0) < 0
"""

# Joined, so that the holds are read once and not once an account.
GROWN_BEYOND = """
SELECT a.account FROM ledger_allowance a LEFT JOIN (
 SELECT account, SUM(charge_micro) AS charges FROM ledger_hold WHERE state = 'settled' GROUP BY account
) h ON h.account = a.account
WHERE a.grown_micro > a.charged_micro OR a.charged_micro > COALESCE(h.charges, 0)
"""

# What has drawn, and has a fifth or less left of all that it ever had; the most that it holds is looked at elsewhere.
LOW_ALLOWANCES = """
SELECT account, currency, begun_micro, grown_micro, drawn_micro, returned_micro, charged_micro, paid, most_micro
FROM ledger_allowance
WHERE drawn_micro > 0 AND (begun_micro + grown_micro + returned_micro - drawn_micro) * 5
 <= begun_micro + grown_micro + returned_micro
ORDER BY account LIMIT %s
"""

# === The allowance: end ===

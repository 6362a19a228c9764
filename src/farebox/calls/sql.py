"""SQL of the hot path on the tables of calls."""

OPEN_CALL = """
INSERT INTO calls_call
(id, account, project, key, member, endpoint, model, asked, stream, epoch, opened_us, ended_us, currency, hold_micro,
 limit_tokens, price_list, price_version, prices, rule_version, outcome, rule, status, charge_micro, usage,
 usage_source, finish_reason, flags, attempts, error, diagnostics)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, NULL, %s, %s, %s, %s, %s, %s, %s, 'open', '', NULL, NULL, '{}', '',
 '', '', 0, '', '')
"""

END_CALL = """
UPDATE calls_call SET ended_us = %s, hold_micro = %s, outcome = %s, rule = %s, status = %s, charge_micro = %s,
 usage = %s, usage_source = %s, finish_reason = %s, flags = %s, attempts = %s, error = %s, diagnostics = %s,
 reported = %s, value_micro = %s, forgiven_micro = %s, drawn_micro = %s, cause = %s, valued = %s
WHERE id = %s AND outcome = 'open'
"""

WRITE_ATTEMPT = """
INSERT INTO calls_attempt
(id, call_id, n, upstream, channel, model, outcome, status, error, charged, cost_micro, cost_currency, started_us,
 first_byte_us, ended_us)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""

ADD_TO_DAY = """
INSERT INTO calls_daytotal
(id, day, own_day, account, project, key, model, channel, currency, cost_currency, calls, charge_micro, cost_micro,
 input_tokens, output_tokens)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (id) DO UPDATE SET calls = calls_daytotal.calls + excluded.calls,
 charge_micro = calls_daytotal.charge_micro + excluded.charge_micro,
 cost_micro = calls_daytotal.cost_micro + excluded.cost_micro,
 input_tokens = calls_daytotal.input_tokens + excluded.input_tokens,
 output_tokens = calls_daytotal.output_tokens + excluded.output_tokens
"""

ADD_FORGIVEN = """
INSERT INTO calls_forgiventotal (id, day, account, model, channel, cause, currency, calls, forgiven_micro, drawn_micro)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (id) DO UPDATE SET calls = calls_forgiventotal.calls + excluded.calls,
 forgiven_micro = calls_forgiventotal.forgiven_micro + excluded.forgiven_micro,
 drawn_micro = calls_forgiventotal.drawn_micro + excluded.drawn_micro
"""

# By account, model, channel or cause, for the office.
FORGIVEN = {
    by: f"""
SELECT {by}, currency, SUM(calls), SUM(forgiven_micro), SUM(drawn_micro) FROM calls_forgiventotal
WHERE day >= %s AND day <= %s GROUP BY {by}, currency
"""
    for by in ("account", "model", "channel", "cause")
}

ADD_REFUSALS = """
INSERT INTO calls_refusaltotal (id, day, account, code, refusals) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (id) DO UPDATE SET refusals = calls_refusaltotal.refusals + excluded.refusals
"""

MARK_REFUNDED = "UPDATE calls_call SET flags = LTRIM(flags || ' refunded') WHERE id = %s"

CLOSE_EXPIRED = """
UPDATE calls_call SET ended_us = %s, outcome = 'broken', rule = %s, charge_micro = 0, flags = 'expired',
 error = 'the serving process ended before this call did'
WHERE id = %s AND outcome = 'open'
"""

NOTE_LATE = """
UPDATE calls_call SET rule = 'R24', attempts = %s, error = 'the hold had expired when the settlement came'
WHERE id = %s AND outcome = 'broken' AND flags = 'expired' AND rule <> 'R24'
"""

_COLUMNS = """
id, account, project, key, member, endpoint, model, asked, stream, opened_us, ended_us, currency, hold_micro,
limit_tokens, price_list, price_version, prices, rule_version, outcome, rule, status, charge_micro, usage, usage_source,
finish_reason, flags, attempts, error, diagnostics, reported, value_micro, forgiven_micro, drawn_micro, cause, valued
"""

READ_CALL = f"SELECT {_COLUMNS} FROM calls_call WHERE id = %s AND account = %s"

LIST_CALLS = f"""
SELECT {_COLUMNS} FROM calls_call WHERE account = %s AND key = %s AND id < %s ORDER BY id DESC LIMIT %s
"""

LIST_CALLS_OF_ACCOUNT = f"""
SELECT {_COLUMNS} FROM calls_call WHERE account = %s AND id < %s ORDER BY id DESC LIMIT %s
"""

# What the newest calls say of keys and upstreams (calls/watch.py).
# Of later versions an allowance bounds what is free, and no rule is watched.
NEWEST_CALLS = """
SELECT account, key, model, CASE WHEN rule_version = 1 THEN rule ELSE '' END, flags, opened_us
FROM calls_call ORDER BY id DESC LIMIT %s
"""

LAST_RULES_OF_KEY = """
SELECT CASE WHEN rule_version = 1 THEN rule ELSE '' END FROM calls_call WHERE key = %s AND outcome <> 'open'
ORDER BY id DESC LIMIT %s
"""

DRAWN_BY_KEY = """
SELECT key, COALESCE(member, ''), COUNT(*), SUM(forgiven_micro), SUM(drawn_micro), MAX(id) FROM (
 SELECT c.key AS key, c.member AS member, c.forgiven_micro AS forgiven_micro, c.drawn_micro AS drawn_micro, c.id AS id
 FROM ledger_draw d JOIN calls_call c ON c.id = d.hold WHERE d.account = %s ORDER BY d.at_us DESC LIMIT %s) drawn
GROUP BY key, member ORDER BY 5 DESC
"""

READ_ATTEMPTS = """
SELECT n, upstream, channel, model, outcome, status, error, charged, cost_micro, cost_currency, started_us,
 first_byte_us, ended_us FROM calls_attempt WHERE call_id = %s ORDER BY n
"""

SPENT_BETWEEN_DAYS = """
SELECT COALESCE(SUM(charge_micro), 0) FROM calls_daytotal WHERE account = %s AND day >= %s AND day <= %s
 AND COALESCE(own_day, day) >= %s AND COALESCE(own_day, day) <= %s
"""

# The last of the next calls to forget; a call still open, and what is newer than it, waits. The smallest text that is
# an open call's id is asked for, not the id: else SQLite walks through all calls by id until one is open.
LAST_TO_FORGET = """
SELECT MAX(id) FROM (SELECT id FROM calls_call WHERE id > %s AND id < %s
 AND id < COALESCE((SELECT MIN(id || '') FROM calls_call WHERE outcome = 'open'), 'call_~') ORDER BY id LIMIT %s) page
"""

FORGET_CALLS = "UPDATE calls_call SET diagnostics = '', error = '' WHERE id > %s AND id <= %s"

FORGET_ATTEMPTS = """
UPDATE calls_attempt SET error = '', first_byte_us = NULL WHERE call_id > %s AND call_id <= %s
"""

READ_MARK = "SELECT call FROM calls_mark WHERE name = %s"

MOVE_MARK = """
INSERT INTO calls_mark (name, call) VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET call = excluded.call
"""

CHARGED_OTHERWISE = """
SELECT c.id FROM calls_call c LEFT JOIN ledger_hold h ON h.id = c.id
WHERE h.id IS NULL OR (c.outcome = 'open') <> (h.state = 'open')
 OR COALESCE(c.charge_micro, 0) <> COALESCE(h.charge_micro, 0)
 OR (c.outcome <> 'open' AND c.hold_micro < c.charge_micro)
"""

FAILED_BUT_CHARGED = """
SELECT id FROM calls_call WHERE charge_micro > 0 AND (status >= 400 OR outcome IN ('broken', 'refused')
 OR (outcome = 'failed' AND flags NOT LIKE '%%allowance_used%%'))
"""

DRAWN_OTHERWISE = """
SELECT c.id FROM calls_call c LEFT JOIN ledger_draw d ON d.hold = c.id
WHERE COALESCE(c.drawn_micro, 0) <> COALESCE(d.drawn_micro + d.short_micro, 0)
UNION ALL SELECT d.hold FROM ledger_draw d WHERE NOT EXISTS (SELECT 1 FROM calls_call c WHERE c.id = d.hold)
"""

RECEIPTS = f"SELECT {_COLUMNS} FROM calls_call WHERE outcome <> 'open' AND id > %s ORDER BY id LIMIT %s"

HOLDS_WITHOUT_CALL = """
SELECT h.id, h.charge_micro FROM ledger_hold h LEFT JOIN calls_call c ON c.id = h.id WHERE c.id IS NULL ORDER BY h.id
"""

DAYS_OFF = """
SELECT account, SUM(in_days), SUM(in_calls) FROM (
 SELECT account, charge_micro AS in_days, 0 AS in_calls FROM calls_daytotal
 UNION ALL SELECT account, 0, charge_micro FROM calls_call
 WHERE charge_micro > 0 AND flags NOT LIKE '%%refunded') sums
GROUP BY account HAVING SUM(in_days) <> SUM(in_calls) ORDER BY account
"""

ORPHAN_ATTEMPTS = """
SELECT a.id FROM calls_attempt a LEFT JOIN calls_call c ON c.id = a.call_id WHERE c.id IS NULL
"""

READ_ONCE = "SELECT call, at_us FROM calls_once WHERE id = %s"

READ_END = "SELECT outcome, status, charge_micro, flags FROM calls_call WHERE id = %s"

TAKE_ONCE = """
INSERT INTO calls_once (id, call, at_us) VALUES (%s, %s, %s)
ON CONFLICT (id) DO UPDATE SET call = excluded.call, at_us = excluded.at_us WHERE calls_once.call = %s
"""

FORGET_ONCE = """
DELETE FROM calls_once WHERE id IN (SELECT id FROM calls_once WHERE at_us < %s ORDER BY at_us LIMIT %s)
"""

# A charge that was given back stays given back, whoever says later that the answer has left.
MARK_DELIVERED = "UPDATE calls_call SET delivered_us = %s WHERE id = %s AND flags NOT LIKE '%%refunded'"

# By the primary key, which sorts by the time of opening: what an epoch settled last is at the end.
LAST_SETTLED = """
SELECT MAX(ended_us) FROM calls_call WHERE id >= %s AND epoch = %s AND charge_micro > 0
"""

UNDELIVERED = """
SELECT id, account, project, key, model, currency, opened_us FROM calls_call
WHERE id >= %s AND epoch = %s AND charge_micro > 0 AND NOT stream AND delivered_us IS NULL AND ended_us >= %s
 AND flags NOT LIKE '%%refunded' AND outcome = 'served' ORDER BY id
"""

DELIVERED = "SELECT id FROM calls_call WHERE id = %s AND delivered_us IS NOT NULL"

# By the primary key alone: whether a span of time holds more calls than these.
CALL_BEYOND = "SELECT id FROM calls_call WHERE id >= %s AND id < %s ORDER BY id LIMIT 1 OFFSET %s"

# The last attempt is the one whose answer the customer got, so its first byte is what he waited for.
ENDED_CALLS = """
SELECT c.model, c.outcome, c.rule, c.opened_us, c.ended_us, a.first_byte_us FROM calls_call c
LEFT JOIN calls_attempt a ON a.call_id = c.id AND a.n = c.attempts
WHERE c.id >= %s AND c.id < %s AND c.account <> %s AND c.outcome <> 'open' ORDER BY c.id LIMIT %s
"""

# === The request log, totals, statements: begin ===

_SHOWN = """
id, project, key, member, endpoint, model, asked, stream, opened_us, ended_us, currency, outcome, rule, status,
charge_micro, usage, usage_source, finish_reason, flags, attempts, price_list, price_version
"""

# Whose places are `|one|two|`: a text that a project or a member can be cut out of has it. Both databases know REPLACE,
# and it minds the case of ids, which LIKE does not everywhere.
_FITS = """
account = %s
 AND (%s = '' OR REPLACE(%s, '|' || project || '|', '') <> %s OR REPLACE(%s, '|' || member || '|', '') <> %s)
 AND (%s = '' OR project = %s) AND (%s = '' OR member = %s) AND (%s = '' OR model = %s) AND (%s = '' OR outcome = %s)
 AND (%s = '' OR rule = %s) AND COALESCE(charge_micro, 0) BETWEEN %s AND %s
"""

# At most so many rows are read, whatever the filter leaves of them: 20,000 take 50 ms on SQLite, where a filter over
# ten million would take a minute. The inner order is the index's; nothing between it and the outer limit changes it.
SEARCH_ACCOUNT = f"""
SELECT {_SHOWN} FROM (SELECT * FROM calls_call WHERE account = %s AND id >= %s AND id < %s ORDER BY id DESC LIMIT %s) c
WHERE {_FITS} LIMIT %s
"""

SEARCH_KEY = f"""
SELECT {_SHOWN} FROM (SELECT * FROM calls_call WHERE key = %s AND id >= %s AND id < %s ORDER BY id DESC LIMIT %s) c
WHERE {_FITS} LIMIT %s
"""

SEARCH_ACCOUNT_END = """
SELECT id FROM calls_call WHERE account = %s AND id >= %s AND id < %s ORDER BY id DESC LIMIT 1 OFFSET %s
"""

SEARCH_KEY_END = """
SELECT id FROM calls_call WHERE key = %s AND id >= %s AND id < %s ORDER BY id DESC LIMIT 1 OFFSET %s
"""

ANY_CALL = "SELECT id FROM calls_call WHERE account = %s LIMIT 1"

# By hours, which no total is kept of, so that a call costs no second total: 200,000 calls take 0.4 s. What a dead
# process left open is in no day's total and in no hour.
HOURS = """
SELECT (opened_us + %s) / 3600000000 AS hour, project, key, model, COUNT(*),
 SUM(CASE WHEN flags LIKE '%%refunded' THEN 0 ELSE COALESCE(charge_micro, 0) END)
FROM (SELECT opened_us, project, key, model, charge_micro, flags, outcome FROM calls_call
 WHERE account = %s AND id >= %s AND id < %s ORDER BY id DESC LIMIT %s) c
WHERE outcome <> 'open' AND flags <> 'expired' AND opened_us >= %s AND opened_us < %s
GROUP BY hour, project, key, model
"""

# Calls that began before a moment and ended at it or later; none lasts longer than the span of ids says.
ACROSS = """
SELECT id, project, model, opened_us, charge_micro, flags FROM calls_call
WHERE account = %s AND id >= %s AND id < %s AND opened_us < %s AND ended_us >= %s ORDER BY id
"""

SAW = "INSERT INTO calls_seen (account, call, at_us) VALUES (%s, %s, %s) ON CONFLICT (account) DO NOTHING"

SEEN = "SELECT call FROM calls_seen WHERE account = %s"

# The journal itself, by the span of its ids, which sort by time: what a month's statement must add up to.
MOVED = """
SELECT COUNT(*), COALESCE(SUM(amount_micro), 0) FROM ledger_posting WHERE account = %s AND id >= %s AND id < %s
"""

NEXT_KIND = "SELECT MIN(kind) FROM ledger_entry WHERE account = %s AND kind > %s"

# By the unique index of account, kind and reference, and then by entry: what a large account was charged stays unread.
ENTRIES_OF_KIND = """
SELECT e.id, e.kind, e.ref, e.at_us, e.note, e.single_person, p.amount_micro
FROM ledger_entry e CROSS JOIN ledger_posting p
WHERE e.account = %s AND e.kind = %s AND p.entry_id = e.id AND p.account || '' = e.account ORDER BY e.ref
"""

# === The request log, totals, statements: end ===

# === Margins, attempts: begin ===

_SUMS = "SUM(calls), SUM(charge_micro), SUM(cost_micro) FROM calls_daytotal WHERE day >= %s AND day <= %s"

MARGINS = {
    by: f"SELECT {by}, currency, cost_currency, {_SUMS} GROUP BY {by}, currency, cost_currency"
    for by in ("day", "channel", "model", "account")
}

# By the primary key, which sorts by time.
LAST_ATTEMPTS = "SELECT channel, outcome, started_us FROM calls_attempt ORDER BY id DESC LIMIT %s"

# === Margins, attempts: end ===

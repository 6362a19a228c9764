"""SQL on the tables of kit."""

# In the order of bytes capital letters come first; most languages' orders say otherwise.
IN_BYTE_ORDER = "SELECT 'B' < 'a'"

BUMP_VERSION = """
INSERT INTO kit_version (name, n) VALUES (%s, 1)
ON CONFLICT (name) DO UPDATE SET n = kit_version.n + 1
"""

READ_VERSIONS = "SELECT name, n FROM kit_version"

BEAT = """
UPDATE kit_epoch SET beats = beats + 1, oldest_us = %s, seen_us = CASE WHEN seen_us < %s THEN %s ELSE seen_us END
WHERE id = %s AND ended_us IS NULL
"""

END_EPOCH = "UPDATE kit_epoch SET ended_us = %s, ended_why = %s WHERE id = %s AND ended_us IS NULL AND beats <= %s"

OPEN_EPOCHS = "SELECT id, beats FROM kit_epoch WHERE ended_us IS NULL ORDER BY id"

RECORD_AUDIT = """
INSERT INTO kit_auditevent (id, at_us, actor, verb, object, before, after) VALUES (%s, %s, %s, %s, %s, %s, %s)
"""

BEGIN_EPOCH = """
INSERT INTO kit_epoch (id, node, started_us, beats, ended_us, ended_why, seen_us, oldest_us, cleared_us, keys)
VALUES (%s, %s, %s, 0, NULL, '', %s, %s, NULL, '') ON CONFLICT (id) DO NOTHING
"""

NEWEST_TIMES = "SELECT MAX(started_us), MAX(seen_us), MAX(ended_us) FROM kit_epoch"

NEWEST_TIMES_OF_OTHERS = f"{NEWEST_TIMES} WHERE id <> %s"

# === What is known of the time (kit/timing.py) ===
SURE_TIME = "SELECT MAX(sure_us) FROM kit_epoch"

ANCHOR = """
SELECT sure_us, counter_us FROM kit_epoch WHERE boot = %s AND node = %s AND sure_us > 0 ORDER BY sure_us DESC LIMIT 1
"""

LIVING_CLOCKS = "SELECT id, node, beats, wall_us FROM kit_epoch WHERE ended_us IS NULL ORDER BY id"

LIVING_JUDGEMENTS = "SELECT node, clock FROM kit_epoch WHERE ended_us IS NULL ORDER BY node, id"

NOTE_CLOCK = "UPDATE kit_epoch SET wall_us = %s, clock = %s WHERE id = %s AND ended_us IS NULL"

NOTE_SURE = """
UPDATE kit_epoch SET sure_us = %s, counter_us = %s, boot = %s WHERE id = %s AND ended_us IS NULL
"""

# A mark that ran ahead is put back; every process is stopped.
MOVE_TIMES_BACK = """
UPDATE kit_epoch SET started_us = CASE WHEN started_us > %s THEN %s ELSE started_us END,
 seen_us = CASE WHEN seen_us > %s THEN %s ELSE seen_us END,
 ended_us = CASE WHEN ended_us > %s THEN %s ELSE ended_us END,
 cleared_us = CASE WHEN cleared_us > %s THEN %s ELSE cleared_us END,
 oldest_us = CASE WHEN oldest_us > %s THEN %s ELSE oldest_us END,
 sure_us = CASE WHEN sure_us > %s THEN %s ELSE sure_us END, boot = CASE WHEN sure_us > %s THEN '' ELSE boot END
"""

# Both databases know it; PostgreSQL's is that of the transaction's begin.
DATABASE_TIME = "SELECT CURRENT_TIMESTAMP"

ENDED_EPOCH = "SELECT ended_us FROM kit_epoch WHERE id = %s"

END_OTHER_EPOCHS = "UPDATE kit_epoch SET ended_us = %s, ended_why = %s WHERE id <> %s AND ended_us IS NULL"

UNCLEARED_EPOCHS = """
SELECT id, ended_us, CASE WHEN seen_us > started_us THEN seen_us ELSE started_us END, oldest_us FROM kit_epoch
WHERE ended_us IS NOT NULL AND cleared_us IS NULL ORDER BY id
"""

CLEAR_EPOCH = "UPDATE kit_epoch SET cleared_us = %s WHERE id = %s AND cleared_us IS NULL AND ended_us IS NOT NULL"

# === Settings and the audit trail, for operators' eyes ===
READ_VERSION = "SELECT n FROM kit_version WHERE name = %s"

# Texts are compared from their beginning; an empty one fits all.
SEARCH_AUDIT = """
SELECT id, at_us, actor, verb, object, before, after FROM kit_auditevent
WHERE id < %s AND at_us >= %s AND at_us < %s
 AND (SUBSTR(actor, 1, LENGTH(%s)) = %s OR SUBSTR(actor, 1, LENGTH(%s)) = %s)
 AND SUBSTR(verb, 1, LENGTH(%s)) = %s
 AND (SUBSTR(object, 1, LENGTH(%s)) = %s OR SUBSTR(object, 1, LENGTH(%s)) = %s) ORDER BY id DESC LIMIT %s
"""

# === The chain of the audit trail ===
CHAIN_HEAD = "SELECT n, hash FROM kit_auditseal ORDER BY n DESC LIMIT 1"

NEWEST_SEALED = "SELECT MAX(event) FROM kit_auditseal"

SEAL = "INSERT INTO kit_auditseal (n, event, hash) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"

UNSEALED = """
SELECT id, at_us, actor, verb, object, before, after FROM kit_auditevent
WHERE id > %s AND NOT EXISTS (SELECT 1 FROM kit_auditseal WHERE event = kit_auditevent.id)
ORDER BY id LIMIT %s
"""

SEALED = """
SELECT kit_auditseal.n, kit_auditseal.hash, kit_auditseal.event, kit_auditevent.id, at_us, actor, verb, object, before,
 after
FROM kit_auditseal LEFT JOIN kit_auditevent ON kit_auditevent.id = kit_auditseal.event
WHERE n > %s ORDER BY n LIMIT %s
"""

ONCE_A_DAY = """
INSERT INTO kit_setting (name, value) VALUES (%s, %s)
ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE kit_setting.value < excluded.value
"""

# === The cache of Django (kit/cache.py) ===
CACHE_SET = """
INSERT INTO kit_cache (cache_key, value, expires) VALUES (%s, %s, %s)
ON CONFLICT (cache_key) DO UPDATE SET value = excluded.value, expires = excluded.expires
"""

CACHE_ADD = """
INSERT INTO kit_cache (cache_key, value, expires) VALUES (%s, %s, %s)
ON CONFLICT (cache_key) DO UPDATE SET value = excluded.value, expires = excluded.expires WHERE kit_cache.expires <= %s
"""

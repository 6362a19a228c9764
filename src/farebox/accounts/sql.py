"""SQL of the hot path on the tables of accounts: who calls, by the digest of the key."""

_CALLER = """
SELECT k.id, k.name, k.state, k.models, k.addresses, k.expires_us, k.counts_as, k.pepper_n,
       p.id, p.state, a.id, a.name, a.kind, a.state, a.currency, a.price_list_id, a.time_zone, m.id, m.state,
       k.cap_day_micro, k.cap_month_micro, k.cap_ever_micro,
       p.cap_day_micro, p.cap_month_micro, p.cap_ever_micro,
       m.cap_day_micro, m.cap_month_micro, m.cap_ever_micro,
       k.rpm, k.tpm, k.concurrency, p.rpm, p.tpm, p.concurrency,
       a.rpm, a.tpm, a.concurrency, m.rpm, m.tpm, m.concurrency, a.trusted
FROM accounts_apikey k
JOIN accounts_project p ON p.id = k.project_id
JOIN accounts_account a ON a.id = k.account_id
LEFT JOIN accounts_member m ON m.id = k.member_id
"""

# Raw because a cache miss puts it before the customer's first byte; the path of a call has no other read.
FIND_KEY = _CALLER + "WHERE k.digest = %s"

READ_KEY = _CALLER + "WHERE k.id = %s"

REHASH_KEY = "UPDATE accounts_apikey SET digest = %s, pepper_n = %s WHERE id = %s AND digest = %s"

READ_ZONE = "SELECT time_zone FROM accounts_account WHERE id = %s"

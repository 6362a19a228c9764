"""SQL of the hot path on the tables of accounts: who calls, by the digest of his key."""

_CALLER = """
SELECT k.id, k.name, k.state, k.models, k.addresses, k.expires_us, k.cap_micro, k.cap_period, k.pepper_n,
       p.id, p.state, p.cap_micro, p.cap_period,
       a.id, a.name, a.kind, a.state, a.currency, a.price_list_id, a.time_zone,
       m.id, m.state, m.cap_micro, m.cap_period,
       k.rpm, k.tpm, k.concurrency, p.rpm, p.tpm, p.concurrency,
       a.rpm, a.tpm, a.concurrency, m.rpm, m.tpm, m.concurrency
FROM accounts_apikey k
JOIN accounts_project p ON p.id = k.project_id
JOIN accounts_account a ON a.id = k.account_id
LEFT JOIN accounts_member m ON m.id = k.member_id
"""

# Raw because a cache miss puts it before the customer's first byte; the path of a call has no other read.
FIND_KEY = _CALLER + "WHERE k.digest = %s"

READ_KEY = _CALLER + "WHERE k.id = %s"

REHASH_KEY = "UPDATE accounts_apikey SET digest = %s, pepper_n = %s WHERE id = %s AND digest = %s"

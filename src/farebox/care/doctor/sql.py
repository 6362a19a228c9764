"""SQL on PostgreSQL's own catalogue (its manual, "System Views" and "The Cumulative Statistics System")."""

from __future__ import annotations

STANDBYS = """
SELECT COALESCE(application_name, ''), COALESCE(state, ''), COALESCE(sync_state, '') FROM pg_stat_replication
"""

COLLATION = "SELECT datcollate FROM pg_database WHERE datname = current_database()"

CONNECTIONS = "SELECT COUNT(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"

ENCRYPTED = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"

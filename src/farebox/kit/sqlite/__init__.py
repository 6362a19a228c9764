"""Our Django backend for SQLite: pysqlite3, WAL, FULL, one write lock for the process."""

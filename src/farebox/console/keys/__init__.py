"""Pages of keys: the list, one key, what to set where, and the playground that tries one."""

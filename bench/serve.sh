#!/bin/sh
# Serve the product for bench.py: a new store with one rich account behind BENCH_KEY, gpt-4o-mini sold through a
# channel to the mock on UP_PORT, one worker on PORT, SQLite with synchronous=FULL, billing on.
# From bench.py: PORT, UP_PORT, BENCH_KEY, BENCH_MODEL, PROJECT, PERF. For other interpreters: BENCH_PYTHON.
set -eu
: "${PORT:?}" "${UP_PORT:?}" "${BENCH_KEY:?}" "${BENCH_MODEL:?}" "${PROJECT:?}" "${PERF:?}"

# One store at a time, so the last one stays to be looked at (prove, receipts) until the next start.
BENCH_STORE="$PERF/run/product"
rm -rf -- "$BENCH_STORE"
mkdir -p "$BENCH_STORE"
export BENCH_STORE

exec "${BENCH_PYTHON:-$PROJECT/.venv/bin/python}" "$PROJECT/bench/prepare_and_serve.py"

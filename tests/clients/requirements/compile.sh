#!/bin/sh
# Make the hashed lock files of the client environments anew. They name no index and no host.
set -eu
cd "$(dirname "$0")"
for wanted in *.in; do
	../../../.venv/bin/uv pip compile "$wanted" --generate-hashes --no-header --no-annotate --no-emit-index-url \
		--python-version 3.11 --quiet -o "${wanted%.in}.txt"
done
cd node
npm install --package-lock-only --omit-lockfile-registry-resolved --ignore-scripts --no-audit --no-fund

#!/bin/sh
# What a shop consists of, by name, version and hash, as CycloneDX 1.6. Made from the lock file; no network is needed.
set -eu
cd "$(dirname "$0")/.."
"$1/cyclonedx-py" requirements requirements/base.txt --pyproject pyproject.toml --output-reproducible \
	--spec-version 1.6 --output-format JSON --output-file "$2"
echo "$2: $("$1/python" -c 'import json, sys; print(len(json.load(open(sys.argv[1]))["components"]))' "$2") components"

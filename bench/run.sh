#!/bin/sh
# `make bench`: the product beside nginx, LiteLLM and no gateway at all, interleaved, then the tables; then an honest
# customer beside hostile ones. README.md says which variables it reads; what it installs goes under PERF and nowhere else.
set -eu
bench=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
: "${PROJECT:=$(dirname -- "$bench")}"
: "${PERF:=$PROJECT/var/perf}"
: "${BENCH_REPEAT:=3}" "${BENCH_SECS:=4}" "${BENCH_TESTS:=idle,json,lat,sse,paced}"
: "${BENCH_TARGETS:=direct nginx litellm product}" "${BENCH_ATTACKS:=all}" "${BENCH_ATTACK_SECS:=8}"
: "${BENCH_LITELLM:=litellm[proxy,proxy-runtime]==1.108.7}"
mkdir -p "$PERF/results"
PERF=$(CDPATH='' cd -- "$PERF" && pwd)
PATH="$PATH:/usr/sbin"  # where Debian puts nginx
export PROJECT PERF PATH

die() { echo "bench: $*" >&2; exit 1; }
say() { echo "bench: $*" >&2; }

# The distribution's interpreter for LiteLLM: a plain source build takes a third longer on the same code.
python=/usr/bin/python3.11
[ -x "$python" ] || python=$(command -v python3.11) || die "needs Python 3.11"
command -v cc >/dev/null || die "needs a C compiler (cc) to build the load program and the mock upstream"
command -v taskset >/dev/null || die "needs taskset (util-linux)"
[ "$(nproc)" -ge 2 ] || die "needs two cores: one for the load and the mock, one for the gateway"

install_litellm() {
    [ -e "$PERF/litellm/.complete" ] && return
    say "installing $BENCH_LITELLM into $PERF/litellm (a minute or two)"
    "$python" -m venv "$PERF/litellm" || die "no venv for $python: on Debian, apt-get install python3.11-venv"
    "$PERF/litellm/bin/pip" install --quiet "$BENCH_LITELLM" httptools
    touch "$PERF/litellm/.complete"
}

need_product() { [ -x "${BENCH_PYTHON:-$PROJECT/.venv/bin/python}" ] || die "no environment of the product yet: make run first"; }

# BENCH_ATTACKS: `all` after the tables, `none`, or `only` these (all of them without names behind it).
attacks=""
case $BENCH_ATTACKS in
all) ;;
none) ;;
only*)
    BENCH_TARGETS=""
    for name in ${BENCH_ATTACKS#only}; do attacks="$attacks -a $name"; done ;;
*)
    for name in $BENCH_ATTACKS; do attacks="$attacks -a $name"; done ;;
esac
[ "$BENCH_ATTACKS" = none ] || need_product

names=""
for name in $BENCH_TARGETS; do
    case $name in
    nginx)
        command -v nginx >/dev/null || { say "no nginx here, left out"; continue; } ;;
    litellm)
        install_litellm ;;
    product)
        need_product ;;
    esac
    names="$names -t $name"
done
[ -n "$names" ] || [ -z "$BENCH_TARGETS" ] || die "no target left"

out="$PERF/results/$(date -u +%Y%m%dT%H%M%SZ)"
status=0
# shellcheck disable=SC2086  # names is a list of options
[ -z "$names" ] || "$python" "$bench/bench.py" "$bench/targets/peers.toml" "$bench/targets/product.toml" $names \
    --repeat "$BENCH_REPEAT" --secs "$BENCH_SECS" --tests "$BENCH_TESTS" --out "$out.jsonl" || status=$?

version() { "$1" -c 'import platform as p; print(p.python_version(), "/".join(p.python_build()), p.python_compiler())' 2>/dev/null || echo none; }
{
    echo "Measured $(date -u +%Y-%m-%dT%H:%MZ) on $(nproc) × $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)," \
        "store on $(stat -f -c %T "$PERF")${names:+; $BENCH_REPEAT interleaved repeats of $BENCH_SECS s}."
    echo
    echo "- product: Python $(version "${BENCH_PYTHON:-$PROJECT/.venv/bin/python}")"
    if [ -n "$names" ]; then
        echo "- LiteLLM $("$PERF/litellm/bin/pip" list 2>/dev/null | sed -n 's/^litellm  *//p'): Python $(version "$PERF/litellm/bin/python")"
        echo
        "$python" "$bench/bench.py" --table "$out.jsonl"
    fi
} | tee "$out.md"
if [ "$BENCH_ATTACKS" != none ]; then
    # shellcheck disable=SC2086  # attacks is a list of options
    "$python" "$bench/attacks.py" $attacks --secs "$BENCH_ATTACK_SECS" --out "$out.attacks.jsonl" >"$out.attacks.md" || status=$?
    { echo; cat "$out.attacks.md"; } | tee -a "$out.md"
    rm -f "$out.attacks.md"
fi
say "results: $out*.jsonl, tables: $out.md"
exit "$status"

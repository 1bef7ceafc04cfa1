# Words and progress that the scripts share.  Sourced; needs bash.

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export TOP

# With an empty environment bash knows a PATH by itself, but tells no child of it: gcc then finds no assembler.
: "${HOME:=$(getent passwd "$(id -u)" | cut -d: -f6)}"
export PATH HOME

if [ -t 1 ]; then BOLD=$'\e[1m' DIM=$'\e[2m' RED=$'\e[31m' PLAIN=$'\e[0m'; else BOLD= DIM= RED= PLAIN=; fi

say() { printf '%s\n' "$*"; }
title() { printf '%s%s%s\n' "$BOLD" "$*" "$PLAIN"; }
# fail MESSAGE…: one line each on stderr, exit status 1.
fail() { printf '%s%s%s\n' "$RED" "${0##*/}: $1" "$PLAIN" >&2; shift; [ $# -eq 0 ] || printf '  %s\n' "$@" >&2; exit 1; }
# usage MESSAGE: wrong command line, exit status 2.
usage() { printf '%s: %s; see --help\n' "${0##*/}" "$1" >&2; exit 2; }

# step WHAT LOG COMMAND…: runs a command with its output in LOG; one line tells that it runs, how long it took, or
# how its log ends when it failed (77: it lacks something; the caller says what).  Returns the command's status.
step() {
    local what=$1 log=$2 rc=0 began=$SECONDS ticker=
    shift 2
    mkdir -p "$(dirname "$log")"
    printf '  %-46s ' "$what"
    if [ -t 1 ]; then
        # Not past the end of the script: what runs beside it does not hear Ctrl-C.
        ( while sleep 1 && kill -0 $$ 2>/dev/null; do printf '%s%4d s%s\b\b\b\b\b\b' "$DIM" $((SECONDS - began)) "$PLAIN"; done ) &
        ticker=$!
    fi
    "$@" >"$log" 2>&1 </dev/null || rc=$?
    if [ -n "$ticker" ]; then kill "$ticker" 2>/dev/null; wait "$ticker" 2>/dev/null || :; fi
    if [ $rc -eq 0 ]; then
        printf 'ok   %3d s\n' $((SECONDS - began))
    elif [ $rc -eq 77 ]; then
        printf 'skipped\n'
    else
        printf '%sFAILED%s (exit %d after %d s); the end of %s:\n' "$RED" "$PLAIN" $rc $((SECONDS - began)) "$log"
        tail -n 40 "$log" | sed 's/^/    | /'
    fi
    return $rc
}

# Debian's own python3: the one its packages of modules are made for.
PYTHON=/usr/bin/python3
[ -x "$PYTHON" ] || PYTHON=python3
export PYTHON PYTHONDONTWRITEBYTECODE=1

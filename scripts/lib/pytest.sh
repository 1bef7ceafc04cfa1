# Runs of pytest, counted.  Sourced after common.sh and build.sh.
#
# Who sources it has LOG (folder of the logs), pytest_options (what follows -- on the command line), passed, failed and
# skipped (counts), broken and unstable (lines of the summary), and broke WHAT for what is no test of its own.

SECOND_TRY_MAX=10      # more failures than that are no accident

# run_pytest NAME LIMIT FOLDER…: LIMIT in seconds for the whole run.  A few tests that failed are run once more, see
# second_try.
# shellcheck disable=SC2154
run_pytest() {
    local name=$1 limit=$2 rc=0
    local -a parallel=() first=()
    shift 2
    if "$PYTHON" -c 'import xdist' 2>/dev/null && [ "$name" != e2e ]; then
        parallel=(-n "$((JOBS < 2 ? 2 : 6))" --dist loadgroup)
    fi
    pytest_once "$name" "$limit" "${parallel[@]}" --durations=5 "$@" || rc=$?
    if [ ! -s "$LOG/$name.json" ]; then
        broke "$name (pytest ended with $rc$([ "$rc" -eq 124 ] && echo ": longer than $limit s"))"
        # Of a run that is cut pytest itself says nothing.
        mapfile -t first < <(sed -n 's/^==== //p' "$LOG/$name.json.failures" 2>/dev/null)
        broken+=("${first[@]/#/before that, see $LOG/$name.json.failures: }")
        return
    fi
    mapfile -t first < <(outcomes "$name" failed)
    passed=$((passed + $(outcomes "$name" passed | wc -l)))
    skipped=$((skipped + $(outcomes "$name" skipped | wc -l)))
    failed=$((failed + ${#first[@]}))
    if [ "$rc" -eq 1 ] && [ ${#first[@]} -gt 0 ] && [ ${#first[@]} -le $SECOND_TRY_MAX ]; then
        second_try "$name" "$limit" "${first[@]}"
    elif [ "$rc" -eq 5 ] && [ ${#pytest_options[@]} -gt 0 ]; then
        :                                       # no test of this suite matches -k
    elif [ "$rc" -ne 0 ] && [ ${#first[@]} -eq 0 ]; then
        broke "$name (pytest ended with $rc)"
    elif [ "$rc" -ne 0 ]; then
        broken+=("$name")
    fi
}

# second_try NAME LIMIT ID…: a test that failed beside others is run by itself.  What passes then counts as passed, and
# is named; what fails twice has failed.  The tests of e2e build on each other: there it is the whole file.
second_try() {
    local name=$1 limit=$2 id kind="failed once in parallel, passed alone"
    local -a what=() again=()
    shift 2
    what=("$@")
    if [ "$name" = e2e ]; then
        kind="failed once, its file passed the second time"
        mapfile -t what < <(printf '%s\n' "${@%%::*}" | sort -u)
    fi
    say "  $name: $# failed, once more"
    pytest_once "$name-again" "$limit" "${what[@]}" || :
    mapfile -t again < <(outcomes "$name-again" passed)
    for id in "$@"; do
        if [[ " ${again[*]/#/|} " == *" |$id "* ]]; then
            passed=$((passed + 1)) failed=$((failed - 1))
            unstable+=("$id: $kind")
        else
            broken+=("$name: $id")
        fi
    done
}

# pytest_once NAME LIMIT ARGUMENT…: one run; its log and what became of each test are $LOG/NAME.{log,xml,json}.
# shellcheck disable=SC2154
pytest_once() {
    local name=$1 limit=$2 rc=0 began=$SECONDS
    shift 2
    mkdir -p "$LOG"
    rm -f "$LOG/$name".{xml,json}
    printf '  %s: pytest\n' "$name"
    ( cd "$TOP" && PYTHONPATH=$TOP/tests timeout --kill-after=20 "$limit" "$PYTHON" -m pytest -q -p no:cacheprovider \
        -p tools.outcomes --outcomes "$LOG/$name.json" -o junit_family=xunit2 --junitxml="$LOG/$name.xml" \
        "${pytest_options[@]}" "$@" ) </dev/null 2>&1 | tee "$LOG/$name.log" | sed 's/^/    /' || rc=${PIPESTATUS[0]}
    printf '  %-46s %s   %3d s\n' "$name: pytest" "$([ "$rc" -eq 0 ] && echo ok || echo "${RED}FAILED${PLAIN}")" $((SECONDS - began))
    return "$rc"
}

# outcomes NAME KIND: the tests of that run that passed, failed or were skipped, one a line.
outcomes() {
    "$PYTHON" -c 'import json, sys; print(*json.load(open(sys.argv[1]))[sys.argv[2]], sep="\n", end="")' "$LOG/$1.json" "$2" 2>/dev/null |
        sed '$a\'
}

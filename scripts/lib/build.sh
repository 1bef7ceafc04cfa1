# Builds in folders of their own, only what is needed.  Sourced after common.sh.

JOBS=$(nproc 2>/dev/null || echo 2)

# build_configure: ./configure, when it is absent or older than what it is made from.
build_bootstrap() {
    local f
    if [ -x "$TOP/configure" ] && [ -e "$TOP/Makefile.in" ]; then
        for f in "$TOP/configure.ac" "$TOP/Makefile.am" "$TOP"/*/local.mk "$TOP"/tests/*/local.mk; do
            [ "$f" -nt "$TOP/configure" ] && [ "$f" -nt "$TOP/Makefile.in" ] && break
            f=
        done
        [ -n "$f" ] || return 0
    fi
    "$TOP/bootstrap"
}

# build_tree FOLDER CC CONFIGURE-OPTION…: a finished build in FOLDER.
build_tree() {
    local dir=$1 cc=$2 want
    shift 2
    want="CC=$cc $*"
    build_bootstrap || return
    mkdir -p "$dir" || return
    if [ ! -e "$dir/config.status" ] || [ "$(cat "$dir/.configured" 2>/dev/null)" != "$want" ]; then
        rm -f "$dir/.configured"
        ( cd "$dir" && "$TOP/configure" -q CC="$cc" "$@" ) || return
        printf '%s' "$want" >"$dir/.configured"
    fi
    make -s -C "$dir" -j"$JOBS"
}

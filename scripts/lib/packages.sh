# The Debian and Ubuntu packages, by purpose.  Sourced after common.sh.

PACKAGES_RUN="apache2-bin php-fpm php-cli php-sqlite3 sqlite3 python3"
PACKAGES_BUILD="autoconf automake libtool pkg-config gcc make libc6-dev apache2-dev libapr1-dev libaprutil1-dev
    libsqlite3-dev libfcgi-dev libmicrohttpd-dev libssl-dev libjansson-dev libcurl4-openssl-dev"
PACKAGES_TEST="git libcmocka-dev clang shellcheck curl openssl xz-utils prometheus spin python3-pytest python3-pytest-xdist python3-selenium
    python3-yaml iproute2"

# Ubuntu has Chromium only as a snap, which is no package: there the browser tests skip and say so.
if ! grep -qs '^ID=ubuntu' /etc/os-release; then
    PACKAGES_TEST="$PACKAGES_TEST chromium chromium-driver"
fi

# packages_missing NAME…: those that are neither installed nor provided by what is installed.
packages_missing() {
    local have name
    have=" $(dpkg-query -W -f='${db:Status-Abbrev}|${Package}, ${Provides}\n' 2>/dev/null |
        sed -n 's/([^)]*)//g; s/:[a-z0-9]*//g; s/^ii *|//p' | tr ',\n' '  ') "
    for name in "$@"; do
        case $have in *" $name "*) ;; *) printf '%s ' "$name" ;; esac
    done
}

# clang's runtime for sanitizers and fuzzers has the version in its package's name.
packages_clang_runtime() {
    local version
    version=$(clang -dumpversion 2>/dev/null | cut -d. -f1)
    [ -n "$version" ] && apt-cache show "libclang-rt-$version-dev" >/dev/null 2>&1 && printf 'libclang-rt-%s-dev' "$version"
}

# What is installed here is started by these scripts alone, with their own configuration: no service of Debian's own. So
# says this file, for the time of the installation; the mark tells it from one that somebody else put there.
PACKAGES_POLICY=${PACKAGES_POLICY:-/usr/sbin/policy-rc.d}
PACKAGES_MARK='# Of the scripts of mod_demo, while they install packages.'

# packages_policy SUDO COMMAND…: runs it while no service may start. In a shell of its own, whose traps are not the caller's.
packages_policy() (
    sudo=$1
    shift
    if [ ! -e "$PACKAGES_POLICY" ]; then
        trap '$sudo rm -f "$PACKAGES_POLICY"' EXIT
        trap 'exit 130' INT
        trap 'exit 143' TERM
        trap 'exit 129' HUP
        printf '#!/bin/sh\n%s\nexit 101\n' "$PACKAGES_MARK" | $sudo tee "$PACKAGES_POLICY" >/dev/null
        $sudo chmod 755 "$PACKAGES_POLICY"
    fi
    "$@"
)

# packages_leftover SUDO: removes what a run that was killed left.
packages_leftover() {
    ! grep -qsxF "$PACKAGES_MARK" "$PACKAGES_POLICY" || $1 rm -f "$PACKAGES_POLICY" ||
        say "  $PACKAGES_POLICY is left of a run that was killed, and keeps services from starting: sudo rm $PACKAGES_POLICY"
}

# packages_install LOG NAME…: as root or through sudo; without either the one line to type is printed, and the script ends.
packages_install() {
    local log=$1 sudo= names rc=0
    shift
    names=$(packages_missing "$@")
    names=${names% }
    if [ -z "$names" ]; then
        [ "$(id -u)" -eq 0 ] || sudo="sudo -n"
        packages_leftover "$sudo"
        return 0
    fi
    if ! command -v apt-get >/dev/null; then
        fail "this system has no apt-get; install what these Debian packages hold: $names"
    fi
    if [ "$(id -u)" -ne 0 ]; then
        if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
            sudo="sudo -n"
        elif command -v sudo >/dev/null && [ -t 0 ] && [ -t 1 ]; then
            sudo=sudo
            say "  these packages are missing: $names"
            sudo -v || fail "not installed; type:" "sudo apt-get update && sudo apt-get install --no-install-recommends $names"
        else
            fail "packages are missing. As root, type:" "apt-get update && apt-get install --no-install-recommends $names"
        fi
    fi
    packages_leftover "$sudo"
    # shellcheck disable=SC2086
    packages_policy "$sudo" step "packages: $(printf '%s' "$names" | wc -w) to install" "$log" packages_apt "$sudo" $names || rc=$?
    [ $rc -eq 0 ] || fail "apt-get did not install what is missing: $names"
}

# A second attempt takes up what a lost connection or an interrupted dpkg left.
packages_apt() {
    local sudo=$1 try
    shift
    for try in 1 2; do
        $sudo apt-get -q -o Acquire::Retries=3 update || :
        # shellcheck disable=SC2086
        $sudo env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 \
            install --no-install-recommends "$@" && return
        [ $try -eq 1 ] || return
        $sudo env DEBIAN_FRONTEND=noninteractive dpkg --force-confdef --configure -a || :
    done
}

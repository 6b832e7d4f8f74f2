# shellcheck shell=bash
# What the scripts beside this file share; they source it.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { echo "${0##*/}: $*" >&2; }

die() {
    say "error: $*"
    exit 1
}

need_pip() {
    command -v python3 >/dev/null || die "python3 is not on the PATH; install Python 3.9 or later"
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))' ||
        die "$(python3 --version) is too old; Python 3.9 or later is needed"
    python3 -m pip --version >/dev/null 2>&1 ||
        die "python3 has no pip; install it (Debian, Ubuntu: apt-get install python3-pip)"
}

# need_space FOLDER MEGABYTES
need_space() {
    local free
    free=$(df -Pm "$1" | awk 'NR == 2 { print $4 }')
    [ "$free" -ge "$2" ] || die "$1 has $free MB free and $2 MB are needed"
}

# One run at a time makes what FILE guards; the lock is released when the script ends, however it ends.
lock() {
    mkdir -p "$(dirname "$1")" || die "cannot create the folder $(dirname "$1")"
    exec 9>"$1" || die "cannot write $1"
    flock -n 9 && return
    say "waiting for another ${0##*/} to finish"
    flock 9
}

# replace_link TARGET LINK: at no moment is there no link.
replace_link() {
    [ "$(readlink "$2" || true)" = "$1" ] && return
    [ -L "$2" ] || [ ! -e "$2" ] || die "$2 is not a link; move it away"
    ln -s "$1" "$2.$$" && mv -T "$2.$$" "$2"
}

# replace_file CONTENT FILE: leaves a file that says the same alone.
replace_file() {
    [ "$(cat "$2" 2>/dev/null)" = "$1" ] && return
    mkdir -p "$(dirname "$2")"
    printf '%s\n' "$1" >"$2.$$" && mv "$2.$$" "$2"
}

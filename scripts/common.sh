# What bootstrap and install share; read by them with '.', in the product's directory.

# shellcheck disable=SC2046 # a list of words
unset $(grep -v '^#' scripts/pip-unset)
venv=.venv
pip_log=.cache/pip.log

# Which environment this is: of another place or another Python, it must be made anew
identity() {
    printf '%s\n' "$PWD"
    "$venv/bin/python" -I -c 'import sys; print(sys.implementation.cache_tag, sys.base_prefix)'
}

current() { # a stamp, and the files that it must not be older than
    stamp=$1
    shift
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(identity 2>&1)" ] || return 1
    [ $# = 0 ] || [ -z "$(find "$@" -newer "$stamp")" ]
}

done_with() { # a stamp, written whole
    identity >"$1.new" && mv "$1.new" "$1"
}

must_write() { # who asks; where something has to be made, and nothing can be written, it ends
    for directory in "$PWD" "$PWD/$venv"; do
        if [ -e "$directory" ] && [ ! -w "$directory" ]; then
            printf '%s: %s cannot be written\n' "$1" "$directory" >&2
            exit 2
        fi
    done
}

pip() {
    mkdir -p "${pip_log%/*}"
    "$venv/bin/python" -m pip --disable-pip-version-check --no-input install --no-user --quiet \
        --no-warn-script-location "$@" >"$pip_log" 2>&1
}

# Why pip failed, in one sentence; the lines of its errors before it where that is not known
pip_failed() {
    if grep -Eq 'establish a new connection|Connection refused|NameResolution|timed out|unreachable' "$pip_log"; then
        printf '%s: the package index was not reached; mend that and run this again. ' "$1" >&2
    elif none=$(grep -o 'requirement .*(from versions: none)' "$pip_log"); then
        none=${none#requirement }
        printf '%s: the package index was not reached, or does not have %s. ' "$1" "${none%% *}" >&2
    else
        grep '^ERROR' "$pip_log" >&2 || cat "$pip_log" >&2
        printf '%s: pip did not do it, for the reason above. ' "$1" >&2
    fi
    printf "How to install without an index: docs/operations.md, 'Without the internet'\n" >&2
    exit 2
}

tenths() { # of seconds; busybox's date knows whole ones only
    now=$(date +%s%N)
    case $now in
    *[!0-9]* | ??????????) echo $(($(date +%s) * 10)) ;;
    *) echo $((now / 100000000)) ;;
    esac
}

clock() { # a title: shows it with the seconds that have passed, as long as the script lives
    seconds=0
    while kill -0 $$ 2>/dev/null; do
        printf '\r%s ... %d s ' "$1" "$seconds" >&2
        sleep 1
        seconds=$((seconds + 1))
    done
}

step() { # a title, then the command: one line, with how long it took
    title=$1
    shift
    began=$(tenths)
    ticking=
    if [ -t 2 ]; then
        clock "$title" &
        ticking=$!
        trap 'kill "$ticking" 2>/dev/null' EXIT
        trap 'exit 130' INT TERM HUP
    else
        printf '%s ...' "$title" >&2
    fi
    status=0
    "$@" || status=$?
    if [ -n "$ticking" ]; then
        kill "$ticking" 2>/dev/null && wait "$ticking" 2>/dev/null || :
        trap - EXIT INT TERM HUP
        printf '\r%s ...' "$title" >&2
    fi
    took=$(($(tenths) - began))
    printf ' %d.%d s\n' $((took / 10)) $((took % 10)) >&2
    return "$status"
}

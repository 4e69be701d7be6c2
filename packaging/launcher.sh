#!/bin/sh
trap 'printf "blueplane: %s: damaged, or not all of it; download it again\n" "$0" >&2; exit 4' EXIT
# Blueplane @VERSION@: these lines, and the packed program after the last of them.
# The first run unpacks it below the user's data directory; later ones start it there at once.
# What is unpacked is checked, tried and then renamed, so that its place has all of it or nothing.
{ # One group: the shell reads all of it before it runs any, so this file may be replaced meanwhile.
    trap - EXIT # the end of these lines is there
    fail() {
        printf 'blueplane: %s\n' "$1" >&2
        exit 4
    }
    case ${XDG_DATA_HOME-} in
        /*) data=$XDG_DATA_HOME ;;
        *)
            case ${HOME-} in
                /*) data=$HOME/.local/share ;;
                '') fail 'HOME is not set; set it to your home directory' ;;
                *) fail "HOME is $HOME, no absolute path; set it to your home directory" ;;
            esac
            ;;
    esac
    versions=$data/blueplane/versions
    program=$versions/@ID@/blueplane
    if [ -e "$data/blueplane" ] && [ ! -O "$data/blueplane" ]; then # they could put anything there
        fail "$data/blueplane: belongs to somebody else; set XDG_DATA_HOME to a place of your own"
    fi
    [ -x "$program" ] && exec "$program" "$@"

    payload() { tail -n +@LINES@ "$0"; }
    first() { # line of what a tool said, which of a full disk may be a riddle
        case $1 in
            *'No space left on device'*) printf 'No space left on device' ;;
            *) printf %s "${1%%
*}" ;;
        esac
    }
    unpack() ( # a process of its own, for it changes what the program should not see
        umask 077
        unset GZIP POSIXLY_CORRECT TAR_OPTIONS
        LC_ALL=C PATH=/usr/bin:/bin:/usr/sbin:/sbin${PATH:+:$PATH}
        export LC_ALL PATH
        elsewhere='; mend that, or set XDG_DATA_HOME to another place'

        for tool in sha256sum 'shasum -a 256' ''; do
            command -v "${tool%% *}" >/dev/null && break
        done
        [ "$tool" ] || fail 'neither sha256sum nor shasum is on PATH; install one of them'
        sum=$(payload | $tool)
        [ "${sum%% *}" = @SHA256@ ] || fail "$0: damaged, or not all of it; download it again"

        new=$versions/.new-$$-$(date +%s) # known before it is made: whenever we end, it can go
        trap 'rm -rf "$new"' EXIT
        trap 'exit 129' HUP
        trap 'exit 130' INT
        trap 'exit 143' TERM
        said=$(mkdir -p "$versions" 2>&1 && mkdir "$new" 2>&1) ||
            fail "$versions: cannot be made ($(first "$said"))$elsewhere"
        for old in "$versions"/.new-*; do # of runs that were killed
            pid=${old#"$versions/.new-"}
            kill -0 "${pid%%-*}" 2>/dev/null || mv -f "$old" "$new/" 2>/dev/null
        done

        said=$({ mkdir "$new/@ID@" && payload | tar -xzof - -C "$new/@ID@"; } 2>&1) ||
            fail "$versions: @MEGABYTES@ MB cannot be unpacked ($(first "$said"))$elsewhere"
        said=$("$new/@ID@/blueplane" --version 2>&1) ||
            fail "$versions: cannot run there ($(first "$said")); see docs/INSTALLATION.md"
        if [ -e "$versions/@ID@" ] && [ ! -x "$program" ]; then # somebody removed a part of it
            mv -f "$versions/@ID@" "$new/part" 2>/dev/null
        fi
        # Into a directory, not onto a name: so it fails when another run was quicker.
        said=$(mv -f "$new/@ID@" "$versions/" 2>&1)
        [ -x "$program" ] || fail "$program: cannot be put there ($(first "$said"))"
    )
    unpack || exit
    exec "$program" "$@"
}

#!/bin/bash
# Installs edge-transfer on Raspberry Pi OS, or another Debian with Python 3.11 or later. Run again, it upgrades.
#
#   sudo ./install.sh [EXTRA...]   for the machine: /opt/edge-transfer, its own user `edge`, systemd units
#   ./install.sh [EXTRA...]        for your own account: ~/.local/share/edge-transfer, command in ~/.local/bin
#   … --uninstall                  remove the program; what was taught and the settings stay
#   … --purge                      remove those too: /var/lib/edge (~/.local/share/edge), /etc/edge-transfer, the user; what edge
#                                  did not put there stays
#
# EXTRA: `camera` (OpenCV: USB cameras, RTSP, films), `mqtt`, `web` (edge serve), `fleet` (edge contribute and follow),
# or a runtime, `tflite` (LiteRT), `onnx`, `tflite-runtime`;
# without one, the first of them that runs here. A later run keeps what an earlier one was asked for.
#
# Taken from a folder `wheels` beside this script and from nowhere else, without a network; where there is none, from
# edge_transfer-*.whl beside it, the checkout it lies in, or the package index, and the rest from the index.
# PYTHON names another interpreter than /usr/bin/python3.
#
# It may be interrupted anywhere: a new environment is made beside the old one and tried, and the renaming of one link
# lets it serve; what an interrupted run left is removed by the next. The environment before is kept until then, for
# what still runs from it.
set -euo pipefail
umask 022

ours="# written by install.sh of edge-transfer"
UNITS="edge-watch.service edge-serve.service edge-retrain.service edge-retrain.timer edge-fleet.service edge-fleet.timer"

main() {
    local action=install
    here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]:-./install.sh}")" && pwd)
    wanted=() runtime=
    while [ $# -gt 0 ]; do
        case $1 in
        camera | mqtt | web | fleet) wanted+=("$1") ;;
        tflite | onnx | tflite-runtime) runtime=$1 ;;
        --uninstall | --purge) action=${1#--} ;;
        -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" && exit 0 ;;
        *) fail 2 "unknown word '$1'; $0 --help lists those known" ;;
        esac
        shift
    done
    if [ "$(id -u)" = 0 ]; then
        machine=yes base=/opt/edge-transfer command=/usr/local/bin/edge home=/var/lib/edge shared=/usr/local/share
    else
        local data=${XDG_DATA_HOME:-$HOME/.local/share}
        machine='' base=$data/edge-transfer command=$HOME/.local/bin/edge home=$data/edge shared=$data
    fi
    mkdir -p "$base"
    exec 9>"$base/.lock"
    flock -n 9 || say "waiting for another run of install.sh that is at work in $base"
    flock -w 900 9 || fail 1 "another run of install.sh is still at work in $base; wait for it, and run this again"
    if [ "$action" = install ]; then
        install_program
        link_command
        install_completion
        keep_installer
        [ -z "$machine" ] || install_service
        rm -f -- "$base/.changed"
        say_what_next
    else
        uninstall "$action"
    fi
}

# --- the program ------------------------------------------------------------------------------------------------------

install_program() {
    choose_python
    choose_source
    if [ -e "$base/bin" ] && [ ! -L "$base/bin" ]; then
        fail 1 "$base holds something that install.sh did not put there; move it away and run it again"
    fi
    local current old stamp
    current=$(readlink "$base/bin" || true) current=$base/${current%/bin}
    recall "$current"
    stamp=$(printf '%s\n' "$version" "$digest" "${runtime:-any}" "${wanted[@]}")
    if [ -n "$digest" ] && [ "$(cat "$current/stamp" 2>/dev/null)" = "$stamp" ] && works "$current" "$(cat "$current/runtime")"; then
        env=$current
        return
    fi
    for old in "$base"/env.??????; do # all but what serves: what was cut off, and the one before
        if [ "$old" != "$current" ] && is_ours "$old"; then rm -rf -- "$old"; fi
    done
    check_space
    env=$(mktemp -d "$base/env.XXXXXX")
    trap 'rm -rf -- "$env"' EXIT
    trap 'exit 130' INT TERM HUP
    chmod 755 "$env"
    make_environment
    choose_runtime
    printf '%s\n' "$stamp" >"$env/stamp"
    : >"$base/.changed" # until the service was restarted
    sync -f "$env" # the files before the link that names them
    ln -sfn "${env##*/}/bin" "$base/.bin"
    mv -T "$base/.bin" "$base/bin"
    sync -f "$base"
    trap - EXIT
}

is_ours() { # ENVIRONMENT: made by an earlier run, or just begun
    [ -d "$1" ] && [ ! -L "$1" ] && { [ -f "$1/pyvenv.cfg" ] || [ -z "$(ls -A "$1")" ]; }
}

choose_python() {
    python=${PYTHON:-/usr/bin/python3} # the system's: only that one sees the picamera2 that comes by apt
    command -v "$python" >/dev/null || python=$(command -v python3) ||
        fail 1 "no python3 is here; run: sudo apt install python3 python3-venv"
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail 1 "$python is Python $version, 3.11 or later is needed; Raspberry Pi OS has it since bookworm (2023)"
}

choose_source() { # sets program (what pip installs), from (pip's options), wheels (folder or none), digest
    wheels='' from=() digest=''
    local folder=$here
    if [ -d "$here/wheels" ]; then
        wheels=$here/wheels folder=$here/wheels from=(--no-index --find-links "$here/wheels")
    fi
    program=$(find "$folder" -maxdepth 1 -name 'edge_transfer-*.whl' | sort -V | tail -n 1)
    if [ -n "$program" ]; then
        digest=$(sha256sum <"$program")
    elif [ -n "$wheels" ]; then
        fail 1 "$wheels holds no edge_transfer-*.whl; copy it there"
    elif [ -f "$here/../pyproject.toml" ]; then
        program=$(cd "$here/.." && pwd)
    else
        program=edge-transfer
    fi
}

recall() { # what an earlier run was asked for
    local extra
    [ -n "$runtime" ] || runtime=$(cat "$1/asked-runtime" 2>/dev/null || true)
    for extra in $(cat "$1/asked-extras" 2>/dev/null || true); do
        wanted+=("$extra")
    done
    [ ${#wanted[@]} = 0 ] || mapfile -t wanted < <(printf '%s\n' "${wanted[@]}" | sort -u)
}

check_space() { # an environment with a runtime takes 150 to 250 MB, and its wheels as much again while they are unpacked
    local free
    free=$(($(stat -f -c '%a * %S' "$base") / 1000000))
    [ "$free" -ge 500 ] || fail 1 "$base has $free MB free, 500 MB are needed; free some space and run it again"
}

make_environment() {
    say "making an environment of Python $version in $base"
    local pips=("$wheels"/pip-*.whl)
    if [ -f "${pips[0]}" ]; then
        "$python" -m venv --system-site-packages --without-pip "$env"
        # from its wheel it would be compiled at every call
        "$python" -m zipfile -e "${pips[0]}" "$env/tmp/pip" 2>/dev/null ||
            fail 1 "${pips[0]} cannot be unpacked; copy it again, and check that there is space"
        pip=("$env/tmp/pip/pip")
    else
        "$python" -m venv --system-site-packages "$env" >/dev/null ||
            fail 1 "no virtual environment can be made; run: sudo apt install python3-venv, then this again"
        pip=(-m pip)
    fi
    # picamera2 and what else apt installed was compiled for the system's numpy, and must go on running beside ours
    limits=()
    [ "$("$env/bin/python" -c 'import numpy; print(numpy.__version__[0])' 2>/dev/null)" != 1 ] || limits=('numpy<2')
    mkdir -p "$env/tmp" # not /tmp, which may lie in memory
    local extras
    extras=$(IFS=, && printf '%s' "${wanted[*]}")
    say "installing edge-transfer${extras:+ with $extras}, numpy, Pillow, click${wheels:+ from $wheels}"
    pip_install "${program}${extras:+[$extras]}" || fail 1 "$(pip_failed)"
}

pip_install() {
    TMPDIR=$env/tmp "$env/bin/python" "${pip[@]}" install --quiet --disable-pip-version-check --no-cache-dir \
        --root-user-action=ignore --only-binary=:all: "${from[@]}" "$@" "${limits[@]}" 2>"$env/pip.log"
}

pip_failed() {
    local why
    why=$(grep -i '^error' "$env/pip.log" | head -n 1)
    if grep -qi -e 'connection' -e 'resolution' -e 'network' "$env/pip.log"; then
        echo "the package index cannot be reached (${why:-pip failed}); check the network, or send the wheels: edge-export deploy --offline"
    else
        echo "pip: ${why:-failed: $(tail -n 1 "$env/pip.log")}"
    fi
}

choose_runtime() { # the first that can be had and does not die on loading
    local candidate candidates refused=''
    read -ra candidates <<<"${runtime:-$("$python" -c '
import platform, struct, sys
wide = struct.calcsize("P") == 8  # of the interpreter: a 64-bit kernel may run a 32-bit system
old = sys.version_info < (3, 12) and platform.machine() != "armv6l"
print(*(["tflite", "onnx"] if wide else []), *(["tflite-runtime"] if old else []))')}"
    for candidate in "${candidates[@]}"; do
        say "trying the runtime $candidate"
        if ! pip_install "${program}[$candidate]"; then
            refused+="; $candidate: $(pip_failed)"
        elif works "$env" "$candidate"; then
            rm -rf -- "$env/tmp" "$env/pip.log"
            printf '%s\n' "$candidate" >"$env/runtime"
            printf '%s\n' "$runtime" >"$env/asked-runtime"
            printf '%s\n' "${wanted[*]}" >"$env/asked-extras"
            return
        else
            refused+="; $candidate: $why"
            remove_runtime "$candidate"
        fi
    done
    [ ${#candidates[@]} -gt 0 ] || fail 1 \
        "there is no runtime for a 32-bit $(uname -m) system with Python $version; install the 64-bit Raspberry Pi OS (or its bookworm in 32 bits)"
    fail 1 "no runtime can be used here${refused}"
}

works() { # ENVIRONMENT RUNTIME: load it in a process of its own; sets why
    local code=0
    why=$("$1/bin/python" -c '
import sys
from edge.network import backbone
for runtime in backbone.RUNTIMES:
    if runtime.extra == sys.argv[1]:
        backbone.load_runtime(runtime.name)' "$2" 2>&1 | tail -n 1) || code=$?
    [ $code -lt 128 ] || why="it crashes with signal $((code - 128)), so its wheel was built for another processor"
    return $code
}

remove_runtime() {
    local package
    package=$("$env/bin/python" -c '
import sys
from edge.network import backbone
print(*(r.package for r in backbone.RUNTIMES if r.extra == sys.argv[1]))' "$1")
    "$env/bin/python" "${pip[@]}" uninstall --quiet --yes --disable-pip-version-check --root-user-action=ignore "$package"
}

keep_installer() { # for --uninstall, or another EXTRA
    local old
    [ "$here" != "$base" ] && [ -f "$here/install.sh" ] || return 0
    put "$here/install.sh" "$base/install.sh" 755
    for old in "$base"/edge_transfer-*.whl; do
        [ "${old##*/}" = "${program##*/}" ] || rm -f -- "$old"
    done
    [ -z "$digest" ] || put "$program" "$base/${program##*/}" 644
}

link_command() {
    mkdir -p "$(dirname "$command")"
    if [ -e "$command" ] && [ "$(readlink "$command")" != "$base/bin/edge" ]; then
        say "$command is another program's and stays; ours is $base/bin/edge"
    else
        ln -sfn "$base/bin/edge" "$command"
    fi
}

# The Tab key completes commands and options: click writes the script of each shell, which looks for it in these places.
# An account's own zsh looks nowhere by itself.
completions() {
    echo "bash $shared/bash-completion/completions/edge"
    echo "fish $shared/fish/vendor_completions.d/edge.fish"
    [ -z "$machine" ] || echo "zsh $shared/zsh/site-functions/_edge"
}

install_completion() {
    local shell file script
    [ "$(readlink "$command")" = "$base/bin/edge" ] || return 0
    while read -r shell file; do
        if [ -e "$file" ] && ! grep -qF "$ours" "$file"; then
            say "$file is another program's and stays"
            continue
        fi
        script=$(env "_EDGE_COMPLETE=${shell}_source" "$env/bin/edge")
        mkdir -p "$(dirname "$file")"
        printf '%s\n' "$script" "$ours" | put /dev/stdin "$file" 644
    done < <(completions)
}

remove_completion() {
    local shell file
    while read -r shell file; do
        if [ -e "$file" ] && grep -qF "$ours" "$file"; then
            rm -f -- "$file"
            (cd "$shared" && file=${file#"$shared/"} && rmdir -p --ignore-fail-on-non-empty -- "${file%/*}")
        fi
    done < <(completions)
}

# --- the service ------------------------------------------------------------------------------------------------------

install_service() {
    if ! command -v systemd-sysusers >/dev/null; then
        say "no systemd is here, so no user and no service; the program alone is in $base/bin/edge"
        return
    fi
    systemd-sysusers --inline "u edge - \"edge-transfer\" $home" 'm edge video'
    [ -d "$home" ] || install -d -o edge -g edge -m 0700 "$home"
    local scripts unit
    scripts=$("$env/bin/python" -c 'import edge, pathlib; print(pathlib.Path(edge.__file__).parent / "device_scripts")')
    [ -d "$scripts" ] || scripts=$here
    for unit in $UNITS; do
        put "$scripts/$unit" "/etc/systemd/system/$unit" 644
    done
    if [ ! -e /etc/edge-transfer/watch.conf ]; then
        mkdir -p /etc/edge-transfer
        put /dev/stdin /etc/edge-transfer/watch.conf 600 <<'END'
# What edge-watch.service watches, and how. After a change: sudo systemctl restart edge-watch
#EDGE_SOURCE=picamera
#EDGE_WATCH_OPTIONS=--region 0.2,0.1,0.3,0.5 --save-uncertain /var/lib/edge/uncertain
#EDGE_MQTT=mqtt://user:password@broker.local/garage
END
    fi
    if [ -d /run/systemd/system ]; then
        systemctl daemon-reload
        [ ! -e "$base/.changed" ] || systemctl try-restart edge-watch.service edge-serve.service
    fi
}

put() { # FROM TO MODE: whole or not at all; an unchanged file is left alone
    local partial="$2.partial"
    install -m "$3" -- "$1" "$partial"
    if cmp -s "$partial" "$2"; then
        rm -- "$partial"
    else
        sync "$partial"
        mv -f -- "$partial" "$2"
    fi
}

say_what_next() {
    local installed
    installed=$("$env/bin/python" -c 'import edge; print(edge.__version__)')
    say "edge-transfer $installed is installed in $base: Python $version, runtime $(cat "$env/runtime")"
    if [ -n "$machine" ] && command -v systemd-sysusers >/dev/null; then
        [ -e "$home/learner.db" ] || say "next: sudo -u edge edge --home $home init NAME.edge
      sudo systemctl enable --now edge-watch.service edge-retrain.timer"
    else
        case :$PATH: in
        *:"$(dirname "$command")":*) ;;
        *) say "log in anew, or: export PATH=\"$(dirname "$command"):\$PATH\"" ;;
        esac
        [ -e "$home/learner.db" ] || say "next: edge init NAME.edge"
    fi
}

# --- removal ----------------------------------------------------------------------------------------------------------

uninstall() {
    local unit
    if [ -n "$machine" ]; then
        if [ -d /run/systemd/system ]; then
            for unit in $UNITS; do
                systemctl disable --quiet --now "$unit" 2>/dev/null || true
            done
        fi
        for unit in $UNITS; do
            rm -f -- "/etc/systemd/system/$unit"
        done
        [ ! -d /run/systemd/system ] || systemctl daemon-reload
    fi
    [ "$(readlink "$command")" != "$base/bin/edge" ] || rm -f -- "$command"
    remove_completion
    remove_program
    if [ "$1" = purge ]; then
        remove_taught
        if [ -n "$machine" ]; then
            rm -f -- /etc/edge-transfer/watch.conf
            drop_folder /etc/edge-transfer
            if getent passwd edge >/dev/null; then userdel edge; fi
        fi
    elif [ -e "$home" ]; then
        say "kept $home with all that was taught there; to remove it as well: $0 --purge"
    fi
}

remove_program() {
    local environment
    for environment in "$base"/env.??????; do
        if is_ours "$environment"; then rm -rf -- "$environment"; fi
    done
    [ ! -L "$base/bin" ] || rm -f -- "$base/bin"
    rm -f -- "$base/.bin" "$base/.changed" "$base/.lock" "$base"/install.sh{,.partial} "$base"/edge_transfer-*.whl{,.partial}
    drop_folder "$base"
}

remove_taught() { # what edge keeps in its home, by the names that it gives; anything else is somebody's
    [ -d "$home" ] || return 0
    find "$home" -maxdepth 1 -type f -regextype posix-extended -regex '.*/(learner\.db(-wal|-shm)?|turn\.lock|'\
'watched-[0-9a-f]{12}\.(jsonl|lock)|[0-9a-f]{16}\.edge|\.[0-9a-f]{16}\.edge\.([0-9]+\.)?[0-9]+\.partial)' -delete
    find "$home" -type f -regextype posix-extended \
        -regex '.*/uncertain-[0-9]{8}T[0-9]{6}\.[0-9]{6}0*\.(jpg|png)' -delete # frames kept for review
    find "$home" -mindepth 1 -depth -type d -empty -delete
    drop_folder "$home"
}

drop_folder() { # FOLDER: remove it if nothing is left in it
    [ -d "$1" ] || return 0
    if [ -z "$(ls -A "$1")" ]; then
        rmdir -- "$1"
        say "removed $1"
    else
        say "kept $1, as it holds what edge did not put there: $(find "$1" -mindepth 1 -maxdepth 1 -printf '%f\n' | head -n 3 | tr '\n' ' ')"
    fi
}

say() { printf '%s\n' "$*"; }

fail() { # CODE MESSAGE
    printf 'error: %s\n' "$2" >&2
    exit "$1"
}

main "$@"
exit

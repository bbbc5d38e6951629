#!/bin/sh
# Installs what building and testing needs and is not here yet: apt-get on Debian and Ubuntu, Homebrew on macOS.
# Does nothing, and says nothing, when all is there.
set -eu

libraries="jansson libpng libjpeg libwebp libwebpdemux libutf8proc sentencepiece libavformat libavcodec libavutil
           libswscale cmocka"
programs="cc c++ meson ninja pkg-config ffprobe"

debian="gcc g++ meson ninja-build pkg-config libjansson-dev libpng-dev libjpeg-dev libwebp-dev libutf8proc-dev
        libsentencepiece-dev libavformat-dev libavcodec-dev libavutil-dev libswscale-dev libcmocka-dev ffmpeg
        python3-pip"
brew="meson ninja pkg-config jansson libpng jpeg-turbo webp utf8proc sentencepiece ffmpeg cmocka"

# All there already, wherever it came from?
all_there() {
    for p in $programs; do command -v "$p" >/dev/null 2>&1 || return 1; done
    for l in $libraries; do pkg-config --exists "$l" || return 1; done
}

# The device mlx is fetched with pip; without, everything else is built.
have_pip() { python3 -m pip --version >/dev/null 2>&1; }

# Runs a command and shows its output only if it fails.
quietly() {
    log=$(mktemp)
    if "$@" >"$log" 2>&1; then
        rm -f "$log"
    else
        tail -n 20 "$log" >&2
        rm -f "$log"
        echo "install-deps: '$*' failed" >&2
        exit 1
    fi
}

install_debian() {
    missing=""
    for p in $debian; do
        case $(dpkg-query -W -f='${db:Status-Abbrev}' "$p" 2>/dev/null || true) in
            ii*) ;;
            *) missing="$missing $p" ;;
        esac
    done
    [ -n "$missing" ] || return 0
    echo "Installing with apt-get (a few minutes the first time):$missing"
    sudo=""
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null 2>&1 || { echo "install-deps: this needs root or sudo" >&2; exit 1; }
        sudo=sudo
    fi
    quietly $sudo apt-get -q update
    # shellcheck disable=SC2086  # a list of words
    quietly $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends $missing
}

install_brew() {
    missing=""
    for p in $brew; do brew list --formula "$p" >/dev/null 2>&1 || missing="$missing $p"; done
    [ -n "$missing" ] || return 0
    echo "Installing with Homebrew (a few minutes the first time):$missing"
    # shellcheck disable=SC2086  # a list of words
    quietly brew install -q $missing
}

all_there && have_pip && exit 0
if command -v apt-get >/dev/null 2>&1 && command -v dpkg-query >/dev/null 2>&1; then
    install_debian
elif command -v brew >/dev/null 2>&1; then
    install_brew
elif all_there; then
    exit 0
else
    echo "install-deps: no apt-get and no Homebrew here; please install: $programs, and the libraries $libraries" >&2
    exit 1
fi

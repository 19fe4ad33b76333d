#!/bin/sh
# Installs the system libraries that Qt and the tests need, with apt-get where that is allowed; else says what is missing.
# Usage: system-libraries.sh run|test
set -eu

run_libraries="libegl1 libgl1 libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 libxcb-shape0 libxcb-xinerama0 libdbus-1-3 libfontconfig1 fonts-dejavu-core"
test_tools="xvfb xdotool poppler-utils"

wanted=$run_libraries
[ "${1:-run}" = test ] && wanted="$wanted $test_tools"

command -v dpkg-query >/dev/null 2>&1 || {
    echo "bitpress: this is not Debian or Ubuntu; please install what your system calls: $wanted" >&2
    exit 0
}
missing=""
for package in $wanted; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q "ok installed" || missing="$missing $package"
done
[ -z "$missing" ] && exit 0

if [ "$(id -u)" = 0 ]; then
    as_root=""
elif sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    echo "bitpress: please run: sudo apt-get install -y$missing" >&2
    exit 0
fi
echo "bitpress: installing system libraries:$missing" >&2
$as_root apt-get update -q >/dev/null
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -q --no-install-recommends $missing >/dev/null

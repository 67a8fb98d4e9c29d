#!/usr/bin/env bash
# Installs the Debian packages that a build needs and that are missing; where it may not, says which ones.
set -euo pipefail

command -v swift > /dev/null || { echo "error: no swift on the PATH; Kiln needs Swift 6.3: https://swift.org/install" >&2; exit 1; }
[ "$(uname -s)" = Linux ] || exit 0
command -v dpkg-query > /dev/null || { echo "note: not a Debian system; Kiln needs libomp (libomp5.so)" >&2; exit 0; }

missing=()
for package in libomp-dev "$@"; do
  dpkg-query -W -f '${Status}' "$package" 2> /dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

run=()
if [ "$(id -u)" -ne 0 ]; then
  if sudo -n true 2> /dev/null; then run=(sudo); else
    echo "error: these packages are missing: ${missing[*]}" >&2
    echo "hint: sudo apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
fi
echo "installing ${missing[*]}"
"${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
"${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null

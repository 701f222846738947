#!/usr/bin/env bash
# Installs Debian packages that are missing, as root or with sudo; or says in one line what is
# missing. Usage: deploy/packages.sh COMMAND:PACKAGE … (or FILE:PACKAGE, for what has no command)
set -euo pipefail
missing=()
for pair in "$@"; do
  command -v "${pair%%:*}" >/dev/null 2>&1 || [[ $pair == /* && -e ${pair%%:*} ]] || missing+=("${pair##*:}")
done
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" = 0 ]; then as_root=(); else as_root=(sudo); fi
if ! command -v apt-get >/dev/null 2>&1 || { [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null 2>&1; }; then
  echo "missing: ${missing[*]} (install these packages and try again)" >&2
  exit 1
fi
echo "installing ${missing[*]}" >&2
"${as_root[@]}" apt-get update -qq >&2
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2

#!/bin/sh
# What an image adds to its base: two packages and a file. The mirror is lent as in 1-packages.sh.
set -eu
export DEBIAN_FRONTEND=noninteractive
set --
if [ -n "${MIRROR:-}" ]; then
  list=$(mktemp)
  echo "deb $MIRROR bookworm main" > "$list"
  chmod 644 "$list"
  set -- -o "Dir::Etc::SourceList=$list" -o Dir::Etc::SourceParts=-
fi
apt-get -q "$@" update
apt-get -q -y "$@" install --no-install-recommends jq rsync
apt-get clean
if [ -n "${list:-}" ]; then rm "$list"; fi
echo child > /etc/role

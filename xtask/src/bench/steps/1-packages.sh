#!/bin/sh
# Packages that every node has. Where the host's packages come from another mirror than the image's, the
# bench lends it in MIRROR and SECURITY_MIRROR: the image keeps its own list.
set -eu
export DEBIAN_FRONTEND=noninteractive
set --
if [ -n "${MIRROR:-}" ]; then
  list=$(mktemp)
  echo "deb $MIRROR bookworm main" > "$list"
  if [ -n "${SECURITY_MIRROR:-}" ]; then
    echo "deb $SECURITY_MIRROR bookworm-security main" >> "$list"
  fi
  chmod 644 "$list"
  set -- -o "Dir::Etc::SourceList=$list" -o Dir::Etc::SourceParts=-
fi
apt-get -q "$@" update
apt-get -q -y "$@" install --no-install-recommends nginx-light jq rsync
apt-get clean
if [ -n "${list:-}" ]; then rm "$list"; fi
# revision @REVISION@

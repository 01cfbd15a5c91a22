#!/bin/sh
# Runs in the machine, as root.
set -eu
echo "$GREETING" > /etc/motd

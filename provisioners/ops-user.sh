#!/bin/sh
# The user `ops`: a key, no password, sudo without one. OPS_KEY: the public key.
set -eu
case ${OPS_KEY:?the public key of ops} in
    ssh-* | ecdsa-* | sk-*) ;;
    *) echo "OPS_KEY is no public ssh key" >&2; exit 1 ;;
esac
id ops >/dev/null 2>&1 || useradd --create-home --shell /bin/bash ops
install -d -m 0700 -o ops -g ops ~ops/.ssh
printf '%s\n' "$OPS_KEY" >~ops/.ssh/authorized_keys
chown ops:ops ~ops/.ssh/authorized_keys
chmod 0600 ~ops/.ssh/authorized_keys
echo 'ops ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/ops
chmod 0440 /etc/sudoers.d/ops
visudo --check --quiet

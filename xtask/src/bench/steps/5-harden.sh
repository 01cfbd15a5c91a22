#!/bin/sh
# What the security team wants of every node, and a line that says which build it is.
set -eu
printf 'PasswordAuthentication no\nX11Forwarding no\n' > /etc/ssh/sshd_config.d/10-node.conf
sshd -t
printf 'kernel.kptr_restrict = 2\nnet.ipv4.conf.all.rp_filter = 1\n' > /etc/sysctl.d/50-node.conf
chmod 750 /var/log/nginx
echo 'Baked node, build @REVISION@. Changes made here by hand are lost.' > /etc/motd

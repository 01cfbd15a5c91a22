#!/bin/sh
# The machine's figures for Prometheus: node-exporter from the distribution.
#   NODE_AGENT_LISTEN  where it listens (:9100)
#   NODE_AGENT_ARGS    further arguments of prometheus-node-exporter
set -eu
package=prometheus-node-exporter
if [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then
    # Lists that are younger than an hour are good.
    [ -n "$(find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' -cmin -60)" ] || apt-get -q update
    DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 --no-install-recommends install "$package"
fi
printf 'ARGS="--web.listen-address=%s%s"\n' "${NODE_AGENT_LISTEN:-:9100}" "${NODE_AGENT_ARGS:+ $NODE_AGENT_ARGS}" \
    >/etc/default/prometheus-node-exporter
systemctl enable --quiet prometheus-node-exporter
systemctl restart prometheus-node-exporter

#!/bin/sh
# Containers, by podman or Docker from the distribution, with their logs in the journal.
#   CONTAINER_RUNTIME  podman (default) or docker
set -eu
runtime=${CONTAINER_RUNTIME:-podman}
# What either recommends and containers need; the rest of its recommendations is for developers.
case $runtime in
    podman) packages='podman netavark aardvark-dns slirp4netns fuse-overlayfs uidmap catatonit ca-certificates' ;;
    docker) packages='docker.io apparmor ca-certificates' ;;
    *) echo "CONTAINER_RUNTIME is podman or docker, not $runtime" >&2; exit 1 ;;
esac

missing=
for package in $packages; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing="$missing $package"
done
if [ -n "$missing" ]; then
    export DEBIAN_FRONTEND=noninteractive
    # Lists that are younger than an hour are good.
    [ -n "$(find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' -cmin -60)" ] || apt-get -q update
    # shellcheck disable=SC2086
    apt-get -q -y -o Dpkg::Use-Pty=0 --no-install-recommends install $missing
fi

if [ "$runtime" = podman ]; then
    install -d -m 0755 /etc/containers/containers.conf.d
    printf '[containers]\nlog_driver = "journald"\n' >/etc/containers/containers.conf.d/50-imgbake.conf
    # Starts at boot those that have a restart policy.
    systemctl enable --quiet podman-restart.service
else
    install -d -m 0755 /etc/docker
    printf '{ "log-driver": "journald", "live-restore": true }\n' >/etc/docker/daemon.json
    systemctl enable --quiet docker.service
fi

# @summary Containers, by podman or Docker from the distribution, with their logs in the journal.
#
# @param runtime  podman or docker
class container_runtime (
  Enum['podman', 'docker'] $runtime = 'podman',
) {
  # What either recommends and containers need; the rest of its recommendations is for developers.
  $packages = $runtime ? {
    'podman' => ['podman', 'netavark', 'aardvark-dns', 'slirp4netns', 'fuse-overlayfs', 'uidmap', 'catatonit',
      'ca-certificates'],
    'docker' => ['docker.io', 'apparmor', 'ca-certificates'],
  }
  distribution::package { $packages: }

  case $runtime {
    'podman': {
      file { '/etc/containers/containers.conf.d':
        ensure  => directory,
        mode    => '0755',
        require => Package['podman'],
      }
      -> file { '/etc/containers/containers.conf.d/50-imgbake.conf':
        content => "[containers]\nlog_driver = \"journald\"\n",
        mode    => '0644',
      }
      # Starts at boot those that have a restart policy.
      -> service { 'podman-restart':
        enable => true,
      }
    }
    default: {
      file { '/etc/docker':
        ensure => directory,
        mode   => '0755',
      }
      -> file { '/etc/docker/daemon.json':
        content => "{ \"log-driver\": \"journald\", \"live-restore\": true }\n",
        mode    => '0644',
      }
      -> service { 'docker':
        enable  => true,
        require => Package['docker.io'],
      }
    }
  }
}

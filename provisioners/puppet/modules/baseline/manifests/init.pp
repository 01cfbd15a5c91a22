# @summary The time, administrators, ssh by keys, no upgrades by itself.
#
# @param time   whether systemd-timesyncd keeps the time; false: another does, such as chrony
# @param ntp    time servers; without them the distribution's
# @param users  administrators, with sudo without a password: `{ 'ana' => 'ssh-ed25519 ...' }`
class baseline (
  Boolean                                        $time  = true,
  Array[String[1]]                               $ntp   = [],
  Hash[Pattern[/\A[a-z_][a-z0-9_-]*\z/], String] $users = {},
) {
  if $time {
    distribution::package { 'systemd-timesyncd': }
    service { 'systemd-timesyncd':
      enable  => true,
      require => Package['systemd-timesyncd'],
    }
    unless empty($ntp) {
      file { '/etc/systemd/timesyncd.conf.d':
        ensure => directory,
        mode   => '0755',
      }
      -> file { '/etc/systemd/timesyncd.conf.d/baseline.conf':
        content => "[Time]\nNTP=${join($ntp, ' ')}\n",
        mode    => '0644',
      }
    }
  }

  unless empty($users) {
    distribution::package { 'sudo': }
  }
  $users.each |$user, $key| {
    user { $user:
      ensure     => present,
      shell      => '/bin/bash',
      home       => "/home/${user}",
      managehome => true,
    }
    -> file {
      default:
        owner => $user,
        group => $user;
      "/home/${user}/.ssh":
        ensure => directory,
        mode   => '0700';
      "/home/${user}/.ssh/authorized_keys":
        content => "${key}\n",
        mode    => '0600';
      "/etc/sudoers.d/baseline-${user}":
        content      => "${user} ALL=(ALL) NOPASSWD:ALL\n",
        owner        => 'root',
        group        => 'root',
        mode         => '0440',
        validate_cmd => '/usr/sbin/visudo --check --quiet --file=%',
        require      => Package['sudo'];
    }
  }

  # It holds from the next start on: the build's own connection stays.
  file { '/etc/ssh/sshd_config.d/10-baseline.conf':
    content      => @(CONFIG),
      PasswordAuthentication no
      KbdInteractiveAuthentication no
      PermitRootLogin prohibit-password
      X11Forwarding no
      MaxAuthTries 4
      | CONFIG
    mode         => '0644',
    validate_cmd => '/usr/sbin/sshd -t -f %',
  }

  file { '/etc/apt/apt.conf.d/99-baseline':
    content => "APT::Periodic::Enable \"0\";\n",
    mode    => '0644',
  }
  service { ['apt-daily.timer', 'apt-daily-upgrade.timer']:
    ensure => stopped,
    enable => false,
  }
}

# What site.yml does, for Puppet: 23 resources.
# revision @REVISION@
$app = 'shop'
$port = 8080
File { owner => 'root', group => 'root', mode => '0644' }

package { ['nginx-light', 'jq', 'rsync']: ensure => installed }
-> group { $app: system => true }
-> user { $app:
  gid        => $app,
  system     => true,
  home       => "/srv/${app}",
  managehome => false,
  shell      => '/usr/sbin/nologin',
}
file { "/etc/${app}": ensure => directory, group => $app, mode => '0750', require => User[$app] }
file { ["/srv/${app}", "/srv/${app}/public", "/srv/${app}/log"]:
  ensure  => directory,
  owner   => $app,
  group   => $app,
  mode    => '0755',
  require => User[$app],
}
file { "/etc/${app}/app.conf":
  group   => $app,
  mode    => '0640',
  content => "name = ${app}\nlisten = 127.0.0.1:${port}\nworkers = ${facts['processors']['count']}\n",
}
file { "/srv/${app}/public/index.html": content => "<h1>${app}</h1>\n" }
file { "/etc/nginx/sites-available/${app}":
  content => "server {\n    listen 80;\n    root /srv/${app}/public;\n}\n",
  require => Package['nginx-light'],
  notify  => Service['nginx'],
}
file { "/etc/nginx/sites-enabled/${app}":
  ensure  => link,
  target  => "/etc/nginx/sites-available/${app}",
  require => Package['nginx-light'],
  notify  => Service['nginx'],
}
file { '/etc/nginx/sites-enabled/default':
  ensure  => absent,
  require => Package['nginx-light'],
  notify  => Service['nginx'],
}
file { "/etc/security/limits.d/${app}.conf": content => "${app} soft nofile 65536\n${app} hard nofile 65536\n" }
exec { 'no passwords by ssh':
  command => "sed -i 's/^#\\?PasswordAuthentication .*/PasswordAuthentication no/' /etc/ssh/sshd_config",
  unless  => "grep -q '^PasswordAuthentication no' /etc/ssh/sshd_config",
  path    => ['/usr/bin', '/bin'],
}
file { "/etc/sysctl.d/60-${app}.conf": content => "net.core.somaxconn = 1024\nvm.swappiness = 10\n" }
file { '/etc/localtime': ensure => link, target => '/usr/share/zoneinfo/UTC' }
file { '/etc/motd': content => "${app}: changes by hand are lost\n" }
file { "/etc/logrotate.d/${app}": content => "/srv/${app}/log/*.log { weekly rotate 4 missingok }\n" }
file { "/etc/cron.d/${app}":
  content => "5 3 * * * root /usr/bin/find /srv/${app}/log -mtime +30 -delete\n",
}
file { "/etc/systemd/system/${app}.service":
  content => "[Unit]\nDescription=${app}\n[Service]\nUser=${app}\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n",
}
-> service { $app: enable => true }
service { 'nginx': ensure => running, enable => true }

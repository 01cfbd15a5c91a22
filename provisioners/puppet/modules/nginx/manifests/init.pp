# @summary nginx from the distribution, with one site.
#
# @param port         where it listens
# @param server_name  the names that the site answers to
# @param root         the folder of the site; the folder that it is in must be there
# @param page         the text of index.html; without it the files in `root` are another step's
class nginx (
  Integer[1, 65535]   $port        = 80,
  String[1]           $server_name = '_',
  Pattern[/\A\//]     $root        = '/var/www/site',
  Optional[String[1]] $page        = undef,
) {
  distribution::package { 'nginx': }

  file { $root:
    ensure  => directory,
    mode    => '0755',
    require => Package['nginx'],
  }
  if $page {
    file { "${root}/index.html":
      content => $page,
      mode    => '0644',
    }
  }

  file { '/etc/nginx/sites-available/site':
    content => epp('nginx/site.conf.epp', {
      'port'        => $port,
      'server_name' => $server_name,
      'root'        => $root,
    }),
    mode    => '0644',
    require => Package['nginx'],
    notify  => Service['nginx'],
  }
  -> file { '/etc/nginx/sites-enabled/site':
    ensure => link,
    target => '/etc/nginx/sites-available/site',
    notify => Service['nginx'],
  }
  file { '/etc/nginx/sites-enabled/default':
    ensure  => absent,
    require => Package['nginx'],
    notify  => Service['nginx'],
  }

  service { 'nginx':
    ensure  => running,
    enable  => true,
    restart => 'systemctl reload nginx',
  }
}

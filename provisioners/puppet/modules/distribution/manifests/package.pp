# @summary A package of the distribution, without what it recommends. Before it is installed, the lists of packages are
#   renewed if they are older than an hour.
define distribution::package {
  exec { "lists of packages for ${title}":
    command  => 'apt-get -q update',
    path     => '/usr/sbin:/usr/bin:/sbin:/bin',
    provider => shell,
    unless   => [
      "dpkg-query -W -f '\${db:Status-Status}' ${title} | grep -qx installed",
      'find /var/lib/apt/lists -maxdepth 1 -name "*_Packages*" -cmin -60 | grep -q .',
    ],
  }
  -> package { $title:
    ensure          => installed,
    install_options => ['--no-install-recommends'],
  }
}

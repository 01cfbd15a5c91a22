//! Memory that new programs may take.

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};

/// Bytes: what the kernel estimates for the host (proc_meminfo(5), `MemAvailable`), or what the limits of
/// this process's control groups leave (cgroups(7): a container's), whichever is less.
pub fn available() -> Option<u64> {
    available_in(Utf8Path::new("/"))
}

fn available_in(root: &Utf8Path) -> Option<u64> {
    let groups = read(&root.join("proc/self/cgroup"));
    let left = groups.lines().filter_map(|line| Group::of(root, line)).flat_map(|it| it.left());
    host(&read(&root.join("proc/meminfo"))).into_iter().chain(left).min()
}

fn read(path: &Utf8Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn host(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// A control group that counts memory, and the names of its files.
struct Group {
    mount: Utf8PathBuf,
    path: Utf8PathBuf,
    limit: &'static str,
    used: &'static str,
    /// What `memory.stat` calls the page cache that the kernel gives up first.
    cache: &'static str,
}

impl Group {
    /// The group of a line of `/proc/self/cgroup`: `0::PATH` (version 2), or `N:CONTROLLERS:PATH`.
    fn of(root: &Utf8Path, line: &str) -> Option<Self> {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let mount = root.join("sys/fs/cgroup");
        let (mount, limit, used, cache) = if controllers.is_empty() {
            (mount, "memory.max", "memory.current", "inactive_file ")
        } else if controllers.split(',').any(|one| one == "memory") {
            let names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file ");
            (mount.join("memory"), names.0, names.1, names.2)
        } else {
            return None;
        };
        // A container without a namespace of its own sees its group as the mount's root.
        let path = Some(mount.join(path.trim_start_matches('/'))).filter(|path| path.is_dir());
        Some(Self { path: path.unwrap_or_else(|| mount.clone()), mount, limit, used, cache })
    }

    /// What each limit above the process leaves.
    fn left(&self) -> Vec<u64> {
        let groups = self.path.ancestors().take_while(|path| path.starts_with(&self.mount));
        groups.filter_map(|group| self.left_in(group)).collect()
    }

    fn left_in(&self, group: &Utf8Path) -> Option<u64> {
        let number = |name: &str| read(&group.join(name)).trim().parse::<u64>().ok();
        // `max` where there is no limit.
        let limit = number(self.limit)?;
        let stat = read(&group.join("memory.stat"));
        let cache =
            stat.lines().find_map(|line| line.strip_prefix(self.cache)?.parse::<u64>().ok());
        let used = number(self.used)?.saturating_sub(cache.unwrap_or(0));
        Some(limit.saturating_sub(used))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_of_all_limits_counts() {
        const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal: 9 kB\nMemAvailable:   4000 kB\n");
        const HOST: u64 = 4000 * 1024;
        for (files, expected) in [
            (&[MEMINFO][..], Some(HOST)),
            (&[], None),
            // Version 2: the limit is an ancestor's; page cache is given up.
            (
                &[
                    MEMINFO,
                    ("proc/self/cgroup", "0::/a/b\n"),
                    ("sys/fs/cgroup/a/b/memory.max", "max\n"),
                    ("sys/fs/cgroup/a/memory.max", "1000\n"),
                    ("sys/fs/cgroup/a/memory.current", "700\n"),
                    ("sys/fs/cgroup/a/memory.stat", "anon 400\ninactive_file 300\n"),
                ],
                Some(600),
            ),
            // Version 1, in a container whose group's path is the host's.
            (
                &[
                    MEMINFO,
                    ("proc/self/cgroup", "9:cpuset:/x\n4:cpu,memory:/docker/1\n0::/\n"),
                    ("sys/fs/cgroup/memory/memory.limit_in_bytes", "2000\n"),
                    ("sys/fs/cgroup/memory/memory.usage_in_bytes", "2500\n"),
                ],
                Some(0),
            ),
            (
                &[
                    MEMINFO,
                    ("proc/self/cgroup", "4:memory:/\n"),
                    ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
                    ("sys/fs/cgroup/memory/memory.usage_in_bytes", "2500\n"),
                ],
                Some(HOST),
            ),
        ] {
            let temp = tempfile::tempdir().unwrap();
            let root = Utf8Path::from_path(temp.path()).unwrap();
            for (name, text) in files {
                let path = root.join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            assert_eq!(available_in(root), expected, "{files:?}");
        }
    }
}

//! The processor quota of the control groups, in cores: `cpu.max` of the process's group and of each group above it.
//! Only for version 2 of control groups; for version 1 the standard library knows the whole cores
//! (`available_parallelism`). The probe needs this because a container often gets a fraction of a core.

use std::path::{Component, Path};

/// The processor time that this process may use, in cores. `None` without a quota.
pub(super) fn cores() -> Option<f64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    smallest(Path::new("/sys/fs/cgroup"), Path::new(group))
}

/// The smallest quota from `group` up to `root`. `group` is a path as seen from `root`.
fn smallest(root: &Path, group: &Path) -> Option<f64> {
    // For a group outside the mounted hierarchy (`/../other`), only the root can be read.
    let outside = group.components().any(|part| part == Component::ParentDir);
    let inside = if outside { Path::new("") } else { group.strip_prefix("/").unwrap_or(group) };
    let quotas = inside.ancestors().filter_map(|folder| {
        let text = std::fs::read_to_string(root.join(folder).join("cpu.max")).ok()?;
        quota(&text)
    });
    quotas.reduce(f64::min)
}

/// Parses `cpu.max`: microseconds of processor time per period, or `max`, and then the period in microseconds.
fn quota(text: &str) -> Option<f64> {
    let mut words = text.split_ascii_whitespace().map(|word| word.parse::<u32>().ok());
    let (quota, period) = (words.next()??, words.next()??);
    (period > 0).then(|| f64::from(quota) / f64::from(period))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_a_number_of_cores() {
        assert_eq!(quota("50000 100000\n"), Some(0.5));
        assert_eq!(quota("250000 100000\n"), Some(2.5));
        for text in ["max 100000\n", "", "50000", "50000 0", "x y", "-1 100000"] {
            assert_eq!(quota(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_smallest_on_the_way_up_counts() {
        let root = std::env::temp_dir().join(format!("corelane-quota-{}", std::process::id()));
        let folder = root.join("outer/inner");
        std::fs::create_dir_all(&folder).unwrap();
        let write = |path: &Path, text: &str| std::fs::write(path.join("cpu.max"), text).unwrap();
        let look = |group: &str| smallest(&root, Path::new(group));
        assert_eq!(look("/outer/inner"), None);
        write(&folder, "max 100000\n");
        write(&root.join("outer"), "150000 100000\n");
        assert_eq!(look("/outer/inner"), Some(1.5));
        write(&folder, "70000 100000\n");
        assert_eq!(look("/outer/inner"), Some(0.7));
        assert_eq!(look("/outer"), Some(1.5));
        // In a container the root of the mounted hierarchy is the process's own group.
        assert_eq!(look("/"), None);
        write(&root, "20000 100000\n");
        assert_eq!(look("/"), Some(0.2));
        assert_eq!(look("/outer/inner"), Some(0.2));
        assert_eq!(look("/../outer"), Some(0.2));
        std::fs::remove_dir_all(&root).unwrap();
    }
}

//! Where cgroup2 hierarchies are mounted, as `/proc/self/mountinfo` tells.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use super::CgroupError;

/// A mounted cgroup2 hierarchy, alone on `/sys/fs/cgroup` (unified) or beside the older ones (hybrid), or anywhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// Which directory of the hierarchy is seen there; in a container as far as it knows.
    root: PathBuf,
    /// Where.
    pub(super) point: PathBuf,
}

/// The mounts of cgroup2 in the text of a `mountinfo` file (proc_pid_mountinfo(5)), in its order.
pub(super) fn cgroup2_mounts(mountinfo: &[u8]) -> Vec<Mount> {
    mountinfo.split(|byte| *byte == b'\n').filter_map(cgroup2).collect()
}

fn cgroup2(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let root = fields.nth(3)?;
    let point = fields.next()?;
    // A number of optional fields follows, up to the dash.
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    (kind == b"cgroup2").then(|| Mount { root: path(root), point: path(point) })
}

/// A path in which blanks, tabs, line breaks and backslashes are written as three octal digits.
fn path(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let escaped = if *first == b'\\' { octal(after) } else { None };
        let length = if escaped.is_some() { 4 } else { 1 };
        bytes.push(escaped.unwrap_or(*first));
        rest = rest.get(length..).unwrap_or_default();
    }
    PathBuf::from(OsString::from_vec(bytes))
}

fn octal(digits: &[u8]) -> Option<u8> {
    let value = digits.get(..3)?.iter().try_fold(0_u32, |value, digit| {
        (b'0'..=b'7').contains(digit).then(|| value * 8 + u32::from(digit - b'0'))
    })?;
    u8::try_from(value).ok()
}

/// The mount that shows the hierarchy from its root; of several the first, but one that shows its mounter's root before
/// others. What is at a mount point `is_root` tells: inside a container the file says `/` of what the container sees, and
/// something like `/../..` of the host's hierarchy.
pub(super) fn root_of(mounts: &[Mount], is_root: impl Fn(&Path) -> bool) -> Result<&Mount, CgroupError> {
    let (plain, others): (Vec<&Mount>, Vec<&Mount>) =
        mounts.iter().partition(|mount| mount.root == Path::new("/"));
    let part = mounts.first().ok_or(CgroupError::NoHierarchy)?;
    let found = plain.into_iter().chain(others).find(|mount| is_root(&mount.point));
    found.ok_or_else(|| CgroupError::Part(part.point.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIFIED: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
31 23 0:27 / /sys/fs/pstore rw,nosuid,nodev,noexec,relatime shared:5 - pstore pstore rw
";
    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:1 master:2 - cgroup2 cgroup2 rw
";
    const LEGACY: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs cgroup2 rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup2 rw,cpu
";
    const CONTAINER: &str = "\
700 690 0:26 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw
";
    const HOST_PATH: &str = "\
700 690 0:26 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw
710 690 0:26 /../../.. /host/sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw
";
    const ELSEWHERE: &str = "\
52 31 0:38 /a /mnt/part rw,relatime - cgroup2 none rw
53 31 0:38 / /mnt/a\\040b\\134c rw,relatime - cgroup2 none rw
54 31 0:38 / /mnt/second rw,relatime - cgroup2 none rw
";

    fn root(text: &str, roots: &[&str]) -> Result<PathBuf, CgroupError> {
        let mounts = cgroup2_mounts(text.as_bytes());
        let is_root = |point: &Path| roots.iter().any(|root| Path::new(root) == point);
        root_of(&mounts, is_root).map(|mount| mount.point.clone())
    }

    #[test]
    fn the_root_of_the_hierarchy_is_found_wherever_it_is_mounted() {
        let everywhere =
            ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/mnt/a b\\c", "/mnt/second", "/mnt/part"];
        for (text, expected) in
            [(UNIFIED, "/sys/fs/cgroup"), (HYBRID, "/sys/fs/cgroup/unified"), (ELSEWHERE, "/mnt/a b\\c")]
        {
            assert_eq!(root(text, &everywhere).unwrap(), Path::new(expected), "{text}");
        }
        assert_eq!(root(HOST_PATH, &["/host/sys/fs/cgroup"]).unwrap(), Path::new("/host/sys/fs/cgroup"));
    }

    #[test]
    fn what_stands_in_the_way_is_told() {
        assert!(matches!(root(LEGACY, &[]), Err(CgroupError::NoHierarchy)));
        assert!(matches!(root("", &[]), Err(CgroupError::NoHierarchy)));
        let error = root(CONTAINER, &[]).unwrap_err();
        assert!(
            matches!(&error, CgroupError::Part(point) if point == Path::new("/sys/fs/cgroup")),
            "{error}"
        );
        assert!(error.to_string().contains("hostPath"), "{error}");
    }

    #[test]
    fn lines_that_are_none_are_passed_over() {
        for line in ["", "-", "1 2 3 / /x", "1 2 3 / /x -", "1 2 3 / /x rw cgroup2", "1 2 3 / - cgroup2 x rw"]
        {
            assert_eq!(cgroup2_mounts(line.as_bytes()), [], "{line}");
        }
        assert_eq!(path(b"/a\\04"), Path::new("/a\\04"));
        assert_eq!(path(b"\\777\\040"), Path::new("\\777 "));
    }
}

//! `/proc/<pid>/mountinfo`, parsed.

use std::path::PathBuf;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mounted {
    /// Where it is.
    pub at: PathBuf,
    /// The file system's type.
    pub kind: String,
    /// The file system's own options, which for cgroups name the controllers.
    pub options: Vec<String>,
}

/// The mounts of a mountinfo text, in order; a later one hides an earlier one at the same place.
pub(crate) fn parse(text: &str) -> Vec<Mounted> {
    text.lines().filter_map(line).collect()
}

fn line(line: &str) -> Option<Mounted> {
    // id parent major:minor root at options [tag…] - type source options
    let (head, tail) = line.split_once(" - ")?;
    let at = unescape(head.split(' ').nth(4)?);
    let mut tail = tail.split(' ');
    let kind = tail.next()?.to_owned();
    let options = tail.nth(1).unwrap_or_default().split(',').map(str::to_owned).collect();
    Some(Mounted { at: at.into(), kind, options })
}

/// Spaces, tabs, newlines and backslashes are written as a backslash and three octal digits.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                out.push(char::from(code));
                out.push_str(part.get(3..).unwrap_or_default());
            }
            None => {
                out.push('\\');
                out.push_str(part);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_types_and_controllers_are_read_with_or_without_tags() {
        let text = "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard\n\
            30 22 0:25 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
            31 22 8:1 / /mnt/my\\040disk rw - xfs /dev/sdb1 rw\nnonsense\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 3);
        assert_eq!((mounts[0].at.to_str().unwrap(), mounts[0].kind.as_str()), ("/", "ext4"));
        assert_eq!(mounts[1].options, ["rw", "cpu", "cpuacct"]);
        assert_eq!(mounts[2].at.to_str().unwrap(), "/mnt/my disk");
    }
}

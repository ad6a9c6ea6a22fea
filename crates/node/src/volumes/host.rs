//! What volumes need of the machine: paths of its own, and memory.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Checks a `hostPath` of this type, and makes it where the type says so.
///
/// # Errors
/// When it is something else, or cannot be made.
pub(super) fn check(path: &str, type_: &str) -> Result<(), String> {
    let at = Path::new(path);
    let make = |result: io::Result<()>| result.map_err(|e| format!("make {path}: {e}"));
    match type_ {
        "DirectoryOrCreate" if !at.exists() => return make(fs::create_dir_all(at)),
        "FileOrCreate" if !at.exists() => return make(fs::write(at, "")),
        _ => {}
    }
    let found = fs::metadata(at).map(|meta| meta.file_type());
    let is = |wanted: fn(&fs::FileType) -> bool| found.as_ref().is_ok_and(wanted);
    let (right, name) = match type_ {
        "Directory" | "DirectoryOrCreate" => (is(fs::FileType::is_dir), "a directory"),
        "File" | "FileOrCreate" => (is(fs::FileType::is_file), "a file"),
        "Socket" => (is(FileTypeExt::is_socket), "a socket file"),
        "CharDevice" => (is(FileTypeExt::is_char_device), "a character device"),
        "BlockDevice" => (is(FileTypeExt::is_block_device), "a block device"),
        _ => return Ok(()),
    };
    if right { Ok(()) } else { Err(format!("hostPath type check failed: {path} is not {name}")) }
}

/// Puts memory at a directory, of at most so many bytes.
///
/// # Errors
/// When Coracle may not mount.
pub(super) fn memory(path: &Path, limit: Option<i128>) -> io::Result<()> {
    let size = limit.map(|bytes| format!(",size={bytes}")).unwrap_or_default();
    let options = format!("mode=0777{size}");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    Ok(mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some(options.as_str()))?)
}

/// Whether something is mounted on a directory.
pub(super) fn is_mounted(path: &Path) -> bool {
    let device = |path: &Path| fs::symlink_metadata(path).map(|meta| meta.dev()).ok();
    device(path) != path.parent().and_then(device)
}

/// Takes away what is mounted on the directories in `dir`.
pub fn release(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if !is_mounted(&path) {
            continue;
        }
        if let Err(error) = umount2(&path, MntFlags::MNT_DETACH) {
            tracing::warn!("unmount {}: {error}", path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_keeps_to_its_size_and_goes_away() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().join("v");
        fs::create_dir(&volume).unwrap();
        if let Err(error) = memory(&volume, Some(1 << 16)) {
            return eprintln!("skipped: {error}");
        }
        assert!(is_mounted(&volume));
        let full = fs::write(volume.join("large"), vec![0; 1 << 17]).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        release(dir.path());
        assert!(!is_mounted(&volume) && !volume.join("large").exists());
    }

    #[test]
    fn a_host_path_is_what_its_type_says_or_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        assert!(check(&path("new"), "Directory").unwrap_err().ends_with("is not a directory"));
        check(&path("new"), "DirectoryOrCreate").unwrap();
        check(&path("new"), "Directory").unwrap();
        assert!(check(&path("new"), "FileOrCreate").unwrap_err().ends_with("is not a file"));
        check(&path("file"), "FileOrCreate").unwrap();
        assert!(check(&path("file"), "Socket").unwrap_err().ends_with("is not a socket file"));
        check("/dev/null", "CharDevice").unwrap();
        check(&path("nothing"), "").unwrap();
    }
}

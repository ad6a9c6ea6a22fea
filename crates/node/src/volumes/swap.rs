//! Writing files so that readers see all of the old or all of the new: into a directory of their own, to which the link `..data`
//! is then swapped, as the kubelet's atomic writer does.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Component, Path},
};

use jiff::Timestamp;

use super::contents::{File, Files};

/// What a group that owns the volume may do with every file.
const GROUP_READS: u32 = 0o440;

/// Whether a path stays below the directory it is joined to.
pub(super) fn stays_below(path: &str) -> bool {
    Path::new(path).components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir))
}

/// Writes the files, for a group if one is given; nothing if they are there already. False if they could not be given to the
/// group.
pub(super) fn write(dir: &Path, files: &Files, group: Option<u32>, now: Timestamp) -> io::Result<bool> {
    if let Some(bad) = files.keys().find(|path| !stays_below(path)) {
        return Err(io::Error::other(format!("{bad:?} leaves the volume")));
    }
    let data = dir.join("..data");
    let old = fs::read_link(&data).ok();
    let mode = |file: &File| file.mode | if group.is_some() { GROUP_READS } else { 0 };
    let same = |path: &String, file: &File| {
        let at = data.join(path);
        let kept = fs::metadata(&at).is_ok_and(|m| m.permissions().mode() & 0o777 == mode(file));
        kept && fs::read(&at).is_ok_and(|now| now == file.contents)
    };
    if old.is_some() && files.iter().all(|(path, file)| same(path, file)) && count(&data) == files.len() {
        return Ok(true);
    }
    let name = free_name(dir, now);
    let fresh = dir.join(&name);
    fs::create_dir_all(&fresh)?;
    for (path, file) in files {
        let at = fresh.join(path);
        fs::create_dir_all(at.parent().unwrap_or(&fresh))?;
        fs::write(&at, &file.contents)?;
        fs::set_permissions(&at, fs::Permissions::from_mode(mode(file)))?;
    }
    let given = group.is_none_or(|group| give(&fresh, group).is_ok());
    let temporary = dir.join("..data_tmp");
    let _ = fs::remove_file(&temporary);
    symlink(&name, &temporary)?;
    fs::rename(&temporary, &data)?;
    link(dir, files)?;
    old.map_or(Ok(()), |old| fs::remove_dir_all(dir.join(old)))?;
    Ok(given)
}

/// A name that no directory of the volume has yet.
fn free_name(dir: &Path, now: Timestamp) -> String {
    let mut number = now.as_nanosecond();
    while dir.join(format!("..{number}")).exists() {
        number += 1;
    }
    format!("..{number}")
}

/// Links what is at the top of the volume into `..data`, and removes the links of what is gone.
fn link(dir: &Path, files: &Files) -> io::Result<()> {
    let tops: BTreeSet<&str> = files.keys().filter_map(|p| p.split('/').next()).collect();
    for top in &tops {
        let link = dir.join(top);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new("..data").join(top), &link)?;
        }
    }
    for entry in fs::read_dir(dir)?.flatten() {
        let known = entry.file_name().to_string_lossy().into_owned();
        if !known.starts_with("..") && !tops.contains(known.as_str()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn count(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|e| if e.path().is_dir() { count(&e.path()) } else { 1 }).sum()
}

fn give(path: &Path, group: u32) -> io::Result<()> {
    chown(path, None, Some(group))?;
    if path.is_dir() {
        for entry in fs::read_dir(path)?.flatten() {
            give(&entry.path(), group)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> Files {
        let file = |contents: &str| File { contents: contents.as_bytes().to_vec(), mode: 0o640 };
        list.iter().map(|(path, contents)| ((*path).to_owned(), file(contents))).collect()
    }

    fn write(dir: &Path, list: &[(&str, &str)]) -> io::Result<bool> {
        super::write(dir, &files(list), None, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_changed_source_is_swapped_in_whole_and_what_is_gone_disappears() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &[("a", "1"), ("d/b", "2")]).unwrap();
        let first = fs::read_link(dir.path().join("..data")).unwrap();
        write(dir.path(), &[("a", "1"), ("d/b", "2")]).unwrap();
        assert_eq!(fs::read_link(dir.path().join("..data")).unwrap(), first);
        write(dir.path(), &[("a", "3")]).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("a")).unwrap(), "3");
        assert!(!dir.path().join("d").exists() && !dir.path().join(first).exists());
        assert!(write(dir.path(), &[("../x", "")]).is_err());
    }
}

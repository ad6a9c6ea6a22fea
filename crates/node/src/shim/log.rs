//! A container's log in the CRI format, rotated by size.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// The longest text of one line; what is longer is cut into partial lines, as container runtimes do.
const LONGEST: usize = 16 * 1024;

/// The log of one run.
pub(super) struct Log {
    path: PathBuf,
    most_bytes: u64,
    most_files: u32,
    current: Mutex<(File, u64)>,
}

impl Log {
    pub fn open(path: &Path, most_bytes: u64, most_files: u32) -> io::Result<Self> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let file = append(path)?;
        let size = file.metadata()?.len();
        let current = Mutex::new((file, size));
        Ok(Self { path: path.to_owned(), most_bytes, most_files, current })
    }

    /// Copies a stream to its end, a line at a time. A line that cannot be written is lost, as with container runtimes, and the stream
    /// is read on: a container must not end because the disk is full or its log was taken away, and who would read no more would end
    /// it, for it could write no more.
    ///
    /// # Errors
    /// When the stream cannot be read.
    pub fn copy(&self, mut from: impl Read, stream: &str) -> io::Result<()> {
        let mut pending = Vec::new();
        let mut buffer = [0; 8192];
        loop {
            let count = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            pending.extend_from_slice(buffer.get(..count).unwrap_or_default());
            while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = pending.drain(..=end).collect();
                self.keep(stream, "F", line.strip_suffix(b"\n").unwrap_or(&line));
            }
            while pending.len() >= LONGEST {
                let part: Vec<u8> = pending.drain(..LONGEST).collect();
                self.keep(stream, "P", &part);
            }
        }
        if !pending.is_empty() {
            self.keep(stream, "P", &pending);
        }
        Ok(())
    }

    /// Writes a line if that is possible: there is nobody to tell if it is not.
    fn keep(&self, stream: &str, tag: &str, text: &[u8]) {
        let _ = self.write(stream, tag, text);
    }

    fn write(&self, stream: &str, tag: &str, text: &[u8]) -> io::Result<()> {
        let head = format!("{:.9} {stream} {tag} ", jiff::Timestamp::now());
        let line = [head.as_bytes(), text, b"\n"].concat();
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
        if current.1 > 0 && current.1.saturating_add(length) > self.most_bytes {
            self.rotate()?;
            *current = (append(&self.path)?, 0);
        }
        if let Err(error) = current.0.write_all(&line) {
            // Half a line would be read together with the next one; where that cannot be taken back either, it stays.
            let _ = current.0.set_len(current.1);
            return Err(error);
        }
        current.1 += length;
        Ok(())
    }

    /// `log` becomes `log.1`, that `log.2`, and so on; the oldest goes.
    fn rotate(&self) -> io::Result<()> {
        let numbered = |number: u32| PathBuf::from(format!("{}.{number}", self.path.display()));
        for number in (1..self.most_files.saturating_sub(1)).rev() {
            if numbered(number).exists() {
                fs::rename(numbered(number), numbered(number + 1))?;
            }
        }
        let moved = if self.most_files > 1 { fs::rename(&self.path, numbered(1)) } else { fs::remove_file(&self.path) };
        match moved {
            // Somebody else has moved or removed it.
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_marked_whole_or_partial_and_old_files_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let log = Log::open(&path, 120, 2).unwrap();
        log.copy("one\ntwo\nthree\nend".as_bytes(), "stdout").unwrap();
        let newest = fs::read_to_string(&path).unwrap();
        let older = fs::read_to_string(dir.path().join("0.log.1")).unwrap();
        assert!(newest.ends_with(" stdout P end\n"), "{newest}");
        assert!((older + &newest).contains(" stdout F three\n"));
        assert!(!dir.path().join("0.log.2").exists());
    }

    #[test]
    fn what_cannot_be_written_is_read_all_the_same_and_leaves_no_half_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(&dir.path().join("0.log"), 100, 2).unwrap();
        let text = "a line of text\n".repeat(20);
        fs::remove_dir_all(dir.path()).unwrap();
        let mut rest = text.as_bytes();
        log.copy(&mut rest, "stdout").unwrap();
        assert!(rest.is_empty(), "{} bytes are left", rest.len());

        // It goes on where it can be written again, even if only the log itself was taken away.
        fs::create_dir_all(dir.path()).unwrap();
        log.copy(text.as_bytes(), "stdout").unwrap();
        let kept = fs::read_to_string(dir.path().join("0.log")).unwrap();
        assert!(!kept.is_empty() && kept.lines().all(|line| line.ends_with(" stdout F a line of text")), "{kept}");
    }

    #[test]
    fn a_full_disk_leaves_whole_lines() {
        let dir = tempfile::tempdir().unwrap();
        let small = nix::mount::MsFlags::empty();
        if let Err(error) = nix::mount::mount(Some("small"), dir.path(), Some("tmpfs"), small, Some("size=8k")) {
            return eprintln!("skipped: {error}");
        }
        let path = dir.path().join("0.log");
        let log = Log::open(&path, 1 << 20, 2).unwrap();
        let text = "a line of text\n".repeat(1000);
        let mut rest = text.as_bytes();
        log.copy(&mut rest, "stdout").unwrap();
        let kept = fs::read_to_string(&path).unwrap();
        nix::mount::umount2(dir.path(), nix::mount::MntFlags::MNT_DETACH).unwrap();
        assert!(rest.is_empty() && kept.len() < text.len(), "{} of {}", kept.len(), text.len());
        assert!(kept.lines().all(|line| line.ends_with(" stdout F a line of text")) && kept.ends_with('\n'));
    }
}

//! Reading a log from a position on, file after file, in bounded pieces.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::Query;

/// About how much one piece holds.
const PIECE: usize = 64 * 1024;
/// The longest line that is put together; the shim writes far shorter ones.
const LONGEST: usize = 1024 * 1024;

/// The log file and its rotated predecessors, oldest first.
pub fn files(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let entries = path.parent().and_then(|dir| std::fs::read_dir(dir).ok()).into_iter().flatten().flatten();
    let mut rotated: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.strip_prefix(&name)?.strip_prefix('.')?.parse().ok()?;
            Some((number, entry.path()))
        })
        .collect();
    rotated.sort_by(|a, b| b.cmp(a));
    rotated.into_iter().map(|(_, path)| path).chain([path.to_owned()]).collect()
}

/// Reads a log; more can be read when more was written.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    query: Query,
    current: Option<Open>,
    left: u64,
}

/// The file that is being read.
#[derive(Debug)]
struct Open {
    file: BufReader<File>,
    inode: u64,
    line: Vec<u8>,
    /// There is a newer file: nothing more will be written here.
    closed: bool,
}

impl Open {
    fn at(path: &Path, offset: u64) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let inode = file.metadata()?.ino();
        file.seek(SeekFrom::Start(offset))?;
        Ok(Self { file: BufReader::with_capacity(PIECE, file), inode, line: Vec::new(), closed: false })
    }

    /// Reads on to the end of a line; whether the line is whole.
    fn read_line(&mut self) -> io::Result<Option<bool>> {
        let room = LONGEST.saturating_sub(self.line.len());
        let read = (&mut self.file).take(u64::try_from(room).unwrap_or(0)).read_until(b'\n', &mut self.line)?;
        let whole = self.line.last() == Some(&b'\n') || self.line.len() >= LONGEST;
        Ok((read > 0).then_some(whole))
    }
}

impl Reader {
    /// A reader at the first line that the query wants.
    ///
    /// # Errors
    /// When a file cannot be read; a log that does not exist yet is empty.
    pub fn open(path: &Path, query: Query) -> io::Result<Self> {
        let mut reader = Self { path: path.to_owned(), left: query.limit.unwrap_or(u64::MAX), query, current: None };
        if let Some(lines) = reader.query.tail {
            reader.current = last_lines(&files(path), lines)?;
        }
        Ok(reader)
    }

    /// Whether as much has been given as was asked for.
    pub fn is_done(&self) -> bool {
        self.left == 0
    }

    /// The next piece of what the query wants; empty when there is nothing more for now.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn piece(&mut self) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        while out.len() < PIECE && self.left > 0 {
            let Some(open) = &mut self.current else {
                self.current = self.newer(None)?;
                if self.current.is_none() {
                    break;
                }
                continue;
            };
            match open.read_line()? {
                Some(false) => {}
                Some(true) => {
                    self.query.render(open.line.strip_suffix(b"\n").unwrap_or(&open.line), &mut out);
                    open.line.clear();
                }
                None => {
                    let (inode, closed) = (open.inode, open.closed);
                    let Some(newer) = self.newer(Some(inode))? else { break };
                    // What was written between the last look and the rotation is read before the newer file is.
                    if closed {
                        self.current = Some(newer);
                    } else if let Some(open) = &mut self.current {
                        open.closed = true;
                    }
                }
            }
        }
        out.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= u64::try_from(out.len()).unwrap_or(self.left);
        Ok(out)
    }

    /// The file after the one that is being read: the oldest if that one is gone, none if it is the newest.
    fn newer(&self, inode: Option<u64>) -> io::Result<Option<Open>> {
        let list = files(&self.path);
        let is_ours = |path: &PathBuf| path.metadata().is_ok_and(|m| Some(m.ino()) == inode);
        let next = list.iter().position(is_ours).map_or(0, |at| at + 1);
        match list.get(next).map(|path| Open::at(path, 0)) {
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.transpose(),
        }
    }
}

/// The place from which there are this many lines to the end of the last file.
fn last_lines(files: &[PathBuf], lines: u64) -> io::Result<Option<Open>> {
    let mut wanted = lines;
    for (at, path) in files.iter().enumerate().rev() {
        let mut file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        match backwards(&mut file, &mut wanted)? {
            0 if at > 0 && wanted > 0 => {}
            offset => return Open::at(path, offset).map(Some),
        }
    }
    Ok(None)
}

/// The offset of the `wanted`th line from the end of a file; what the file lacks stays in `wanted`.
fn backwards(file: &mut File, wanted: &mut u64) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut block = vec![0; PIECE];
    let mut last = true;
    if *wanted == 0 {
        return Ok(end);
    }
    while end > 0 {
        let start = end.saturating_sub(u64::try_from(PIECE).unwrap_or(0));
        let length = usize::try_from(end - start).unwrap_or(0);
        let Some(part) = block.get_mut(..length) else { break };
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        for (index, byte) in part.iter().enumerate().rev() {
            // The end of the last line is not the beginning of another.
            if *byte == b'\n' && !std::mem::take(&mut last) {
                *wanted -= 1;
                if *wanted == 0 {
                    return Ok(start + u64::try_from(index).unwrap_or(0) + 1);
                }
            }
            last = false;
        }
        end = start;
    }
    // The first line has no line's end in front of it.
    if !last {
        *wanted -= 1;
    }
    Ok(0)
}

/// The end of a log as one text of at most so many lines and bytes; empty when it cannot be read.
pub fn tail(path: &Path, lines: u64, bytes: usize) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut reader = Reader::open(path, Query { tail: Some(lines), ..Query::default() })?;
        let mut all = Vec::new();
        loop {
            let piece = reader.piece()?;
            if piece.is_empty() {
                return Ok(all);
            }
            all.extend(piece);
            all.drain(..all.len().saturating_sub(bytes));
        }
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn all(path: &Path, query: &str) -> String {
        let mut reader = Reader::open(path, Query::parse(query, Timestamp::now())).unwrap();
        rest(&mut reader)
    }

    fn rest(reader: &mut Reader) -> String {
        let mut text = Vec::new();
        loop {
            let piece = reader.piece().unwrap();
            if piece.is_empty() {
                return String::from_utf8(text).unwrap();
            }
            text.extend(piece);
        }
    }

    fn append(path: &Path, line: &str) {
        let mut file = File::options().create(true).append(true).open(path).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }

    #[test]
    fn rotated_files_are_read_before_the_current_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        append(&dir.path().join("0.log.1"), "2026-01-01T00:00:00Z stdout F one\n");
        append(&path, "2026-01-02T00:00:00Z stdout P tw\n2026-01-02T00:00:00Z stderr F o\n");
        assert_eq!(all(&path, ""), "one\ntwo\n");
        assert_eq!(all(&path, "tailLines=1"), "o\n");
        assert_eq!(all(&path, "tailLines=3"), "one\ntwo\n");
        assert_eq!(all(&path, "tailLines=0"), "");
        assert_eq!(all(&path, "sinceTime=2026-01-01T12%3A00%3A00Z"), "two\n");
        assert_eq!(all(&path, "stream=Stderr&timestamps=true"), "2026-01-02T00:00:00Z o\n");
        assert_eq!(all(&path, "limitBytes=5"), "one\nt");
        assert_eq!(tail(&path, 80, 3), "wo\n");
        assert_eq!(all(&dir.path().join("1.log"), "tailLines=5"), "");
    }

    #[test]
    fn a_reader_goes_on_where_it_was_when_the_log_was_rotated_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let rotated = |n: u32| dir.path().join(format!("0.log.{n}"));
        append(&path, "t stdout F one\n");
        let mut reader = Reader::open(&path, Query::default()).unwrap();
        assert_eq!(rest(&mut reader), "one\n");
        append(&path, "t stdout F two\n");
        std::fs::rename(&path, rotated(1)).unwrap();
        assert_eq!(rest(&mut reader), "two\n", "the new file is not there yet");
        append(&path, "t stdout F three\n");
        std::fs::rename(rotated(1), rotated(2)).unwrap();
        std::fs::rename(&path, rotated(1)).unwrap();
        append(&path, "t stdout F fo");
        assert_eq!(rest(&mut reader), "three\n", "a line is given when it is whole");
        append(&path, "ur\n");
        assert_eq!(rest(&mut reader), "four\n");
    }

    proptest! {
        #[test]
        fn a_tail_is_the_end_of_the_whole_log(sizes in prop::collection::vec(0..60_usize, 1..5), lines in 0..100_u64) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("0.log");
            let mut expected = Vec::new();
            for (index, size) in sizes.iter().enumerate() {
                let number = sizes.len() - 1 - index;
                let file = if number == 0 { path.clone() } else { dir.path().join(format!("0.log.{number}")) };
                append(&file, "");
                for line in 0..*size {
                    let text = format!("{index}-{line}");
                    append(&file, &format!("t stdout F {text}\n"));
                    expected.push(text + "\n");
                }
            }
            let skip = expected.len().saturating_sub(usize::try_from(lines).unwrap());
            prop_assert_eq!(all(&path, &format!("tailLines={lines}")), expected[skip..].concat());
        }
    }
}

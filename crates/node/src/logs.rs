//! Reading container logs in the CRI format, across rotated files.

use std::{
    collections::VecDeque,
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use jiff::Timestamp;

/// Which part of a log is wanted.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Keep following the log.
    pub follow: bool,
    /// The run before the latest one.
    pub previous: bool,
    /// Only this many lines from the end.
    pub tail: Option<usize>,
    /// Only lines from this time on.
    pub since: Option<Timestamp>,
    /// Write each line's time in front of it.
    pub timestamps: bool,
    /// At most this many bytes.
    pub limit: Option<usize>,
}

impl Query {
    /// Reads a request's query string, as `PodLogOptions` has it; unreadable values count as not given.
    pub fn parse(query: &str, now: Timestamp) -> Self {
        let mut parsed = Self::default();
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "follow" => parsed.follow = value == "true",
                "previous" => parsed.previous = value == "true",
                "timestamps" => parsed.timestamps = value == "true",
                "tailLines" => parsed.tail = value.parse().ok(),
                "limitBytes" => parsed.limit = value.parse().ok(),
                "sinceTime" => parsed.since = value.replace("%3A", ":").replace("%2B", "+").parse().ok(),
                "sinceSeconds" => {
                    let seconds = value.parse().ok().map(jiff::SignedDuration::from_secs);
                    parsed.since = seconds.and_then(|s| now.checked_sub(s).ok());
                }
                _ => {}
            }
        }
        parsed
    }

    /// One CRI line as it is shown; `None` when it is older than asked for or has another form.
    pub fn render(&self, line: &str) -> Option<String> {
        let mut parts = line.splitn(4, ' ');
        let (time, _stream, flags) = (parts.next()?, parts.next()?, parts.next()?);
        let text = parts.next().unwrap_or_default();
        if self.since.is_some_and(|since| time.parse::<Timestamp>().is_ok_and(|at| at < since)) {
            return None;
        }
        let end = if flags.starts_with('P') { "" } else { "\n" };
        Some(if self.timestamps { format!("{time} {text}{end}") } else { format!("{text}{end}") })
    }
}

/// The log file and its rotated predecessors, oldest first.
pub fn files(path: &Path) -> Vec<PathBuf> {
    let rotated = |n: u32| PathBuf::from(format!("{}.{n}", path.display()));
    let mut all: Vec<PathBuf> = (1..100).map(rotated).take_while(|p| p.exists()).collect();
    all.reverse();
    all.push(path.to_owned());
    all
}

/// Everything of a log that the query asks for, and how far the current file was read.
pub fn read(path: &Path, query: &Query) -> (VecDeque<String>, u64) {
    let mut lines = VecDeque::new();
    let mut position = 0;
    for file in files(path) {
        position = 0;
        let Ok(file) = File::open(file) else { continue };
        let mut reader = BufReader::new(file);
        let mut raw = Vec::new();
        while let Ok(read) = reader.read_until(b'\n', &mut raw) {
            if read == 0 || raw.last() != Some(&b'\n') {
                break;
            }
            position += u64::try_from(read).unwrap_or(0);
            raw.pop();
            lines.extend(query.render(&String::from_utf8_lossy(&raw)));
            raw.clear();
            if query.tail.is_some_and(|tail| lines.len() > tail) {
                lines.pop_front();
            }
        }
    }
    (lines, position)
}

/// The end of a log as one text.
pub fn tail(path: &Path, lines: usize, bytes: usize) -> String {
    let (lines, _) = read(path, &Query { tail: Some(lines), ..Query::default() });
    let text: String = lines.into_iter().collect();
    let mut start = text.len().saturating_sub(bytes);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text.get(start..).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_files_are_read_before_the_current_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        std::fs::write(dir.path().join("0.log.1"), "2026-01-01T00:00:00Z stdout F one\n").unwrap();
        std::fs::write(&path, "2026-01-02T00:00:00Z stdout P tw\n2026-01-02T00:00:00Z stdout F o\n").unwrap();
        let all = |query: &str| read(&path, &Query::parse(query, Timestamp::now())).0.into_iter().collect::<String>();
        assert_eq!(all(""), "one\ntwo\n");
        assert_eq!(all("tailLines=1"), "o\n");
        assert_eq!(all("sinceTime=2026-01-01T12%3A00%3A00Z"), "two\n");
        assert_eq!(tail(&path, 80, 3), "wo\n");
    }
}

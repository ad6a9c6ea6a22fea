//! Container logs in the CRI format: which run is meant (`run`), what is read of it across rotated files (`reader`), and how
//! what is written later follows (`follow`).

mod follow;
mod reader;
mod run;

use jiff::Timestamp;

pub use follow::stream;
pub use reader::{Reader, files, tail};
pub use run::{attempt, number, running};

/// Which part of a log is wanted (`v1.PodLogOptions`).
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Keep following the log.
    pub follow: bool,
    /// The run before the latest one.
    pub previous: bool,
    /// Only this many lines from the end.
    pub tail: Option<u64>,
    /// Only lines from this time on.
    pub since: Option<Timestamp>,
    /// Write each line's time in front of it.
    pub timestamps: bool,
    /// At most this many bytes.
    pub limit: Option<u64>,
    /// Only this stream: `stdout` or `stderr`.
    pub stream: Option<&'static str>,
}

impl Query {
    /// Reads a request's query string; unreadable values count as not given (the API server checked them).
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
                "stream" => {
                    parsed.stream =
                        [("Stdout", "stdout"), ("Stderr", "stderr")].iter().find(|s| s.0 == value).map(|s| s.1);
                }
                _ => {}
            }
        }
        parsed
    }

    /// Appends one CRI line (without its end) as it is shown; nothing when it is not asked for or has another form.
    fn render(&self, line: &[u8], out: &mut Vec<u8>) {
        let mut parts = line.splitn(4, |byte| *byte == b' ');
        let (Some(time), Some(stream), Some(flags)) = (parts.next(), parts.next(), parts.next()) else { return };
        let text = parts.next().unwrap_or_default();
        if self.stream.is_some_and(|wanted| wanted.as_bytes() != stream) {
            return;
        }
        let at = || std::str::from_utf8(time).ok()?.parse::<Timestamp>().ok();
        if self.since.is_some_and(|since| at().is_some_and(|at| at < since)) {
            return;
        }
        if self.timestamps {
            out.extend_from_slice(time);
            out.push(b' ');
        }
        out.extend_from_slice(text);
        if !flags.starts_with(b"P") {
            out.push(b'\n');
        }
    }
}

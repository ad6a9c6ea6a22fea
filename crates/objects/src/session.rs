//! How the API server and a node speak of a program's streams (`exec`, `attach`): frames on one connection, after an HTTP
//! `Upgrade` to [`PROTOCOL`]. A forwarded port is a connection of its own, upgraded to [`RAW`], with nothing but the bytes.
//!
//! A frame is a channel, a length (four bytes, the highest first) and as many bytes. The channels are those of Kubernetes'
//! `v5.channel.k8s.io`. Whoever ends the connection ends the session; no direction is closed alone.

use serde_json::{Value, json};

/// The `Upgrade` of a session.
pub const PROTOCOL: &str = "coracle-session";
/// The `Upgrade` of a forwarded port.
pub const RAW: &str = "coracle-port";

/// To the program's standard input.
pub const STDIN: u8 = 0;
/// From its standard output, or from its terminal.
pub const STDOUT: u8 = 1;
/// From its standard error.
pub const STDERR: u8 = 2;
/// How the session ended: a `metav1.Status`, the last frame there is.
pub const STATUS: u8 = 3;
/// The size of the client's terminal: JSON, [`Size`].
pub const RESIZE: u8 = 4;
/// Which streams an attached session has, as [`Streams::letters`]: the first frame that the owner of a container's streams gets.
pub const HELLO: u8 = 5;
/// A channel gets no more: its number is the only byte.
pub const CLOSE: u8 = 255;

/// The most bytes of one frame.
pub const LARGEST: usize = 64 * 1024;
/// The bytes in front of a frame's own.
pub const HEAD: usize = 5;

/// What stands in front of a frame of `length` bytes, of which there are at most [`LARGEST`].
pub fn head(channel: u8, length: usize) -> [u8; HEAD] {
    let [a, b, c, d] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    [channel, a, b, c, d]
}

/// The channel and length of the frame behind a head; `None` if it is longer than frames may be.
pub fn parse_head(head: [u8; HEAD]) -> Option<(u8, usize)> {
    let [channel, a, b, c, d] = head;
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
    (length <= LARGEST).then_some((channel, length))
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Size {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// Which of a program's streams a session has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streams {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error; a terminal has none.
    pub stderr: bool,
    /// Whether it has a terminal.
    pub tty: bool,
}

impl Streams {
    /// A letter for each: `i`, `o`, `e`, `t`.
    pub fn letters(self) -> String {
        let all = [(self.stdin, 'i'), (self.stdout, 'o'), (self.stderr, 'e'), (self.tty, 't')];
        all.into_iter().filter(|(on, _)| *on).map(|(_, letter)| letter).collect()
    }

    /// From [`Streams::letters`].
    pub fn of(letters: &str) -> Self {
        let has = |letter| letters.contains(letter);
        Self { stdin: has('i'), stdout: has('o'), stderr: has('e'), tty: has('t') }
    }
}

/// What is asked of a node: the streams, and for `exec` the program with its arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// The streams.
    pub streams: Streams,
    /// The program and its arguments; empty for `attach`.
    pub argv: Vec<String>,
}

impl Ask {
    /// As the query of a request: arguments in hexadecimal, so that nothing in them has to be escaped.
    pub fn query(&self) -> String {
        let hex = |text: &String| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        let arguments: String = self.argv.iter().map(|argument| format!("&argument={}", hex(argument))).collect();
        format!("streams={}{arguments}", self.streams.letters())
    }

    /// From [`Ask::query`]; `None` if it is none.
    pub fn of(query: &str) -> Option<Self> {
        let mut ask = Self::default();
        for pair in query.split('&') {
            match pair.split_once('=')? {
                ("streams", letters) => ask.streams = Streams::of(letters),
                ("argument", hex) => {
                    let byte = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
                    let bytes = (0..hex.len()).step_by(2).map(byte).collect::<Option<Vec<u8>>>()?;
                    ask.argv.push(String::from_utf8(bytes).ok()?);
                }
                _ => return None,
            }
        }
        Some(ask)
    }
}

/// The status of a session that ended well.
pub fn success() -> Value {
    json!({"metadata": {}, "status": "Success"})
}

/// The status of a program that ended with this code, as the kubelet words it.
pub fn exited(argv: &[String], code: i32) -> Value {
    if code == 0 {
        return success();
    }
    let message = format!(
        "command terminated with non-zero exit code: error executing command [{}], exit code {code}",
        argv.join(" ")
    );
    let cause = json!({"reason": "ExitCode", "message": code.to_string()});
    json!({"metadata": {}, "status": "Failure", "message": message, "reason": "NonZeroExitCode",
        "details": {"causes": [cause]}})
}

/// The status of a session that could not be, or broke off.
pub fn failed(why: &str) -> Value {
    json!({"metadata": {}, "status": "Failure", "message": format!("Internal error occurred: {why}"),
        "reason": "InternalError", "details": {"causes": [{"message": why}]}, "code": 500})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_reads_back_and_a_longer_frame_is_none() {
        assert_eq!(parse_head(head(STDERR, 70)), Some((STDERR, 70)));
        assert_eq!(parse_head(head(STDIN, LARGEST)), Some((STDIN, LARGEST)));
        assert_eq!(parse_head(head(STDIN, LARGEST + 1)), None);
    }

    #[test]
    fn streams_are_named_by_letters() {
        let streams = Streams { stdin: true, tty: true, ..Streams::default() };
        assert_eq!((streams.letters().as_str(), Streams::of("it")), ("it", streams));
    }

    #[test]
    fn a_query_reads_back_and_anything_else_is_none() {
        let argv = ["sh", "-c", "echo 'ä' && x=1", ""].map(str::to_owned).into();
        let ask = Ask { streams: Streams::of("io"), argv };
        assert_eq!(Ask::of(&ask.query()), Some(ask));
        for wrong in ["", "streams", "streams=i&argument=6", "streams=i&argument=zz", "streams=i&argument=ff", "x=y"] {
            assert_eq!(Ask::of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_exit_code_is_a_cause_of_the_status() {
        assert_eq!(exited(&[], 0), success());
        let status = exited(&["sh".to_owned(), "-c".to_owned()], 3);
        assert_eq!(
            (&status["reason"], &status["details"]["causes"][0]["message"]),
            (&json!("NonZeroExitCode"), &json!("3"))
        );
    }
}

//! How one event becomes one line.

use std::{
    cell::RefCell,
    fmt::{self, Write as _},
    io::Write as _,
    str::FromStr,
};

use tracing::{Level, Metadata, field::Field};

use super::{ACCESS, AUDIT};

/// Bytes of one value that are written; a longer one is cut.
const VALUE_BYTES: usize = 8 * 1024;
/// Members that are the line's own: a field of this name gets an underscore behind it.
const OWN: &[&str] = &["timestamp", "level", "stream", "service", "target"];
/// Fields of the span around each request that its lines show; the others are for traces.
const REQUEST_FIELDS: &[&str] = &["request_id", "trace_id", "span_id"];

/// How lines are written (`LOG_FORMAT`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A JSON object, for programs.
    #[default]
    Json,
    /// Words and `key=value`, for a person at a terminal.
    Text,
}

impl FromStr for Format {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            _ => Err("neither `json` nor `text`"),
        }
    }
}

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static VALUE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Gives `write` an empty buffer, a new one only if it logs while it writes a line (a `Debug` that logs).
pub(super) fn with_buffer(write: impl FnOnce(&mut Vec<u8>)) {
    BUFFER.with(|buffer| match buffer.try_borrow_mut() {
        Ok(mut buffer) => {
            buffer.clear();
            write(&mut buffer);
            buffer.shrink_to(16 * VALUE_BYTES);
        }
        Err(_) => write(&mut Vec::new()),
    });
}

/// The beginning of a line, up to the event's fields.
pub(super) fn begin(format: Format, line: &mut Vec<u8>, service: &str, about: &Metadata<'_>, now: jiff::Timestamp) {
    let stream = match about.target() {
        ACCESS => "access",
        AUDIT => "audit",
        _ => "application",
    };
    let level = match *about.level() {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    };
    // Writing to a vector does not fail.
    let _ = match format {
        Format::Json => write!(line, r#"{{"timestamp":"{now:.6}","level":"{level}","stream":"{stream}","service":"#),
        Format::Text => write!(line, "{now:.3} {level:5} {stream:11}"),
    };
    if format == Format::Json {
        string(line, service);
        if stream == "application" {
            line.extend_from_slice(br#","target":"#);
            string(line, about.target());
        }
    }
}

/// The end of a line.
pub(super) fn end(format: Format, line: &mut Vec<u8>) {
    line.extend_from_slice(if format == Format::Json { b"}\n" } else { b"\n" });
}

/// `text` as a JSON string, cut if it is long.
fn string(line: &mut Vec<u8>, text: &str) {
    let cut = text.get(..text.floor_char_boundary(VALUE_BYTES)).unwrap_or(text);
    let _ = serde_json::to_writer(&mut *line, cut);
    if cut.len() < text.len() {
        line.pop();
        line.extend_from_slice("…\"".as_bytes());
    }
}

/// Writes fields behind what a line has so far.
pub(super) struct Visitor<'a> {
    format: Format,
    line: &'a mut Vec<u8>,
    /// Only the fields of a request's span that lines show.
    request: bool,
}

impl<'a> Visitor<'a> {
    pub(super) fn new(format: Format, line: &'a mut Vec<u8>, request: bool) -> Self {
        Self { format, line, request }
    }

    /// Writes the name; `false` if the field is not to be shown.
    fn name(&mut self, field: &Field) -> bool {
        let name = field.name();
        if self.request && !REQUEST_FIELDS.contains(&name) {
            return false;
        }
        let own = if OWN.contains(&name) { "_" } else { "" };
        let _ = match self.format {
            // The names of fields are identifiers, strings in the source, or words with dots: the compiler has them from there.
            Format::Json => write!(self.line, ",\"{}{own}\":", name.escape_default()),
            Format::Text if name == "message" => write!(self.line, " "),
            Format::Text => write!(self.line, " {name}{own}="),
        };
        true
    }

    fn plain(&mut self, field: &Field, value: impl fmt::Display) {
        if self.name(field) {
            let _ = write!(self.line, "{value}");
        }
    }
}

impl tracing::field::Visit for Visitor<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.plain(field, value);
        } else {
            self.record_str(field, &value.to_string());
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if !self.name(field) {
            return;
        }
        // A line is a line: text that could forge another, or hide what it says from a terminal, is quoted.
        let bare = self.format == Format::Text && (field.name() == "message" || !value.contains([' ', '"', '=']));
        if bare && !value.contains(char::is_control) {
            self.line.extend_from_slice(value.as_bytes());
        } else {
            string(self.line, value);
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_debug(field, &format_args!("{}", crate::problem::Chain(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        VALUE.with(|text| {
            let mut own = String::new();
            let mut shared = text.try_borrow_mut();
            let text = shared.as_deref_mut().unwrap_or(&mut own);
            text.clear();
            let _ = write!(Short(text), "{value:?}");
            self.record_str(field, text);
        });
    }
}

/// Takes a little more than a value may have, so that it is seen to be cut, and ends the formatting there.
struct Short<'a>(&'a mut String);

impl fmt::Write for Short<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.push_str(text.get(..text.floor_char_boundary(VALUE_BYTES)).unwrap_or(text));
        if self.0.len() > VALUE_BYTES { Err(fmt::Error) } else { Ok(()) }
    }
}

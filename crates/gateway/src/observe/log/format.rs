//! Formats: text with Envoy's command operators in it, compiled once.

use std::sync::Arc;

use http::HeaderName;

use super::{
    operators::{Field, Operator, SIMPLE, Simple, names},
    time::{TimeFormat, TimeFormatError},
};

/// Envoy's default format for text.
const TEXT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% \
    %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \
    \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"";

/// Envoy Gateway's default fields for JSON, under their names there.
const JSON: &[(&str, &str)] = &[
    ("start_time", "%START_TIME%"),
    ("method", "%REQ(:METHOD)%"),
    ("x-envoy-origin-path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    ("connection_termination_details", "%CONNECTION_TERMINATION_DETAILS%"),
    ("upstream_transport_failure_reason", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("duration", "%DURATION%"),
    ("x-envoy-upstream-service-time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"),
    ("x-forwarded-for", "%REQ(X-FORWARDED-FOR)%"),
    ("user-agent", "%REQ(USER-AGENT)%"),
    ("x-request-id", "%REQ(X-REQUEST-ID)%"),
    (":authority", "%REQ(:AUTHORITY)%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER%"),
    ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
    ("route_name", "%ROUTE_NAME%"),
];

/// A compiled format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format(Arc<Compiled>);

#[derive(Debug, Default, PartialEq, Eq)]
struct Compiled {
    parts: Vec<Part>,
    wanted: Vec<WantedOf>,
    times: Vec<TimeFormat>,
    /// Whether it asks when the response began.
    timed: bool,
}

/// A piece of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// As it is.
    Literal(Box<[u8]>),
    Value(Operator, Style),
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// In a line of text; absent is `-`.
    Text,
    /// As a value of JSON: numbers bare, absent is `null`.
    Json,
    /// Inside a JSON string; absent is `-`.
    JsonInside,
}

/// Something of a message that must be copied.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WantedOf {
    pub what: Wanted,
    /// Of the request, or of the response.
    pub of_request: bool,
}

/// What of a message must be copied.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Method,
    /// With its query, as it was asked for.
    Path,
    Header(HeaderName),
}

/// Why a format cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// A name that means nothing.
    #[error("there is no operator %{0}%; there are {known}", known = names())]
    Unknown(String),
    /// A percent sign without the one that ends the operator.
    #[error("the operator that begins with {0:?} has no end; a percent sign is written %%")]
    Unterminated(String),
    /// Arguments that the operator does not take.
    #[error("%{0}%: {1}")]
    Arguments(String, &'static str),
    /// A time format that cannot be used.
    #[error("%START_TIME({0})%: {1}")]
    Time(String, TimeFormatError),
    /// A JSON format that is not an object of strings.
    #[error("a JSON format is one object whose values are strings: {0}")]
    Json(String),
}

impl Format {
    /// Envoy Gateway's default fields, as a JSON object a line.
    ///
    /// # Errors
    /// Never: the format is a constant.
    pub fn json() -> Result<Self, FormatError> {
        Self::json_of(JSON.iter().copied())
    }

    /// Reads what somebody asks for: `json`, `text`, an Envoy format string, or an object of such strings in JSON.
    ///
    /// # Errors
    /// What cannot be understood, with what could be.
    pub fn parse(format: &str) -> Result<Self, FormatError> {
        match format.trim() {
            "json" => Self::json(),
            "text" => Self::text(TEXT),
            object if object.starts_with('{') => {
                let fields: serde_json::Map<String, serde_json::Value> =
                    serde_json::from_str(object).map_err(|error| FormatError::Json(error.to_string()))?;
                let string = |(key, value): (String, serde_json::Value)| match value {
                    serde_json::Value::String(text) => Ok((key, text)),
                    _ => Err(FormatError::Json(format!("{key:?} is none"))),
                };
                Self::json_of(fields.into_iter().map(string).collect::<Result<Vec<_>, _>>()?)
            }
            _ => Self::text(format),
        }
    }

    fn text(format: &str) -> Result<Self, FormatError> {
        let mut compiled = Compiled::default();
        compiled.add(format, Style::Text)?;
        if !format.ends_with('\n') {
            compiled.literal(b"\n");
        }
        Ok(Self(Arc::new(compiled)))
    }

    fn json_of<K: AsRef<str>, V: AsRef<str>>(fields: impl IntoIterator<Item = (K, V)>) -> Result<Self, FormatError> {
        let mut compiled = Compiled::default();
        for (index, (key, value)) in fields.into_iter().enumerate() {
            compiled.literal(if index == 0 { b"{" } else { b"," });
            compiled.literal(quoted(key.as_ref()).as_bytes());
            compiled.literal(b":");
            compiled.json_value(value.as_ref())?;
        }
        compiled.literal(if compiled.parts.is_empty() { b"{}\n" } else { b"}\n" });
        Ok(Self(Arc::new(compiled)))
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.0.parts
    }

    pub(super) fn wanted(&self) -> &[WantedOf] {
        &self.0.wanted
    }

    pub(super) fn times(&self) -> &[TimeFormat] {
        &self.0.times
    }

    /// Whether something is wanted of responses.
    pub(super) fn wants_responses(&self) -> bool {
        self.0.wanted.iter().any(|wanted| !wanted.of_request)
    }

    /// Whether it must be known when the response began.
    pub(super) fn is_timed(&self) -> bool {
        self.0.timed
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}

impl Compiled {
    fn literal(&mut self, bytes: &[u8]) {
        if let Some(Part::Literal(last)) = self.parts.last_mut() {
            *last = [last, bytes].concat().into();
        } else {
            self.parts.push(Part::Literal(bytes.into()));
        }
    }

    /// One operator alone keeps its type; anything else is a string.
    fn json_value(&mut self, text: &str) -> Result<(), FormatError> {
        let mut alone = Self { times: std::mem::take(&mut self.times), ..Self::default() };
        std::mem::swap(&mut alone.wanted, &mut self.wanted);
        alone.add(text, Style::JsonInside)?;
        (self.times, self.wanted) = (alone.times, alone.wanted);
        self.timed |= alone.timed;
        if matches!(alone.parts.as_slice(), [Part::Value(Operator::Simple(Simple::Absent), _)]) {
            self.literal(b"null");
            return Ok(());
        }
        if let [Part::Value(operator, _)] = alone.parts.as_slice()
            && !operator.is_always_text()
        {
            self.parts.push(Part::Value(operator.clone(), Style::Json));
            return Ok(());
        }
        self.literal(b"\"");
        for part in alone.parts {
            match part {
                Part::Literal(bytes) => self.literal(&bytes),
                value => self.parts.push(value),
            }
        }
        self.literal(b"\"");
        Ok(())
    }

    fn add(&mut self, text: &str, style: Style) -> Result<(), FormatError> {
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once('%') {
            self.plain(literal, style);
            if let Some(after) = after.strip_prefix('%') {
                self.plain("%", style);
                rest = after;
                continue;
            }
            let (call, after) = Call::read(after)?;
            let operator = self.operator(&call)?;
            self.parts.push(Part::Value(operator, style));
            rest = after;
        }
        self.plain(rest, style);
        Ok(())
    }

    fn plain(&mut self, text: &str, style: Style) {
        if text.is_empty() {
            return;
        }
        if style == Style::Text {
            self.literal(text.as_bytes());
        } else {
            let quoted = quoted(text);
            self.literal(quoted.get(1..quoted.len() - 1).unwrap_or_default().as_bytes());
        }
    }

    fn operator(&mut self, call: &Call<'_>) -> Result<Operator, FormatError> {
        let wrong = |reason| FormatError::Arguments(call.name.to_owned(), reason);
        match call.name {
            "REQ" | "RESP" => {
                let fields =
                    call.argument.filter(|fields| !fields.is_empty()).ok_or(wrong("it needs a field's name"))?;
                let (first, second) = fields.split_once('?').map_or((fields, None), |(a, b)| (a, Some(b)));
                let mut field = |name| self.field(name, call.name == "REQ").ok_or(wrong("this is no field's name"));
                let (first, second) = (field(first)?, second.map(&mut field).transpose()?);
                let most = call.length.map(str::parse).transpose().map_err(|_| wrong("the length is not a number"))?;
                return Ok(Operator::Field { first, second, most });
            }
            _ if call.length.is_some() => return Err(wrong("a length is of use with REQ and RESP alone")),
            "START_TIME" => {
                let format = call.argument.unwrap_or_default();
                let time = TimeFormat::parse(format).map_err(|reason| FormatError::Time(format.to_owned(), reason))?;
                self.times.push(time);
                return Ok(Operator::StartTime(self.times.len() - 1));
            }
            _ => {}
        }
        let found = SIMPLE.iter().find(|(name, _)| *name == call.name);
        let (_, simple) = found.ok_or_else(|| FormatError::Unknown(call.name.to_owned()))?;
        if call.argument.is_some() {
            return Err(wrong("it takes no argument"));
        }
        self.timed |= matches!(simple, Simple::ResponseDuration | Simple::ResponseTxDuration);
        Ok(Operator::Simple(*simple))
    }

    /// A field by its name; the path is always the one that was asked for, which Envoy keeps under a name of its own where a
    /// route changes it.
    fn field(&mut self, name: &str, of_request: bool) -> Option<Field> {
        let name = name.trim().to_ascii_lowercase();
        let what = match name.as_str() {
            ":method" if of_request => Wanted::Method,
            ":path" | "x-envoy-original-path" if of_request => Wanted::Path,
            ":authority" if of_request => Wanted::Header(http::header::HOST),
            ":scheme" if of_request => return Some(Field::Scheme),
            name => Wanted::Header(name.parse().ok()?),
        };
        let wanted = WantedOf { what, of_request };
        let known = self.wanted.iter().position(|known| *known == wanted);
        let place = known.unwrap_or_else(|| {
            self.wanted.push(wanted);
            self.wanted.len() - 1
        });
        Some(match name.as_str() {
            "x-request-id" if of_request => Field::RequestId(place),
            "x-forwarded-for" if of_request => Field::ForwardedFor(place),
            _ => Field::Captured(place),
        })
    }
}

/// `NAME(argument):length`, as it stands between percent signs.
struct Call<'a> {
    name: &'a str,
    argument: Option<&'a str>,
    length: Option<&'a str>,
}

impl<'a> Call<'a> {
    /// Reads up to the percent sign that ends it; returns what follows. An argument may have percent signs itself.
    fn read(text: &'a str) -> Result<(Self, &'a str), FormatError> {
        let unterminated = || FormatError::Unterminated(text.chars().take(20).collect());
        let end = text.find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'));
        let (name, rest) = text.split_at(end.ok_or_else(unterminated)?);
        let (argument, rest) = match rest.strip_prefix('(') {
            Some(inside) => {
                let (argument, rest) = inside.split_once(')').ok_or_else(unterminated)?;
                (Some(argument), rest)
            }
            None => (None, rest),
        };
        let (between, rest) = rest.split_once('%').ok_or_else(unterminated)?;
        let length = between.strip_prefix(':');
        if name.is_empty() || (length.is_none() && !between.is_empty()) {
            return Err(FormatError::Unknown(format!("{name}{between}")));
        }
        Ok((Self { name, argument, length }, rest))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(format: &str) -> Vec<Part> {
        Format::parse(format).unwrap().parts().to_vec()
    }

    proptest! {
        #[test]
        fn whatever_is_asked_for_is_a_format_or_an_error(text in "[%A-Z_():?0-9a-z{}\"\\\\ ]{0,40}|%START_TIME\\([ -~]{0,20}\\)%") {
            _ = Format::parse(&text);
        }
    }

    #[test]
    fn operators_stand_among_text() {
        let simple = |simple| Part::Value(Operator::Simple(simple), Style::Text);
        assert_eq!(
            parts("a %PROTOCOL%100%%%DURATION%"),
            [
                Part::Literal(b"a ".as_slice().into()),
                simple(Simple::Protocol),
                Part::Literal(b"100%".as_slice().into()),
                simple(Simple::Duration),
                Part::Literal(b"\n".as_slice().into()),
            ]
        );
    }

    #[test]
    fn a_field_that_is_named_twice_is_copied_once() {
        let format = Format::parse("%REQ(:path)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH):10% %RESP(Server)%").unwrap();
        assert_eq!(format.wanted().len(), 2);
        assert!(format.wants_responses());
    }

    #[test]
    fn in_json_an_operator_alone_keeps_its_type() {
        let object = parts(r#"{"a": "%DURATION%", "b": "%DURATION% \"ms\""}"#);
        let duration = |style| Part::Value(Operator::Simple(Simple::Duration), style);
        assert_eq!(
            object,
            [
                Part::Literal(br#"{"a":"#.as_slice().into()),
                duration(Style::Json),
                Part::Literal(br#","b":""#.as_slice().into()),
                duration(Style::JsonInside),
                Part::Literal(b" \\\"ms\\\"\"}\n".as_slice().into()),
            ]
        );
    }

    #[test]
    fn what_cannot_be_understood_is_refused_with_what_could_be() {
        for (format, expected) in [
            ("%NONSENSE%", "there is no operator %NONSENSE%; there are BYTES_RECEIVED, BYTES_SENT, "),
            ("%PROTOCOL", "has no end"),
            ("100% of it", "a percent sign is written %%"),
            ("100% of % it", "no operator"),
            ("%REQ%", "needs a field's name"),
            ("%REQ(a b)%", "no field's name"),
            ("%REQ(a):b%", "not a number"),
            ("%DURATION(x)%", "no argument"),
            ("%DURATION:3%", "REQ and RESP"),
            ("%START_TIME(%!)%", "START_TIME"),
            ("{\"a\": 1}", "strings"),
            ("{", "strings"),
        ] {
            let error = Format::parse(format).unwrap_err().to_string();
            assert!(error.contains(expected), "{format}: {error}");
        }
    }

    #[test]
    fn the_formats_that_have_names_can_be_used() {
        for name in ["json", "text"] {
            assert!(Format::parse(name).is_ok());
        }
    }
}

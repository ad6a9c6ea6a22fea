//! Answers for people: JSON is indented where `pretty` asks for it, and for programs whose output people read, as upstream does it.

use bytes::Bytes;
use http::{HeaderMap, Request, Uri, header};
use http_body_util::BodyExt;

use super::{Answer, snapshot};
use crate::request::Query;

/// How the programs name themselves that show people what they are answered.
const READERS: &[&str] = &["curl", "Wget", "Mozilla/5.0"];

/// Whether the answer to a request is indented. Watches are not, a line of theirs being an event; nor is what others say, which is
/// passed on as it is.
pub(super) fn is_wanted<B>(request: &Request<B>) -> bool {
    wants(request.uri(), request.headers())
}

fn wants(uri: &Uri, headers: &HeaderMap) -> bool {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let is_reader = READERS.iter().any(|reader| agent.starts_with(reader));
    // Nearly all requests end here, and have not had their query read.
    if !is_reader && !uri.query().is_some_and(|query| query.contains("pretty")) {
        return false;
    }
    let query = Query::parse(uri.query());
    let asked = match query.get("pretty").filter(|said| !said.is_empty()) {
        Some(_) => query.is_on("pretty"),
        None => is_reader,
    };
    let is_other = |segment: &str| matches!(segment, "proxy" | "watch" | "openapi");
    asked && !query.is_on("watch") && uri.path() != snapshot::PATH && !uri.path().split('/').any(is_other)
}

/// The answer with its JSON indented, piece by piece as it comes.
pub(super) fn indented(answer: Answer) -> Answer {
    let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
    let is_json = header(header::CONTENT_TYPE).is_some_and(|media| media.starts_with("application/json"));
    if !is_json || header(header::CONTENT_ENCODING).is_some() {
        return answer;
    }
    let mut indenter = Indenter::default();
    let (mut parts, body) = answer.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    let body = body.map_frame(move |frame| frame.map_data(|data| Bytes::from(indenter.take(&data))));
    Answer::from_parts(parts, body.boxed_unsync())
}

/// Indents JSON by two spaces.
#[derive(Debug, Default)]
struct Indenter {
    depth: usize,
    /// An object or array has begun and nothing in it yet.
    is_new: bool,
    in_string: bool,
    is_escaped: bool,
}

impl Indenter {
    /// The next piece of the text.
    fn take(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(piece.len() * 2);
        for byte in piece {
            if self.in_string {
                out.push(*byte);
                self.in_string = self.is_escaped || *byte != b'"';
                self.is_escaped = !self.is_escaped && *byte == b'\\';
            } else {
                self.mark(*byte, &mut out);
            }
        }
        out
    }

    /// A byte outside of strings.
    fn mark(&mut self, byte: u8, out: &mut Vec<u8>) {
        match byte {
            b' ' | b'\n' | b'\r' | b'\t' => {}
            b',' => {
                out.push(byte);
                self.line(out);
            }
            b':' => out.extend_from_slice(b": "),
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if !std::mem::take(&mut self.is_new) {
                    self.line(out);
                }
                out.push(byte);
            }
            _ => {
                if std::mem::take(&mut self.is_new) {
                    self.line(out);
                }
                out.push(byte);
                self.in_string = byte == b'"';
                if matches!(byte, b'{' | b'[') {
                    self.depth += 1;
                    self.is_new = true;
                }
            }
        }
    }

    fn line(&self, out: &mut Vec<u8>) {
        out.push(b'\n');
        out.resize(out.len() + 2 * self.depth, b' ');
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::json;

    use super::*;

    #[test]
    fn json_is_indented_however_it_is_cut() {
        let value = json!({"a": [], "b": {}, "c": [1, {"d": "x, \"y\": {\\"}, [[]], null], "e": {"f": true, "g": -1.5}, "ä": "ö"});
        let (compact, wanted) = (value.to_string(), serde_json::to_string_pretty(&value).unwrap());
        for size in [1, 2, 3, 7, compact.len()] {
            let mut indenter = Indenter::default();
            let out: Vec<u8> = compact.as_bytes().chunks(size).flat_map(|piece| indenter.take(piece)).collect();
            assert_eq!(String::from_utf8(out).unwrap(), wanted, "{size}");
        }
        assert_eq!(Indenter::default().take(wanted.as_bytes()), wanted.as_bytes(), "what is indented stays");
    }

    #[test]
    fn people_and_those_who_ask_get_it() {
        let wants = |path: &'static str, agent: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
            wants(&Uri::from_static(path), &headers)
        };
        for (path, agent) in [
            ("/api/v1/pods?pretty=true", "kubectl/v1.33"),
            ("/api/v1/pods?limit=1&pretty=1", ""),
            ("/api/v1/pods", "curl/8.0"),
            ("/apis?pretty=", "Mozilla/5.0 (X11)"),
        ] {
            assert!(wants(path, agent), "{path} {agent}");
        }
        for (path, agent) in [
            ("/api/v1/pods", "kubectl/v1.33"),
            ("/api/v1/pods?pretty=false", "curl/8.0"),
            ("/api/v1/pods?watch=true", "curl/8.0"),
            ("/api/v1/watch/pods?pretty=true", ""),
            ("/api/v1/namespaces/a/services/b/proxy/c", "curl/8.0"),
            ("/openapi/v2", "curl/8.0"),
        ] {
            assert!(!wants(path, agent), "{path} {agent}");
        }
    }
}

//! One request and what is to come of it.

use crate::support::{Peer, field, status};

/// A request, and expectations.
#[derive(Clone, Default)]
pub struct Ask {
    method: &'static str,
    host: &'static str,
    target: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    backend: Option<&'static str>,
    status: u16,
    /// In the answer's head.
    answered: Vec<(&'static str, &'static str)>,
    not_answered: Vec<&'static str>,
    /// In the head that the backend got.
    forwarded: Vec<(&'static str, &'static str)>,
    not_forwarded: Vec<&'static str>,
    target_forwarded: Option<&'static str>,
}

/// A GET of a path at `example.com`.
pub fn get(target: &'static str) -> Ask {
    Ask { method: "GET", host: "example.com", target, status: 200, ..Ask::default() }
}

impl Ask {
    pub fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    pub fn host(mut self, host: &'static str) -> Self {
        self.host = host;
        self
    }

    pub fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Which backend (`namespace/name`) answers.
    pub fn reaches(mut self, backend: &'static str) -> Self {
        self.backend = Some(backend);
        self
    }

    /// The status.
    pub fn answers(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// A field of the answer.
    pub fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.answered.push((name, value));
        self
    }

    /// A field that the answer lacks.
    pub fn without(mut self, name: &'static str) -> Self {
        self.not_answered.push(name);
        self
    }

    /// A field that the backend gets.
    pub fn forwards(mut self, name: &'static str, value: &'static str) -> Self {
        self.forwarded.push((name, value));
        self
    }

    /// A field that the backend does not get.
    pub fn drops(mut self, name: &'static str) -> Self {
        self.not_forwarded.push(name);
        self
    }

    /// The path and query that the backend gets.
    pub fn sends_target(mut self, target: &'static str) -> Self {
        self.target_forwarded = Some(target);
        self
    }

    /// Sends the request and reads the answer: its head, and its body, which is the head that the backend got.
    pub fn send(&self, client: &mut Peer) -> (String, String) {
        let headers: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        client.send(format!("{} {} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", self.method, self.target, self.host));
        if self.method == "HEAD" { (client.head(), String::new()) } else { client.message() }
    }

    /// Sends the request, and compares.
    pub fn check(&self, client: &mut Peer) {
        let (head, body) = self.send(client);
        let what = format!("{} {}{} {:?}\n{head}\n{body}", self.method, self.host, self.target, self.headers);
        assert_eq!(status(&head), self.status.to_string(), "{what}");
        if let Some(backend) = self.backend {
            assert_eq!(field(&head, "x-backend"), Some(backend), "{what}");
        }
        for (name, value) in &self.answered {
            assert_eq!(all(&head, name).as_deref(), Some(*value), "{name} in the answer to {what}");
        }
        for name in &self.not_answered {
            assert_eq!(field(&head, name), None, "{name} in the answer to {what}");
        }
        for (name, value) in &self.forwarded {
            assert_eq!(all(&body, name).as_deref(), Some(*value), "{name} at the backend of {what}");
        }
        for name in &self.not_forwarded {
            assert_eq!(field(&body, name), None, "{name} at the backend of {what}");
        }
        if let Some(target) = self.target_forwarded {
            assert_eq!(body.split(' ').nth(1), Some(target), "{what}");
        }
    }
}

/// A field's values, joined by commas.
fn all(head: &str, name: &str) -> Option<String> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let values: Vec<_> = lines.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect();
    (!values.is_empty()).then(|| values.join(","))
}

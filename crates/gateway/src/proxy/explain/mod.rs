//! Which way a request would take, and why no other: the proxy's own reading of a head and its own look-up, with every step
//! said.

mod show;

use std::net::{IpAddr, SocketAddr};

use http::Uri;
use serde::Serialize;

use super::{
    answer::Answer,
    head::{self, Storage},
    http1,
};
use crate::{
    control::Publish,
    table::{Action, Backend, Cluster, Hosts, Listener, ListenerService, Split, Table, TlsService, Verdict},
};

/// A request that nobody sends.
#[derive(Debug, Clone)]
pub struct Question {
    method: String,
    url: String,
    secure: bool,
    host: String,
    port: u16,
    /// Where the pod that asks lives.
    namespace: Option<String>,
    /// As HTTP/1.1 has it.
    head: String,
}

/// Why something is no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// Not a URL.
    #[error("{0:?} is not a URL such as http://example.com/path?query")]
    Url(String),
    /// Not a header.
    #[error("{0:?} is not a header such as 'Name: value'")]
    Header(String),
}

impl Question {
    /// A request with `method` for `url`, with `headers` such as `Name: value`; a `Host` among them is asked for instead of the
    /// URL's.
    ///
    /// # Errors
    /// A URL or a header that is none.
    pub fn new(method: &str, url: &str, headers: &[String]) -> Result<Self, QuestionError> {
        let wrong = || QuestionError::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let (scheme, authority) = (uri.scheme_str().ok_or_else(wrong)?, uri.authority().ok_or_else(wrong)?);
        let secure = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(wrong()),
        };
        let (mut asked, mut fields) = (authority.as_str().to_owned(), String::new());
        for header in headers {
            let pair = header.split_once(':').map(|(name, value)| (name.trim(), value.trim()));
            let one_line = |text: &str| !text.bytes().any(|byte| byte.is_ascii_control());
            let Some((name, value)) =
                pair.filter(|(name, value)| !name.is_empty() && one_line(name) && one_line(value))
            else {
                return Err(QuestionError::Header(header.clone()));
            };
            if name.eq_ignore_ascii_case("host") {
                value.clone_into(&mut asked);
            } else {
                fields.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        Ok(Self {
            method: method.to_owned(),
            url: url.to_owned(),
            secure,
            host: uri.host().unwrap_or_default().trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase(),
            port: uri.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            namespace: None,
            head: format!("{method} {target} HTTP/1.1\r\nHost: {asked}\r\n{fields}\r\n"),
        })
    }

    /// The same, asked by a pod of this namespace.
    #[must_use]
    pub fn from_namespace(self, namespace: Option<String>) -> Self {
        Self { namespace, ..self }
    }

    /// What the listener serves to whom asks.
    fn service<'l>(&self, listener: &'l Listener) -> &'l ListenerService {
        let consumers = listener.consumers.iter().flat_map(|consumers| consumers.services());
        let mut own = consumers.filter(|(namespace, _)| Some(&***namespace) == self.namespace.as_deref());
        own.next().map_or(&listener.service, |(_, service)| service)
    }

    /// What a client calls the server in its TLS handshake: nothing, if it has only an address.
    fn server_name(&self) -> &str {
        if self.host.parse::<IpAddr>().is_ok() { "" } else { &self.host }
    }

    /// Whether this is how the host of a Service is called.
    fn names_service(&self, name: &str) -> bool {
        let Some((namespace, service)) = name.split_once('/') else { return false };
        let rest = self.host.strip_prefix(service).and_then(|rest| rest.strip_prefix('.'));
        let rest = rest.and_then(|rest| rest.strip_prefix(namespace));
        matches!(rest, Some("" | ".svc" | ".svc.cluster.local"))
    }
}

/// What would become of a request.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The request's method.
    pub method: String,
    /// The request's URL.
    pub url: String,
    /// The listeners that could have been meant.
    pub listeners: Vec<Considered>,
    /// The host of the request, as routes see it; absent where nobody asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
    /// The rules of that host, in the order in which they are tried.
    pub rules: Vec<Tried>,
    /// What is done.
    pub outcome: Outcome,
}

/// A listener, and why it is the one or not.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Considered {
    /// `namespace/gateway` or `namespace/service`.
    pub name: String,
    /// Where it is bound.
    pub address: SocketAddr,
    /// Whether the request comes here.
    pub taken: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// A host name and what it stands for.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Host {
    /// As it was asked for.
    pub asked: String,
    /// The name by which it was found: itself, a wildcard, or `*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matched: Option<String>,
    /// Every name that the listener has routes for.
    pub known: Vec<String>,
}

/// One match of a rule, and why it is the one or not.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tried {
    /// `namespace/route/rule`.
    pub rule: String,
    /// The condition, in words.
    pub condition: String,
    /// Whether the request takes it.
    pub taken: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// What is done with a request.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Outcome {
    /// It goes to one of these.
    Forward {
        /// The rule.
        rule: String,
        /// By weight.
        backends: Vec<Share>,
    },
    /// The client is sent elsewhere.
    Redirect {
        /// The rule.
        rule: String,
        /// 301, 302, ...
        status: u16,
        /// Where.
        location: String,
    },
    /// The proxy answers.
    Answer {
        /// The rule, if there is one.
        #[serde(skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
        /// The status.
        status: u16,
        /// Why.
        because: String,
    },
    /// The connection goes to one of these as bytes, whatever is asked on it.
    Bytes {
        /// By weight.
        backends: Vec<Share>,
    },
    /// There is no connection.
    Refused {
        /// Why.
        because: String,
    },
}

/// One of several backends.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// `namespace/service:port`; absent for a backendRef that is not valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Of the requests.
    pub percent: f64,
    /// What is answered instead, if it is not valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Where the endpoints are now.
    pub endpoints: Vec<SocketAddr>,
}

/// Says what would become of a request. `publish` tells which addresses stand for which ports.
pub fn explain(table: &Table, question: &Question, publish: &[Publish]) -> Explanation {
    let mut explanation = Explanation {
        method: question.method.clone(),
        url: question.url.clone(),
        listeners: Vec::new(),
        host: None,
        rules: Vec::new(),
        outcome: Outcome::Refused { because: "nobody listens there".to_owned() },
    };
    let mut taken = None;
    let mut meant: Vec<_> = table.listeners.iter().filter(|listener| is_meant(listener, question)).collect();
    // Whoever names a Service does not mean a Gateway at the same port.
    meant.sort_by_key(|listener| listener.edge);
    for listener in meant {
        let because = match taken {
            None => why_not(listener, question, publish),
            Some(_) => Some("another listener comes first".to_owned()),
        };
        let considered = Considered {
            name: listener.name.to_string(),
            address: listener.bind,
            taken: because.is_none(),
            because: because.clone(),
        };
        explanation.listeners.push(considered);
        taken = taken.or(because.is_none().then_some(listener));
    }
    if let Some(listener) = taken {
        enter(listener, question, &mut explanation);
    }
    explanation
}

/// Services are meant only by their own names and addresses: there may be hundreds.
fn is_meant(listener: &Listener, question: &Question) -> bool {
    let by_address = question.host.parse::<IpAddr>().is_ok_and(|ip| ip == listener.bind.ip());
    listener.edge || by_address || question.names_service(&listener.name)
}

fn why_not(listener: &Listener, question: &Question, publish: &[Publish]) -> Option<String> {
    let stands_for =
        publish.iter().find(|publish| publish.address == listener.bind).map(|publish| publish.listener_port);
    if question.port != listener.bind.port() && Some(question.port) != stands_for {
        let port = stands_for.unwrap_or(listener.bind.port());
        return Some(format!("it is port {port}, not {}", question.port));
    }
    match (question.service(listener), question.secure) {
        (ListenerService::Http(_), true) => Some("it speaks HTTP without TLS".to_owned()),
        (ListenerService::Tls(_), false) => Some("it speaks TLS: ask with https://".to_owned()),
        (ListenerService::Udp(_), _) => Some("it takes datagrams".to_owned()),
        _ => None,
    }
}

/// What happens at the listener that the request came to.
fn enter(listener: &Listener, question: &Question, explanation: &mut Explanation) {
    let hosts = match question.service(listener) {
        ListenerService::Http(hosts) => hosts,
        ListenerService::Tcp(split) | ListenerService::Udp(split) => {
            explanation.outcome = Outcome::Bytes { backends: bytes(split) };
            return;
        }
        ListenerService::Tls(secured) => match secured.find(question.server_name()) {
            None => {
                let names: Vec<_> = secured.services().into_iter().map(|(name, _)| name).collect();
                let because = format!(
                    "no listener has the server name {:?}; there are {}",
                    question.server_name(),
                    names.join(", ")
                );
                explanation.outcome = Outcome::Refused { because };
                return;
            }
            Some((_, TlsService::Terminate(_, split) | TlsService::Passthrough(split))) => {
                explanation.outcome = Outcome::Bytes { backends: bytes(split) };
                return;
            }
            Some((_, TlsService::Https(_))) => &secured.hosts,
        },
    };
    let mut storage = Storage::new();
    match http1::request::parse(question.head.as_bytes(), &mut storage) {
        Ok(Some((_, head))) => {
            let scheme = if question.secure { "https" } else { "http" };
            explanation.outcome = route(hosts, &head, scheme, explanation);
        }
        Ok(None) => {
            explanation.outcome = Outcome::Refused { because: "the request's head has no end".to_owned() };
        }
        Err(refusal) => {
            let (status, because) = (refusal.status.as_u16(), refusal.reason.to_owned());
            explanation.outcome = Outcome::Answer { rule: None, status, because };
        }
    }
}

fn route(hosts: &Hosts, head: &head::Request<'_, '_>, scheme: &str, explanation: &mut Explanation) -> Outcome {
    let name = head.host_name();
    let known = hosts.sorted().into_iter().map(|(name, _)| name).collect();
    explanation.host = Some(Host { asked: name.clone().into_owned(), matched: hosts.matched(&name), known });
    let answer = |status, because: &str| Outcome::Answer { rule: None, status, because: because.to_owned() };
    let Some(routes) = hosts.find(&name) else { return answer(404, "no route has this host") };
    let mut taken = None;
    for (entry, verdict) in routes.explain(head) {
        if matches!(verdict, Verdict::Taken) {
            taken = Some(&entry.rule);
        }
        explanation.rules.push(Tried {
            rule: entry.rule.name.to_string(),
            condition: show::condition(&entry.matches),
            taken: matches!(verdict, Verdict::Taken),
            because: show::reason(verdict, head),
        });
    }
    let Some(rule) = taken else { return answer(404, "no route matches this request") };
    let name = rule.name.to_string();
    match &rule.action {
        Action::Forward(backends) => Outcome::Forward { rule: name, backends: forward(backends) },
        Action::Redirect(redirect) => {
            let answer = Answer::redirect(redirect, head, scheme);
            let location = answer.location().unwrap_or_default().to_owned();
            Outcome::Redirect { rule: name, status: redirect.status.as_u16(), location }
        }
        Action::Respond(status) => {
            let because = "the route's backend is not valid".to_owned();
            Outcome::Answer { rule: Some(name), status: status.as_u16(), because }
        }
    }
}

fn forward(backends: &[Backend]) -> Vec<Share> {
    let total: u64 = backends.iter().map(|backend| u64::from(backend.weight)).sum();
    let share = |backend: &Backend| match &backend.target {
        Ok(cluster) => to_cluster(cluster, percent(backend.weight, total)),
        Err(status) => Share {
            service: None,
            percent: percent(backend.weight, total),
            status: Some(status.as_u16()),
            endpoints: Vec::new(),
        },
    };
    backends.iter().map(share).collect()
}

fn bytes(split: &Split) -> Vec<Share> {
    let total: u64 = split.shares.iter().map(|share| u64::from(share.weight)).sum();
    let shares = split.shares.iter().map(|share| {
        let percent = percent(share.weight, total);
        let refused = Share { service: None, percent, status: None, endpoints: Vec::new() };
        share.cluster.as_ref().map_or(refused, |cluster| to_cluster(cluster, percent))
    });
    shares.collect()
}

fn to_cluster(cluster: &Cluster, percent: f64) -> Share {
    Share { service: Some(cluster.name.to_string()), percent, status: None, endpoints: cluster.addresses() }
}

#[expect(clippy::cast_precision_loss, reason = "a percentage is rounded anyway")]
fn percent(weight: u32, total: u64) -> f64 {
    if total == 0 { 0.0 } else { (f64::from(weight) / total as f64 * 1000.0).round() / 10.0 }
}

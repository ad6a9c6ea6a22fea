//! The audit stream: who did what to what, and with which outcome. One line each, whatever the log level; the request's id and trace
//! are in it too.

/// One entry.
///
/// ```
/// use service::audit::{self, Audit, Outcome};
/// audit::record(&Audit {
///     actor: "user:0198c0de",
///     action: "order.cancel",
///     object: "order:17",
///     outcome: Outcome::Allowed,
///     reason: None,
///     client: None,
/// });
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Audit<'a> {
    /// Who did it: an id, never a password or token. `anonymous` if unknown.
    pub actor: &'a str,
    /// What was done, as `noun.verb`.
    pub action: &'a str,
    /// What it was done to; empty if there is no such thing.
    pub object: &'a str,
    /// Whether it was done.
    pub outcome: Outcome,
    /// Why it was not done, or whatever else a reader of the log needs.
    pub reason: Option<&'a str>,
    /// From where.
    pub client: Option<std::net::IpAddr>,
}

/// What came of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Allowed,
    /// The actor may not do it.
    Denied,
    /// It was allowed, and failed.
    Failed,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

/// Writes the entry to the audit stream.
pub fn record(entry: &Audit<'_>) {
    tracing::info!(
        target: crate::log::AUDIT,
        actor = entry.actor,
        action = entry.action,
        object = entry.object,
        outcome = entry.outcome.as_str(),
        reason = entry.reason,
        client = entry.client.map(tracing::field::display),
    );
}

//! Envoy's command operators that say something of this proxy's requests.

/// A value in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operator {
    Simple(Simple),
    /// `REQ` and `RESP`: the first of these fields that is there, of at most so many bytes.
    Field {
        first: Field,
        second: Option<Field>,
        most: Option<usize>,
    },
    /// `START_TIME`: by the number of its format.
    StartTime(usize),
}

impl Operator {
    /// Whether there is always a value, and it is text.
    pub fn is_always_text(&self) -> bool {
        use Simple::{Details, Fault, Flags, FlagsLong, Listener, LocalAddress, LocalHost, RemoteAddress, RemoteHost};
        match self {
            Self::StartTime(_) => true,
            Self::Simple(simple) => matches!(
                simple,
                Details | Fault | Flags | FlagsLong | Listener | LocalAddress | LocalHost | RemoteAddress | RemoteHost
            ),
            Self::Field { .. } => false,
        }
    }
}

/// A field of a request or a response, by its place among those that are captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// As it was captured.
    Captured(usize),
    /// The request's id: the one that the proxy gave it, else the captured one.
    RequestId(usize),
    /// The captured one and the client's address, as the endpoint gets it.
    ForwardedFor(usize),
    /// `http` or `https`.
    Scheme,
}

/// An operator without arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Simple {
    /// Something that this proxy has nothing to say of.
    Absent,
    BytesReceived,
    BytesSent,
    Code,
    Details,
    Duration,
    Fault,
    Flags,
    FlagsLong,
    Listener,
    LocalAddress,
    LocalHost,
    LocalPort,
    Protocol,
    RemoteAddress,
    RemoteHost,
    RemotePort,
    ResponseDuration,
    ResponseTxDuration,
    Route,
    ServerName,
    TlsCipher,
    TlsVersion,
    TraceId,
    Tries,
    UpstreamCluster,
    UpstreamHost,
    UpstreamHostOnly,
    UpstreamPort,
}

/// The names of the operators that have arguments.
pub(super) const WITH_ARGUMENTS: [&str; 3] = ["REQ", "RESP", "START_TIME"];

/// The names of those that have none; `FAULT` and `LISTENER` are not Envoy's.
pub(super) const SIMPLE: &[(&str, Simple)] = &[
    ("BYTES_RECEIVED", Simple::BytesReceived),
    ("BYTES_SENT", Simple::BytesSent),
    ("CONNECTION_TERMINATION_DETAILS", Simple::Absent),
    ("DOWNSTREAM_DIRECT_REMOTE_ADDRESS", Simple::RemoteAddress),
    ("DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT", Simple::RemoteHost),
    ("DOWNSTREAM_DIRECT_REMOTE_PORT", Simple::RemotePort),
    ("DOWNSTREAM_LOCAL_ADDRESS", Simple::LocalAddress),
    ("DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", Simple::LocalHost),
    ("DOWNSTREAM_LOCAL_PORT", Simple::LocalPort),
    ("DOWNSTREAM_REMOTE_ADDRESS", Simple::RemoteAddress),
    ("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", Simple::RemoteHost),
    ("DOWNSTREAM_REMOTE_PORT", Simple::RemotePort),
    ("DOWNSTREAM_TLS_CIPHER", Simple::TlsCipher),
    ("DOWNSTREAM_TLS_VERSION", Simple::TlsVersion),
    ("DURATION", Simple::Duration),
    ("FAULT", Simple::Fault),
    ("LISTENER", Simple::Listener),
    ("PROTOCOL", Simple::Protocol),
    ("REQUESTED_SERVER_NAME", Simple::ServerName),
    ("RESPONSE_CODE", Simple::Code),
    ("RESPONSE_CODE_DETAILS", Simple::Details),
    ("RESPONSE_DURATION", Simple::ResponseDuration),
    ("RESPONSE_FLAGS", Simple::Flags),
    ("RESPONSE_FLAGS_LONG", Simple::FlagsLong),
    ("RESPONSE_TX_DURATION", Simple::ResponseTxDuration),
    ("ROUTE_NAME", Simple::Route),
    ("TRACE_ID", Simple::TraceId),
    ("UPSTREAM_CLUSTER", Simple::UpstreamCluster),
    ("UPSTREAM_HOST", Simple::UpstreamHost),
    ("UPSTREAM_LOCAL_ADDRESS", Simple::Absent),
    ("UPSTREAM_REMOTE_ADDRESS", Simple::UpstreamHost),
    ("UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", Simple::UpstreamHostOnly),
    ("UPSTREAM_REMOTE_PORT", Simple::UpstreamPort),
    ("UPSTREAM_REQUEST_ATTEMPT_COUNT", Simple::Tries),
    ("UPSTREAM_TRANSPORT_FAILURE_REASON", Simple::Absent),
];

/// Every operator that is known, for people.
pub(super) fn names() -> String {
    let mut names: Vec<_> = SIMPLE.iter().map(|(name, _)| *name).chain(WITH_ARGUMENTS).collect();
    names.sort_unstable();
    names.join(", ")
}

//! What can go wrong with a request, under the names that Envoy's access log gave it, and whose fault it is.

/// Whose fault an error was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// There was none.
    None,
    /// The client asked for something that is not there or not allowed, broke the protocol, or went away.
    Client,
    /// The proxy or what it was told: a backendRef that leads nowhere, a deadline for draining.
    Proxy,
    /// The endpoint, or that there is none.
    Upstream,
}

impl Fault {
    /// Every one, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::None, Self::Client, Self::Proxy, Self::Upstream];

    /// As it is written in labels and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Client => "client",
            Self::Proxy => "proxy",
            Self::Upstream => "upstream",
        }
    }
}

/// One thing that went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Flag {
    /// The client closed its connection before it had its response.
    DownstreamGone,
    /// The client reset its stream (HTTP/2).
    DownstreamReset,
    /// The client sent what the protocol does not allow.
    DownstreamProtocol,
    /// One of the parties was silent for too long in the middle of a message.
    Idle,
    /// No route has the host, or none of the host's matches the request.
    NoRoute,
    /// The route's backend does not exist.
    NoCluster,
    /// No endpoint is ready.
    NoEndpoint,
    /// No connection to an endpoint could be had.
    UpstreamConnect,
    /// The endpoint closed its connection before its response was whole.
    UpstreamGone,
    /// The endpoint reset its stream (HTTP/2).
    UpstreamReset,
    /// The endpoint did not respond in time.
    UpstreamTimeout,
    /// The endpoint sent what the protocol does not allow.
    UpstreamProtocol,
    /// A limit on requests or connections to the endpoints was reached.
    UpstreamOverflow,
    /// The request was tried as often as it may be.
    RetriesSpent,
    /// The proxy gave the request up: the time for draining was over, or it failed itself.
    LocalReset,
    /// The proxy has too much to do.
    Overload,
}

/// What is said of a flag.
pub(super) struct Meaning {
    pub flag: Flag,
    /// As `%RESPONSE_FLAGS%` has it.
    pub short: &'static str,
    /// As `%RESPONSE_FLAGS_LONG%` has it.
    pub long: &'static str,
    /// As `%RESPONSE_CODE_DETAILS%` has it.
    pub details: &'static str,
    pub fault: Fault,
}

macro_rules! meanings {
    ($($flag:ident $short:literal $long:literal $details:literal $fault:ident;)*) => {
        /// Every flag, in the order of their numbers; of several, the first says whose fault it was.
        pub(super) const MEANINGS: &[Meaning] = &[$(Meaning {
            flag: Flag::$flag, short: $short, long: $long, details: $details, fault: Fault::$fault,
        }),*];
    };
}

meanings! {
    DownstreamGone "DC" "DownstreamConnectionTermination" "downstream_remote_disconnect" Client;
    DownstreamReset "DR" "DownstreamRemoteReset" "downstream_remote_reset" Client;
    DownstreamProtocol "DPE" "DownstreamProtocolError" "downstream_protocol_error" Client;
    Idle "SI" "StreamIdleTimeout" "stream_idle_timeout" Client;
    NoRoute "NR" "NoRouteFound" "route_not_found" Client;
    NoCluster "NC" "NoClusterFound" "cluster_not_found" Proxy;
    NoEndpoint "UH" "NoHealthyUpstream" "no_healthy_upstream" Upstream;
    UpstreamConnect "UF" "UpstreamConnectionFailure" "upstream_reset_before_response_started{connection_failure}" Upstream;
    UpstreamGone "UC" "UpstreamConnectionTermination" "upstream_reset_before_response_started{connection_termination}" Upstream;
    UpstreamReset "UR" "UpstreamRemoteReset" "upstream_reset_before_response_started{remote_reset}" Upstream;
    UpstreamTimeout "UT" "UpstreamRequestTimeout" "response_timeout" Upstream;
    UpstreamProtocol "UPE" "UpstreamProtocolError" "upstream_reset_before_response_started{protocol_error}" Upstream;
    UpstreamOverflow "UO" "UpstreamOverflow" "upstream_reset_before_response_started{overflow}" Proxy;
    RetriesSpent "URX" "UpstreamRetryLimitExceeded" "via_upstream" Upstream;
    LocalReset "LR" "LocalReset" "local_reset" Proxy;
    Overload "OM" "OverloadManagerTerminated" "overload" Proxy;
}

/// How many there are.
pub(super) const FLAGS: usize = Flag::Overload as usize + 1;

/// A set of flags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Flags(u32);

impl Flags {
    pub fn add(&mut self, flag: Flag) {
        self.0 |= 1 << flag as u8;
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether an answer was waited for in vain: for too long, or for longer than the client liked.
    pub fn waited_in_vain(self) -> bool {
        let all = [Flag::DownstreamGone, Flag::DownstreamReset, Flag::UpstreamTimeout];
        all.into_iter().any(|flag| self.0 & (1 << flag as u8) != 0)
    }

    /// What the flags mean, in the order of their numbers.
    pub fn meanings(self) -> impl Iterator<Item = &'static Meaning> {
        let all = if self.0 == 0 { &[] } else { MEANINGS };
        all.iter().filter(move |meaning| self.0 & (1 << meaning.flag as u8) != 0)
    }

    /// Whose fault a request was that ended with these flags and this status; 0 is none. `by_endpoint` says that the endpoint
    /// responded, well or not.
    pub fn fault(self, status: u16, by_endpoint: bool) -> Fault {
        if self.0 == 0 {
            return match status {
                0..=399 => Fault::None,
                400..=499 => Fault::Client,
                _ if by_endpoint => Fault::Upstream,
                _ => Fault::Proxy,
            };
        }
        self.meanings().next().map_or(Fault::None, |meaning| meaning.fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_has_its_meaning_at_its_number() {
        assert_eq!(MEANINGS.len(), FLAGS);
        for (number, meaning) in MEANINGS.iter().enumerate() {
            assert_eq!(meaning.flag as usize, number, "{}", meaning.short);
        }
    }

    #[test]
    fn without_a_flag_the_status_says_whose_fault_it_was() {
        let none = Flags::default();
        assert_eq!(none.fault(200, true), Fault::None);
        assert_eq!(none.fault(404, true), Fault::Client);
        assert_eq!(none.fault(500, true), Fault::Upstream);
        assert_eq!(none.fault(500, false), Fault::Proxy);
    }

    #[test]
    fn a_flag_says_more_than_the_status() {
        let mut flags = Flags::default();
        flags.add(Flag::UpstreamGone);
        assert_eq!(flags.fault(200, true), Fault::Upstream);
        flags.add(Flag::DownstreamGone);
        assert_eq!(flags.fault(200, true), Fault::Client);
        assert_eq!(flags.meanings().map(|meaning| meaning.short).collect::<Vec<_>>(), ["DC", "UC"]);
    }
}

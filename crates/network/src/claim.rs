//! Keeps two Coracles on one machine from handing out the same addresses.
//!
//! A claim is an abstract UNIX socket named after the range: the kernel frees it when the process ends, however it ends, and
//! its names are one set per network namespace, just as addresses are.

use std::os::{
    linux::net::SocketAddrExt,
    unix::net::{SocketAddr, UnixListener},
};

use crate::{NetworkError, addresses::Range};

/// A range that is this process's own until it is dropped.
#[derive(Debug)]
pub struct Claim {
    range: Range,
    _socket: UnixListener,
}

impl Claim {
    /// Claims one range.
    ///
    /// # Errors
    /// [`NetworkError::Claimed`] when another process has it.
    pub fn take(range: Range) -> Result<Self, NetworkError> {
        let name = format!("coracle/addresses/{range}");
        let address = SocketAddr::from_abstract_name(&name)
            .map_err(|e| NetworkError::kernel(format!("name socket {name}"), e))?;
        match UnixListener::bind_addr(&address) {
            Ok(socket) => Ok(Self { range, _socket: socket }),
            Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => Err(NetworkError::Claimed(range.to_string())),
            Err(e) => Err(NetworkError::kernel(format!("claim the address range {range}"), e)),
        }
    }

    /// Claims the first free range of `ranges`; `preferred`, if given, is tried before all others.
    ///
    /// # Errors
    /// The last range's error when all are taken.
    pub fn first(preferred: Option<Range>, ranges: impl Iterator<Item = Range>) -> Result<Self, NetworkError> {
        let mut result = Err(NetworkError::Claimed("(none)".to_owned()));
        for range in preferred.into_iter().chain(ranges) {
            result = Self::take(range);
            if !matches!(result, Err(NetworkError::Claimed(_))) {
                break;
            }
        }
        result
    }

    /// The range claimed.
    pub fn range(&self) -> Range {
        self.range
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claimed_range_is_refused_until_it_is_dropped() {
        let range: Range = "127.250.16.0/20".parse().unwrap();
        let claim = Claim::take(range).unwrap();
        assert!(matches!(Claim::take(range), Err(NetworkError::Claimed(_))));
        let other = Claim::first(Some(range), "127.250.0.0/16".parse::<Range>().unwrap().split(20)).unwrap();
        assert_ne!(other.range(), range);
        drop(claim);
        assert_eq!(Claim::take(range).unwrap().range(), range);
    }
}

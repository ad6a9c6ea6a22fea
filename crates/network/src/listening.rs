//! Which IPv4 addresses of this machine somebody listens on.

use std::net::Ipv4Addr;

use crate::addresses::Range;

/// The state of a listening socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// Whether any socket listens on an address of `range`: the pods of a Coracle that is not running at the moment, or somebody
/// who does not know of claims.
pub(crate) fn anybody(range: Range) -> bool {
    // Without the table (no /proc) the claim alone must do.
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    addresses(&table).any(|address| range.contains(address))
}

fn addresses(table: &str) -> impl Iterator<Item = Ipv4Addr> {
    table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (local, state) = (fields.next()?, fields.nth(1)?);
        let address = u32::from_str_radix(local.split_once(':')?.0, 16).ok()?;
        // The kernel prints the address as it lies in memory.
        (state == LISTEN).then(|| Ipv4Addr::from(address.to_ne_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn only_listening_sockets_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n\
            0: 0210407F:1F40 00000000:0000 0A 00000000:00000000\n\
            1: 0310407F:1F40 0100007F:9999 01 00000000:00000000\n";
        assert_eq!(addresses(table).collect::<Vec<_>>(), [Ipv4Addr::new(127, 64, 16, 2)]);
    }

    #[test]
    fn a_range_is_in_use_while_somebody_listens_there() {
        let range: Range = "127.251.16.0/20".parse().unwrap();
        assert!(!anybody(range));
        let _listener = TcpListener::bind(("127.251.16.9", 0)).unwrap();
        assert!(anybody(range));
    }
}

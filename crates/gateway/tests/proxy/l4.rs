//! TCP listeners: bytes to clusters by weight.

use std::{collections::BTreeMap, sync::Arc};

use gateway::table::{ListenerService, Share, Split};

use super::support::{Endpoint, Gateway, cluster, nobody};

fn speaking_first(text: &'static str) -> Endpoint {
    Endpoint::new(move |peer| peer.send(text))
}

fn share(weight: u32, endpoint: Option<&Endpoint>) -> Share {
    Share { weight, cluster: endpoint.map(|endpoint| cluster(&[endpoint.address])) }
}

fn tcp(shares: Vec<Share>) -> ListenerService {
    ListenerService::Tcp(Arc::new(Split { shares }))
}

#[test]
fn connections_are_spread_by_weight_and_each_stays_with_its_endpoint() {
    let (one, three, none) = (speaking_first("one"), speaking_first("three"), speaking_first("none"));
    let gateway = Gateway::new(tcp(vec![share(1, Some(&one)), share(0, Some(&none)), share(3, Some(&three))]));
    let mut seen = BTreeMap::<_, usize>::new();
    for _ in 0..400 {
        *seen.entry(String::from_utf8(gateway.client().rest()).unwrap()).or_default() += 1;
    }
    assert_eq!(seen.keys().collect::<Vec<_>>(), ["one", "three"]);
    // 100 are expected; eight standard deviations are allowed.
    assert!((30..170).contains(&seen["one"]), "{seen:?}");
}

#[test]
fn the_share_of_a_backend_that_is_not_valid_is_refused() {
    let endpoint = speaking_first("here");
    let gateway = Gateway::new(tcp(vec![share(1, None)]));
    gateway.client().assert_closed();
    gateway.serve(tcp(vec![]));
    gateway.client().assert_closed();
    gateway.serve(tcp(vec![share(0, Some(&endpoint))]));
    gateway.client().assert_closed();
    gateway.serve(tcp(vec![share(1, Some(&endpoint))]));
    assert_eq!(gateway.client().rest(), b"here");
}

#[test]
fn each_direction_ends_for_itself_and_everything_arrives() {
    let endpoint = Endpoint::new(|peer| {
        let all = peer.rest();
        peer.send(all);
    });
    let split = Split::to(cluster(&[nobody(), endpoint.address]));
    let gateway = Gateway::new(ListenerService::Tcp(Arc::new(split)));
    let bytes: Vec<u8> = (0..1_000_000).map(|at: u32| (at % 251) as u8).collect();
    let mut client = gateway.client();
    client.send(&bytes);
    client.end_writing();
    assert!(client.rest() == bytes);
}

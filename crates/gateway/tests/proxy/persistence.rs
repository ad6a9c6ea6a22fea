//! Sessions: a client's requests go to the endpoint that had its first, for as long as it is there.

use std::{collections::HashSet, net::SocketAddr, sync::Arc, time::Instant};

use gateway::{
    policy::{Carrier, Persistence},
    table::{Action, Backend, Cluster, Rule},
};

use super::support::{Endpoint, Gateway, Peer, cluster, everything, field, forward, nobody, rule, status};

fn by_cookie() -> Carrier {
    Carrier::Cookie { name: "sid".into(), permanent: false }
}

fn sticky(mut rule: Rule, carrier: Carrier) -> Rule {
    rule.persistence = Some(Persistence::new(carrier, "secret").unwrap());
    rule
}

/// The cookie of a response, as a client sends it back.
fn cookie(head: &str) -> Option<String> {
    Some(field(head, "set-cookie")?.split(';').next()?.to_owned())
}

fn ask(client: &mut Peer, fields: &str) -> (String, String) {
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    client.message()
}

fn endpoints() -> (Vec<Endpoint>, Arc<Cluster>) {
    let all: Vec<_> = ["one", "two", "three", "four"].into_iter().map(Endpoint::saying).collect();
    let addresses: Vec<SocketAddr> = all.iter().map(|endpoint| endpoint.address).collect();
    let cluster = cluster(&addresses);
    (all, cluster)
}

#[test]
fn a_cookie_keeps_a_client_on_its_endpoint_and_is_set_once() {
    let (_all, cluster) = endpoints();
    let gateway = Gateway::new(everything(sticky(forward(cluster), by_cookie())));
    let mut client = gateway.client();
    let mut seen = HashSet::new();
    for _ in 0..20 {
        let (head, first) = ask(&mut client, "");
        let told = field(&head, "set-cookie").unwrap();
        assert!(told.starts_with("sid=") && told.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{told}");
        let session = cookie(&head).unwrap();
        for _ in 0..5 {
            let (head, again) = ask(&mut client, &format!("Cookie: a=b; {session}\r\n"));
            assert_eq!((again, cookie(&head)), (first.clone(), None));
        }
        seen.insert(first);
    }
    assert!(seen.len() > 1, "clients without a session are spread");
}

#[test]
fn a_header_does_the_same() {
    let (_all, cluster) = endpoints();
    let carrier = Carrier::Header("x-session".parse().unwrap());
    let gateway = Gateway::new(everything(sticky(forward(cluster), carrier)));
    let mut client = gateway.client();
    let (head, first) = ask(&mut client, "");
    let session = field(&head, "x-session").unwrap().to_owned();
    for _ in 0..20 {
        let (head, again) = ask(&mut client, &format!("X-Session: {session}\r\n"));
        assert_eq!((again, field(&head, "x-session")), (first.clone(), None));
    }
}

#[test]
fn when_its_endpoint_is_gone_a_client_gets_another_and_is_told() {
    let (all, cluster) = endpoints();
    let gateway = Gateway::new(everything(sticky(forward(cluster.clone()), by_cookie())));
    let mut client = gateway.client();
    let (head, first) = ask(&mut client, "");
    let old = cookie(&head).unwrap();
    let names = ["one", "two", "three", "four"];
    let left: Vec<_> = all.iter().zip(names).filter(|(_, name)| *name != first).map(|(e, _)| e.address).collect();
    cluster.set_addresses(&left, Instant::now());
    let (head, second) = ask(&mut client, &format!("Cookie: {old}\r\n"));
    assert_ne!(second, first);
    let new = cookie(&head).unwrap();
    let (head, again) = ask(&mut client, &format!("Cookie: {new}\r\n"));
    assert_eq!((again, cookie(&head)), (second, None));
}

#[test]
fn when_its_endpoint_takes_no_connections_a_client_gets_another_and_is_told_once() {
    let other = Endpoint::saying("other");
    let dead = nobody();
    let cluster = cluster(&[dead, other.address]);
    let rule = sticky(forward(cluster), by_cookie());
    let session = gateway::policy::Session { endpoint: dead, created: 1, used: 1 };
    let (_, told) = rule.persistence.as_ref().unwrap().tell(&session, false).unwrap();
    let session = told.to_str().unwrap().split(';').next().unwrap().to_owned();
    let gateway = Gateway::new(everything(rule));
    let (head, body) = ask(&mut gateway.client(), &format!("Cookie: {session}\r\n"));
    assert_eq!(body, "other");
    assert_eq!(head.to_ascii_lowercase().matches("set-cookie").count(), 1);
}

#[test]
fn what_a_client_makes_up_chooses_nothing() {
    let (_all, cluster) = endpoints();
    let gateway = Gateway::new(everything(sticky(forward(cluster), by_cookie())));
    let mut client = gateway.client();
    // An address that is no endpoint's, sealed as it should be.
    let other = Persistence::new(by_cookie(), "secret").unwrap();
    let session = gateway::policy::Session { endpoint: nobody(), created: 1, used: 1 };
    let (_, told) = other.tell(&session, false).unwrap();
    let stranger = told.to_str().unwrap().split(';').next().unwrap().to_owned();
    for made_up in ["sid=127.0.0.1:80".to_owned(), "sid=".to_owned(), "sid=AAAA".to_owned(), stranger] {
        let (head, _) = ask(&mut client, &format!("Cookie: {made_up}\r\n"));
        assert_eq!(status(&head), "200");
        assert!(cookie(&head).is_some(), "{made_up}");
    }
}

#[test]
fn a_session_keeps_its_backend_even_one_of_weight_zero() {
    let (old, new) = (Endpoint::saying("old"), Endpoint::saying("new"));
    let (old_cluster, new_cluster) = (cluster(&[old.address]), cluster(&[new.address]));
    let split = |weights: [u32; 2]| {
        let backends = [old_cluster.clone(), new_cluster.clone()].into_iter().zip(weights);
        let backends = backends.map(|(cluster, weight)| Backend::new(weight, Ok(cluster)));
        everything(sticky(rule(Action::Forward(backends.collect())), by_cookie()))
    };
    let gateway = Gateway::new(split([1, 0]));
    let mut client = gateway.client();
    let (head, body) = ask(&mut client, "");
    assert_eq!(body, "old");
    let session = cookie(&head).unwrap();
    gateway.serve(split([0, 1]));
    assert_eq!(ask(&mut client, "").1, "new");
    assert_eq!(ask(&mut client, &format!("Cookie: {session}\r\n")).1, "old");
}

//! TLS listeners: connections that go on as they came, and those whose TLS ends at the proxy, chosen by the name that the client
//! gives the server.

use std::{
    net::TcpStream,
    sync::{Arc, OnceLock},
    time::Duration,
};

use gateway::{
    proxy::Timeouts,
    table::{Hosts, ListenerService, Secured, Split, TlsService},
};
use rustls::{ClientConnection, pki_types::ServerName};

use super::{
    pki::{self, Authority},
    support::{Endpoint, Gateway, Peer, cluster, nobody},
};

fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(Authority::new)
}

fn tls(services: Vec<(&str, TlsService)>) -> ListenerService {
    let services = services.into_iter().map(|(name, service)| (name.to_owned(), service));
    ListenerService::Tls(Arc::new(Secured::new(Hosts::default(), services)))
}

fn to(endpoint: &Endpoint) -> Arc<Split> {
    Arc::new(Split::to(cluster(&[endpoint.address])))
}

/// Says its own name and the server name that it was asked for, then repeats what it is sent.
fn secure(name: &'static str, certified: &str) -> Endpoint {
    let config = pki::server(&authority().issue(&[certified]), None, &[]);
    pki::endpoint(config, move |peer, server_name, _| {
        peer.send(format!("{name} as {server_name}\r\n\r\n"));
        let request = peer.head();
        peer.send(request);
    })
}

fn plain(name: &'static str) -> Endpoint {
    Endpoint::new(move |peer| {
        let request = peer.head();
        peer.send(format!("{name} {request}"));
    })
}

fn client(gateway: &Gateway, name: &str) -> Peer {
    pki::connected(TcpStream::connect(gateway.address).unwrap(), &pki::client(authority(), None), name)
}

/// The bytes that a client of this name begins with.
fn hello(name: &str) -> Vec<u8> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut bytes = Vec::new();
    ClientConnection::new(pki::client(authority(), None), name).unwrap().write_tls(&mut bytes).unwrap();
    bytes
}

/// What the proxy says to a hello that it refuses.
fn alert(description: u8) -> Vec<u8> {
    vec![21, 3, 3, 0, 2, 2, description]
}

#[test]
fn each_name_goes_to_its_own_endpoint_and_tls_ends_there() {
    let (a, rest) = (secure("a", "a.example"), secure("rest", "*.b.example"));
    let gateway = Gateway::new(tls(vec![
        ("a.example", TlsService::Passthrough(to(&a))),
        ("*.b.example", TlsService::Passthrough(to(&rest))),
    ]));
    for (name, said) in [("a.example", "a as a.example"), ("x.b.example", "rest as x.b.example")] {
        let mut client = client(&gateway, name);
        client.send("hello\r\n\r\n");
        assert_eq!((client.head(), client.head()), (format!("{said}\r\n\r\n"), "hello\r\n\r\n".to_owned()));
    }
    assert_eq!((a.connections(), rest.connections()), (1, 1));
}

#[test]
fn tls_ends_at_the_proxy_for_one_name_and_passes_through_for_another_on_the_same_port() {
    let (inside, through) = (plain("inside"), secure("through", "through.example"));
    let ends = pki::server(&authority().issue(&["ends.example"]), None, &[]);
    let gateway = Gateway::new(tls(vec![
        ("ends.example", TlsService::Terminate(ends, to(&inside))),
        ("through.example", TlsService::Passthrough(to(&through))),
    ]));
    let mut ended = client(&gateway, "ends.example");
    ended.send("one\r\n\r\n");
    assert_eq!(ended.head(), "inside one\r\n\r\n");
    ended.assert_closed();
    let mut passed = client(&gateway, "through.example");
    passed.send("two\r\n\r\n");
    assert_eq!(passed.head(), "through as through.example\r\n\r\n");
    assert_eq!(passed.head(), "two\r\n\r\n");
}

#[test]
fn a_hello_that_arrives_byte_by_byte_reaches_the_endpoint_whole() {
    let endpoint = Endpoint::new(|peer| {
        let length = hello("a.example").len();
        let arrived = peer.exactly(length);
        peer.send(arrived);
    });
    let gateway = Gateway::new(tls(vec![("a.example", TlsService::Passthrough(to(&endpoint)))]));
    let (mut client, hello) = (gateway.client(), hello("a.example"));
    for byte in &hello {
        client.send([*byte]);
    }
    assert_eq!(client.rest(), hello);
}

#[test]
fn without_a_name_the_listener_for_every_name_is_meant_if_there_is_one() {
    let endpoint = secure("any", "127.0.0.1");
    let gateway = Gateway::new(tls(vec![("", TlsService::Passthrough(to(&endpoint)))]));
    let mut nameless = client(&gateway, "127.0.0.1");
    nameless.send("hello\r\n\r\n");
    assert_eq!(nameless.head(), "any as \r\n\r\n");
    gateway.serve(tls(vec![("a.example", TlsService::Passthrough(to(&endpoint)))]));
    let mut refused = gateway.client();
    refused.send(hello("127.0.0.1"));
    assert_eq!(refused.rest(), alert(112), "unrecognized_name");
}

#[test]
fn what_is_not_tls_is_told_so_and_what_says_nothing_is_closed() {
    let service = tls(vec![("", TlsService::Passthrough(Arc::new(Split::to(cluster(&[nobody()])))))]);
    let gateway = Gateway::with(service, Timeouts { head: Duration::from_millis(250), ..Timeouts::default() });
    let mut http = gateway.client();
    http.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(http.rest(), alert(50), "decode_error");
    let mut silent = gateway.client();
    silent.assert_closed();
    let mut half = gateway.client();
    half.send(&hello("a.example")[..40]);
    half.assert_closed();
    let mut unserved = gateway.client();
    unserved.send(hello("a.example"));
    unserved.assert_closed();
}

#[test]
fn an_endless_hello_is_refused() {
    let gateway = Gateway::new(tls(vec![]));
    let mut client = gateway.client();
    client.send_some([&[22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff][..], &[22, 3, 1, 0, 1, 0].repeat(20_000)].concat());
    // The rest of what was sent may have reset the connection before the alert was read.
    let said = client.rest();
    assert!(said.is_empty() || said == alert(50), "{said:?}");
}

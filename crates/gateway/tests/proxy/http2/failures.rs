//! What happens when one end goes away, is silent, or has had enough.

use std::{
    io::Read,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use gateway::{
    proxy::Timeouts,
    table::{Cluster, Upstream},
};
use h2::Reason;
use http::Response;

use super::{
    super::{
        figures::eventually,
        support::{self, Gateway, cluster, everything, forward, nobody},
    },
    Endpoint, ask, connect, frames, get, post, receive, run, send_all, send_whole, to_http2,
};

#[test]
fn a_response_that_breaks_off_resets_its_stream_alone() {
    let endpoint = support::Endpoint::new(|peer| {
        let (head, _) = peer.message();
        let broken = head.starts_with("GET /broken");
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\nhalf", if broken { 8 } else { 4 }));
    });
    let gateway = Gateway::to(&[&endpoint]);
    run(async {
        let client = connect(gateway.address).await;
        let broken = ask(&client, get("/broken")).await.unwrap_err();
        assert_eq!(broken.reason(), Some(Reason::INTERNAL_ERROR));
        assert_eq!(ask(&client, get("/whole")).await.unwrap().text(), "half");
    });
}

#[test]
fn a_client_that_gives_up_ends_the_request_at_the_endpoint() {
    let (began, begun) = mpsc::channel();
    let (ended, end) = mpsc::channel();
    let (began, ended) = (Mutex::new(began), Mutex::new(ended));
    let endpoint = support::Endpoint::new(move |peer| {
        peer.message();
        began.lock().unwrap().send(()).unwrap();
        peer.assert_closed();
        ended.lock().unwrap().send(()).unwrap();
    });
    let gateway = Gateway::to(&[&endpoint]);
    let mut raw = frames::Raw::connect(gateway.address);
    raw.send(frames::request(1, frames::END_STREAM, &[]));
    begun.recv().unwrap();
    raw.send(frames::frame(frames::RST_STREAM, 0, 1, &8_u32.to_be_bytes()));
    end.recv_timeout(Duration::from_secs(20)).unwrap();
}

#[test]
fn a_client_that_goes_away_ends_its_requests_at_the_endpoint() {
    let (began, begun) = mpsc::channel();
    let (ended, end) = mpsc::channel();
    let (began, ended) = (Mutex::new(began), Mutex::new(ended));
    let endpoint = support::Endpoint::new(move |peer| {
        peer.message();
        began.lock().unwrap().send(()).unwrap();
        peer.assert_closed();
        ended.lock().unwrap().send(()).unwrap();
    });
    let gateway = Gateway::to(&[&endpoint]);
    let mut raw = frames::Raw::connect(gateway.address);
    raw.send(frames::request(1, frames::END_STREAM, &[]));
    begun.recv().unwrap();
    drop(raw);
    end.recv_timeout(Duration::from_secs(20)).unwrap();
}

#[test]
fn a_request_that_an_endpoint_refuses_is_sent_to_another() {
    let refusing = Endpoint::new(|_, mut respond| async move { respond.send_reset(Reason::REFUSED_STREAM) });
    let serving = Endpoint::echo("x");
    let gateway = to_http2(&[refusing.address, serving.address]);
    run(async {
        let client = connect(gateway.address).await;
        for _ in 0..10 {
            assert_eq!(ask(&client, get("/")).await.unwrap().head.status, 200);
        }
    });
}

#[test]
fn a_connection_that_takes_no_more_requests_is_replaced_while_those_that_it_has_go_on() {
    let (finish, finished) = mpsc::channel();
    let (finished, connections) = (Mutex::new(finished), AtomicUsize::new(0));
    let endpoint = support::Endpoint::accepting(move |tcp| {
        let first = connections.fetch_add(1, Ordering::SeqCst) == 0;
        let mut raw = frames::Raw(tcp);
        raw.0.read_exact(&mut [0; frames::PREFACE.len()]).unwrap();
        raw.send(frames::frame(frames::SETTINGS, 0, 0, &[]));
        raw.next_of(frames::HEADERS).unwrap();
        if first {
            raw.send(frames::frame(frames::GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]));
        }
        raw.send(frames::frame(frames::HEADERS, frames::END_HEADERS, 1, &frames::block(&[(":status", "200")])));
        if first {
            () = finished.lock().unwrap().recv().unwrap();
        }
        raw.send(frames::frame(frames::DATA, frames::END_STREAM, 1, b"whole"));
        while raw.next().is_some() {}
    });
    let gateway = to_http2(&[endpoint.address]);
    run(async {
        let client = connect(gateway.address).await;
        let (response, _) = client.clone().ready().await.unwrap().send_request(get("/"), true).unwrap();
        let mut begun = response.await.unwrap().into_body();
        let next = ask(&client, post("/")).await.unwrap();
        assert_eq!((next.head.status.as_u16(), next.text()), (200, "whole"));
        finish.send(()).unwrap();
        assert_eq!(receive(&mut begun).await.unwrap().0, b"whole");
    });
}

#[test]
fn clients_that_take_nothing_hold_up_nobody_elses_responses_from_the_same_endpoint() {
    let endpoint = Endpoint::new(|request, mut respond| async move {
        let length = if request.uri().path() == "/large" { 300_000 } else { 2 };
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        send_all(&mut stream, vec![b'x'; length].into(), true).await;
    });
    let gateway = endpoint.gateway();
    run(async {
        let (idle, busy) = (connect(gateway.address).await, connect(gateway.address).await);
        let mut unread = Vec::new();
        for _ in 0..40 {
            let (large, _) = idle.clone().ready().await.unwrap().send_request(get("/large"), true).unwrap();
            unread.push(large.await.unwrap());
        }
        for _ in 0..40 {
            assert_eq!(ask(&busy, get("/small")).await.unwrap().text(), "xx");
        }
        assert_eq!(endpoint.connections(), 1);
    });
}

#[test]
fn requests_that_wait_for_the_same_connection_fail_with_it() {
    // One connection waits to be accepted: there is no room for another, and what asks for one is not answered.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let _waiting = std::net::TcpStream::connect(address).unwrap();
    let timeouts = Timeouts { connect: Duration::from_secs(1), ..Timeouts::default() };
    let cluster = Cluster::new("default/full:80".into()).speaking(Upstream::Http2);
    cluster.set_addresses(&[address], Instant::now());
    let gateway = Gateway::with(everything(forward(Arc::new(cluster))), timeouts);
    run(async {
        let client = connect(gateway.address).await;
        let asked: Vec<_> = (0..8)
            .map(|_| {
                let client = client.clone();
                tokio::task::spawn_local(async move { ask(&client, get("/")).await.unwrap().head.status })
            })
            .collect();
        for answered in asked {
            assert_eq!(answered.await.unwrap(), 503);
        }
    });
    eventually(
        &gateway,
        "coracle_gateway_upstream_connections_total{service=\"default/full:80\",result=\"timeout\"} 1",
    );
}

#[test]
fn an_endpoint_that_does_not_speak_http_2_is_a_bad_gateway() {
    let endpoint = support::Endpoint::answering("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    let gateway = to_http2(&[endpoint.address]);
    run(async {
        let status = ask(&connect(gateway.address).await, get("/")).await.unwrap().head.status;
        assert!(status == 502 || status == 503, "{status}");
    });
    let gateway = to_http2(&[nobody()]);
    assert_eq!(support::status(&gateway.client().get("/").0), "503");
}

#[test]
fn an_endpoint_that_is_silent_is_given_up() {
    let endpoint = Endpoint::new(|_, respond| async move {
        std::future::pending::<()>().await;
        drop(respond);
    });
    let timeouts = Timeouts { exchange: Duration::from_millis(300), ..Timeouts::default() };
    let silent = Cluster::new("default/silent:80".into()).speaking(Upstream::Http2);
    silent.set_addresses(&[endpoint.address], Instant::now());
    let gateway = Gateway::with(everything(forward(Arc::new(silent))), timeouts);
    run(async {
        assert_eq!(ask(&connect(gateway.address).await, get("/")).await.unwrap().head.status, 504);
    });
}

#[test]
fn an_endpoint_may_answer_before_it_has_the_body() {
    let endpoint = Endpoint::new(|request, mut respond| async move {
        drop(request);
        let response = Response::builder().status(413).body(()).unwrap();
        _ = respond.send_response(response, true);
    });
    let gateway = endpoint.gateway();
    run(async {
        let client = connect(gateway.address).await;
        let response = send_whole(&client, post("/"), vec![0; 500_000], None).await.unwrap();
        assert_eq!(response.head.status, 413);
    });
}

#[test]
fn requests_that_have_begun_are_finished_before_the_end() {
    let (began, begun) = mpsc::channel();
    let (finish, finished) = mpsc::channel::<()>();
    let (began, finished) = (Mutex::new(began), Mutex::new(finished));
    let endpoint = support::Endpoint::new(move |peer| {
        peer.message();
        began.lock().unwrap().send(()).unwrap();
        _ = finished.lock().unwrap().recv();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
    });
    let gateway = Gateway::to(&[&endpoint]);
    run(async {
        let client = connect(gateway.address).await;
        let (response, _) = client.clone().ready().await.unwrap().send_request(get("/"), true).unwrap();
        let asked = tokio::task::spawn_local(super::whole(response));
        tokio::task::spawn_blocking(move || begun.recv().unwrap()).await.unwrap();
        let ending = gateway.proxy.shutdown(Duration::from_secs(20));
        let asking = async {
            // The connection takes no more requests; the one that has begun is answered.
            while client.clone().ready().await.is_ok() {
                tokio::task::yield_now().await;
            }
            finish.send(()).unwrap();
            asked.await.unwrap().unwrap()
        };
        let ((), response) = tokio::join!(ending, asking);
        assert_eq!(response.text(), "done");
    });
}

#[test]
fn a_connection_without_requests_is_told_to_go() {
    let timeouts = Timeouts { idle: Duration::from_millis(300), ..Timeouts::default() };
    let endpoint = support::Endpoint::saying("hello");
    let gateway = Gateway::with(everything(forward(cluster(&[endpoint.address]))), timeouts);
    let mut raw = frames::Raw::connect(gateway.address);
    raw.send(frames::request(1, frames::END_STREAM, &[]));
    assert_eq!(raw.next_of(frames::DATA).unwrap().payload, b"hello");
    assert_eq!(raw.goaway(), Some(0));
    while raw.next().is_some() {}
}

#[test]
fn a_client_that_takes_nothing_holds_up_nobody_else() {
    let endpoint = support::Endpoint::new(|peer| {
        let (head, _) = peer.message();
        let length = if head.starts_with("GET /large") { 10_000_000 } else { 2 };
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"));
        peer.send_some(vec![b'x'; length]);
    });
    let gateway = Gateway::to(&[&endpoint]);
    run(async {
        let client = connect(gateway.address).await;
        let (large, _) = client.clone().ready().await.unwrap().send_request(get("/large"), true).unwrap();
        let mut large = large.await.unwrap().into_body();
        for _ in 0..20 {
            assert_eq!(ask(&client, get("/small")).await.unwrap().text(), "xx");
        }
        assert_eq!(receive(&mut large).await.unwrap().0.len(), 10_000_000);
    });
}

/// What an endpoint of HTTP/2 says to one request: settings, then a response with a body.
fn said() -> Vec<u8> {
    let head = frames::block(&[(":status", "200"), ("content-length", "5")]);
    [
        frames::frame(frames::SETTINGS, 0, 0, &[]),
        frames::frame(frames::SETTINGS, 1, 0, &[]),
        frames::frame(frames::HEADERS, frames::END_HEADERS, 1, &head),
        frames::frame(frames::DATA, frames::END_STREAM, 1, b"hello"),
    ]
    .concat()
}

#[test]
fn an_endpoint_of_http_2_may_die_at_every_byte() {
    let whole = said().len();
    for length in 0..=whole {
        let endpoint = support::Endpoint::new(move |peer| {
            peer.exactly(frames::PREFACE.len());
            peer.send(&said()[..length]);
        });
        let gateway = to_http2(&[endpoint.address]);
        run(async {
            let client = connect(gateway.address).await;
            match ask(&client, get("/")).await {
                Ok(response) if response.head.status == 200 => {
                    assert!(response.text() == "hello" && length == whole, "{length}: {response:?}");
                }
                Ok(response) => assert!(matches!(response.head.status.as_u16(), 502 | 503), "{length}: {response:?}"),
                Err(error) => assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR), "{length}"),
            }
            // The client's connection is as good as before.
            if let Err(error) = ask(&client, get("/")).await {
                assert!(error.is_reset(), "{length}: {error}");
            }
        });
    }
}

#[test]
fn an_endpoint_of_http_2_that_lies_is_found_out() {
    let respond = |stream: u32, fields: &[(&str, &str)], flags: u8| {
        frames::frame(frames::HEADERS, frames::END_HEADERS | flags, stream, &frames::block(fields))
    };
    let ok = [(":status", "200"), ("content-length", "5")];
    let data = |flags: u8, bytes: &[u8]| frames::frame(frames::DATA, flags, 1, bytes);
    for (what, bytes) in [
        ("less than its length", [respond(1, &ok, 0), data(frames::END_STREAM, b"hell")].concat()),
        ("more than its length", [respond(1, &ok, 0), data(frames::END_STREAM, b"hello, world")].concat()),
        ("two responses", [respond(1, &ok, 0), respond(1, &ok, 0), data(frames::END_STREAM, b"hello")].concat()),
        ("a response that nobody asked for", respond(3, &ok, frames::END_STREAM)),
        ("no status", respond(1, &[("content-length", "0")], frames::END_STREAM)),
        ("a status that is none", respond(1, &[(":status", "1000")], frames::END_STREAM)),
        ("a change of the protocol", respond(1, &[(":status", "101")], frames::END_STREAM)),
        ("a field for the connection", respond(1, &[(":status", "200"), ("connection", "x")], frames::END_STREAM)),
        ("transfer-encoding", respond(1, &[(":status", "200"), ("transfer-encoding", "chunked")], frames::END_STREAM)),
        ("data before the head", data(frames::END_STREAM, b"hello")),
        ("HTTP/1.1", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_vec()),
    ] {
        let bytes = [frames::frame(frames::SETTINGS, 0, 0, &[]), bytes].concat();
        let endpoint = support::Endpoint::new(move |peer| {
            peer.exactly(frames::PREFACE.len());
            peer.send(&bytes);
            peer.rest();
        });
        let gateway = to_http2(&[endpoint.address]);
        run(async {
            match ask(&connect(gateway.address).await, get("/")).await {
                Ok(response) => assert!(matches!(response.head.status.as_u16(), 502 | 503), "{what}: {response:?}"),
                Err(error) => assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR), "{what}"),
            }
        });
    }
}

#[test]
fn a_client_that_never_finishes_is_told_to_go_in_every_phase() {
    let timeouts =
        Timeouts { idle: Duration::from_millis(300), head: Duration::from_millis(300), ..Timeouts::default() };
    let endpoint = support::Endpoint::saying("hello");
    let gateway = Gateway::with(everything(forward(cluster(&[endpoint.address]))), timeouts);
    let settings = frames::frame(frames::SETTINGS, 0, 0, &[]);
    let head = frames::frame(frames::HEADERS, frames::END_STREAM, 1, &frames::block(&[(":method", "GET")]));
    let all = [frames::PREFACE, &settings, &head].concat();
    // The request's path and the rest of it never come.
    let clients = (1..=all.len()).map(|length| {
        let mut client = gateway.client();
        client.send(&all[..length]);
        client
    });
    for mut client in clients.collect::<Vec<_>>() {
        // It ends when the other end closes.
        client.rest();
    }
}

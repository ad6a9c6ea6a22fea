//! `kubectl proxy`: the API on a local port or socket, for tools without credentials.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    process::{Child, Stdio},
};

use testkit::{Coracle, Kubectl};

fn with_every_kubectl(test: impl Fn(&Kubectl, &Coracle)) {
    testkit::with_every_kubectl(env!("CARGO_BIN_EXE_coracle"), test).unwrap();
}

/// Starts a proxy; the line in which it says where it serves.
fn proxy(kubectl: &Kubectl, arguments: &str) -> (Child, String) {
    let mut child = kubectl.command(&format!("proxy {arguments}")).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    (child, line)
}

fn versions(mut stream: impl Read + Write) -> String {
    stream.write_all(b"GET /api HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_proxy_answers_on_a_free_port() {
    with_every_kubectl(|kubectl, _| {
        let (child, line) = proxy(kubectl, "--port=0");
        let address = line.trim().rsplit(' ').next().unwrap();
        let answer = versions(TcpStream::connect(address).unwrap());
        end(child);
        assert!(answer.contains("\"versions\":[\"v1\"]"), "{answer}");
    });
}

#[test]
fn a_proxy_answers_on_a_socket() {
    with_every_kubectl(|kubectl, _| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let (child, _) = proxy(kubectl, &format!("--unix-socket={}", path.display()));
        let answer = versions(UnixStream::connect(&path).unwrap());
        end(child);
        assert!(answer.contains("\"versions\":[\"v1\"]"), "{answer}");
    });
}

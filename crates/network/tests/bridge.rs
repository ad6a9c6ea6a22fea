//! The bridge network on the real kernel, inside network namespaces that the test makes for itself.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

use std::{
    io::Read,
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    path::PathBuf,
    process::Command,
    sync::mpsc,
    thread,
};

use network::bridge::{Bridge, Options};
use nix::{
    sched::{CloneFlags, unshare},
    unistd::{Uid, gettid},
};

/// A thread in a network namespace of its own, standing in for a pod. Runs what it is sent, there.
struct Pod {
    netns: PathBuf,
    run: mpsc::Sender<Box<dyn FnOnce() + Send>>,
}

impl Pod {
    fn start() -> Self {
        let (run, jobs) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let (ready, started) = mpsc::channel();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            ready.send(gettid()).unwrap();
            jobs.into_iter().for_each(|job| job());
        });
        let netns = format!("/proc/{}/task/{}/ns/net", std::process::id(), started.recv().unwrap()).into();
        Self { netns, run }
    }

    /// Sends from its own address, from another's, and from its own again: the second message must not arrive.
    fn cannot_send_from(&self, other: Ipv4Addr, to: &str) {
        let listener = UdpSocket::bind((to, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (done, result) = mpsc::channel();
        let job = move || {
            let own = UdpSocket::bind("0.0.0.0:0").unwrap();
            own.send_to(b"first", address).unwrap();
            let took = Command::new("ip").args(["address", "add", &format!("{other}/32"), "dev", "eth0"]).status();
            if took.is_ok_and(|status| status.success()) {
                UdpSocket::bind((other, 0)).unwrap().send_to(b"forged", address).unwrap();
            }
            own.send_to(b"second", address).unwrap();
            done.send(()).unwrap();
        };
        self.run.send(Box::new(job)).unwrap();
        result.recv().unwrap();
        hears(&listener, ["first", "second"]);
    }

    /// Sends to the machine, to a service's address through the machine, and to the machine again, as one of its neighbours: the
    /// second message must not arrive.
    fn cannot_reach_services_from_outside(&self) {
        let listener = UdpSocket::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let ip = |arguments: &str| Command::new("ip").args(arguments.split(' ')).status().unwrap().success();
        let thread = self.netns.components().nth(4).unwrap().as_os_str().to_str().unwrap();
        assert!(ip(&format!("link add outside type veth peer name machine netns {thread}")));
        assert!(ip("address add 192.0.2.1/24 dev outside") && ip("link set outside up"));
        let (done, result) = mpsc::channel();
        let job = move || {
            assert!(ip("address add 192.0.2.2/24 dev machine") && ip("link set machine up"));
            assert!(ip("route add 10.43.0.0/16 via 192.0.2.1"));
            let socket = UdpSocket::bind("192.0.2.2:0").unwrap();
            for (text, to) in [("first", "192.0.2.1"), ("forbidden", "10.43.7.7"), ("second", "192.0.2.1")] {
                socket.send_to(text.as_bytes(), (to, port)).unwrap();
            }
            done.send(()).unwrap();
        };
        self.run.send(Box::new(job)).unwrap();
        result.recv().unwrap();
        hears(&listener, ["first", "second"]);
    }

    fn fetch(&self, address: String) -> String {
        let (done, result) = mpsc::channel();
        let job = move || {
            let mut text = String::new();
            TcpStream::connect(address).unwrap().read_to_string(&mut text).unwrap();
            done.send(text).unwrap();
        };
        self.run.send(Box::new(job)).unwrap();
        result.recv().unwrap()
    }
}

fn hears(listener: &UdpSocket, messages: [&str; 2]) {
    let mut buffer = [0; 16];
    for expected in messages {
        let length = listener.recv(&mut buffer).unwrap();
        assert_eq!(String::from_utf8_lossy(&buffer[..length]), expected);
    }
}

/// What `ip` says of the bridge's hardware address; nothing where there is no `ip`.
fn hardware_address() -> Option<String> {
    let shown = Command::new("ip").args(["-o", "link", "show", "coracle0"]).output().ok()?;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    shown.split_once("link/ether ").map(|(_, address)| address.to_owned())
}

/// Answers one connection with the address that it came from.
fn serve_once(address: &str) -> String {
    let listener = TcpListener::bind(address).unwrap();
    let bound = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let (mut stream, peer) = listener.accept().unwrap();
        std::io::Write::write_all(&mut stream, peer.ip().to_string().as_bytes()).unwrap();
    });
    bound
}

#[test]
fn pods_reach_services_from_their_own_address_and_give_it_back() {
    if !Uid::effective().is_root() {
        eprintln!("skipped: making network namespaces needs root");
        return;
    }
    // The machine's part of the test also gets a namespace of its own, so that it changes nothing outside.
    let machine = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let bridge = Bridge::open(Options::default()).await.unwrap();
            assert!(Bridge::open(Options::default()).await.is_err(), "a second Coracle must be refused");
            let address = hardware_address();
            let (one, two) = (Pod::start(), Pod::start());
            let first = bridge.attach("one", &one.netns).await.unwrap();
            let second = bridge.attach("two", &two.netns).await.unwrap();
            assert_ne!(first, second);
            assert_eq!(bridge.attach("one", &one.netns).await.unwrap(), first, "repeating it changes nothing");

            assert_eq!(one.fetch(serve_once("10.43.7.7:0")), first.to_string());
            assert_eq!(two.fetch(serve_once(&format!("{}:0", bridge.gateway()))), second.to_string());

            let missing = ["nft", "ip"].into_iter().find(|name| Command::new(name).arg("-V").output().is_err());
            match missing {
                None => {
                    one.cannot_send_from(second, &bridge.gateway().to_string());
                    Pod::start().cannot_reach_services_from_outside();
                }
                Some(name) => eprintln!("skipped: there is no {name} to guard pods and services with"),
            }

            drop(bridge);
            let flushed = Command::new("nft").args(["flush", "ruleset"]).status();
            let bridge = Bridge::open(Options::default()).await.unwrap();
            bridge.adopt("one", first).await.unwrap();
            let again = one.fetch(serve_once("10.43.7.7:0"));
            assert_eq!(again, first.to_string(), "a pod found again is let through (rules flushed: {flushed:?})");

            bridge.detach("one").await.unwrap();
            bridge.detach("one").await.unwrap();
            assert_eq!(hardware_address(), address, "the other pods know the bridge by it");
            bridge.remove().await.unwrap();
        });
    });
    machine.join().unwrap();
}

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
        let mut buffer = [0; 16];
        for expected in ["first", "second"] {
            let length = listener.recv(&mut buffer).unwrap();
            assert_eq!(String::from_utf8_lossy(&buffer[..length]), expected);
        }
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
            let (one, two) = (Pod::start(), Pod::start());
            let first = bridge.attach("one", &one.netns).await.unwrap();
            let second = bridge.attach("two", &two.netns).await.unwrap();
            assert_ne!(first, second);
            assert_eq!(bridge.attach("one", &one.netns).await.unwrap(), first, "repeating it changes nothing");

            assert_eq!(one.fetch(serve_once("10.43.7.7:0")), first.to_string());
            assert_eq!(two.fetch(serve_once(&format!("{}:0", bridge.gateway()))), second.to_string());

            match Command::new("nft").arg("--version").output() {
                Ok(_) => one.cannot_send_from(second, &bridge.gateway().to_string()),
                Err(_) => eprintln!("skipped: there is no nft to keep pods to their addresses"),
            }

            bridge.detach("one").await.unwrap();
            bridge.detach("one").await.unwrap();
            bridge.remove().await.unwrap();
        });
    });
    machine.join().unwrap();
}

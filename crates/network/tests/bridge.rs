//! The bridge network on the real kernel, inside network namespaces that the test makes for itself.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

use std::{
    io::Read,
    net::{TcpListener, TcpStream},
    path::PathBuf,
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

            bridge.detach("one").await.unwrap();
            bridge.detach("one").await.unwrap();
            bridge.remove().await.unwrap();
        });
    });
    machine.join().unwrap();
}

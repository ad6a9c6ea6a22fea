//! The running binary is replaced: nobody who connects or asks meanwhile notices.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::{
    net::{SocketAddr, TcpListener},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use testkit::{
    Coracle, Kubectl, Load, get,
    systems::{GATEWAY, HELLO, route},
};

/// Clients that open a connection for every request, beside those that keep theirs.
struct Crowd {
    kept: Load,
    stop: Arc<AtomicBool>,
    opened: Arc<AtomicU64>,
    openers: Vec<JoinHandle<Vec<String>>>,
}

impl Crowd {
    fn new(address: SocketAddr) -> Self {
        let (stop, opened) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let opener = || {
            let (stop, opened) = (stop.clone(), opened.clone());
            thread::spawn(move || {
                let mut failures = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    match get(address, "/") {
                        Ok(response) if response.starts_with("HTTP/1.1 200 ") => {
                            opened.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(response) => failures.push(response),
                        Err(error) => failures.push(error.to_string()),
                    }
                }
                failures
            })
        };
        let openers = (0..2).map(|_| opener()).collect();
        Self { kept: Load::start(address, 2), stop, opened, openers }
    }

    /// Waits for so many more answers of both kinds.
    fn more(&self, count: u64) {
        let now = || (self.kept.requests(), self.opened.load(Ordering::Relaxed));
        let (kept, opened) = now();
        while now().0 < kept + count || now().1 < opened + count {
            thread::yield_now();
        }
    }

    /// What failed.
    fn finish(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let opened = self.openers.into_iter().flat_map(|opener| opener.join().unwrap());
        self.kept.finish().into_iter().chain(opened).collect()
    }
}

fn serving() -> Coracle {
    let rule = "{backendRefs: [{name: hello, port: 80}]}";
    Coracle::serving(env!("CARGO_BIN_EXE_coracle"), &[GATEWAY, HELLO, &route(rule)].concat()).unwrap()
}

#[test]
fn replacing_the_running_process_costs_no_connection_and_no_request() {
    let mut coracle = serving();
    let (address, shims) = (coracle.gateway(80).unwrap(), coracle.shims());
    let crowd = Crowd::new(address);
    crowd.more(50);
    for _ in 0..3 {
        let before = coracle.pid();
        coracle.replace(&[]).unwrap();
        assert_ne!(coracle.pid(), before);
        assert_eq!(coracle.gateway(80), Some(address));
        crowd.more(100);
    }
    assert_eq!(crowd.finish(), Vec::<String>::new());
    assert_eq!(coracle.shims(), shims, "the pods run on");
    // The kubeconfig from before the replacements holds: the API answers at the same address.
    if let Some(kubectl) = Kubectl::any(&coracle.kubeconfig()) {
        kubectl.run("get pods").unwrap();
    }
}

#[test]
fn a_new_process_that_fails_leaves_the_old_one_serving() {
    let mut coracle = serving();
    let crowd = Crowd::new(coracle.gateway(80).unwrap());
    crowd.more(50);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let publish = format!("{}:81", taken.local_addr().unwrap().port());
    // The port that it is to publish as well is somebody else's.
    coracle.replace_in_vain(&["--replace", "--publish", &publish]).unwrap();
    coracle.wait_for("takenBack").unwrap();
    coracle.wait_for("up").unwrap();
    crowd.more(100);
    // And it can be replaced all the same.
    coracle.replace(&[]).unwrap();
    crowd.more(100);
    assert_eq!(crowd.finish(), Vec::<String>::new());
}

#[test]
fn a_signal_starts_the_next_version_of_the_program() {
    let mut coracle = serving();
    let crowd = Crowd::new(coracle.gateway(80).unwrap());
    crowd.more(50);
    let successor = coracle.upgrade().unwrap();
    crowd.more(100);
    assert_eq!(crowd.finish(), Vec::<String>::new());
    assert!(Command::new("kill").args(["-s", "INT", &successor.to_string()]).status().unwrap().success());
    coracle.wait_for("stopped").unwrap();
}

#[test]
fn a_second_process_that_does_not_ask_to_take_over_is_refused() {
    let coracle = serving();
    coracle.replace_in_vain(&[]).unwrap();
    assert!(get(coracle.gateway(80).unwrap(), "/").unwrap().starts_with("HTTP/1.1 200 "));
}

//! Clients of both kinds at once: those that keep their connection, and those that open one for each request.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use crate::{Load, get};

/// Clients that open a connection for every request, beside those that keep theirs.
#[derive(Debug)]
pub struct Crowd {
    kept: Load,
    stop: Arc<AtomicBool>,
    opened: Arc<AtomicU64>,
    openers: Vec<JoinHandle<Vec<String>>>,
}

impl Crowd {
    /// Starts two of each.
    pub fn new(address: SocketAddr) -> Self {
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
    pub fn more(&self, count: u64) {
        let now = || (self.kept.requests(), self.opened.load(Ordering::Relaxed));
        let (kept, opened) = now();
        while now().0 < kept + count || now().1 < opened + count {
            thread::yield_now();
        }
    }

    /// What failed.
    pub fn finish(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let opened = self
            .openers
            .into_iter()
            .flat_map(|opener| opener.join().unwrap_or_else(|_| vec!["a client panicked".into()]));
        self.kept.finish().into_iter().chain(opened).collect()
    }
}

//! Where lines go: a bounded buffer in memory, written out by a thread of its own, so that no request waits for a slow reader of the
//! log. What does not fit is lost and counted.

use std::{
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use prometheus::IntCounter;

/// Bytes that wait to be written; lines past that are lost.
const BUFFER: usize = 1024 * 1024;
/// Bytes past which the writer no longer waits for more.
const ENOUGH: usize = 32 * 1024;
/// How long a line waits for company: one write then takes many lines.
const GATHER: Duration = Duration::from_millis(5);
/// How long [`Sink::flush`] waits for a reader that does not read.
const FLUSH: Duration = Duration::from_secs(2);

/// A bounded buffer of lines and the thread that writes them out. Clones share it.
#[derive(Clone)]
pub struct Sink(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// There is something to write, or no more will come.
    wake: Condvar,
    /// Everything is written.
    written: Condvar,
    lost: IntCounter,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    writing: bool,
    flushing: bool,
    closed: bool,
    /// Lines lost since the last line that says so.
    lost: u64,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink {
    /// Lines go to `out`, by a thread that ends when the last clone is gone.
    ///
    /// # Errors
    /// There can be no more threads.
    pub fn new(out: impl Write + Send + 'static) -> io::Result<Self> {
        let lost =
            IntCounter::new("log_lines_lost_total", "Log lines lost because they could not be written fast enough")
                .map_err(io::Error::other)?;
        let shared = Arc::new(Shared { state: Mutex::default(), wake: Condvar::new(), written: Condvar::new(), lost });
        let thread = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("log".to_owned())
            .stack_size(64 * 1024)
            .spawn(move || write_out(&thread, out))?;
        Ok(Self(shared))
    }

    /// Takes a line (with its line break), or loses it. Never waits for the reader of the log.
    pub fn write(&self, line: &[u8]) {
        let mut state = self.0.lock();
        let before = state.waiting.len();
        if before + line.len() > BUFFER {
            state.lost += 1;
            self.0.lost.inc();
            return;
        }
        state.waiting.extend_from_slice(line);
        let after = state.waiting.len();
        drop(state);
        if before == 0 || (before < ENOUGH && after >= ENOUGH) {
            self.0.wake.notify_one();
        }
    }

    /// Waits until all lines are written, at most two seconds.
    pub fn flush(&self) {
        let mut state = self.0.lock();
        state.flushing = true;
        self.0.wake.notify_one();
        let busy = |state: &mut State| state.writing || !state.waiting.is_empty();
        let mut state = self.0.written.wait_timeout_while(state, FLUSH, busy).unwrap_or_else(PoisonError::into_inner).0;
        state.flushing = false;
    }

    /// Lines lost so far.
    pub fn lost(&self) -> IntCounter {
        self.0.lost.clone()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // The thread has the other one.
        if Arc::strong_count(&self.0) <= 2 {
            self.0.lock().closed = true;
            self.0.wake.notify_one();
        }
    }
}

fn write_out(shared: &Shared, mut out: impl Write) {
    let mut lines = Vec::new();
    let mut state = shared.lock();
    loop {
        while state.waiting.is_empty() && !state.closed {
            shared.written.notify_all();
            state = shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let alone = |s: &mut State| s.waiting.len() < ENOUGH && !s.flushing && !s.closed;
        state = shared.wake.wait_timeout_while(state, GATHER, alone).unwrap_or_else(PoisonError::into_inner).0;
        if state.waiting.is_empty() && state.closed {
            return;
        }
        std::mem::swap(&mut lines, &mut state.waiting);
        let lost = std::mem::take(&mut state.lost);
        state.writing = true;
        drop(state);
        if lost > 0 {
            let now = jiff::Timestamp::now();
            // A vector takes what it is given.
            let _ = writeln!(
                lines,
                r#"{{"timestamp":"{now:.6}","level":"warn","stream":"application","message":"log lines were lost","lost":{lost}}}"#
            );
        }
        // A log that nobody reads any more is no reason to stop serving.
        let _ = out.write_all(&lines).and_then(|()| out.flush());
        lines.clear();
        lines.shrink_to(2 * ENOUGH);
        state = shared.lock();
        state.writing = false;
    }
}

//! A task that wakes itself goes on at once, on the thread that it is on.
//!
//! The runtime takes such a task for one that gives way: it goes to the end of the queue, and another thread is woken to take it
//! over. hyper wakes its own connection whenever a handler begins to read a body, so that every write would wake a thread that has
//! nothing to do: on an idle machine that costs more than the write.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures::task::AtomicWaker;

/// How often a future that wakes itself is asked in a row; then it gives way, as the runtime wants it.
const TURNS: usize = 4;

/// Waits to be woken.
const IDLE: u8 = 0;
/// Is being asked.
const ASKED: u8 = 1;
/// Was woken since it was last asked.
const WOKEN: u8 = 2;

struct State {
    state: AtomicU8,
    /// Who is to be woken where it waits.
    task: AtomicWaker,
}

impl Wake for State {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Whoever is asking it sees that by itself.
        if self.state.swap(WOKEN, Ordering::AcqRel) == IDLE {
            self.task.wake();
        }
    }
}

/// A future that is asked again at once where it was woken while it was asked.
pub(crate) struct Again<F> {
    future: Pin<Box<F>>,
    state: Arc<State>,
    waker: Waker,
}

impl<F: Future> Again<F> {
    pub(crate) fn new(future: F) -> Self {
        let state = Arc::new(State { state: AtomicU8::new(IDLE), task: AtomicWaker::new() });
        Self { future: Box::pin(future), waker: state.clone().into(), state }
    }
}

impl<F: Future> Future for Again<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        this.state.task.register(task.waker());
        for _ in 0..TURNS {
            // What others did before they woke it is to be seen from here on, so that this reads what it overwrites.
            this.state.state.swap(ASKED, Ordering::AcqRel);
            if let Poll::Ready(output) = this.future.as_mut().poll(&mut Context::from_waker(&this.waker)) {
                return Poll::Ready(output);
            }
            let waits = this.state.state.compare_exchange(ASKED, IDLE, Ordering::AcqRel, Ordering::Acquire);
            if waits.is_ok() {
                return Poll::Pending;
            }
        }
        task.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::atomic::AtomicUsize, thread};

    use tokio::sync::oneshot;

    use super::*;

    /// How often a task was woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn ask<F: Future>(future: &mut Pin<Box<Again<F>>>, woken: &Arc<Woken>) -> Poll<F::Output> {
        future.as_mut().poll(&mut Context::from_waker(&woken.clone().into()))
    }

    /// A future that wakes itself so often before it is done.
    fn wakes_itself(mut times: usize) -> Pin<Box<Again<impl Future<Output = ()>>>> {
        Box::pin(Again::new(poll_fn(move |task| {
            if times == 0 {
                return Poll::Ready(());
            }
            times -= 1;
            task.waker().wake_by_ref();
            Poll::Pending
        })))
    }

    #[test]
    fn a_future_that_wakes_itself_goes_on_without_its_task_being_woken() {
        let woken = Arc::new(Woken::default());
        assert!(ask(&mut wakes_itself(TURNS - 1), &woken).is_ready());
        assert_eq!(woken.0.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_future_that_wakes_itself_for_ever_gives_way() {
        let (woken, mut future) = (Arc::new(Woken::default()), wakes_itself(2 * TURNS));
        for turn in 1..=2 {
            assert!(ask(&mut future, &woken).is_pending());
            assert_eq!(woken.0.load(Ordering::SeqCst), turn);
        }
        assert!(ask(&mut future, &woken).is_ready());
    }

    #[test]
    fn a_future_that_waits_is_woken_by_others() {
        let (woken, (tell, told)) = (Arc::new(Woken::default()), oneshot::channel());
        let mut future = Box::pin(Again::new(told));
        assert!(ask(&mut future, &woken).is_pending());
        assert_eq!(woken.0.load(Ordering::SeqCst), 0);
        thread::spawn(move || tell.send(7)).join().unwrap().unwrap();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert_eq!(ask(&mut future, &woken), Poll::Ready(Ok(7)));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_wake_is_lost_whenever_it_comes() {
        for _ in 0..2_000 {
            let (tell, told) = oneshot::channel();
            let (back, answered) = oneshot::channel();
            let one = tokio::spawn(Again::new(async move {
                let told = told.await;
                back.send(told).unwrap();
            }));
            let other = tokio::spawn(Again::new(async move {
                tell.send(1).unwrap();
                answered.await
            }));
            one.await.unwrap();
            assert_eq!(other.await.unwrap(), Ok(Ok(1)));
        }
    }
}

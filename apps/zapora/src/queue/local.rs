//! The queue within one process. What it holds when the process dies is in the outbox still.

use tokio::sync::{Mutex, mpsc};

use super::{Delivery, Queue, QueueError};

/// A bounded channel of job ids.
#[derive(Debug)]
pub struct Local {
    sender: mpsc::Sender<String>,
    receiver: Mutex<mpsc::Receiver<String>>,
}

impl Local {
    /// A queue that holds up to `bound` jobs; whoever adds more waits.
    pub fn new(bound: usize) -> Self {
        let (sender, receiver) = mpsc::channel(bound.max(1));
        Self { sender, receiver: Mutex::new(receiver) }
    }
}

impl Queue for Local {
    async fn push(&self, jobs: &[String]) -> Result<(), QueueError> {
        for job in jobs {
            // The receiver lives as long as the queue: this waits for room and does not fail.
            self.sender.send(job.clone()).await.map_err(|_| QueueError::Full)?;
        }
        Ok(())
    }

    async fn take(&self, most: usize) -> Result<Vec<Delivery>, QueueError> {
        let mut jobs = Vec::new();
        self.receiver.lock().await.recv_many(&mut jobs, most).await;
        Ok(jobs.into_iter().map(|job| Delivery { job, receipt: String::new() }).collect())
    }

    async fn settle(&self, _: &[Delivery]) -> Result<(), QueueError> {
        Ok(())
    }
}

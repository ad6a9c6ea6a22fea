//! The parts' tasks: each is told when to stop, and the first that ends before that is reported.

use std::fmt::Display;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How a part ended.
type Ending = (&'static str, anyhow::Result<()>);

/// The running parts.
#[derive(Debug)]
pub struct Tasks {
    set: JoinSet<Ending>,
    stop: CancellationToken,
}

impl Tasks {
    /// No parts yet.
    pub fn new() -> Self {
        Self { set: JoinSet::new(), stop: CancellationToken::new() }
    }

    /// Starts a part; it should run until its token is cancelled.
    pub fn spawn<F, E>(&mut self, name: &'static str, part: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<anyhow::Error> + Display,
    {
        let work = part(self.stop.clone());
        self.set.spawn(async move { (name, work.await.map_err(Into::into)) });
    }

    /// Resolves when a part failed; a part that ended well is done and not missed.
    pub async fn failed(&mut self) -> anyhow::Error {
        while let Some(ended) = self.set.join_next().await {
            match ended {
                Ok((_, Ok(()))) => {}
                Ok((name, Err(error))) => return error.context(format!("the {name} failed")),
                Err(panic) => return anyhow::Error::new(panic).context("a part panicked"),
            }
        }
        anyhow::anyhow!("every part ended")
    }

    /// Tells every part to stop and waits for all of them.
    pub async fn stop(&mut self) {
        self.stop.cancel();
        while let Some(ended) = self.set.join_next().await {
            if let Ok((name, Err(error))) = ended {
                tracing::warn!("{name}: {error:#}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_failure_is_reported_with_its_part() {
        let mut tasks = Tasks::new();
        tasks.spawn("good", |stop| async move {
            stop.cancelled().await;
            Ok::<_, std::io::Error>(())
        });
        tasks.spawn("bad", |_| async { Err(std::io::Error::other("no")) });
        assert_eq!(format!("{:#}", tasks.failed().await), "the bad failed: no");
        tasks.stop().await;
    }
}

//! The queue in Redis.

use std::{collections::HashSet, sync::Arc, time::Duration};

use service::config::Secret;
use tokio::task::JoinSet;
use zapora::queue::{Queue, QueueError, Redis, RedisSettings};

use crate::support;

fn queue(server: &support::Redis, visibility: Duration) -> Redis {
    Redis::new(&Secret::new(server.url()), RedisSettings { visibility, ..RedisSettings::default() }).unwrap()
}

fn jobs(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("job-{n}")).collect()
}

/// Takes until there is something.
async fn take(queue: &Redis, most: usize) -> Vec<zapora::queue::Delivery> {
    support::until("a delivery", || async {
        let taken = queue.take(most).await.unwrap();
        (!taken.is_empty()).then_some(taken)
    })
    .await
}

#[tokio::test]
async fn what_a_dead_worker_held_is_delivered_again() {
    let Some(server) = support::redis() else { return };
    let visibility = Duration::from_millis(300);
    let (doomed, other) = (queue(&server, visibility), queue(&server, visibility));
    doomed.push(&jobs(3)).await.unwrap();
    assert_eq!(take(&doomed, 10).await.len(), 3);
    drop(doomed);
    let taken = take(&other, 10).await;
    assert_eq!(taken.iter().map(|d| d.job.as_str()).collect::<Vec<_>>(), ["job-0", "job-1", "job-2"]);
    other.settle(&taken).await.unwrap();
    other.push(&["last".to_owned()]).await.unwrap();
    assert_eq!(take(&other, 10).await[0].job, "last", "what is settled does not come again");
}

#[tokio::test]
async fn a_full_queue_says_so() {
    let Some(server) = support::redis() else { return };
    let queue = Redis::new(&Secret::new(server.url()), RedisSettings { bound: 2, ..RedisSettings::default() }).unwrap();
    queue.push(&jobs(2)).await.unwrap();
    assert!(matches!(queue.push(&jobs(1)).await, Err(QueueError::Full)));
}

#[tokio::test]
async fn a_redis_that_has_forgotten_everything_is_used_again() {
    let Some(mut server) = support::redis() else { return };
    let queue = queue(&server, Duration::from_secs(60));
    queue.push(&jobs(1)).await.unwrap();
    assert_eq!(take(&queue, 1).await.len(), 1);
    server.kill().unwrap();
    assert!(matches!(queue.push(&jobs(1)).await, Err(QueueError::Unavailable(_))));
    server.restart().unwrap();
    support::until("a push", || async { queue.push(&jobs(1)).await.ok() }).await;
    let taken =
        support::until("a delivery", || async { queue.take(1).await.ok().filter(|taken| !taken.is_empty()) }).await;
    assert_eq!(taken[0].job, "job-0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_workers_lose_no_job_and_do_none_twice() {
    const JOBS: usize = 20_000;
    let Some(server) = support::redis() else { return };
    let queue = Arc::new(queue(&server, Duration::from_secs(60)));
    let started = std::time::Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..4 {
        let queue = queue.clone();
        workers.spawn(async move {
            let mut done = Vec::new();
            loop {
                let taken = queue.take(128).await.unwrap();
                queue.settle(&taken).await.unwrap();
                let last = taken.iter().any(|d| d.job == "stop");
                done.extend(taken.into_iter().map(|d| d.job).filter(|job| job != "stop"));
                if last {
                    return done;
                }
            }
        });
    }
    for batch in jobs(JOBS).chunks(256) {
        queue.push(batch).await.unwrap();
    }
    let mut done = Vec::new();
    for _ in 0..4 {
        // One at a time: a worker may take several at once.
        queue.push(&["stop".to_owned()]).await.unwrap();
        done.extend(workers.join_next().await.unwrap().unwrap());
    }
    eprintln!("{:.0} jobs/s through Redis", JOBS as f64 / started.elapsed().as_secs_f64());
    assert_eq!(done.len(), JOBS);
    assert_eq!(done.into_iter().collect::<HashSet<_>>().len(), JOBS);
}

//! Which of several processes writes statuses: the one that holds a Lease. All of them serve.
//!
//! As client-go elects: a holder renews its Lease; who sees it unchanged for the Lease's duration, by the own clock, takes it.
//! Clocks of different machines are never compared.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

/// For how long a Lease holds when its holder does not renew it.
const DURATION: Duration = Duration::from_secs(15);
/// A holder that has not been able to renew for this long takes itself for replaced, some time before it is.
const DEADLINE: Duration = Duration::from_secs(10);
/// Between two looks at the Lease.
const LOOK: Duration = Duration::from_secs(2);

/// Who runs for what.
#[derive(Debug, Clone)]
pub struct Election {
    /// The Lease's namespace.
    pub namespace: String,
    /// The Lease's name.
    pub name: String,
    /// This process: no other may have the same.
    pub identity: String,
}

/// What follows from a look at the Lease.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    /// It is held here.
    Renew,
    /// It is free.
    Take,
    /// Somebody else holds it.
    Wait,
}

/// `unchanged`: for how long the Lease has been seen as it is.
fn decide(lease: &LeaseSpec, identity: &str, unchanged: Duration) -> Decision {
    let duration = lease.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    match lease.holder_identity.as_deref() {
        Some(holder) if holder == identity => Decision::Renew,
        None | Some("") => Decision::Take,
        Some(_) if unchanged >= duration.map_or(DURATION, Duration::from_secs) => Decision::Take,
        Some(_) => Decision::Wait,
    }
}

/// The Lease as its holder writes it.
fn held(before: &LeaseSpec, identity: &str, now: Timestamp) -> LeaseSpec {
    let stays = before.holder_identity.as_deref() == Some(identity);
    let acquired = before.acquire_time.clone().filter(|_| stays);
    LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
        acquire_time: acquired.or(Some(MicroTime(now))),
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(before.lease_transitions.unwrap_or(0) + i32::from(!stays)),
        ..before.clone()
    }
}

/// Takes part in an election until `stop`, and says when this process begins and ceases to be the one. A Lease that is held at
/// the end is given up, so that another process takes it at once.
pub async fn run(client: Client, election: Election, leading: watch::Sender<bool>, stop: CancellationToken) {
    let api = Api::namespaced(client, &election.namespace);
    let mut candidate = Candidate { api, election, seen: None };
    let mut renewed: Option<Instant> = None;
    loop {
        // Of the time before the request: by when it is answered, the others count from when it was written.
        let begun = Instant::now();
        // An API that does not answer must not keep a holder in the belief that it is one.
        let left = renewed.map_or(DEADLINE, |renewed| DEADLINE.saturating_sub(renewed.elapsed()));
        let looked = tokio::select! {
            () = stop.cancelled() => break,
            looked = timeout(left, candidate.look()) => looked,
        };
        let failed = match looked {
            Ok(Ok(holds)) => {
                renewed = holds.then_some(begun);
                None
            }
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("the API has not answered for {} s", left.as_secs())),
        };
        if let Some(error) = failed {
            tracing::warn!(lease = candidate.election.name, error, "leader election");
            renewed = renewed.filter(|renewed| renewed.elapsed() < DEADLINE);
        }
        leading.send_if_modified(|leading| std::mem::replace(leading, renewed.is_some()) != renewed.is_some());
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
    if renewed.is_some() {
        leading.send_replace(false);
        match timeout(LOOK, candidate.resign()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(lease = candidate.election.name, error = %error, "the lease was not given up");
            }
            Err(_) => tracing::warn!(lease = candidate.election.name, "the lease was not given up: no answer"),
        }
    }
}

struct Candidate {
    api: Api<Lease>,
    election: Election,
    /// The Lease as it was seen last, and since when.
    seen: Option<(LeaseSpec, Instant)>,
}

impl Candidate {
    /// Whether the Lease is held after this look.
    async fn look(&mut self) -> kube::Result<bool> {
        let Election { namespace, name, identity } = &self.election;
        let Some(mut lease) = self.api.get_opt(name).await? else {
            let metadata =
                ObjectMeta { name: Some(name.clone()), namespace: Some(namespace.clone()), ..ObjectMeta::default() };
            let spec = Some(held(&LeaseSpec::default(), identity, Timestamp::now()));
            let made = self.api.create(&PostParams::default(), &Lease { metadata, spec }).await;
            return won(made);
        };
        let spec = lease.spec.take().unwrap_or_default();
        let unchanged = match &self.seen {
            Some((seen, since)) if *seen == spec => since.elapsed(),
            _ => {
                self.seen = Some((spec.clone(), Instant::now()));
                Duration::ZERO
            }
        };
        if decide(&spec, identity, unchanged) == Decision::Wait {
            return Ok(false);
        }
        lease.spec = Some(held(&spec, identity, Timestamp::now()));
        // With the version that was read: of two that take it, one fails.
        won(self.api.replace(name, &PostParams::default(), &lease).await)
    }

    async fn resign(&self) -> kube::Result<()> {
        let mut lease = self.api.get(&self.election.name).await?;
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_ref() != Some(&self.election.identity) {
            return Ok(());
        }
        spec.holder_identity = None;
        self.api.replace(&self.election.name, &PostParams::default(), &lease).await.map(drop)
    }
}

/// Somebody else may have been quicker.
fn won(written: kube::Result<Lease>) -> kube::Result<bool> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
    };

    use http::{Request, Response};
    use kube::client::Body;

    use super::*;

    /// An API that has given the Lease to `me`, and answers as long as it is told to.
    fn api(answers: Arc<AtomicBool>) -> Client {
        let service = tower::service_fn(move |_: Request<Body>| {
            let answers = answers.load(Ordering::Relaxed);
            async move {
                if !answers {
                    std::future::pending::<()>().await;
                }
                let lease = Lease { spec: Some(of(Some("me"))), ..Lease::default() };
                let text = serde_json::to_vec(&lease).unwrap();
                Ok::<_, Infallible>(Response::new(Body::from(text)))
            }
        });
        Client::new(service, "default")
    }

    #[tokio::test(start_paused = true)]
    async fn who_gets_no_answer_ceases_to_lead_before_others_take_the_lease_and_ends_when_told_to() {
        let (answers, stop) = (Arc::new(AtomicBool::new(true)), CancellationToken::new());
        let election = Election { namespace: "n".into(), name: "l".into(), identity: "me".into() };
        let (lead, mut leading) = watch::channel(false);
        let running = tokio::spawn(run(api(answers.clone()), election, lead, stop.clone()));
        leading.wait_for(|leading| *leading).await.unwrap();
        answers.store(false, Ordering::Relaxed);
        let silent = Instant::now();
        leading.wait_for(|leading| !*leading).await.unwrap();
        assert!(silent.elapsed() < DURATION, "{:?}", silent.elapsed());
        answers.store(true, Ordering::Relaxed);
        leading.wait_for(|leading| *leading).await.unwrap();
        answers.store(false, Ordering::Relaxed);
        let asked = Instant::now();
        stop.cancel();
        running.await.unwrap();
        assert!(asked.elapsed() <= LOOK, "{:?}", asked.elapsed());
    }

    fn of(holder: Option<&str>) -> LeaseSpec {
        LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: Some(15),
            lease_transitions: Some(3),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn a_lease_is_taken_when_nobody_holds_it_or_its_holder_has_not_been_heard_of_for_its_duration() {
        let after = Duration::from_secs;
        assert_eq!(decide(&of(None), "me", after(0)), Decision::Take);
        assert_eq!(decide(&of(Some("")), "me", after(0)), Decision::Take);
        assert_eq!(decide(&of(Some("me")), "me", after(100)), Decision::Renew);
        assert_eq!(decide(&of(Some("you")), "me", after(14)), Decision::Wait);
        assert_eq!(decide(&of(Some("you")), "me", after(15)), Decision::Take);
    }

    #[test]
    fn a_holder_keeps_the_time_since_when_and_a_new_one_counts_as_a_transition() {
        let (early, late): (Timestamp, Timestamp) =
            ("2026-01-01T00:00:00Z".parse().unwrap(), "2026-01-01T00:01:00Z".parse().unwrap());
        let taken = held(&of(Some("you")), "me", early);
        assert_eq!((taken.lease_transitions, taken.acquire_time.clone()), (Some(4), Some(MicroTime(early))));
        let renewed = held(&taken, "me", late);
        assert_eq!((renewed.lease_transitions, renewed.acquire_time), (Some(4), Some(MicroTime(early))));
        assert_eq!(renewed.renew_time, Some(MicroTime(late)));
    }
}

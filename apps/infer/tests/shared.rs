//! Jobs in Redis: any replica takes, does, tells, retries and cancels any job, and none is lost with a worker or with Redis' process.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

mod support;

use std::{path::Path, process::Stdio, sync::atomic::Ordering, time::Duration};

use infer::{
    Config,
    jobs::{Bounds, Retries},
    rules::Ruleset,
};
use reqwest::Method;
use serde_json::{Value, json};
use service::config::Secret;
use support::{Infer, PATIENCE, Risk, asking, asking_in_json, facts, later, soon};
use testkit::databases::Redis;
use tokio::{
    io::{AsyncBufReadExt, BufReader, copy_bidirectional},
    net::{TcpListener, UnixStream},
    process::{Child, Command},
};
use tokio_rustls::{TlsAcceptor, rustls};
use tokio_util::sync::CancellationToken;

/// A Redis of the test's own that keeps what it is told, unless none is installed.
fn redis() -> Option<Redis> {
    let started = Redis::start_keeping().unwrap();
    if started.is_none() {
        println!("skipped: Redis is not installed (apt-get install redis-server)");
    }
    started
}

fn config(redis: &Redis) -> Config {
    Config {
        redis: Some(Secret::new(redis.url())),
        retries: soon(),
        lease: Duration::from_secs(3),
        ..Config::default()
    }
}

/// A replica that does no jobs itself.
fn idle(redis: &Redis) -> Config {
    Config { workers: 0, ..config(redis) }
}

fn path(job: &Value) -> String {
    format!("/v1/jobs/{}", job["id"].as_str().unwrap())
}

#[tokio::test]
async fn any_replica_tells_of_any_job() {
    let Some(redis) = redis() else { return };
    let one = Infer::with(&idle(&redis), Ruleset::built_in().unwrap()).await;
    let two = Infer::with(&config(&redis), Ruleset::built_in().unwrap()).await;
    let jobs: Vec<Value> = futures::future::join_all(
        (0..5).map(|_| async { one.post("/v1/infer", &json!({"facts": facts(), "mode": "async"})).await.1 }),
    )
    .await;
    for job in &jobs {
        let done = one.job(&job["id"], "succeeded").await;
        let (here, there) =
            (one.get(done["result"].as_str().unwrap()).await, two.get(done["result"].as_str().unwrap()).await);
        assert_eq!((here.0.as_u16(), &here.1), (200, &there.1));
        assert_eq!(here.1, two.post("/v1/infer", &json!({"facts": facts()})).await.1, "the same as at once");
    }
    let mut names: Vec<_> = jobs.iter().map(|job| job["id"].clone()).collect();
    names.sort_unstable_by(|a, b| b.as_str().cmp(&a.as_str()));
    for replica in [&one, &two] {
        let (first, rest) = (replica.get("/v1/jobs?limit=2&state=succeeded").await.1, "/v1/jobs?before=");
        let rest = replica.get(&format!("{rest}{}", first["next"].as_str().unwrap())).await.1;
        let told = [&first, &rest].into_iter().flat_map(|page| page["jobs"].as_array().unwrap());
        assert_eq!(told.map(|job| job["id"].clone()).collect::<Vec<_>>(), names);
        assert_eq!(replica.get("/v1/jobs?state=queued").await.1["jobs"], json!([]));
    }
    assert_eq!(one.get("/v1/jobs/0198c0de-0000-7000-8000-000000000000").await.0, 404);
}

#[tokio::test]
async fn a_job_is_cancelled_and_retried_by_any_replica() {
    let Some(redis) = redis() else { return };
    let (risk, url) = Risk::start(0).await;
    let one = Infer::with(&idle(&redis), asking(&url)).await;
    let two = Infer::with(&Config { workers: 1, lease: PATIENCE * 10, ..config(&redis) }, asking(&url)).await;
    let (_, running) = one.post("/v1/infer", &later()).await;
    risk.was_asked.notified().await;
    assert_eq!(one.get(&path(&running)).await.1["state"], "running");
    let (_, waiting) = one.post("/v1/infer", &later()).await;
    for job in [&waiting, &running] {
        let (status, told) = one.send(Method::DELETE, &path(job), None).await;
        assert_eq!((status.as_u16(), &told["state"]), (200, &json!("cancelled")));
        assert_eq!(two.send(Method::DELETE, &path(job), None).await.0, 409);
    }
    // The only worker is free, though its source has never answered: the news has reached it.
    risk.failures.store(3, Ordering::SeqCst);
    let (_, next) = two.post("/v1/infer", &later()).await;
    let dead = one.job(&next["id"], "failed").await;
    assert_eq!((&dead["attempts"], risk.asked.load(Ordering::SeqCst)), (&json!(3), 4));
    risk.may_answer.notify_one();
    assert_eq!(one.send(Method::POST, &format!("{}/retry", path(&next)), None).await.0, 200);
    two.job(&next["id"], "succeeded").await;
    one.job(&running["id"], "cancelled").await;
}

#[tokio::test]
async fn bounds_and_idempotency_keys_are_those_of_all_replicas() {
    let Some(redis) = redis() else { return };
    let bounds = Bounds { queued: 2, kept: 3, retention: Duration::from_secs(60) };
    let limited = Config { bounds, ..idle(&redis) };
    let (one, two) = (
        Infer::with(&limited, Ruleset::built_in().unwrap()).await,
        Infer::with(&limited, Ruleset::built_in().unwrap()).await,
    );
    let send = |replica: &Infer, key: &str, n: usize| {
        let facts = vec![facts(); n];
        let request = replica.request(Method::POST, "/v1/batches").header("idempotency-key", key);
        let request = request.json(&json!({"facts": facts}));
        async move {
            let response = request.send().await.unwrap();
            (response.status().as_u16(), response.json::<Value>().await.unwrap())
        }
    };
    let first = send(&one, "k", 1).await;
    let again = send(&two, "k", 1).await;
    assert_eq!((first.0, again.0, &first.1["id"]), (202, 202, &again.1["id"]));
    assert_eq!(send(&two, "k", 2).await.0, 409);
    assert_eq!(send(&two, "l", 1).await.0, 202);
    assert_eq!(send(&one, "m", 1).await.0, 503, "two may wait");
    let metrics = one.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("infer_jobs_waiting 2") && metrics.contains("infer_jobs_available 1"), "{metrics}");
    one.send(Method::DELETE, &path(&first.1), None).await;
    // Three are kept: the fourth has the oldest that is over forgotten, and its key with it.
    for key in ["m", "n"] {
        let (status, job) = send(&two, key, 1).await;
        assert_eq!(status, 202, "{job}");
        one.send(Method::DELETE, &path(&job), None).await;
    }
    assert_eq!(one.get(&path(&first.1)).await.0, 404);
    let fresh = send(&two, "k", 1).await;
    assert_eq!(fresh.0, 202);
    assert_ne!(fresh.1["id"], first.1["id"]);
}

#[tokio::test]
async fn a_list_shows_every_job_that_stays_what_it_is_whatever_becomes_of_others_meanwhile() {
    let Some(redis) = redis() else { return };
    let one = Infer::with(&idle(&redis), Ruleset::built_in().unwrap()).await;
    let mut names = Vec::new();
    for _ in 0..120 {
        let job = one.post("/v1/infer", &json!({"facts": facts(), "mode": "async"})).await.1;
        names.push(job["id"].as_str().unwrap().to_owned());
    }
    let (stay, go): (Vec<_>, Vec<_>) = names.iter().rev().enumerate().partition(|(place, _)| place % 10 == 0);
    let stay: Vec<_> = stay.into_iter().map(|(_, name)| name.as_str()).collect();
    let lists = async {
        let mut lists = 0;
        loop {
            let (mut shown, mut before) = (Vec::new(), String::new());
            loop {
                let page = one.get(&format!("/v1/jobs?state=queued&limit=1{before}")).await.1;
                shown.extend(page["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()));
                let Some(next) = page["next"].as_str() else { break };
                before = format!("&before={next}");
            }
            let all = shown.len();
            shown.retain(|name| stay.contains(&name.as_str()));
            assert_eq!(shown, stay, "list {lists}");
            lists += 1;
            if all == stay.len() {
                return lists;
            }
        }
    };
    let cancel = async {
        for (_, name) in &go {
            assert_eq!(one.send(Method::DELETE, &format!("/v1/jobs/{name}"), None).await.0, 200);
        }
    };
    let (lists, ()) = tokio::join!(lists, cancel);
    assert!(lists > 0);
}

/// A replica as a process, killed when dropped.
struct Process {
    _child: Child,
    url: String,
}

impl Process {
    async fn start(environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_infer"));
        command.env_clear().env("HOST", "127.0.0.1").env("PORT", "0").envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = loop {
            let line = lines.next_line().await.unwrap().unwrap();
            let line: Value = serde_json::from_str(&line).unwrap();
            if line["message"] == "listening" {
                break line["address"].as_str().unwrap().to_owned();
            }
        };
        // What it says later must go somewhere.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { _child: child, url: format!("http://{address}") }
    }
}

fn rules_in(folder: &Path, url: &str) -> String {
    let file = folder.join("rules.json");
    std::fs::write(&file, asking_in_json(url).to_string()).unwrap();
    file.display().to_string()
}

#[tokio::test]
async fn a_job_whose_worker_is_killed_is_done_by_another() {
    let Some(redis) = redis() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (risk, url) = Risk::start(0).await;
    let rules = rules_in(folder.path(), &url);
    let settings = [("REDIS_URL", redis.url()), ("RULES_FILE", rules), ("JOB_LEASE_SECONDS", "2".to_owned())];
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let victim = Process::start(&settings).await;
    let job: Value = reqwest::Client::new()
        .post(format!("{}/v1/infer", victim.url))
        .json(&later())
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    risk.was_asked.notified().await;
    drop(victim);
    let survivor = Infer::with(&Config { lease: Duration::from_secs(2), ..config(&redis) }, asking(&url)).await;
    // A lease later it is this replica's.
    risk.was_asked.notified().await;
    risk.may_answer.notify_waiters();
    assert_eq!(survivor.job(&job["id"], "succeeded").await["attempts"], 2);
    survivor.stop().await;
}

#[tokio::test]
async fn a_worker_that_lives_keeps_its_job_for_longer_than_a_lease() {
    let Some(redis) = redis() else { return };
    let (risk, url) = Risk::start(0).await;
    let brief = Config { lease: Duration::from_secs(2), ..config(&redis) };
    let one = Infer::with(&Config { workers: 1, ..brief.clone() }, asking(&url)).await;
    let two = Infer::with(&brief, asking(&url)).await;
    let (_, job) = one.post("/v1/infer", &later()).await;
    risk.was_asked.notified().await;
    // Long enough for several leases, had nobody prolonged them.
    let begun_again = tokio::time::timeout(brief.lease * 5 / 2, risk.was_asked.notified()).await;
    assert!(begun_again.is_err());
    risk.may_answer.notify_waiters();
    assert_eq!(two.job(&job["id"], "succeeded").await["attempts"], 1);
    assert_eq!(risk.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_replica_that_stops_hands_its_job_over_at_once() {
    let Some(redis) = redis() else { return };
    let (risk, url) = Risk::start(0).await;
    let long = Config { lease: PATIENCE * 10, ..config(&redis) };
    let one = Infer::with(&long, asking(&url)).await;
    let (_, job) = one.post("/v1/infer", &later()).await;
    risk.was_asked.notified().await;
    let two = Infer::with(&long, asking(&url)).await;
    one.stop().await;
    risk.was_asked.notified().await;
    risk.may_answer.notify_waiters();
    assert_eq!(two.job(&job["id"], "succeeded").await["attempts"], 1, "an interruption is no attempt");
}

/// A client that asks for jobs until it is told to stop, each again with its key until there is an answer: the jobs' names.
async fn client(url: String, number: usize, stop: CancellationToken) -> Vec<(String, u64)> {
    let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().unwrap();
    let (mut accepted, mut ticks) = (Vec::new(), tokio::time::interval(Duration::from_millis(20)));
    while !stop.is_cancelled() {
        let amount = 1 + (accepted.len() as u64 % 2) * 900_000;
        let mut facts = facts();
        facts["amount_cents"] = json!(amount);
        let key = format!("{number}-{}", accepted.len());
        let request = http.post(format!("{url}/v1/infer")).header("idempotency-key", key);
        let request = request.json(&json!({"facts": facts, "mode": "async"}));
        let Ok(response) = request.send().await else { continue };
        let status = response.status();
        if status == 503 {
            ticks.tick().await;
            continue;
        }
        let job: Value = response.json().await.unwrap();
        assert_eq!(status, 202, "{job}");
        accepted.push((job["id"].as_str().unwrap().to_owned(), amount));
    }
    accepted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_killed_under_load_and_no_job_is_lost_or_doubled() {
    let Some(mut redis) = redis() else { return };
    let patient = Config { retries: Retries { attempts: 100, ..soon() }, ..config(&redis) };
    let bounds = Bounds { queued: 100_000, kept: 1_000_000, retention: Duration::from_secs(3600) };
    let patient = Config { bounds, ..patient };
    let one = Infer::with(&patient, Ruleset::built_in().unwrap()).await;
    let two = Infer::with(&patient, Ruleset::built_in().unwrap()).await;
    let stop = CancellationToken::new();
    let clients: Vec<_> =
        (0..6).map(|n| tokio::spawn(client([&one, &two][n % 2].url.clone(), n, stop.clone()))).collect();
    for _ in 0..3 {
        until_more(&one).await;
        redis.kill().unwrap();
        let (status, _) = one.get("/v1/jobs?limit=1").await;
        assert_eq!(status, 503);
        assert_eq!(one.post("/v1/infer", &json!({"facts": facts()})).await.0, 200, "what needs no job is done");
        assert_eq!(one.get("/ready").await.0, 200);
        redis.restart().unwrap();
    }
    until_more(&two).await;
    stop.cancel();
    let mut accepted = Vec::new();
    for client in clients {
        accepted.extend(client.await.unwrap());
    }
    for (n, (id, amount)) in accepted.iter().enumerate() {
        let replica = [&two, &one][n % 2];
        let job = replica.job(&json!(id), "succeeded").await;
        let decision = replica.get(job["result"].as_str().unwrap()).await.1;
        let score = if *amount == 1 { 0 } else { 35 };
        assert_eq!(decision["outputs"]["score"], score, "{decision}");
    }
    let (mut names, mut path) = (Vec::new(), "/v1/jobs?limit=1000".to_owned());
    loop {
        let page = one.get(&path).await.1;
        names.extend(page["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/jobs?limit=1000&before={next}");
    }
    let mut expected: Vec<_> = accepted.into_iter().map(|(id, _)| id).collect();
    expected.sort_unstable_by(|a, b| b.cmp(a));
    println!("{} jobs", expected.len());
    // A client's last request may have been answered by nobody: then its job is there without having been counted.
    names.retain(|name| expected.binary_search_by(|known| name.cmp(known)).is_ok());
    assert_eq!(names, expected, "each is there once");
}

/// Waits until twenty more jobs are done.
async fn until_more(replica: &Infer) {
    let done = || async {
        let list = replica.get("/v1/jobs?state=succeeded&limit=1000").await.1;
        list["jobs"].as_array().map_or(0, Vec::len)
    };
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let wait = async {
        let before = done().await;
        while done().await < (before + 20).min(1000) {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE * 3, wait).await.unwrap();
}

#[tokio::test]
async fn redis_is_reached_through_tls_by_an_authority_that_the_machine_trusts() {
    let Some(redis) = redis() else { return };
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let trusted = folder.path().join("authorities.pem");
    std::fs::write(&trusted, made.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let server = rustls::ServerConfig::builder().with_no_client_auth();
    let server = server.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    // In front of Redis, which speaks TLS on ports only, and would have to be given a number.
    let (acceptor, socket) = (TlsAcceptor::from(std::sync::Arc::new(server)), redis.socket());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("rediss://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, socket) = (acceptor.clone(), socket.clone());
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut redis = UnixStream::connect(socket).await.unwrap();
                _ = copy_bidirectional(&mut stream, &mut redis).await;
            });
        }
    });
    let trusted = trusted.display().to_string();
    let trusting = Process::start(&[("REDIS_URL", &url), ("SSL_CERT_FILE", &trusted)]).await;
    let wary = Process::start(&[("REDIS_URL", &url)]).await;
    let http = reqwest::Client::new();
    let task = json!({"facts": facts(), "mode": "async"});
    for (process, status) in [(&trusting, 202), (&wary, 503)] {
        let response = http.post(format!("{}/v1/infer", process.url)).json(&task).send().await.unwrap();
        assert_eq!(response.status(), status);
    }
}

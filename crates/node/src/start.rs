//! Turning a container of a pod into what the runtime starts, and its exit into what the status says.

use std::{
    fs,
    io::{self, Read},
    net::IpAddr,
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use kube::ResourceExt;
use objects::quantity::Quantity;

use crate::{
    Context, Dns, env,
    images::HostImage,
    logs,
    runtime::{ContainerId, ContainerSpec, Exit, Limits, Mount, Security, Stdio},
    state::{Blocked, Ended},
    status, volumes,
};

/// How long something that is missing is waited for, unless it appears earlier.
const WAIT: SignedDuration = SignedDuration::from_secs(10);
/// How long a state says `ErrImagePull` before it says `ImagePullBackOff`.
const PULL_FAILED: SignedDuration = SignedDuration::from_secs(5);
/// The waiting reason of a container whose references lead nowhere.
pub const CONFIG_ERROR: &str = "CreateContainerConfigError";
/// kubelet's `containerLogMaxSize`.
const LOG_BYTES: u64 = 10 * 1024 * 1024;
/// kubelet's `containerLogMaxFiles`.
const LOG_FILES: u32 = 5;
/// The most of a termination message that is kept,
const MESSAGE: usize = 4096;
/// and of all the messages of a pod.
const MESSAGES: usize = 12 * 1024;
/// The search path where neither image nor pod sets one.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Makes the runtime's specification of the next run.
///
/// # Errors
/// The reason and message of the waiting state: an unknown image, a reference to something that does not exist.
pub fn prepare(
    ctx: &Context,
    pod: &Pod,
    container: &Container,
    id: ContainerId,
    ip: IpAddr,
) -> Result<ContainerSpec, Blocked> {
    let now = ctx.clock.now();
    let later = |wait| now.checked_add(wait).unwrap_or(now);
    let blocked = |reason: &str, message: String| Blocked {
        reason: reason.to_owned(),
        message,
        until: later(WAIT),
        backs_off: (reason == "ErrImagePull").then(|| later(PULL_FAILED)),
    };
    let config = |message| config_error(ctx, message);
    let name = container.image.as_deref().unwrap_or_default();
    let image = ctx.images.resolve(name).ok_or_else(|| match container.image_pull_policy.as_deref() {
        Some("Never") => blocked(
            "ErrImageNeverPull",
            format!(
                "Container image {name:?} is not present with pull policy of Never: map it with --image {name}=PATH"
            ),
        ),
        _ => blocked(
            "ErrImagePull",
            format!("image {name:?} is not known: map it to a program with --image {name}=PATH"),
        ),
    })?;
    let place = env::Place { pod_ip: ip, host_ip: ctx.internal_ip, capacity: crate::register::capacity() };
    let variables = env::build(pod, container, place, &ctx.sources).map_err(config)?;
    let expand = |list: &[String]| -> Vec<String> {
        list.iter().map(|s| env::expand(s, &|n| variables.get(n).cloned())).collect()
    };
    let (argv, image_program) = argv(image, container, expand);
    if argv.is_empty() {
        return Err(blocked("CreateContainerError", "no command specified".to_owned()));
    }
    let dir = ctx.volumes_dir(pod);
    let mut mounts = volumes::mounts(pod, container, &dir, &variables).map_err(config)?;
    mounts.extend(termination_log(container, &id, &dir).map_err(config)?);
    let log_dir = ctx.logs_dir(pod).join(&container.name);
    fs::create_dir_all(&log_dir).map_err(|e| config(format!("make {}: {e}", log_dir.display())))?;
    let mut all = image.env.clone();
    all.push(("PATH".to_owned(), PATH.to_owned()));
    all.push(("HOSTNAME".to_owned(), names(pod, ctx.dns.as_ref()).map_err(config)?.hostname));
    all.retain(|(name, _)| !variables.contains_key(name));
    all.extend(variables);
    Ok(ContainerSpec {
        log_path: log_dir.join(format!("{}.log", id.attempt)),
        id,
        rootfs: image.rootfs.clone(),
        image_program,
        argv,
        env: all,
        workdir: container
            .working_dir
            .as_deref()
            .filter(|d| !d.is_empty())
            .map_or(image.workdir.clone(), PathBuf::from),
        mounts,
        limits: limits(container, pod.spec.as_ref().map_or("", promise), crate::register::capacity().0),
        security: security(pod, container, ctx.runtime.features().users).map_err(config)?,
        stdio: Stdio {
            stdin: container.stdin == Some(true),
            stdin_once: container.stdin_once == Some(true),
            tty: container.tty == Some(true),
        },
        processes_of: None,
        log_max_bytes: LOG_BYTES,
        log_max_files: LOG_FILES,
    })
}

/// What is executed, and whether that is the image's own program.
fn argv(image: &HostImage, container: &Container, expand: impl Fn(&[String]) -> Vec<String>) -> (Vec<String>, bool) {
    let (command, args) = (container.command.as_deref(), container.args.as_deref());
    let (command, args) = (command.filter(|list| !list.is_empty()), args.filter(|list| !list.is_empty()));
    let given = args.map(&expand);
    if let Some(command) = command {
        return ([expand(command), given.unwrap_or_default()].concat(), false);
    }
    // A name without a path is looked for among the container's own files.
    let is_file = image.entrypoint.first().is_some_and(|program| program.starts_with('/'));
    ([image.entrypoint.clone(), given.unwrap_or_else(|| image.arguments.clone())].concat(), is_file)
}

/// Why a container is not started when something that it refers to is missing.
pub fn config_error(ctx: &Context, message: String) -> Blocked {
    let now = ctx.clock.now();
    let until = now.checked_add(WAIT).unwrap_or(now);
    Blocked { reason: CONFIG_ERROR.to_owned(), message, until, backs_off: None }
}

fn termination_file(id: &ContainerId, dir: &Path) -> PathBuf {
    dir.join(".termination").join(format!("{}-{}", id.name, id.attempt))
}

fn termination_log(container: &Container, id: &ContainerId, dir: &Path) -> Result<Option<Mount>, String> {
    let source = termination_file(id, dir);
    let write = || {
        fs::create_dir_all(source.parent().unwrap_or(dir))?;
        fs::write(&source, "")?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        fs::set_permissions(&source, mode)
    };
    write().map_err(|e| format!("make {}: {e}", source.display()))?;
    let target = container.termination_message_path.as_deref().unwrap_or("/dev/termination-log");
    Ok(Some(Mount { source, target: target.into(), read_only: false }))
}

/// The limits of a container of a pod of this class, on a machine with so many bytes of memory.
pub fn limits(container: &Container, qos: &str, capacity: i128) -> Limits {
    let resources = container.resources.clone().unwrap_or_default();
    let (limits, requests) = (resources.limits.unwrap_or_default(), resources.requests.unwrap_or_default());
    let quantity = |text: Option<&str>| text.and_then(|t| t.parse::<Quantity>().ok());
    let memory = quantity(limits.get("memory").map(|q| q.0.as_str()));
    let cpu = quantity(limits.get("cpu").map(|q| q.0.as_str()));
    let request = quantity(requests.get("cpu").or(limits.get("cpu")).map(|q| q.0.as_str()));
    let number = |n: i128| u64::try_from(n).ok();
    // A limit of nothing is none, as with the kubelet.
    let limit = |n: i128| number(n).filter(|n| *n > 0);
    Limits {
        memory_bytes: memory.and_then(|q| limit(q.value())),
        cpu_millis: cpu.and_then(|q| limit(q.millis())),
        cpu_request_millis: request.and_then(|q| number(q.millis())).unwrap_or(0),
        pids: None,
        oom_score_adj: oom_score_adj(
            qos,
            quantity(requests.get("memory").or(limits.get("memory")).map(|q| q.0.as_str())).map_or(0, |q| q.value()),
            capacity,
        ),
    }
}

/// How firmly memory is promised to a pod: by its class, or because the machine needs it.
fn promise(spec: &PodSpec) -> &'static str {
    let needed = spec.priority_class_name.as_deref() == Some("system-node-critical");
    if needed { "Guaranteed" } else { status::qos(spec) }
}

/// The kubelet's rule: who promised nothing goes first, who was promised all it may use goes last, and in between those who use
/// more than they asked for go before the others.
fn oom_score_adj(qos: &str, request: i128, capacity: i128) -> i32 {
    match qos {
        "Guaranteed" => -997,
        "Burstable" => {
            let share = request.saturating_mul(1000).checked_div(capacity).unwrap_or(0);
            i32::try_from((1000 - share).clamp(3, 999)).unwrap_or(999)
        }
        _ => 1000,
    }
}

fn security(pod: &Pod, container: &Container, users: bool) -> Result<Security, String> {
    let of_pod = pod.spec.as_ref().and_then(|s| s.security_context.clone()).unwrap_or_default();
    let own = container.security_context.clone().unwrap_or_default();
    let id = |n: Option<i64>| n.and_then(|n| u32::try_from(n).ok());
    let uid = id(own.run_as_user.or(of_pod.run_as_user));
    // Where users cannot be chosen, it runs as Coracle does.
    let effective = if users { uid.unwrap_or(0) } else { nix::unistd::geteuid().as_raw() };
    if own.run_as_non_root.or(of_pod.run_as_non_root) == Some(true)
        && effective == 0
        && (users || uid.unwrap_or(0) == 0)
    {
        let why = match uid {
            Some(0) => "container's runAsUser breaks non-root policy",
            _ => "container has runAsNonRoot and image will run as root",
        };
        return Err(format!("{why} (pod: \"{}\", container: {})", status::full_name(pod), container.name));
    }
    let groups = of_pod.supplemental_groups.unwrap_or_default().into_iter().chain(of_pod.fs_group);
    let capabilities = own.capabilities.unwrap_or_default();
    let names = |list: Option<Vec<String>>| -> Vec<String> {
        list.unwrap_or_default().iter().map(|c| c.strip_prefix("CAP_").unwrap_or(c).to_owned()).collect()
    };
    Ok(Security {
        uid,
        gid: id(own.run_as_group.or(of_pod.run_as_group)),
        groups: groups.filter_map(|g| u32::try_from(g).ok()).collect(),
        no_new_privileges: own.allow_privilege_escalation == Some(false),
        read_only_root: own.read_only_root_filesystem == Some(true),
        privileged: own.privileged == Some(true),
        seccomp: own
            .seccomp_profile
            .or(of_pod.seccomp_profile)
            .is_some_and(|profile| profile.type_ == "RuntimeDefault"),
        add_capabilities: names(capabilities.add),
        drop_capabilities: names(capabilities.drop),
    })
}

/// What a pod is called on the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Its host name.
    pub hostname: String,
    /// Its whole domain name, if it has a subdomain; empty otherwise.
    pub fqdn: String,
}

/// A pod's names: the host name is `spec.hostname` or the pod's name, at most 63 characters, or the whole domain name if the pod
/// asks for that (`setHostnameAsFQDN`) and has a subdomain.
///
/// # Errors
/// When the whole name is to be the host name and is longer than the kernel takes, in the kubelet's words.
pub fn names(pod: &Pod, dns: Option<&Dns>) -> Result<Names, String> {
    let spec = pod.spec.as_ref();
    let name = spec.and_then(|s| s.hostname.clone()).filter(|n| !n.is_empty()).unwrap_or_else(|| pod.name_any());
    let short = name.chars().take(63).collect::<String>().trim_end_matches(['-', '.']).to_owned();
    let Some(subdomain) = spec.and_then(|s| s.subdomain.as_ref()).filter(|s| !s.is_empty()) else {
        return Ok(Names { hostname: short, fqdn: String::new() });
    };
    let domain = dns.map_or("cluster.local", |dns| dns.domain.as_str());
    let fqdn = format!("{short}.{subdomain}.{}.svc.{domain}", pod.namespace().unwrap_or_default());
    if spec.and_then(|s| s.set_hostname_as_fqdn) != Some(true) {
        return Ok(Names { hostname: short, fqdn });
    }
    if fqdn.len() > 64 {
        return Err(format!(
            "failed to construct FQDN from pod hostname and cluster domain, FQDN {fqdn} is too long (64 characters is \
             the max, {} characters requested)",
            fqdn.len()
        ));
    }
    Ok(Names { hostname: fqdn.clone(), fqdn })
}

/// A run's end, as the status says it.
pub fn from_exit(id: &ContainerId, started_at: Timestamp, exit: &Exit, message: Option<String>) -> Ended {
    let reason = match exit {
        Exit { oom_killed: true, .. } => "OOMKilled",
        Exit { code: 0, .. } => "Completed",
        _ => "Error",
    };
    Ended {
        attempt: id.attempt,
        code: exit.code,
        signal: exit.signal,
        reason: reason.to_owned(),
        message,
        started_at,
        finished_at: exit.finished_at,
    }
}

/// The first bytes of a file.
fn beginning(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(u64::try_from(most).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A run's end with its termination message.
pub fn ended(
    ctx: &Context,
    pod: &Pod,
    container: Option<&Container>,
    id: &ContainerId,
    since: Timestamp,
    exit: Exit,
) -> Ended {
    let count = pod.spec.as_ref().map_or(1, |s| crate::state::init(s).len() + s.containers.len());
    let most = MESSAGE.min(MESSAGES / count.max(1));
    // What cannot be read counts as no message.
    let written = beginning(&termination_file(id, &ctx.volumes_dir(pod)), most).unwrap_or_default();
    let mut message = String::from_utf8_lossy(&written).into_owned();
    let policy = container.and_then(|c| c.termination_message_policy.as_deref());
    if message.is_empty() && exit.code != 0 && policy == Some("FallbackToLogsOnError") {
        let path = ctx.logs_dir(pod).join(&id.name).join(format!("{}.log", id.attempt));
        message = logs::tail(&path, 80, most.min(2048));
    }
    from_exit(id, since, &exit, (!message.is_empty()).then_some(message))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: &Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "web-0.x", "namespace": "n", "uid": "u"}, "spec": spec}))
            .unwrap()
    }

    #[test]
    fn who_promised_least_goes_first_when_memory_runs_out() {
        let gib = 1 << 30;
        assert_eq!(oom_score_adj("BestEffort", 0, 8 * gib), 1000);
        assert_eq!(oom_score_adj("Burstable", 0, 8 * gib), 999);
        assert_eq!(oom_score_adj("Burstable", 4 * gib, 8 * gib), 500);
        assert_eq!(oom_score_adj("Burstable", 8 * gib, 8 * gib), 3);
        assert_eq!(oom_score_adj("Guaranteed", gib, 8 * gib), -997);
        assert_eq!(oom_score_adj("Burstable", gib, 0), 999);
        let needed = pod(&json!({"containers": [], "priorityClassName": "system-node-critical"}));
        assert_eq!(promise(needed.spec.as_ref().unwrap()), "Guaranteed");
    }

    #[test]
    fn a_limit_of_nothing_is_no_limit() {
        let of = |cpu: &str, memory: &str| {
            let container = json!({"name": "c", "resources": {"limits": {"cpu": cpu, "memory": memory}}});
            let limits = limits(&serde_json::from_value(container).unwrap(), "Burstable", 1 << 30);
            (limits.cpu_millis, limits.memory_bytes)
        };
        assert_eq!(of("0", "0"), (None, None));
        assert_eq!(of("1m", "1Mi"), (Some(1), Some(1 << 20)));
    }

    #[test]
    fn a_pod_is_called_by_its_host_name_and_with_a_subdomain_by_its_whole_name() {
        let called = |spec: Value| names(&pod(&spec), None).map(|names| (names.hostname, names.fqdn));
        let both = |a: &str, b: &str| Ok((a.to_owned(), b.to_owned()));
        assert_eq!(called(json!({"containers": []})), both("web-0.x", ""));
        let named = json!({"containers": [], "hostname": "db", "subdomain": "sub"});
        assert_eq!(called(named), both("db", "db.sub.n.svc.cluster.local"));
        let whole = json!({"containers": [], "hostname": "db", "subdomain": "sub", "setHostnameAsFQDN": true});
        assert_eq!(called(whole), both("db.sub.n.svc.cluster.local", "db.sub.n.svc.cluster.local"));
        let long = json!({"containers": [], "hostname": "d".repeat(50), "subdomain": "sub", "setHostnameAsFQDN": true});
        assert!(called(long).unwrap_err().contains("is too long (64 characters is the max, 74 characters requested)"));
    }

    #[test]
    fn nobody_runs_as_root_who_must_not() {
        let judged = |users: bool, context: Value| {
            let pod = pod(&json!({"containers": [{"name": "c", "securityContext": context}]}));
            security(&pod, &pod.spec.as_ref().unwrap().containers[0], users).map(|security| security.uid)
        };
        assert_eq!(judged(true, json!({"runAsNonRoot": true, "runAsUser": 5})), Ok(Some(5)));
        let root = judged(true, json!({"runAsNonRoot": true, "runAsUser": 0})).unwrap_err();
        assert_eq!(root, "container's runAsUser breaks non-root policy (pod: \"web-0.x_n(u)\", container: c)");
        let unset = judged(true, json!({"runAsNonRoot": true})).unwrap_err();
        assert!(unset.starts_with("container has runAsNonRoot and image will run as root"));
        assert_eq!(judged(false, json!({"runAsNonRoot": true, "runAsUser": 5})), Ok(Some(5)));
    }
}

//! Whom the processes of a pod and of its containers run as, and what the kernel lets them do (`PodSecurityContext`,
//! `SecurityContext`).

use serde_json::{Value, json};

use super::at::At;
use crate::status::Cause;

/// The most bytes of an AppArmor profile's name.
const LONGEST_PROFILE: usize = 4095;
/// The most bytes of a sysctl's name.
const LONGEST_SYSCTL: usize = 253;

/// What is wrong with a pod's security context; `spec` is the pod's.
pub(super) fn of_pod(spec: &At<'_>, causes: &mut Vec<Cause>) {
    let context = spec.field("securityContext");
    for field in ["fsGroup", "runAsUser", "runAsGroup"] {
        causes.extend(id(&context.field(field)));
    }
    causes.extend(context.each("supplementalGroups").filter_map(|group| id(&group)));
    // Both stand in the spec itself where users write them.
    let shares = spec.field("shareProcessNamespace");
    if shares.is_true() && spec.field("hostPID").is_true() {
        let at = context.field("shareProcessNamespace");
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        causes.push(Cause::invalid(at.path, shares.value, why));
    }
    sysctls(&context, spec, causes);
    causes.extend(context.field("fsGroupChangePolicy").one_of(&["Always", "OnRootMismatch"]));
    profiles(&context, causes);
    causes.extend(context.field("supplementalGroupsPolicy").one_of(&["Merge", "Strict"]));
}

/// What is wrong with a container's security context.
pub(super) fn of_container(context: &At<'_>, causes: &mut Vec<Cause>) {
    for field in ["runAsUser", "runAsGroup"] {
        causes.extend(id(&context.field(field)));
    }
    causes.extend(context.field("procMount").one_of(&["Default", "Unmasked"]));
    profiles(context, causes);
    if context.field("allowPrivilegeEscalation").value != &Value::Bool(false) {
        return;
    }
    // Upstream does not show the whole context.
    let mut refuse = |why: &str| causes.push(Cause::invalid(&context.path, &json!(""), why));
    if context.field("privileged").is_true() {
        refuse("cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
    }
    if context.field("capabilities").each("add").any(|capability| capability.text() == "CAP_SYS_ADMIN") {
        refuse("cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
    }
}

fn id(id: &At<'_>) -> Option<Cause> {
    let wrong = id.number().is_some_and(|id| !(0..=i64::from(i32::MAX)).contains(&id));
    wrong.then(|| id.invalid("must be between 0 and 2147483647, inclusive"))
}

fn sysctls(context: &At<'_>, spec: &At<'_>, causes: &mut Vec<Cause>) {
    let mut seen = Vec::new();
    for sysctl in context.each("sysctls") {
        let name = sysctl.field("name");
        let parts = || name.text().split(['.', '/']);
        let good = |part: &str| {
            let ends = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
            let bytes = part.as_bytes();
            let inner = bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(b));
            ends(bytes.first()) && ends(bytes.last()) && inner
        };
        if name.text().is_empty() {
            causes.push(name.required(""));
        } else if name.len() > LONGEST_SYSCTL || !parts().all(good) {
            causes.push(name.invalid(&format!(
                "must have at most {LONGEST_SYSCTL} characters and match regex \
                 ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
            )));
        } else if seen.contains(&name.text()) {
            causes.push(name.duplicate());
        }
        seen.push(name.text());
        let first: Vec<&str> = parts().take(2).collect();
        let (host, is_theirs) = match first.as_slice() {
            ["net", _] => ("hostNetwork", true),
            ["fs", "mqueue"] => ("hostIPC", true),
            ["kernel", what] => ("hostIPC", what.starts_with("shm") || what.starts_with("msg") || *what == "sem"),
            _ => ("", false),
        };
        if is_theirs && spec.field(host).is_true() {
            causes.push(name.invalid(&format!("may not be specified when '{host}' is true")));
        }
    }
}

/// The profiles of seccomp and AppArmor.
fn profiles(context: &At<'_>, causes: &mut Vec<Cause>) {
    for (field, word) in [("seccompProfile", "seccomp"), ("appArmorProfile", "AppArmor")] {
        let profile = context.field(field);
        if !profile.is_set() {
            continue;
        }
        let (of, file) = (profile.field("type"), profile.field("localhostProfile"));
        if of.text().is_empty() {
            causes.push(of.required(&format!("type is required when {field} is set")));
        } else {
            causes.extend(of.one_of(&["Localhost", "RuntimeDefault", "Unconfined"]));
        }
        if of.text() != "Localhost" {
            if file.is_set() {
                causes.push(file.invalid(&format!("can only be set when {word} type is Localhost")));
            }
        } else if !file.is_set() || word == "AppArmor" && file.text().is_empty() {
            causes.push(file.required(&format!("must be set when {word} type is Localhost")));
        } else if word == "seccomp" {
            causes.extend(file.local_path());
        } else if file.text().trim() != file.text() {
            causes.push(file.invalid("must not be padded with whitespace"));
        } else if file.len() > LONGEST_PROFILE {
            causes.push(Cause::too_long(&file.path, LONGEST_PROFILE));
        }
    }
}

/// What is wrong with the operating system that a pod says it is for.
pub(super) fn system(spec: &At<'_>, causes: &mut Vec<Cause>) {
    let os = spec.field("os");
    if !os.is_set() {
        return;
    }
    let name = os.field("name");
    if name.text().is_empty() {
        causes.push(name.required("cannot be empty"));
    } else if !matches!(name.text(), "linux" | "windows") {
        causes.push(Cause::not_supported(&os.path, name.value, &["linux", "windows"]));
    }
}

//! `pods/eviction`: a deletion that the disruption budgets of the pod may refuse (kubernetes/pkg/registry/core/pod/storage).

use http::StatusCode;
use jiff::Timestamp;
use objects::{
    kinds::{self, Kind},
    selector::Labels,
};
use serde_json::{Value, json};

use super::{Answer, fields::Model, subresources::success, verbs::Call};
use crate::{
    registry::{
        delete::{self, DeleteOptions, Preconditions},
        meta, parse,
        update::Part,
    },
    request::Verb,
    status::Failure,
};

const EVICTION: Model = Model::new("policy", "v1", "Eviction");

/// The most pods whose disruption a budget has allowed and not yet seen.
const MOST_DISRUPTED: usize = 2000;

impl Call<'_> {
    /// `pods/eviction`.
    pub(super) async fn evict(self) -> Result<Answer, Failure> {
        if self.verb != Verb::Create {
            return Err(Failure::method_not_allowed());
        }
        let (eviction, _) = self.body_as(EVICTION)?;
        let own = meta::text(&eviction, "name");
        if !own.is_empty() && own != self.name() {
            let message = format!("name in URL does not match name in Eviction object: {} vs {own}", self.name());
            return Err(Failure::bad_request(message));
        }
        let mut options = match eviction.get("deleteOptions") {
            None => DeleteOptions::default(),
            Some(options) => serde_json::from_value(options.clone())
                .map_err(|e| Failure::bad_request(format!("deleteOptions: {e}")))?,
        };
        let dry_run = self.is_dry(&options)?;
        let (registry, namespace) = (&self.handler.registry, self.target.namespace.as_str());
        let pod = parse(&registry.get(&self.target.kind, namespace, self.name())?)?;
        // Neither a budget is spent nor a pod marked for who means another pod, or another version of it.
        delete::check_preconditions(&self.target.kind, &pod, &options)?;
        if !may_go(&pod) {
            let budgets = kinds::by_kind("policy", "v1", "PodDisruptionBudget").ok_or_else(Failure::no_such_path)?;
            let all: Result<Vec<Value>, Failure> =
                registry.list(budgets, namespace).objects.iter().map(|(_, stored)| parse(stored)).collect();
            let of_pod: Vec<Value> = all?.into_iter().filter(|budget| covers(budget, &pod)).collect();
            match of_pod.as_slice() {
                [] => {}
                [budget] if is_free(budget, &pod) => {}
                [budget] => {
                    let name = self.name().to_owned();
                    let spend = move |budget: &Value| spent(budgets, budget, &name, Timestamp::now());
                    registry
                        .update(budgets, namespace, meta::text(budget, "name"), Part::Status, dry_run, spend)
                        .await?;
                }
                _ => {
                    let why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
                    return Err(Failure::internal(why));
                }
            }
            // The decision was about this pod, not about a later one of its name.
            let uid = Some(meta::text(&pod, "uid").to_owned());
            let wanted = options.preconditions.get_or_insert_with(Preconditions::default);
            wanted.uid = wanted.uid.take().or(uid);
            if !dry_run {
                let (kind, expected) = (self.target.kind.clone(), options.clone());
                let say = move |pod: &Value| {
                    delete::check_preconditions(&kind, pod, &expected)?;
                    Ok(disrupted(pod, Timestamp::now()))
                };
                let said = registry.update(&self.target.kind, namespace, self.name(), Part::Status, false, say).await?;
                // The version that was meant is this one now: it is the eviction itself that changed it.
                if let Some(version) =
                    options.preconditions.as_mut().and_then(|wanted| wanted.resource_version.as_mut())
                {
                    let said: Value = serde_json::from_slice(&said.json).map_err(Failure::internal)?;
                    meta::text(&said, "resourceVersion").clone_into(version);
                }
            }
        }
        registry.delete(&self.target.kind, namespace, self.name(), options, dry_run).await?;
        Ok(success(StatusCode::CREATED))
    }
}

/// The pod, saying why it goes: a Job does not count that as its failure.
fn disrupted(pod: &Value, now: Timestamp) -> Value {
    let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting", "lastProbeTime": null, "lastTransitionTime": delete::time(now)});
    let mut next = pod.clone();
    let conditions = meta::section(&mut next, "status").entry("conditions").or_insert_with(|| json!([]));
    if let Some(conditions) = conditions.as_array_mut() {
        conditions.retain(|condition| condition.get("type").is_none_or(|of| of != "DisruptionTarget"));
        conditions.push(condition);
    }
    next
}

/// A pod that does not run, or goes already, disrupts nothing.
fn may_go(pod: &Value) -> bool {
    let phase = pod.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default();
    matches!(phase, "Pending" | "Succeeded" | "Failed") || meta::is_deleting(pod)
}

/// Whether a budget is about a pod. A budget without a selector is about none.
fn covers(budget: &Value, pod: &Value) -> bool {
    let selector = budget.pointer("/spec/selector").and_then(|selector| serde_json::from_value(selector.clone()).ok());
    let labels = selector.as_ref().and_then(|selector| Labels::from_selector(selector).ok());
    labels.is_some_and(|labels| labels.matches(&meta::labels(pod)))
}

fn number(budget: &Value, field: &str) -> i64 {
    budget.pointer(&format!("/status/{field}")).and_then(Value::as_i64).unwrap_or(0)
}

/// Whether a pod that is not ready anyway may go without its budget.
fn is_free(budget: &Value, pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let ready = conditions
        .filter(|condition| condition.get("type").is_some_and(|of| of == "Ready"))
        .any(|condition| condition.get("status").is_some_and(|status| status == "True"));
    let always = budget.pointer("/spec/unhealthyPodEvictionPolicy").is_some_and(|policy| policy == "AlwaysAllow");
    let healthy = number(budget, "desiredHealthy");
    !ready && (always || healthy > 0 && number(budget, "currentHealthy") >= healthy)
}

/// The budget after it has allowed a pod's disruption.
///
/// # Errors
/// 429 when it does not allow it now, 403 when it never would.
fn spent(kind: &Kind, budget: &Value, pod: &str, now: Timestamp) -> Result<Value, Failure> {
    let name = meta::text(budget, "name");
    let generation = budget.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0);
    if number(budget, "observedGeneration") < generation {
        let why = format!("The disruption budget {name} is still being processed by the server.");
        return Err(Failure::disrupts(&why, Some(10)));
    }
    let allowed = number(budget, "disruptionsAllowed");
    if allowed < 0 {
        return Err(Failure::forbidden(kind, name, "pdb disruptions allowed is negative"));
    }
    let disrupted = budget.pointer("/status/disruptedPods").and_then(Value::as_object);
    if disrupted.is_some_and(|pods| pods.len() > MOST_DISRUPTED) {
        return Err(Failure::forbidden(
            kind,
            name,
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        ));
    }
    if allowed == 0 {
        let why = format!(
            "The disruption budget {name} needs {} healthy pods and has {} currently",
            number(budget, "desiredHealthy"),
            number(budget, "currentHealthy")
        );
        return Err(Failure::disrupts(&why, None));
    }
    let mut next = budget.clone();
    let status = meta::section(&mut next, "status");
    status.insert("disruptionsAllowed".to_owned(), (allowed - 1).into());
    let pods = status.entry("disruptedPods").or_insert_with(|| json!({}));
    if let Some(pods) = pods.as_object_mut() {
        pods.insert(pod.to_owned(), delete::time(now).into());
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(status: Value) -> Value {
        json!({"metadata": {"name": "b", "generation": 1}, "spec": {"selector": {"matchLabels": {"app": "a"}}}, "status": status})
    }

    fn kind() -> &'static Kind {
        kinds::by_kind("policy", "v1", "PodDisruptionBudget").unwrap()
    }

    #[test]
    fn a_budget_is_spent_pod_by_pod_and_then_says_what_it_needs() {
        let one =
            budget(json!({"observedGeneration": 1, "disruptionsAllowed": 1, "desiredHealthy": 2, "currentHealthy": 3}));
        let none = spent(kind(), &one, "p", Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(
            (&none["status"]["disruptionsAllowed"], none["status"]["disruptedPods"].get("p").is_some()),
            (&json!(0), true)
        );
        let refused = spent(kind(), &none, "q", Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!((refused.code.as_u16(), refused.reason), (429, "TooManyRequests"));
        assert_eq!(refused.message, "Cannot evict pod as it would violate the pod's disruption budget.");
        let cause = &refused.details.unwrap()["causes"][0];
        assert_eq!(cause["reason"], "DisruptionBudget");
        assert_eq!(cause["message"], "The disruption budget b needs 2 healthy pods and has 3 currently");
    }

    #[test]
    fn an_evicted_pod_says_so_once() {
        let pod = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        let evicted = disrupted(&disrupted(&pod, Timestamp::UNIX_EPOCH), Timestamp::UNIX_EPOCH);
        let conditions = evicted["status"]["conditions"].as_array().unwrap();
        assert_eq!((conditions.len(), &conditions[1]["reason"]), (2, &json!("EvictionByEvictionAPI")));
    }

    #[test]
    fn a_budget_that_nobody_has_looked_at_yet_allows_nothing() {
        let refused = spent(kind(), &budget(json!({})), "p", Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!(refused.details.unwrap()["retryAfterSeconds"], 10);
    }

    #[test]
    fn a_pod_that_is_not_ready_goes_where_enough_others_are_or_the_policy_says_so() {
        let pod = json!({"metadata": {"labels": {"app": "a"}}, "status": {"phase": "Running"}});
        let enough = budget(json!({"desiredHealthy": 1, "currentHealthy": 1}));
        let mut few = budget(json!({"desiredHealthy": 2, "currentHealthy": 1}));
        assert!(covers(&enough, &pod) && is_free(&enough, &pod) && !is_free(&few, &pod));
        few["spec"]["unhealthyPodEvictionPolicy"] = json!("AlwaysAllow");
        assert!(is_free(&few, &pod));
        let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        assert!(!is_free(&few, &ready) && !covers(&json!({"spec": {}}), &pod));
        assert!(may_go(&json!({"status": {"phase": "Pending"}})) && !may_go(&pod));
    }
}

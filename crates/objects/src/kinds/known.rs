//! Kinds of the standard stack's other projects. Their objects are kept as they are sent, and each write is answered with a
//! warning that nothing acts on it; a CustomResourceDefinition of the same name takes a row's place.

use std::sync::LazyLock;

use super::{Kind, Origin};

/// A kind of another project.
#[derive(Clone, Copy)]
struct Row {
    group: &'static str,
    /// The first is the one that objects are kept in.
    versions: &'static [&'static str],
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
    short_names: &'static [&'static str],
    categories: &'static [&'static str],
    namespaced: bool,
    status: bool,
    scale: bool,
}

impl Row {
    const fn short(self, short_names: &'static [&'static str]) -> Self {
        Self { short_names, ..self }
    }

    const fn in_categories(self, categories: &'static [&'static str]) -> Self {
        Self { categories, ..self }
    }

    const fn cluster(self) -> Self {
        Self { namespaced: false, ..self }
    }

    const fn plain(self) -> Self {
        Self { status: false, ..self }
    }

    const fn scaled(self) -> Self {
        Self { scale: true, ..self }
    }
}

/// Kind, plural and singular; namespaced, with a status.
const fn row(
    group: &'static str,
    versions: &'static [&'static str],
    names: (&'static str, &'static str, &'static str),
) -> Row {
    let (kind, plural, singular) = names;
    let (short_names, categories): (&[&str], &[&str]) = (&[], &[]);
    Row {
        group,
        versions,
        kind,
        plural,
        singular,
        short_names,
        categories,
        namespaced: true,
        status: true,
        scale: false,
    }
}

const V1: &[&str] = &["v1"];
const ALPHA: &[&str] = &["v1alpha1"];

const ENVOY: &str = "gateway.envoyproxy.io";
const ENVOY_GATEWAY: &[&str] = &["envoy-gateway"];
const PROMETHEUS: &str = "monitoring.coreos.com";
const PROMETHEUS_OPERATOR: &[&str] = &["prometheus-operator"];
const ARGO: &str = "argoproj.io";
const CERTIFICATES: &str = "cert-manager.io";
const CERT_MANAGER: &[&str] = &["cert-manager"];
const ACME: &str = "acme.cert-manager.io";
const ACME_CATEGORIES: &[&str] = &["cert-manager", "cert-manager-acme"];
const SECRETS: &str = "external-secrets.io";
const SECRETS_VERSIONS: &[&str] = &["v1", "v1beta1"];
const EXTERNAL_SECRETS: &[&str] = &["external-secrets"];
const VELERO: &str = "velero.io";
const LINKERD: &str = "policy.linkerd.io";
const SERVER_VERSIONS: &[&str] = &["v1beta3", "v1beta2", "v1beta1"];

const ROWS: &[Row] = &[
    row(ENVOY, ALPHA, ("Backend", "backends", "backend")).short(&["be"]).in_categories(ENVOY_GATEWAY),
    row(ENVOY, ALPHA, ("BackendTrafficPolicy", "backendtrafficpolicies", "backendtrafficpolicy"))
        .short(&["btpolicy"])
        .in_categories(ENVOY_GATEWAY),
    row(ENVOY, ALPHA, ("ClientTrafficPolicy", "clienttrafficpolicies", "clienttrafficpolicy"))
        .short(&["ctp"])
        .in_categories(ENVOY_GATEWAY),
    row(ENVOY, ALPHA, ("EnvoyExtensionPolicy", "envoyextensionpolicies", "envoyextensionpolicy"))
        .short(&["eep"])
        .in_categories(ENVOY_GATEWAY),
    row(ENVOY, ALPHA, ("EnvoyPatchPolicy", "envoypatchpolicies", "envoypatchpolicy"))
        .short(&["epp"])
        .in_categories(ENVOY_GATEWAY),
    row(ENVOY, ALPHA, ("EnvoyProxy", "envoyproxies", "envoyproxy")).short(&["eproxy"]).in_categories(ENVOY_GATEWAY),
    row(ENVOY, ALPHA, ("HTTPRouteFilter", "httproutefilters", "httproutefilter"))
        .short(&["hrf"])
        .in_categories(ENVOY_GATEWAY)
        .plain(),
    row(ENVOY, ALPHA, ("SecurityPolicy", "securitypolicies", "securitypolicy"))
        .short(&["sp"])
        .in_categories(ENVOY_GATEWAY),
    row(PROMETHEUS, V1, ("Alertmanager", "alertmanagers", "alertmanager"))
        .short(&["am"])
        .in_categories(PROMETHEUS_OPERATOR)
        .scaled(),
    row(PROMETHEUS, ALPHA, ("AlertmanagerConfig", "alertmanagerconfigs", "alertmanagerconfig"))
        .short(&["amcfg"])
        .in_categories(PROMETHEUS_OPERATOR)
        .plain(),
    row(PROMETHEUS, V1, ("PodMonitor", "podmonitors", "podmonitor"))
        .short(&["pmon"])
        .in_categories(PROMETHEUS_OPERATOR),
    row(PROMETHEUS, V1, ("Probe", "probes", "probe")).short(&["prb"]).in_categories(PROMETHEUS_OPERATOR),
    row(PROMETHEUS, V1, ("Prometheus", "prometheuses", "prometheus"))
        .short(&["prom"])
        .in_categories(PROMETHEUS_OPERATOR)
        .scaled(),
    row(PROMETHEUS, ALPHA, ("PrometheusAgent", "prometheusagents", "prometheusagent"))
        .short(&["promagent"])
        .in_categories(PROMETHEUS_OPERATOR)
        .scaled(),
    row(PROMETHEUS, V1, ("PrometheusRule", "prometheusrules", "prometheusrule"))
        .short(&["promrule"])
        .in_categories(PROMETHEUS_OPERATOR),
    row(PROMETHEUS, ALPHA, ("ScrapeConfig", "scrapeconfigs", "scrapeconfig"))
        .short(&["scfg"])
        .in_categories(PROMETHEUS_OPERATOR),
    row(PROMETHEUS, V1, ("ServiceMonitor", "servicemonitors", "servicemonitor"))
        .short(&["smon"])
        .in_categories(PROMETHEUS_OPERATOR),
    row(PROMETHEUS, V1, ("ThanosRuler", "thanosrulers", "thanosruler"))
        .short(&["ruler"])
        .in_categories(PROMETHEUS_OPERATOR)
        .scaled(),
    row(ARGO, ALPHA, ("Application", "applications", "application")).short(&["app", "apps"]).plain(),
    row(ARGO, ALPHA, ("ApplicationSet", "applicationsets", "applicationset")).short(&["appset", "appsets"]),
    row(ARGO, ALPHA, ("AppProject", "appprojects", "appproject")).short(&["appproj", "appprojs"]).plain(),
    row(ARGO, ALPHA, ("AnalysisRun", "analysisruns", "analysisrun")).short(&["ar"]).plain(),
    row(ARGO, ALPHA, ("AnalysisTemplate", "analysistemplates", "analysistemplate")).short(&["at"]).plain(),
    row(ARGO, ALPHA, ("ClusterAnalysisTemplate", "clusteranalysistemplates", "clusteranalysistemplate"))
        .short(&["cat"])
        .cluster()
        .plain(),
    row(ARGO, ALPHA, ("Experiment", "experiments", "experiment")).short(&["exp"]),
    row(ARGO, ALPHA, ("Rollout", "rollouts", "rollout")).short(&["ro"]).scaled(),
    row(CERTIFICATES, V1, ("Certificate", "certificates", "certificate"))
        .short(&["cert", "certs"])
        .in_categories(CERT_MANAGER),
    row(CERTIFICATES, V1, ("CertificateRequest", "certificaterequests", "certificaterequest"))
        .short(&["cr", "crs"])
        .in_categories(CERT_MANAGER),
    row(CERTIFICATES, V1, ("ClusterIssuer", "clusterissuers", "clusterissuer"))
        .short(&["ciss"])
        .in_categories(CERT_MANAGER)
        .cluster(),
    row(CERTIFICATES, V1, ("Issuer", "issuers", "issuer")).short(&["iss"]).in_categories(CERT_MANAGER),
    row(ACME, V1, ("Challenge", "challenges", "challenge")).in_categories(ACME_CATEGORIES),
    row(ACME, V1, ("Order", "orders", "order")).in_categories(ACME_CATEGORIES),
    row(SECRETS, SECRETS_VERSIONS, ("ClusterExternalSecret", "clusterexternalsecrets", "clusterexternalsecret"))
        .short(&["ces"])
        .in_categories(EXTERNAL_SECRETS)
        .cluster(),
    row(SECRETS, SECRETS_VERSIONS, ("ClusterSecretStore", "clustersecretstores", "clustersecretstore"))
        .short(&["css"])
        .in_categories(EXTERNAL_SECRETS)
        .cluster(),
    row(SECRETS, SECRETS_VERSIONS, ("ExternalSecret", "externalsecrets", "externalsecret"))
        .short(&["es"])
        .in_categories(EXTERNAL_SECRETS),
    row(SECRETS, SECRETS_VERSIONS, ("SecretStore", "secretstores", "secretstore"))
        .short(&["ss"])
        .in_categories(EXTERNAL_SECRETS),
    row(SECRETS, ALPHA, ("PushSecret", "pushsecrets", "pushsecret")).short(&["ps"]).in_categories(EXTERNAL_SECRETS),
    row(VELERO, V1, ("Backup", "backups", "backup")).plain(),
    row(VELERO, V1, ("BackupRepository", "backuprepositories", "backuprepository")).plain(),
    row(VELERO, V1, ("BackupStorageLocation", "backupstoragelocations", "backupstoragelocation"))
        .short(&["bsl"])
        .plain(),
    row(VELERO, V1, ("DeleteBackupRequest", "deletebackuprequests", "deletebackuprequest")).plain(),
    row(VELERO, V1, ("DownloadRequest", "downloadrequests", "downloadrequest")).plain(),
    row(VELERO, V1, ("PodVolumeBackup", "podvolumebackups", "podvolumebackup")).plain(),
    row(VELERO, V1, ("PodVolumeRestore", "podvolumerestores", "podvolumerestore")).plain(),
    row(VELERO, V1, ("Restore", "restores", "restore")).plain(),
    row(VELERO, V1, ("Schedule", "schedules", "schedule")),
    row(VELERO, V1, ("ServerStatusRequest", "serverstatusrequests", "serverstatusrequest")).short(&["ssr"]).plain(),
    row(VELERO, V1, ("VolumeSnapshotLocation", "volumesnapshotlocations", "volumesnapshotlocation"))
        .short(&["vsl"])
        .plain(),
    row(LINKERD, ALPHA, ("AuthorizationPolicy", "authorizationpolicies", "authorizationpolicy"))
        .short(&["authzpolicy"])
        .plain(),
    row(LINKERD, ALPHA, ("MeshTLSAuthentication", "meshtlsauthentications", "meshtlsauthentication"))
        .short(&["meshtlsauthn"])
        .plain(),
    row(LINKERD, ALPHA, ("NetworkAuthentication", "networkauthentications", "networkauthentication"))
        .short(&["netauthn", "networkauthn"])
        .plain(),
    row(LINKERD, &["v1beta1"], ("ServerAuthorization", "serverauthorizations", "serverauthorization"))
        .short(&["saz", "serverauthz", "srvauthz"])
        .plain(),
    row(LINKERD, SERVER_VERSIONS, ("Server", "servers", "server")).short(&["srv"]).plain(),
];

/// The kinds known by name, of each the version first that its objects are kept in.
pub fn known() -> &'static [Kind] {
    static KNOWN: LazyLock<Vec<Kind>> = LazyLock::new(|| {
        let mut kinds: Vec<Kind> =
            ROWS.iter().flat_map(|row| row.versions.iter().map(|version| row.kind(version))).collect();
        // Of a group's versions the preferred one comes first.
        kinds.sort_by_cached_key(|kind| (kind.group, std::cmp::Reverse(super::version_rank(kind.version))));
        kinds
    });
    &KNOWN
}

impl Row {
    fn kind(&self, version: &'static str) -> Kind {
        let stored_in = self.versions.first().copied().unwrap_or(version);
        Kind {
            group: self.group,
            version,
            kind: self.kind,
            plural: self.plural,
            singular: self.singular,
            short_names: self.short_names,
            categories: self.categories,
            namespaced: self.namespaced,
            status: self.status,
            scale: self.scale,
            stored_as: (version != stored_in).then_some((self.group, stored_in)),
            origin: Origin::Known,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::kinds::KINDS;

    #[test]
    fn no_row_is_there_twice_or_built_in() {
        let names: BTreeSet<_> = known().iter().map(|kind| (kind.group, kind.version, kind.plural)).collect();
        assert_eq!(names.len(), known().len());
        for kind in known() {
            assert!(!KINDS.iter().any(|own| (own.group, own.plural) == (kind.group, kind.plural)), "{}", kind.kind);
            assert_eq!(kind.singular, kind.kind.to_ascii_lowercase());
            assert!(kind.storage().stored_as.is_none());
        }
    }
}

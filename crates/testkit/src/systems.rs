//! Manifests that several tests and measurements start from.

/// A Gateway with one HTTP listener, on port 80.
pub const GATEWAY: &str = "---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: coracle
  listeners: [{name: http, protocol: HTTP, port: 80}]
";

/// Three pods of the built-in `hello` behind a Service.
pub const HELLO: &str = "---
apiVersion: v1
kind: Service
metadata: {name: hello}
spec:
  selector: {app: hello}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: hello}
spec:
  replicas: 3
  selector: {matchLabels: {app: hello}}
  template:
    metadata: {labels: {app: hello}}
    spec:
      containers:
        - name: hello
          image: hello:0.1.0
          env: [{name: HOST, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
          ports: [{name: http, containerPort: 8000}]
          readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
";

/// The route `hello` of [`GATEWAY`], with this one rule in YAML's flow style.
pub fn route(rule: &str) -> String {
    format!(
        "---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: hello}}
spec:
  parentRefs: [{{name: edge}}]
  rules: [{rule}]
"
    )
}

/// No pod of the built-in `hello`, behind a Service `web` whose ports are HTTP and bytes.
pub const SLEEPING: &str = "---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports:
  - {name: http, port: 8080, targetPort: http}
  - {name: bytes, port: 9000, targetPort: http}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: hello:0.1.0
        env: [{name: HOST, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
        ports: [{name: http, containerPort: 8000}]
        readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
";

/// An autoscaler of something of its own name, by a metric that nobody has: what it scales is brought to zero by hand.
pub fn autoscaler(api_version: &str, kind: &str, name: &str, least: u32) -> String {
    format!(
        "---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: {name}}}
spec:
  minReplicas: {least}
  maxReplicas: 3
  scaleTargetRef: {{apiVersion: {api_version}, kind: {kind}, name: {name}}}
  metrics:
  - type: External
    external: {{metric: {{name: nobody_measures_this}}, target: {{type: AverageValue, averageValue: '1'}}}}
"
    )
}

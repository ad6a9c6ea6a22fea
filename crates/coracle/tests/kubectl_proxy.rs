//! `kubectl proxy`: the API on a local port or socket, for tools without credentials; and through the API to what runs in the cluster.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    process::{Child, Stdio},
};

use testkit::{Coracle, Kubectl};

fn with_every_kubectl(test: impl Fn(&Kubectl, &Coracle)) {
    testkit::with_every_kubectl(env!("CARGO_BIN_EXE_coracle"), test).unwrap();
}

/// Starts a proxy; the line in which it says where it serves.
fn proxy(kubectl: &Kubectl, arguments: &str) -> (Child, String) {
    let mut child = kubectl.command(&format!("proxy {arguments}")).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    (child, line)
}

fn versions(stream: impl Read + Write) -> String {
    ask(stream, "GET /api HTTP/1.1", "")
}

fn ask(mut stream: impl Read + Write, line: &str, headers: &str) -> String {
    let request = format!("{line}\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_proxy_answers_on_a_free_port() {
    with_every_kubectl(|kubectl, _| {
        let (child, line) = proxy(kubectl, "--port=0");
        let address = line.trim().rsplit(' ').next().unwrap();
        let answer = versions(TcpStream::connect(address).unwrap());
        end(child);
        assert!(answer.contains("\"versions\":[\"v1\"]"), "{answer}");
    });
}

#[test]
fn a_proxy_answers_on_a_socket() {
    with_every_kubectl(|kubectl, _| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let (child, _) = proxy(kubectl, &format!("--unix-socket={}", path.display()));
        let answer = versions(UnixStream::connect(&path).unwrap());
        end(child);
        assert!(answer.contains("\"versions\":[\"v1\"]"), "{answer}");
    });
}

/// A pod that says what it is asked, and its service.
const ECHO: &str = "
apiVersion: v1
kind: Pod
metadata: {name: one, labels: {app: echo}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: one
    image: hello
    ports: [{name: http, containerPort: 8080}]
    env: [{name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
    readinessProbe: {httpGet: {port: 8080}, periodSeconds: 1}
    command: [python3, -c]
    args:
    - |
      import http.server, os
      class Echo(http.server.BaseHTTPRequestHandler):
          protocol_version = 'HTTP/1.1'
          def do_GET(self):
              length = int(self.headers.get('Content-Length') or 0)
              said = (self.command + ' ' + self.path + '\\n' + str(self.headers)).encode() + self.rfile.read(length)
              self.send_response(302 if self.path == '/moved' else 200)
              self.send_header('Location', '/there')
              self.send_header('Content-Length', str(len(said)))
              self.end_headers()
              self.wfile.write(said)
          do_POST = do_PUT = do_DELETE = do_PATCH = do_GET
      http.server.HTTPServer((os.environ['IP'], 8080), Echo).serve_forever()
---
apiVersion: v1
kind: Service
metadata: {name: echo}
spec: {selector: {app: echo}, ports: [{name: web, port: 80, targetPort: http}]}
";

const SPACE: &str = "/api/v1/namespaces/default";

#[test]
fn pods_services_and_nodes_are_asked_through_the_api() {
    with_every_kubectl(|kubectl, _| {
        kubectl.send("apply", ECHO).unwrap();
        kubectl.run("wait pod/one --for=condition=Ready --timeout=60s").unwrap();
        let raw = |path: &str| kubectl.run(&format!("get --raw {path}"));
        for at in ["pods/one", "pods/one:8080", "pods/http:one:8080"] {
            let said = raw(&format!("{SPACE}/{at}/proxy/a%20b?c=d")).unwrap();
            assert!(said.starts_with("GET /a%20b?c=d\n"), "{at}: {said}");
        }
        // Its endpoints follow the pod's readiness.
        while raw(&format!("{SPACE}/services/echo:web/proxy/")).is_err() {
            std::thread::yield_now();
        }
        assert!(raw(&format!("{SPACE}/services/http:echo:80/proxy/")).unwrap().starts_with("GET /\n"));
        let node = kubectl.run("get nodes -o jsonpath={.items[0].metadata.name}").unwrap();
        assert_eq!(raw(&format!("/api/v1/nodes/{node}/proxy/healthz")).unwrap(), "ok");
        assert!(raw(&format!("/api/v1/nodes/{node}/proxy/pods")).unwrap().contains("\"PodList\""));
        for (path, said) in [
            (format!("/api/v1/nodes/{node}:1/proxy/"), "address not allowed"),
            (format!("{SPACE}/pods/one:1/proxy/"), "error trying to reach service: "),
            (format!("{SPACE}/services/echo:81/proxy/"), "no service port 81 found for service \"echo\""),
            (format!("{SPACE}/services/none/proxy/"), "not found"),
        ] {
            let refused = raw(&path).unwrap_err();
            assert!(refused.contains(said), "1.{} {path}: {refused}", kubectl.minor());
        }

        let (child, line) = proxy(kubectl, "--port=0");
        let address = line.trim().rsplit(' ').next().unwrap();
        let through = |line: &str, headers: &str| ask(TcpStream::connect(address).unwrap(), line, headers);
        let path = format!("{SPACE}/pods/one/proxy");
        let posted = through(
            &format!("POST {path}/ HTTP/1.1"),
            "Authorization: Bearer secret\r\nX-Remote-User: root\r\nContent-Length: 0\r\n",
        );
        let moved = through(&format!("GET {path}/moved HTTP/1.1"), "");
        end(child);
        assert!(posted.contains("POST /\n"), "{posted}");
        assert!(!posted.contains("secret") && !posted.contains("root"), "{posted}");
        assert!(moved.contains(&format!("ocation: {path}/there")), "{moved}");
        kubectl.run("delete pod/one service/echo").unwrap();
    });
}

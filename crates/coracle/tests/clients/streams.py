"""The official Python client against a running Coracle: logs, exec and port-forward of the pod `one` in `default`, which serves
HTTP on port 8080 and writes lines to its log.
"""

import select
import socket

from kubernetes import client, config
from kubernetes.stream import portforward, stream


def step(text):
    print("ok:", text, flush=True)


def main():
    config.load_kube_config()
    core = client.CoreV1Api()
    lines = core.read_namespaced_pod_log("one", "default", tail_lines=1)
    assert lines.count("\n") == 1, lines
    step("logs are read")

    said = stream(
        core.connect_get_namespaced_pod_exec,
        "one",
        "default",
        command=["sh", "-c", "echo out; echo err >&2; exit 3"],
        stdout=True,
        stderr=True,
        stdin=False,
        tty=False,
        _preload_content=False,
    )
    said.run_forever(timeout=30)
    assert (said.read_stdout(), said.read_stderr(), said.returncode) == ("out\n", "err\n", 3), said.returncode
    step("a command is run")

    talk = stream(
        core.connect_get_namespaced_pod_exec,
        "one",
        "default",
        command=["head", "-n1"],
        stdout=True,
        stderr=True,
        stdin=True,
        tty=False,
        _preload_content=False,
    )
    talk.write_stdin("hello\n")
    assert talk.readline_stdout(timeout=30) == "hello"
    talk.close()
    step("standard input arrives")

    forward = portforward(core.connect_get_namespaced_pod_portforward, "one", "default", ports="8080")
    pipe = forward.socket(8080)
    pipe.setblocking(True)
    pipe.sendall(b"GET / HTTP/1.1\r\nHost: one\r\nConnection: close\r\n\r\n")
    answer = b""
    while select.select([pipe], [], [], 30)[0]:
        try:
            piece = pipe.recv(4096)
        except socket.timeout:
            continue
        if not piece:
            break
        answer += piece
    assert answer.startswith((b"HTTP/1.0 200", b"HTTP/1.1 200")), (answer, forward.error(8080))
    step("a port is forwarded")


main()

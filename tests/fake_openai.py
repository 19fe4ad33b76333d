"""An OpenAI-compatible server that streams tokens at a fixed pace, with the manners and faults that a test asks for.

As a program it takes its behaviour as JSON in the variable FAKE_OPENAI, and `--port N` among arguments that it does not
know otherwise: so it stands in for vLLM's server. Behaviour, all optional:

    pace        seconds between two tokens
    chunk       tokens in one chunk
    refuses     names of fields, or "ids" for prompts of token ids, that are answered with status 400
    usage       false: no token counts at all
    stops_at    tokens after which an answer ends although more were asked for and ignore_eos was not
    dies_after  chunks after which the whole process ends in the middle of a stream
    breaks_after  chunks after which a stream ends without a word, and the server goes on
    healthy     false: /health never says 200
    says        a line for stderr at the start
    status      end at once with this status
    key         answer 401 without it
    children    start so many children, the last in a session of its own, which ignore SIGTERM
    pids        file into which the process ids go, one a line
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SLEEPER = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def fake_interpreter(folder: Path, behaviour: dict[str, Any]) -> Path:
    """A program that is Python, but for `-m module`: that becomes this server with the behaviour."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "behaviour.json"
    settings.write_text(json.dumps(behaviour), encoding="utf-8")
    program = folder / "python"
    program.write_text(
        "#!/bin/sh\n"
        f'if [ "$2" = "-m" ]; then FAKE_OPENAI="$(cat {settings})" exec {sys.executable} -P {__file__} "$@"; fi\n'
        f'exec {sys.executable} "$@"\n',
        encoding="utf-8",
    )
    program.chmod(0o755)
    return program


class FakeOpenAi(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, behaviour: dict[str, Any], port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.behaviour = behaviour
        self.asked: list[dict[str, Any]] = []
        self.open = 0
        self.most_open = 0
        self.lock = threading.Lock()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def __enter__(self) -> FakeOpenAi:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeOpenAi

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        behaviour = self.server.behaviour
        if self.path == "/health":
            self._plain(200 if behaviour.get("healthy", True) else 503, {})
        elif self.path == "/v1/models" and self._may():
            self._plain(200, {"data": [{"id": "served"}, {"id": "other"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self._may():
            return
        with self.server.lock:
            self.server.asked.append(body)
            self.server.open += 1
            self.server.most_open = max(self.server.most_open, self.server.open)
        try:
            self._complete(body)
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            with self.server.lock:
                self.server.open -= 1

    def _may(self) -> bool:
        key = self.server.behaviour.get("key")
        if key and self.headers["Authorization"] != f"Bearer {key}":
            self._plain(401, {"error": "no key"})
            return False
        return True

    def _complete(self, body: dict[str, Any]) -> None:
        behaviour = self.server.behaviour
        names = {*body, *body.get("stream_options", {})}
        if isinstance(body["prompt"], list):
            names.add("ids")
        if refused := names & set(behaviour.get("refuses", ())):
            self._plain(400, {"error": f"unknown: {sorted(refused)}"})
            return
        wanted = body["max_tokens"]
        if not body.get("ignore_eos"):
            wanted = min(wanted, behaviour.get("stops_at", wanted))
        # A word is two tokens to this server.
        prompt = len(body["prompt"]) if isinstance(body["prompt"], list) else 2 * len(body["prompt"].split())
        options = body.get("stream_options", {}) if behaviour.get("usage", True) else {}
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        done = chunks = 0
        while done < wanted:
            if chunks == behaviour.get("dies_after"):
                os._exit(7)
            if chunks == behaviour.get("breaks_after"):
                self.close_connection = True
                self._chunk(b"")
                return
            new = min(behaviour.get("chunk", 1), wanted - done)
            time.sleep(behaviour.get("pace", 0.001) * new)
            done, chunks = done + new, chunks + 1
            event: dict[str, Any] = {
                "choices": [{"text": "x " * new, "finish_reason": "length" if done == wanted else None}]
            }
            if options.get("continuous_usage_stats"):
                event["usage"] = {"prompt_tokens": prompt, "completion_tokens": done}
            self._event(json.dumps(event))
        if options.get("include_usage"):
            self._event(json.dumps({"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": done}}))
        self._event("[DONE]")
        self._chunk(b"")

    def _event(self, data: str) -> None:
        self._chunk(f"data: {data}\n\n".encode())

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _plain(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main() -> None:
    behaviour = json.loads(os.environ["FAKE_OPENAI"])
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    print(behaviour.get("says", "fake server"), file=sys.stderr, flush=True)
    if "status" in behaviour:
        raise SystemExit(behaviour["status"])
    count = behaviour.get("children", 0)
    children = [
        subprocess.Popen([sys.executable, "-c", SLEEPER], start_new_session=number == count - 1)
        for number in range(count)
    ]
    port = int(sys.argv[sys.argv.index("--port") + 1])
    server = FakeOpenAi({"key": os.environ.get("VLLM_API_KEY"), **behaviour}, port)
    if "pids" in behaviour:
        half = Path(behaviour["pids"] + ".half")
        half.write_text("\n".join(str(pid) for pid in (os.getpid(), *(child.pid for child in children))))
        half.replace(behaviour["pids"])
    server.serve_forever()


if __name__ == "__main__":
    main()

//! A headless Chromium behind its debugging pipe: JSON messages that end with a zero byte, no
//! socket, no port.
//!
//! The browser reads commands from descriptor 3 and writes answers and events to descriptor 4; a
//! shell puts them on the child's standard input and output.

use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;
use tempfile::TempDir;

/// After so long the browser hangs. No test's result depends on it: a busy machine is far quicker.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// Where a Chromium may be: `CHROMIUM` first, then the usual names.
fn programs() -> Vec<String> {
    let given = std::env::var("CHROMIUM").ok().into_iter();
    let names = ["chromium", "chromium-browser", "google-chrome"].map(String::from);
    let mac = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome".to_owned();
    given.chain(names).chain([mac]).collect()
}

fn works(program: &str) -> bool {
    let version = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    version.is_ok_and(|status| status.success())
}

/// The process and its two ends of the pipe.
pub struct Pipe {
    child: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    waiting: VecDeque<Value>,
    next: u64,
    // The browser's profile; removed when the process is gone.
    _profile: TempDir,
}

impl Pipe {
    /// Starts the first Chromium that works, or `None` where there is none.
    pub fn start() -> Option<Self> {
        let program = programs().into_iter().find(|program| works(program))?;
        let profile = tempfile::tempdir().expect("a directory for the browser's profile");
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(r#"exec "$@" 3<&0 4>&1 </dev/null >/dev/null"#)
            .arg("sh")
            .arg(program)
            .args([
                "--headless=new",
                "--remote-debugging-pipe",
                "--no-first-run",
                "--no-default-browser-check",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-extensions",
                "--disable-background-networking",
                "--disable-component-update",
                "--hide-scrollbars",
                // A browser that runs as root, as in a container, has no sandbox.
                "--no-sandbox",
                // No name resolves: a page that asks for something does not get it.
                "--host-resolver-rules=MAP * ~NOTFOUND",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let commands = child.stdin.take().expect("a pipe");
        let output = child.stdout.take().expect("a pipe");
        let (send, messages) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(output).split(0).map_while(Result::ok) {
                let parsed = serde_json::from_slice(&message).expect("JSON from the browser");
                if send.send(parsed).is_err() {
                    return;
                }
            }
        });
        Some(Self {
            child,
            commands,
            messages,
            waiting: VecDeque::new(),
            next: 0,
            _profile: profile,
        })
    }

    /// Sends a command and waits for its result; events that come in between are kept for
    /// [`event`](Self::event).
    pub fn call(&mut self, session: Option<&str>, method: &str, params: Value) -> Value {
        self.next += 1;
        let mut message = json!({"id": self.next, "method": method, "params": params});
        if let Some(session) = session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = serde_json::to_vec(&message).expect("a command as JSON");
        bytes.push(0);
        let sent = self.commands.write_all(&bytes);
        sent.and_then(|()| self.commands.flush())
            .unwrap_or_else(|e| panic!("{method}: the browser is gone: {e}"));
        loop {
            let answer = self.receive(method);
            if answer["id"] == self.next {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
            self.waiting.push_back(answer);
        }
    }

    /// The next event.
    pub fn event(&mut self) -> Value {
        let kept = self.waiting.pop_front();
        kept.unwrap_or_else(|| self.receive("an event"))
    }

    fn receive(&mut self, what: &str) -> Value {
        match self.messages.recv_timeout(PATIENCE) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => panic!("{what}: none within {PATIENCE:?}"),
            Err(RecvTimeoutError::Disconnected) => panic!("{what}: the browser ended"),
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // The shell has become the browser, so this ends the browser; its children follow.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

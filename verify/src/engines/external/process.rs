//! The program: one process, one JSON object a line, each answer within a time limit.

use crate::error::{Error, Result};
use serde_json::Value;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// The longest line that counts as a message, in bytes.
const LONGEST: u64 = 1 << 20;
/// Lines of the standard error stream that are kept to explain an end.
const KEPT: usize = 20;

/// A running program.
pub(super) struct Process {
    child: Child,
    input: ChildStdin,
    lines: Receiver<Vec<u8>>,
    complaints: Arc<Mutex<VecDeque<String>>>,
}

/// What an answer is, in words.
const MESSAGE: &str = "expected one line with a JSON object that has the request's `id`";

impl Process {
    /// Starts a program with its arguments.
    ///
    /// # Errors
    /// The program cannot be started.
    pub(super) fn start(words: &[String]) -> Result<Self> {
        let Some((program, arguments)) = words.split_first() else {
            return Err(Error::External("no program is named".into()));
        };
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| Error::External(format!("`{program}` cannot be started: {error}")))?;
        let unpiped = || Error::External(format!("`{program}` has no standard streams"));
        let input = child.stdin.take().ok_or_else(unpiped)?;
        let output = child.stdout.take().ok_or_else(unpiped)?;
        let errors = child.stderr.take().ok_or_else(unpiped)?;
        let (sender, lines) = channel();
        thread::spawn(move || forward(output, &sender));
        let complaints = Arc::new(Mutex::new(VecDeque::new()));
        let kept = Arc::clone(&complaints);
        thread::spawn(move || keep(errors, &kept));
        Ok(Self {
            child,
            input,
            lines,
            complaints,
        })
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// The program ended, did not answer within the limit, or answered something else than a
    /// message; it is of no more use then.
    pub(super) fn ask(&mut self, request: &Value, limit: Duration) -> Result<Value> {
        let what = request["request"].as_str().unwrap_or_default();
        if writeln!(self.input, "{request}")
            .and_then(|()| self.input.flush())
            .is_err()
        {
            return Err(self.ended(what));
        }
        let line = match self.lines.recv_timeout(limit) {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => return Err(self.ended(what)),
            Err(RecvTimeoutError::Timeout) => {
                return Err(Error::External(format!(
                    "no answer to `{what}` within {:.0} s; the program was ended",
                    limit.as_secs_f64()
                )));
            }
        };
        let text = String::from_utf8_lossy(&line);
        let answer: Option<Value> = serde_json::from_str(&text).ok();
        match answer.filter(|answer| answer.is_object() && answer["id"] == request["id"]) {
            Some(answer) => Ok(answer),
            None => {
                let shown: String = text.trim_end().chars().take(80).collect();
                Err(Error::External(format!(
                    "unknown message in answer to `{what}`: `{shown}`; {MESSAGE}"
                )))
            }
        }
    }

    /// The program ended: its status and the last thing that it complained of.
    fn ended(&mut self, what: &str) -> Error {
        // the streams are closed, but the process may need a moment to end
        let mut status = None;
        for _ in 0..100 {
            status = self.child.try_wait().ok().flatten();
            if status.is_some() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let status = status.map_or("closed its output".into(), |status| {
            format!("ended ({status})")
        });
        thread::sleep(Duration::from_millis(20)); // its last words may still be on their way
        let complaints = self
            .complaints
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let last = complaints.iter().rev().find(|line| !line.trim().is_empty());
        let last = last.map_or(String::new(), |line| format!("; its last words: {line}"));
        Error::External(format!("the program {status} at `{what}`{last}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // nothing can be done about a process that can be neither killed nor waited for
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Every line of the program's output, one longer than [`LONGEST`] in pieces.
fn forward(output: impl Read, sender: &Sender<Vec<u8>>) {
    let mut output = BufReader::new(output);
    loop {
        let mut line = Vec::new();
        match (&mut output).take(LONGEST).read_until(b'\n', &mut line) {
            Ok(1..) if sender.send(line).is_ok() => {}
            _ => return,
        }
    }
}

/// The last lines of the program's standard error stream.
fn keep(errors: impl Read, kept: &Mutex<VecDeque<String>>) {
    let mut errors = BufReader::new(errors);
    loop {
        let mut line = Vec::new();
        match (&mut errors).take(LONGEST).read_until(b'\n', &mut line) {
            Ok(1..) => {}
            _ => return,
        }
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        let line = String::from_utf8_lossy(&line);
        kept.push_back(line.trim_end().chars().take(300).collect());
    }
}

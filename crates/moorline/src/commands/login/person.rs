//! The person in front of the terminal: what is shown, and what is typed.

use std::io::{self, BufRead, IsTerminal, Write};
use std::thread;

use anyhow::Result;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::super::{text, until};
use crate::exit::Code;
use crate::output::{self, harmless};

/// What somebody typed who was asked for something.
pub(super) enum Typed {
    /// This.
    Text(String),
    /// Nothing, and nothing more will come.
    Nothing,
}

/// Who is shown each step once, and asked when a step asks.
pub(super) struct Person {
    account: String,
    as_json: bool,
    /// What was shown last.
    shown: Value,
    /// Lines from standard input, once there was something to ask for.
    lines: Option<mpsc::Receiver<String>>,
}

impl Person {
    pub(super) fn new(account: &str, as_json: bool) -> Self {
        Self { account: account.to_owned(), as_json, shown: Value::Null, lines: None }
    }

    /// Shows where the login stands, unless that was shown: as JSON on one line, or in words.
    pub(super) fn show(&mut self, view: &Value) -> Result<()> {
        if self.shown == *view {
            return Ok(());
        }
        self.shown = view.clone();
        if self.as_json {
            let mut line = json!({ "account": self.account });
            for (key, value) in view.as_object().into_iter().flatten() {
                line[key] = value.clone();
            }
            return output::line(&line.to_string());
        }
        // How it failed is said by whoever ends the program.
        if matches!(view["state"].as_str(), Some("failed" | "none")) {
            return Ok(());
        }
        let lasts = match &view["expires_at"] {
            Value::Null => String::new(),
            at => format!(" (good for another {})", until(at).trim_start_matches("in ")),
        };
        output::line(&format!("{}: {}{lasts}", self.account, harmless(&text(&view["message"]))))?;
        if let Some(code) = view["qr"].as_str() {
            output::line("")?;
            if let Some(drawn) = drawn(code, io::stdout().is_terminal()) {
                output::line(&drawn)?;
            }
            output::line(&format!("{}\n", harmless(code)))?;
        }
        if view["state"] == "code" && io::stdin().is_terminal() {
            let mut error = io::stderr();
            // There is nowhere left to report that standard error is closed.
            drop(write!(error, "number: ").and_then(|()| error.flush()));
        }
        Ok(())
    }

    /// The exit code, if the login is over.
    pub(super) fn ended(&self, view: &Value) -> Result<Option<Code>> {
        match view["state"].as_str() {
            Some("done") => Ok(Some(Code::Ok)),
            Some("failed") => self.failed(&text(&view["message"])).map(Some),
            Some("none") => self.failed("the process that did it has been restarted").map(Some),
            _ => Ok(None),
        }
    }

    fn failed(&self, why: &str) -> Result<Code> {
        if !self.as_json {
            output::note(&format!("moorline: {} is not logged in: {}", self.account, harmless(why)));
        }
        Ok(Code::NotHealthy)
    }

    /// It was asked for a number, and standard input has none.
    pub(super) fn says_nothing(&mut self) -> Result<Code> {
        self.give_up("a number was asked for, and none was typed", Code::NotHealthy)
    }

    /// A signal, and how a process ends by it.
    pub(super) fn interrupted(&mut self, code: Code) -> Result<Code> {
        // The terminal may be what is gone.
        drop(self.give_up("it was given up", code));
        Ok(code)
    }

    fn give_up(&mut self, why: &str, code: Code) -> Result<Code> {
        self.show(&json!({ "state": "failed", "message": why }))?;
        self.failed(why)?;
        Ok(code)
    }

    /// What is typed, as long as it is asked for; else this never resolves.
    pub(super) async fn typed(&mut self) -> Typed {
        if self.shown["state"] != "code" {
            return std::future::pending().await;
        }
        let lines = self.lines.get_or_insert_with(read_lines);
        loop {
            match lines.recv().await {
                Some(line) if line.trim().is_empty() => {}
                Some(line) => return Typed::Text(line.trim().to_owned()),
                None => return Typed::Nothing,
            }
        }
    }
}

/// Reading standard input cannot be given up: it is done by a thread that ends with the process at the latest.
fn read_lines() -> mpsc::Receiver<String> {
    let (lines, read) = mpsc::channel(1);
    let reading = move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if lines.blocking_send(line).is_err() {
                break;
            }
        }
    };
    // Without it nothing is ever typed, which is said.
    drop(thread::Builder::new().name("stdin".to_owned()).spawn(reading));
    read
}

/// A QR code of half blocks, the light ones drawn. On a terminal it is black on white whatever its colours are; elsewhere
/// it is right where the ground is dark.
fn drawn(code: &str, on_terminal: bool) -> Option<String> {
    let code = QrCode::with_error_correction_level(code, EcLevel::L).ok()?;
    let drawn = code.render::<Dense1x2>().build();
    if !on_terminal {
        return Some(drawn);
    }
    let lines: Vec<String> = drawn.lines().map(|line| format!("\x1b[97;40m{line}\x1b[0m")).collect();
    Some(lines.join("\n"))
}

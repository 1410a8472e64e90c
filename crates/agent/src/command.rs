//! Programs that are run for each turn: the turn as JSON on standard input, the answer as text on standard output.

mod process;

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use serde_json::{Value, json};

use crate::turn::{Agent, AgentError, Exchange, Reply, Turn};
use process::{Ended, RunError};

/// The exit status that says "later": `EX_TEMPFAIL` of `sysexits.h`.
const TRY_LATER: i32 = 75;

/// What every program gets of our environment, beside `LC_…`. Anything else may be a secret of an account.
const USUAL: [&str; 9] = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR"];

/// A program. One run answers one turn; it and its children are killed when the turn is over before they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program, by path or name, and its arguments.
    pub command: Vec<String>,
    /// For one run, from its start to its exit.
    pub timeout: Duration,
    /// The names of the variables it gets beside the usual ones.
    pub pass_env: Vec<String>,
}

impl Agent for Command {
    fn respond(&self, turn: Turn) -> LocalBoxFuture<'static, Result<Reply, AgentError>> {
        let Self { command, timeout: limit, pass_env } = self.clone();
        async move {
            let environment = std::env::vars_os().filter(|(name, _)| {
                name.to_str().is_some_and(|name| {
                    USUAL.contains(&name)
                        || name.starts_with("LC_")
                        || pass_env.iter().any(|pass| pass == name)
                })
            });
            let input = document(&turn).to_string();
            let running = process::run(&command, environment, input.as_bytes());
            match tokio::time::timeout(limit, running).await {
                Ok(ended) => answer(ended),
                Err(_) => Err(AgentError::Timeout { limit }),
            }
        }
        .boxed_local()
    }
}

/// A turn as the program reads it.
fn document(turn: &Turn) -> Value {
    let exchange = |Exchange { input, reply }: &Exchange| json!({ "input": input, "reply": reply.text() });
    json!({
        "conversation": turn.conversation,
        "transcript": turn.recent().iter().map(exchange).collect::<Vec<_>>(),
        "input": turn.input,
        "interrupted": turn.interrupted,
        "note": turn.note(),
        "attempt": turn.attempt,
    })
}

/// What a run means.
fn answer(run: Result<Ended, RunError>) -> Result<Reply, AgentError> {
    let refused = |reason: String| Err(AgentError::Refused { reason });
    let unavailable = |reason: String| Err(AgentError::Unavailable { reason, retry_after: None });
    match run {
        Ok(Ended { status, output }) => match status.code() {
            Some(0) => match String::from_utf8(output) {
                Ok(text) => Reply::from_backend(text.trim_end_matches(['\r', '\n'])),
                Err(_) => refused("its output is not UTF-8".to_owned()),
            },
            Some(TRY_LATER) => unavailable(format!("the program ended with status {TRY_LATER}")),
            _ => refused(format!("the program ended with {status}")),
        },
        Err(error @ (RunError::NoProgram(_) | RunError::NotAllowed(_) | RunError::TooLong)) => {
            refused(error.to_string())
        }
        Err(error @ (RunError::NotStarted(_) | RunError::Lost(_))) => unavailable(error.to_string()),
    }
}

#[cfg(test)]
mod tests;

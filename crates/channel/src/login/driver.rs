//! The one driver of every login: carries out effects, and feeds back what came of them.
//!
//! It owns no policy: how long a login may take altogether is said by whoever drops it.

use std::rc::Rc;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use moorline_core::{Clock, Failure, Secret};
use tokio::sync::mpsc;

use super::{LoggedIn, Login, LoginEffect, LoginEvent, LoginStep};
use crate::driver::sleep_until;
use crate::network::Http;

/// Runs one login from its first call to its end. `typed` is what the person types, `steps` what the person is to be
/// shown; a person who is gone keeps nothing from going on. Dropping the future ends every call with it.
///
/// # Errors
/// Why nobody is logged in, as the machine says it.
pub async fn drive_login(
    machine: Box<dyn Login>,
    http: Rc<dyn Http>,
    clock: Arc<dyn Clock>,
    mut typed: mpsc::Receiver<Secret>,
    steps: mpsc::Sender<LoginStep>,
) -> Result<LoggedIn, Failure> {
    let mut driver = Driver { machine, http, steps, calls: FuturesUnordered::new() };
    let mut may_type = true;
    let mut event = LoginEvent::Start;
    loop {
        let effects = driver.machine.step(event, clock.now());
        if let Some(outcome) = driver.carry_out(effects).await {
            return outcome;
        }
        let due = driver.machine.wake_at();
        event = loop {
            tokio::select! {
                biased;
                Some(answer) = driver.calls.next() => break answer,
                text = typed.recv(), if may_type => match text {
                    Some(text) => break LoginEvent::Typed(text),
                    None => may_type = false,
                },
                () = sleep_until(due, &*clock) => break LoginEvent::Wake,
            }
        };
    }
}

struct Driver {
    machine: Box<dyn Login>,
    http: Rc<dyn Http>,
    steps: mpsc::Sender<LoginStep>,
    calls: FuturesUnordered<LocalBoxFuture<'static, LoginEvent>>,
}

impl Driver {
    /// In order; `Some` when one of them was the end.
    async fn carry_out(&mut self, effects: Vec<LoginEffect>) -> Option<Result<LoggedIn, Failure>> {
        for effect in effects {
            match effect {
                LoginEffect::Request { id, request } => {
                    let call = self.http.call(request);
                    self.calls.push(Box::pin(async move {
                        let result = call.await;
                        LoginEvent::Response { id, result }
                    }));
                }
                // Nobody who looks is no reason to stop: the phone may be in a hand all the same.
                LoginEffect::Show(step) => drop(self.steps.send(step).await),
                LoginEffect::Finish(outcome) => return Some(outcome),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;

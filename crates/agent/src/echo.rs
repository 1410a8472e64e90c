//! The built-in agent for trying things out.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use crate::turn::{Agent, AgentError, Reply, Turn};

/// Answers with exactly the text it was given, after a delay. It never fails, and a resumed turn gets the answer
/// that the interrupted attempt would have got, so that tests can tell a lost answer from a repeated one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Echo {
    /// How long it pretends to think; zero answers at once.
    pub delay: Duration,
}

impl Agent for Echo {
    fn respond(&self, turn: Turn) -> LocalBoxFuture<'static, Result<Reply, AgentError>> {
        let delay = self.delay;
        async move {
            // Zero has no timer at all: the timer's granularity would be the slowest part of such a turn.
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            Ok(Reply::from_text(turn.text()))
        }
        .boxed_local()
    }
}

#[cfg(test)]
mod tests {
    use moorline_core::ConversationId;
    use tokio::time::Instant;

    use super::*;

    fn turn(input: &[&str], interrupted: bool) -> Turn {
        Turn {
            conversation: ConversationId::new("oc_1"),
            transcript: Vec::new(),
            input: input.iter().map(|&text| text.to_owned()).collect(),
            interrupted,
            attempt: 1,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_text_comes_back_unchanged_after_the_delay() {
        for (millis, text) in [(0, "hello"), (5_000, " spaces and\nlines \u{1f980} "), (1, "@_user_1 hi")] {
            let delay = Duration::from_millis(millis);
            let asked = Instant::now();
            let reply = Echo { delay }.respond(turn(&[text], false)).await;
            assert_eq!(reply, Ok(Reply::Text(text.to_owned())));
            assert_eq!(Instant::now() - asked, delay);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn several_messages_are_answered_as_one_and_nothing_with_silence() {
        let echo = Echo { delay: Duration::ZERO };
        assert_eq!(echo.respond(turn(&["a", "b"], false)).await, Ok(Reply::Text("a\nb".to_owned())));
        assert_eq!(echo.respond(turn(&[""], false)).await, Ok(Reply::Silent));
        assert_eq!(echo.respond(turn(&[], false)).await, Ok(Reply::Silent));
    }

    #[tokio::test(start_paused = true)]
    async fn an_interrupted_turn_gets_the_same_answer() {
        let echo = Echo { delay: Duration::from_secs(5) };
        let first = tokio::time::timeout(Duration::from_secs(3), echo.respond(turn(&["hi"], false))).await;
        assert!(first.is_err(), "dropped while it was thinking");
        assert_eq!(echo.respond(turn(&["hi"], true)).await, Ok(Reply::Text("hi".to_owned())));
    }
}

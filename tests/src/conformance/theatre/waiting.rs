//! What scenarios wait for: conditions, with a limit, and never a mere span of time.

use std::time::Duration;

use tokio::time::Instant;

use super::Theatre;

/// Steps between two looks: short at first, and then a part of what has passed.
const SHORTEST_STEP: Duration = Duration::from_millis(5);
const LONGEST_STEP: Duration = Duration::from_secs(60);

impl Theatre {
    /// Waits for a condition and says how long it took.
    ///
    /// # Panics
    /// When it does not come true in time; the message shows every account.
    pub async fn until(
        &self,
        what: &str,
        limit: Duration,
        mut condition: impl AsyncFnMut(&Self) -> bool,
    ) -> Duration {
        let (began, limit) = (Instant::now(), self.mount().patience(limit));
        loop {
            if condition(self).await {
                return began.elapsed();
            }
            if began.elapsed() >= limit {
                panic!("not within {limit:?}: {what}\n{}", self.house.describe(&self.ids()).await);
            }
            let step = began.elapsed() / 50;
            tokio::time::sleep(step.clamp(SHORTEST_STEP, LONGEST_STEP)).await;
        }
    }

    /// Waits until everybody is ready and knows who they are.
    pub async fn all_ready(&self, limit: Duration) {
        self.until("everybody ready", limit, async |t| {
            for n in 0..t.wish.accounts {
                let account = t.account(n).await;
                if account["state"] != "ready" || account["identity"]["id"].is_null() {
                    return false;
                }
            }
            true
        })
        .await;
    }

    /// Waits until the answer to one message is seen.
    pub async fn answered(&self, said: usize, limit: Duration) {
        let what = format!("answered: {}", self.book[said].text.chars().take(60).collect::<String>());
        self.until(&what, limit, async |t| t.copies(said) > 0).await;
    }

    /// Waits until every message is answered, and nothing of ours waits.
    pub async fn all_answered(&self, limit: Duration) {
        self.all_settled(limit, |_, _| false).await;
    }

    /// The same, but for messages that may go unanswered.
    pub(super) async fn all_settled(&self, limit: Duration, may_go: fn(&Self, usize) -> bool) {
        self.until("every message answered", limit, async |t| {
            for n in 0..t.wish.accounts {
                let account = t.account(n).await;
                let counts = &account["counts"];
                if counts["outbox"] != 0 || counts["pending"] != 0 {
                    return false;
                }
            }
            (0..t.book.len()).all(|said| t.copies(said) > 0 || t.book[said].refused || may_go(t, said))
        })
        .await;
    }
}

//! One run: what it puts where, in the one commit that also says that its due time is over.

use bytes::Bytes;
use moorline_core::{Chat, ChatKind, ConversationId, DedupeKey, EventId, JobId, Route, Timestamp};
use moorline_store::{
    Delivery, JobKind, JobRow, NewMessage, NewRun, Op, Outcome, Page, RunContent, RunResult, RunRow,
    StoreError, Trigger, Tx, Verdict,
};

use crate::accounts::{Flush, parts};
use crate::conversations::Wake;
use crate::services::{Account, Services};

/// How many runs of a job are looked at before it runs once more.
pub(crate) const LOOKED_BACK: u32 = 20;

/// A job of which so many runs in a row failed is disabled (F-088).
const MOST_FAILURES: usize = 5;

/// A run that is due, or that an operator wants.
pub(super) struct Firing<'a> {
    pub(super) services: &'a Services,
    pub(super) job: &'a JobRow,
    pub(super) due: Timestamp,
    pub(super) trigger: Trigger,
}

impl Firing<'_> {
    /// Disables a job that did nothing but fail.
    pub(super) async fn too_many_failures(&self) -> Result<bool, StoreError> {
        let (services, job) = (self.services, self.job);
        let runs = self.runs().await?;
        let failed = streak(job, &runs);
        if failed.len() < MOST_FAILURES {
            return Ok(false);
        }
        let why = failed.first().and_then(|run| run.reason.clone()).unwrap_or_default();
        tracing::warn!(actor = "scheduler", job = %job.id, account = %job.job.account, failures = failed.len(), "a job is disabled, its last runs all failed: {why}");
        let reason = Some(format!("its last {} runs failed, the latest: {why}", failed.len()));
        let op = Op::SwitchJob { job: job.id, enabled: false, next_due: None, reason };
        services.store.commit(Tx::global(services.clock.wall(), [op])).await?;
        Ok(true)
    }

    /// Carries it out. The commit is all there is to it: the rest is a hint to look.
    pub(super) async fn fire(self) -> Result<Outcome, StoreError> {
        let account = self.services.accounts.get(&self.job.job.account);
        let content = self.content(account.as_deref()).await?;
        if let RunContent::Failed { reason } | RunContent::Missed { reason } = &content {
            tracing::warn!(actor = "scheduler", job = %self.job.id, account = %self.job.job.account, due = %self.due, "a job did not run: {reason}");
        }
        let Self { services, job, due, trigger } = self;
        let run = NewRun { job: job.id, due, until: due, count: 1, trigger, content };
        let (at, op) = (services.clock.wall(), Op::RecordRun { run: Box::new(run) });
        let tx = match &account {
            Some(account) => Tx::under(&account.lease, at, [op]),
            None => Tx::global(at, [op]),
        };
        let outcomes = services.store.commit(tx).await?;
        let outcome = outcomes.first().copied().unwrap_or(Outcome::Conflict);
        let Some(account) = account.filter(|_| matches!(outcome, Outcome::Applied(_))) else {
            return Ok(outcome);
        };
        tracing::info!(actor = "scheduler", job = %job.id, account = %account.id, due = %due, "job runs");
        match job.job.kind {
            JobKind::Text => _ = account.actors.outbox.tell(Flush),
            JobKind::Prompt => {
                let conversation = conversation(job);
                services.conversations.tell(Wake { account: account.id.clone(), conversation });
            }
        }
        Ok(outcome)
    }

    async fn content(&self, account: Option<&Account>) -> Result<RunContent, StoreError> {
        let Some(account) = account else {
            return Ok(RunContent::Failed { reason: "its account is not configured".to_owned() });
        };
        let runs = self.runs().await?;
        Ok(match self.job.job.kind {
            JobKind::Text
                if runs.iter().filter(|run| run.delivery == Delivery::Held).count()
                    >= LOOKED_BACK as usize =>
            {
                RunContent::Missed {
                    reason: format!("its last {LOOKED_BACK} messages still wait to be sent"),
                }
            }
            JobKind::Text => {
                let text = &self.job.job.body;
                RunContent::Text(parts(account, &conversation(self.job), &self.route(), text, &self.source()))
            }
            JobKind::Prompt if runs.iter().any(|run| run.result == RunResult::Running) => {
                RunContent::Missed { reason: "the run before it is not over".to_owned() }
            }
            JobKind::Prompt => RunContent::Prompt(Box::new(self.prompt())),
        })
    }

    /// What stands in the inbox for a prompt: a message that nobody wrote, and that no policy judges.
    fn prompt(&self) -> NewMessage {
        let name = self.source();
        NewMessage {
            event_id: EventId::new(name.as_str()),
            dedupe: vec![DedupeKey::new(name)],
            conversation: conversation(self.job),
            chat: Chat { id: self.job.job.chat.clone(), kind: ChatKind::Direct },
            message_id: None,
            route: self.route(),
            text: self.job.job.body.clone(),
            context: serde_json::json!({ "cron": self.job.id }).to_string(),
            written_at: Some(self.due),
            reply_token: None,
            raw: Bytes::new(),
            verdict: Verdict::Allow,
        }
    }

    fn route(&self) -> Route {
        Route { chat: self.job.job.chat.clone(), reply_to: None, in_thread: false }
    }

    /// What this run has its keys from. When the job was added is part of it: jobs are numbered from 1 again in a new
    /// data directory, while the platform still remembers the keys of the old one.
    fn source(&self) -> String {
        let (job, added) = (self.job.id, self.job.created_at.as_millis());
        match &self.trigger {
            Trigger::Schedule { .. } => format!("cron/{job}/{added}/{}", self.due.as_millis()),
            Trigger::Operator { key } => format!("cron/{job}/{added}/by-hand/{key}"),
        }
    }

    async fn runs(&self) -> Result<Vec<RunRow>, StoreError> {
        latest(self.services, self.job.id).await
    }
}

async fn latest(services: &Services, job: JobId) -> Result<Vec<RunRow>, StoreError> {
    let page = Page { before: None, limit: LOOKED_BACK };
    Ok(services.store.listing().runs(Some(job), page).await?.rows)
}

/// The conversation in whose order a job sends, and in which its prompts are answered: that of its chat.
fn conversation(job: &JobRow) -> ConversationId {
    ConversationId::new(job.job.chat.as_str())
}

/// The latest runs that failed, newest first, up to the first that did not. What is not over yet, or never ran, says
/// nothing; neither does what was before the job was last enabled.
pub(crate) fn streak<'a>(job: &JobRow, runs: &'a [RunRow]) -> Vec<&'a RunRow> {
    let fails = |run: &RunRow| match (run.result, run.delivery) {
        (RunResult::Error, _) | (_, Delivery::Failed) => Some(true),
        (RunResult::Silent, _) | (RunResult::Ok, Delivery::Delivered) => Some(false),
        _ => None,
    };
    let since_enabled = runs.iter().filter(|run| run.at >= job.enabled_at);
    let decided = since_enabled.filter_map(|run| fails(run).map(|failed| (run, failed)));
    decided.take_while(|(_, failed)| *failed).map(|(run, _)| run).collect()
}

//! Everything the trait lets anybody see.

use std::collections::BTreeMap;

use moorline_core::{AccountId, InboxId, JobId, OutboxId, RunId, Timestamp, TurnId};
use moorline_store::{
    Counts, Entry, InboxEntry, InboxFilter, InboxKind, InboxRow, JobRow, Listed, OutboxFilter, OutboxRow,
    OutboxState, Page, ReplyWindow, RunRow, Scope, SessionFilter, SessionRow, SessionState, Store,
    StoredIdentity, Trace, Traced, TurnRow, Waiting, Work,
};

use crate::script::{self, ACCOUNTS, CONVERSATIONS};

/// After everything.
const LATE: Timestamp = Timestamp::from_millis(i64::MAX);

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Visible {
    pub(crate) counts: BTreeMap<AccountId, Counts>,
    with_work: Vec<Waiting>,
    first_work: Vec<Waiting>,
    later_work: Vec<Waiting>,
    accounts: Vec<OfAccount>,
    outbox: Vec<Option<OutboxRow>>,
    inbox: Vec<Option<InboxEntry>>,
    traces: Vec<Trace>,
    lives: BTreeMap<AccountId, Life>,
    lists: Lists,
}

/// Every list by every filter, in pages of two.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Lists {
    sessions: Vec<Listed<SessionRow>>,
    session: Vec<Option<SessionRow>>,
    inbox: Vec<Listed<InboxEntry>>,
    outbox: Vec<Listed<OutboxRow>>,
    gaps: Vec<Listed<Gap>>,
    traces: Vec<Trace>,
}

#[derive(Debug, PartialEq, Eq)]
struct OfAccount {
    with_work: Vec<Waiting>,
    interrupted: Vec<TurnRow>,
    held: Vec<InboxRow>,
    first_held: Vec<InboxRow>,
    heads: Vec<OutboxRow>,
    first_head: Vec<OutboxRow>,
    held_sends: Vec<OutboxRow>,
    first_held_send: Vec<OutboxRow>,
    windows: Vec<ReplyWindow>,
    identity: Option<StoredIdentity>,
    cursor: Option<String>,
    conversations: Vec<(Option<Work>, Vec<Entry>, Vec<Entry>)>,
}

/// What can be seen of `rows` rows; with every list, which takes its time, or without.
pub(crate) async fn visible(store: &dyn Store, rows: i64, with_lists: bool) -> Visible {
    let mut accounts = Vec::new();
    for account in (0..=ACCOUNTS).map(script::account) {
        let mut conversations = Vec::new();
        for conversation in (0..=CONVERSATIONS).map(script::conversation) {
            conversations.push((
                store.next_work(&account, &conversation).await.unwrap(),
                store.transcript(&account, &conversation, 1_000).await.unwrap(),
                store.transcript(&account, &conversation, 2).await.unwrap(),
            ));
        }
        let mut windows = Vec::new();
        for (chat, credentials) in [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)] {
            let (chat, credentials) = (script::chat(chat), script::fingerprint(credentials));
            windows.push(store.reply_window(&account, &chat, &credentials).await.unwrap());
        }
        accounts.push(OfAccount {
            with_work: work(store, Some(&account), 0, 1_000).await,
            interrupted: store.interrupted_turns(&account).await.unwrap(),
            held: store.held(&account, 1_000).await.unwrap(),
            first_held: store.held(&account, 1).await.unwrap(),
            heads: store.outbox_heads(&account, 1_000).await.unwrap(),
            first_head: store.outbox_heads(&account, 1).await.unwrap(),
            held_sends: store.held_sends(&account, LATE, 1_000).await.unwrap(),
            first_held_send: store.held_sends(&account, LATE, 1).await.unwrap(),
            windows,
            identity: store.identity(&account, &script::fingerprint(0)).await.unwrap(),
            cursor: store.cursor(&account, "poll").await.unwrap(),
            conversations,
        });
    }
    let mut outbox = Vec::new();
    let mut inbox = Vec::new();
    let mut traces = Vec::new();
    for id in 0..=rows {
        let traced = [
            Traced::Inbox(InboxId::new(id)),
            Traced::Turn(TurnId::new(id)),
            Traced::Outbox(OutboxId::new(id)),
        ];
        for traced in traced.iter().filter(|_| with_lists) {
            traces.push(store.listing().trace(traced).await.unwrap());
        }
        inbox.push(store.listing().inbox_row(InboxId::new(id)).await.unwrap());
        outbox.push(store.outbox_row(OutboxId::new(id)).await.unwrap());
    }
    Visible {
        counts: store.counts().await.unwrap(),
        with_work: work(store, None, 0, 1_000).await,
        first_work: work(store, None, 0, 1).await,
        later_work: work(store, None, rows / 2, 1_000).await,
        accounts,
        outbox,
        inbox,
        traces,
        lives: store.lives().await.unwrap(),
        lists: if with_lists { lists(store).await } else { Lists::default() },
    }
}

async fn work(store: &dyn Store, account: Option<&AccountId>, after: i64, limit: u32) -> Vec<Waiting> {
    store.conversations_with_work(account, InboxId::new(after), limit).await.unwrap()
}

async fn lists(store: &dyn Store) -> Lists {
    let listing = store.listing();
    let mut lists = Lists::default();
    let mut scopes = vec![Scope::All];
    for account in (0..=ACCOUNTS).map(script::account) {
        scopes.push(Scope::Account(account.clone()));
        for conversation in (0..=CONVERSATIONS).map(script::conversation) {
            lists.session.push(listing.session(&account, &conversation).await.unwrap());
            scopes.push(Scope::Conversation(account.clone(), conversation));
        }
        for state in [None].into_iter().chain(SessionState::ALL.iter().copied().map(Some)) {
            for account in [None, Some(account.clone())] {
                let filter = SessionFilter { account, state };
                pages(&mut lists.sessions, async |page| listing.sessions(&filter, page).await.unwrap()).await;
            }
        }
    }
    for account in [None].into_iter().chain((0..=ACCOUNTS).map(|number| Some(script::account(number)))) {
        pages(&mut lists.gaps, async |page| listing.gaps(account.as_ref(), page).await.unwrap()).await;
    }
    for name in ["om_1", "om_2", "om_sent", "event [1]", "nobody's"] {
        lists.traces.push(listing.trace(&Traced::Name(name.to_owned())).await.unwrap());
    }
    use OutboxState::{Dead, Discarded, Held, Ready, Sending, Sent, Unknown};
    for scope in scopes {
        for state in [None].into_iter().chain(InboxKind::ALL.iter().copied().map(Some)) {
            let filter = InboxFilter { scope: scope.clone(), state };
            pages(&mut lists.inbox, async |page| listing.inbox(&filter, page).await.unwrap()).await;
        }
        for state in
            [None].into_iter().chain([Ready, Sending, Sent, Unknown, Held, Dead, Discarded].map(Some))
        {
            let filter = OutboxFilter { scope: scope.clone(), state };
            pages(&mut lists.outbox, async |page| listing.outbox(&filter, page).await.unwrap()).await;
        }
    }
    lists
}

/// The first two pages: enough to see where one ends and the next one begins.
async fn pages<T>(found: &mut Vec<Listed<T>>, list: impl AsyncFn(Page) -> Listed<T>) {
    let mut page = Page { before: None, limit: 2 };
    for _ in 0..2 {
        let listed = list(page).await;
        page.before = listed.next;
        found.push(listed);
        if page.before.is_none() {
            break;
        }
    }
}

/// Everything that can be seen of jobs and runs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct VisibleCron {
    jobs: Vec<JobRow>,
    job: Vec<Option<JobRow>>,
    run: Vec<Option<RunRow>>,
    runs: Vec<Listed<RunRow>>,
}

pub(crate) async fn visible_cron(store: &dyn Store, runs: i64, jobs: i64) -> VisibleCron {
    let listing = store.listing();
    let mut visible =
        VisibleCron { jobs: listing.jobs().await.unwrap(), job: vec![], run: vec![], runs: vec![] };
    for id in 0..=runs + 1 {
        visible.run.push(listing.run(RunId::new(id)).await.unwrap());
    }
    for id in 0..=jobs + 1 {
        visible.job.push(listing.job(JobId::new(id)).await.unwrap());
    }
    for job in [None].into_iter().chain((1..=jobs).map(|id| Some(JobId::new(id)))) {
        pages(&mut visible.runs, async |page| listing.runs(job, page).await.unwrap()).await;
    }
    visible
}

/// Design §2: every message is in exactly one of these.
pub(crate) fn assert_conserved(counts: &BTreeMap<AccountId, Counts>) {
    for (account, counts) in counts {
        let dropped: u64 = counts.dropped.values().sum();
        let held: u64 = counts.held.values().sum();
        assert_eq!(
            counts.received,
            counts.answered + dropped + held + counts.pending,
            "{account}: {counts:?}"
        );
    }
}

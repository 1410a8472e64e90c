//! A stage and a house, and what a scenario does with them: users write, things go wrong, and in the end everything is
//! judged by the platform's own ledgers.

mod waiting;

use std::time::Duration;

use moorline_channel::{Capabilities, Redelivery};
use moorline_core::{AccountId, FailureClass, Timestamp, split};
use serde_json::Value;
use tokio::time::Instant;

use super::house::{Hold, House, Mount, Wish};
use super::judge::{Judged, judge};
use super::stage::{Fate, Harm, MessageRef, NotApplicable, Opening, Stage};

/// The account to which things are done.
pub const FIRST: usize = 0;

/// How long anything may take that nothing stands in the way of.
pub const SOON: Duration = Duration::from_secs(5);

/// The longest until what is done strikes, and until the silence of a dead connection is noticed: three calls that the
/// platform may hold for three quarters of a minute each, and a grace.
pub const NOTICED: Duration = Duration::from_secs(180);

/// How long a message may take that waits for the platform to offer it again, or for its key to lapse.
pub const LATE: Duration = Duration::from_secs(9 * 3_600);

/// After the end, and after everything that the platform promises to repeat, so that what comes twice has the time to.
const AFTERMATH: Duration = Duration::from_secs(3_600);

/// The same where time is real: the quick platforms repeat every second.
const QUICK_AFTERMATH: Duration = Duration::from_millis(1_300);

/// A user's message.
#[derive(Debug, Clone)]
pub struct Said {
    /// To which account.
    pub account: usize,
    /// By whom.
    pub user: String,
    /// What it says, and so what the echo agent answers.
    pub text: String,
    /// When, by the clock that gaps are dated by.
    pub at: Timestamp,
    /// The platform's name for it; `None` for what an operator had us write.
    pub message: Option<MessageRef>,
    /// The platform will never take its answer.
    pub refused: bool,
}

/// Something is done to the first account.
struct Hurt {
    began: Instant,
    /// How often something had struck it before.
    blows: u64,
    /// Since when it was ready then.
    ready_since: Value,
}

/// A run of one scenario.
pub struct Theatre {
    /// The platform.
    pub stage: Box<dyn Stage>,
    /// The runtime.
    pub house: House,
    capabilities: &'static Capabilities,
    wish: Wish,
    book: Vec<Said>,
    began: Instant,
    /// How long it took until everybody was ready for the first time.
    start: Duration,
    /// How long the first account was not ready, all in all.
    away: Duration,
    /// What is being done to it.
    hurt: Option<Hurt>,
    /// Something was done to everybody.
    everybody: bool,
    /// The process was killed.
    killed: bool,
    /// The others as they were before anything was done to the first account.
    others: Vec<Value>,
}

impl Theatre {
    /// Opens a stage in a house and waits until everybody is ready, knows who they are, and has answered.
    pub async fn open(open: fn(&Opening) -> Box<dyn Stage>, mount: Mount, wish: Wish, seed: u64) -> Self {
        let mut stage = open(&Opening { accounts: wish.accounts, seed, pace: mount.pace() });
        let began = Instant::now();
        let house = House::open(mount, &mut *stage, &wish).await;
        let capabilities = capabilities(&*stage, &wish);
        let mut theatre = Self {
            stage,
            house,
            capabilities,
            wish,
            book: Vec::new(),
            began,
            start: Duration::ZERO,
            away: Duration::ZERO,
            hurt: None,
            everybody: false,
            killed: false,
            others: Vec::new(),
        };
        theatre.all_ready(SOON).await;
        theatre.start = began.elapsed();
        for n in 0..theatre.wish.accounts {
            theatre.say(n, "early", "before anything happens");
        }
        theatre.all_answered(SOON).await;
        theatre.others = theatre.untouched().await;
        theatre
    }

    /// What the platform can do.
    #[must_use]
    pub const fn capabilities(&self) -> &'static Capabilities {
        self.capabilities
    }

    /// In which house.
    #[must_use]
    pub const fn mount(&self) -> Mount {
        self.house.mount()
    }

    /// Since the start.
    #[must_use]
    pub fn ran(&self) -> Duration {
        self.began.elapsed()
    }

    /// How long it took until everybody was ready for the first time.
    #[must_use]
    pub const fn took_to_start(&self) -> Duration {
        self.start
    }

    /// How long the first account was not ready, as far as a scenario did something to it.
    #[must_use]
    pub const fn away(&self) -> Duration {
        self.away
    }

    /// Everything that was said.
    #[must_use]
    pub fn book(&self) -> &[Said] {
        &self.book
    }

    /// The id of an account.
    #[must_use]
    pub fn id(&self, n: usize) -> AccountId {
        self.stage.account(n)
    }

    /// All of them.
    #[must_use]
    pub fn ids(&self) -> Vec<AccountId> {
        (0..self.wish.accounts).map(|n| self.id(n)).collect()
    }

    // === What is done ===

    /// A user writes; gives the number in the book.
    pub fn say(&mut self, account: usize, user: &str, text: &str) -> usize {
        let at = self.house.now();
        let message = Some(self.stage.user_writes(account, user, text));
        let (user, text) = (user.to_owned(), text.to_owned());
        self.book.push(Said { account, user, text, at, message, refused: false });
        self.book.len() - 1
    }

    /// An operator has the first account write to a user.
    pub async fn write(&mut self, user: &str, text: &str) -> usize {
        let to = self.stage.address(FIRST, user);
        let key = format!("written-{}", self.book.len());
        self.house.send(&self.id(FIRST), &to, text, &key).await;
        let (user, text) = (user.to_owned(), text.to_owned());
        let at = self.house.now();
        self.book.push(Said { account: FIRST, user, text, at, message: None, refused: false });
        self.book.len() - 1
    }

    /// The answer to this will never be taken: it is not waited for.
    pub fn refused(&mut self, said: usize) {
        self.book[said].refused = true;
    }

    /// Does something to the first account.
    ///
    /// # Errors
    /// When there is no such thing on this platform.
    pub async fn harm(&mut self, harm: Harm) -> Result<(), NotApplicable> {
        self.everybody |= matches!(harm, Harm::Unreachable(_));
        let (blows, ready_since) = (self.stage.blows(FIRST), self.account(FIRST).await["since"].clone());
        let began = Instant::now();
        self.stage.harm(FIRST, harm)?;
        self.hurt.get_or_insert(Hurt { began, blows, ready_since });
        Ok(())
    }

    /// Ends whatever was done. It has to have struck.
    pub fn heal(&mut self) {
        assert!(self.hurt.is_none() || self.has_struck(), "what was done never struck: nothing was shown");
        self.stage.heal(FIRST);
    }

    /// How often what is being done has struck so far.
    #[must_use]
    pub fn blows(&self) -> u64 {
        self.hurt.as_ref().map_or(0, |hurt| self.stage.blows(FIRST) - hurt.blows)
    }

    /// Whether it has.
    #[must_use]
    pub fn has_struck(&self) -> bool {
        self.blows() > 0
    }

    /// Waits until what is done to the first account has cost it its connection, even if it has another one by now.
    pub async fn noticed(&self, limit: Duration) {
        let before = self.hurt.as_ref().map_or(Value::Null, |hurt| hurt.ready_since.clone());
        self.until("noticed", limit, async |t| {
            let account = t.account(FIRST).await;
            !account.is_null() && (account["state"] != "ready" || account["since"] != before)
        })
        .await;
    }

    /// Waits until the first account is ready after what was done to it, and says how long it was not: no time at all, if
    /// it stayed ready.
    pub async fn recovered(&mut self, limit: Duration) -> Duration {
        self.until("ready again", limit, async |t| t.state(FIRST).await == "ready").await;
        let Some(hurt) = self.hurt.take() else { return Duration::ZERO };
        let stayed = self.account(FIRST).await["since"] == hurt.ready_since;
        let away = if stayed { Duration::ZERO } else { hurt.began.elapsed() };
        self.away += away;
        away
    }

    /// From now on commits stop there.
    pub fn hold(&mut self, hold: Hold) {
        self.house.hold(hold);
    }

    /// Kills the process, and starts the next one when everything is well again.
    pub async fn killed(&mut self) {
        let since = Instant::now();
        (self.everybody, self.killed) = (true, true);
        self.house.kill().await;
        self.stage.heal(FIRST);
        self.house.start().await;
        self.all_ready(LATE).await;
        self.hurt = None;
        self.away += since.elapsed();
    }

    /// Lets time pass.
    pub async fn pass(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }

    // === What is seen ===

    /// An account as an operator sees it.
    pub async fn account(&self, n: usize) -> Value {
        self.house.account(&self.id(n)).await
    }

    /// Its state.
    pub async fn state(&self, n: usize) -> String {
        self.account(n).await["state"].as_str().unwrap_or_default().to_owned()
    }

    /// The class of what keeps it from being ready.
    pub async fn cause(&self, n: usize) -> Option<FailureClass> {
        serde_json::from_value(self.account(n).await["cause"]["class"].clone()).ok()
    }

    /// One of its counters.
    pub async fn count(&self, n: usize, counter: &str) -> u64 {
        self.account(n).await["counts"][counter].as_u64().unwrap_or_default()
    }

    /// What became of a user's message, as the platform sees it.
    #[must_use]
    pub fn fate(&self, said: usize) -> Fate {
        self.book[said].message.as_ref().map_or(Fate::Acknowledged, |message| self.stage.fate(message))
    }

    /// The row of the outbox that has this text; null when there is none.
    pub async fn row(&self, said: usize) -> Value {
        let said = &self.book[said];
        let rows = self.house.outbox(&self.id(said.account)).await;
        rows.into_iter().find(|row| row["text"] == *said.text).unwrap_or_default()
    }

    /// How many copies of the answer its user sees; of an answer in parts, of the part that is seen least.
    #[must_use]
    pub fn copies(&self, said: usize) -> usize {
        self.copies_of_parts(said).into_iter().min().unwrap_or_default()
    }

    /// The same for each part.
    #[must_use]
    pub fn copies_of_parts(&self, said: usize) -> Vec<usize> {
        let Said { account, user, text, .. } = &self.book[said];
        let visible = self.stage.visible(*account, user);
        let parts = split(text, self.capabilities.text_limit);
        parts.iter().map(|part| visible.iter().filter(|seen| *seen == part).count()).collect()
    }

    // === What is judged ===

    /// Heals everything, waits until all is well and nothing more can come, and judges.
    ///
    /// # Panics
    /// When something is lost, doubled, missing without a record, or was touched that should not have been.
    pub async fn verdict(&mut self) -> Judged {
        self.stage.heal(FIRST);
        self.all_ready(LATE).await;
        let last = self.say(FIRST, "last", "after everything");
        self.answered(last, LATE).await;
        self.all_settled(LATE, |t, said| t.fate(said) == Fate::Gone).await;
        self.pass(self.aftermath()).await;
        if !self.everybody {
            assert_eq!(self.others, self.untouched().await, "the other accounts notice nothing (G7)");
        }
        if !self.killed {
            for n in 0..self.wish.accounts {
                let most = self.stage.most_connections(n);
                assert!(most <= 1, "account {n} had {most} connections at once (F-026)");
            }
        }
        let violations = self.stage.violations();
        assert!(violations.is_empty(), "not as the protocol has it: {violations:?}");
        if let Some(wrong) = self.house.miscounted(&self.ids()).await {
            panic!("conservation: {wrong}");
        }
        judge(self).await
    }

    /// How long something may still come after the end.
    fn aftermath(&self) -> Duration {
        match (self.mount(), self.capabilities.redelivery) {
            (Mount::Sockets, _) => QUICK_AFTERMATH,
            (Mount::Memory, Redelivery::UntilAcked(kept) | Redelivery::ByCursor(kept)) => kept + AFTERMATH,
            (Mount::Memory, Redelivery::None | Redelivery::Perhaps) => AFTERMATH,
        }
    }

    /// What must stay as it is of the accounts to which nothing is done.
    async fn untouched(&self) -> Vec<Value> {
        let mut others = Vec::new();
        for n in 1..self.wish.accounts {
            let account = self.account(n).await;
            others.push(Value::Array(vec![
                account["state"].clone(),
                account["since"].clone(),
                account["generation"].clone(),
            ]));
        }
        others
    }
}

/// What a channel says of its platform.
fn capabilities(stage: &dyn Stage, wish: &Wish) -> &'static Capabilities {
    super::house::first_plan(stage, wish).capabilities()
}

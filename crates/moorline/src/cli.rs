//! What may be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Keeps chat-bot accounts connected for months, loses no message, and answers each one once.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100, disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    pub place: Place,
    /// Print answers as JSON.
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

/// The configuration file that is meant when none is named.
pub const DEFAULT_CONFIG: &str = "config/moorline.toml";

/// Which Moorline is meant.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// The configuration file; a demo has its own.
    #[arg(short, long, global = true, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
    /// The data directory; by default the one that the configuration names.
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Connect the configured accounts and keep them connected.
    Run,
    /// Watch three simulated accounts connect, answer, lose their sockets and come back.
    Demo(Demo),
    /// Check the configuration without starting anything; exit code 78 when it cannot be started.
    Check(Check),
    /// Show every account and the evidence that it lives; exit code 1 when one is not ready.
    Status,
    /// Say what is wrong and what to do about it; exit code 1 when anything is.
    Doctor(Doctor),
    /// Show every actor: state, generation, restarts, last exit.
    Tree,
    /// Show or control accounts.
    #[command(subcommand)]
    Account(Account),
    /// Log an account in that a person logs in with a phone; exit code 1 when nobody is logged in in the end.
    Login {
        /// The account; its channel may be left out.
        account: String,
    },
    /// Send a message from an account.
    Send(Send),
    /// Show conversations: what was received, what waits, what is running.
    #[command(subcommand)]
    Session(Session),
    /// Show received messages and what became of them.
    #[command(subcommand)]
    Inbox(Inbox),
    /// Show messages of ours and how far they got.
    #[command(subcommand)]
    Outbox(Outbox),
    /// Show the times in which messages may have been lost, the last recorded first.
    Gaps(Gaps),
    /// Send messages, or ask the agent, by a schedule.
    #[command(subcommand)]
    Cron(Cron),
    /// Tell the whole life of a message: received, judged, every turn, every attempt to send.
    Trace {
        /// The platform's id of a message or a delivery, or `in:`, `turn:` or `out:` with a number of ours.
        message: String,
    },
    /// Show what happens, as it happens: connections, actors, agents, the store, the configuration.
    Watch(Watch),
    /// Read the configuration now and apply what has changed in it; a changed file is also read by itself.
    Reload,
    /// Replace the running process by a fresh one, with the same process id; callers wait meanwhile.
    Restart(Wait),
    /// End the running process in an orderly way.
    Shutdown(Wait),
    /// Print what a shell needs to complete this program's commands and options.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub struct Wait {
    /// Return as soon as the process has been told.
    #[arg(long)]
    pub no_wait: bool,
}

#[derive(Debug, Args)]
pub struct Check {
    /// Connect to each account's host as well; exit code 1 when one cannot be reached.
    #[arg(long)]
    pub online: bool,
    /// Print the reference page of all settings, which is kept as config/reference.toml.
    #[arg(long, hide = true, conflicts_with = "online")]
    pub reference: bool,
    /// Print the OpenAPI document of the admin endpoint, which is kept as docs/openapi.json.
    #[arg(long, hide = true, conflicts_with_all = ["online", "reference"])]
    pub openapi: bool,
}

#[derive(Debug, Args)]
pub struct Watch {
    /// Show what becomes of each message and turn, too.
    #[arg(long)]
    pub messages: bool,
    /// Of the accounts, this one only; what concerns the whole process is shown all the same.
    #[arg(long)]
    pub account: Option<String>,
}

#[derive(Debug, Args)]
pub struct Doctor {
    /// Ask no process: look at the configuration and at what is in the data directory, and change nothing.
    #[arg(long)]
    pub offline: bool,
}

#[derive(Debug, Args)]
pub struct Demo {
    #[command(subcommand)]
    pub action: Option<DemoAction>,
    /// Connect and answer only: inject no faults.
    #[arg(long)]
    pub calm: bool,
}

#[derive(Debug, Subcommand)]
pub enum DemoAction {
    /// Write to a bot of the running demo as a user, and show its reply.
    Say {
        /// The account, such as `feishu:main`; the channel may be left out.
        account: String,
        /// What to say.
        text: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum Account {
    /// Show all accounts.
    List,
    /// Show one account; of those named here the channel may be left out.
    Show { account: String },
    /// Start an account that was stopped.
    Start { account: String },
    /// Stop an account until it is started again or the process restarts.
    Stop { account: String },
    /// Give every actor of an account a new life.
    Restart { account: String },
    /// Ask an account for signs of life, or, while it waits to reconnect, let it try now.
    Probe { account: String },
    /// Delete every row of an account that is not configured any more, and its saved login.
    DiscardRows {
        /// The account; its channel may be left out.
        account: String,
    },
}

#[derive(Debug, Args)]
pub struct Send {
    /// The account that sends; its channel may be left out.
    pub account: String,
    /// The chat, user or address it goes to, as the platform names it.
    pub to: String,
    /// The text.
    pub text: String,
    /// Makes repeating this command harmless: a key that was used before sends nothing again.
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Session {
    /// Show sessions, the one that received a message last first.
    List {
        /// Those of this account; its channel may be left out.
        #[arg(long)]
        account: Option<String>,
        /// Those in this state.
        #[arg(long)]
        state: Option<SessionState>,
        #[command(flatten)]
        page: Page,
    },
    /// Show one session and the end of its transcript.
    Show {
        /// The session as the list names it: `feishu:main~oc_1`.
        session: String,
        /// How many entries of the transcript, at most 500.
        #[arg(long, default_value_t = 20, value_name = "COUNT")]
        entries: u32,
    },
    /// Let a session go on: answer what was given up with its last turns, or take up what was interrupted.
    Resume {
        /// The session as the list names it.
        session: String,
    },
    /// Let a session begin anew: forget its transcript and give up the turn that is running.
    Reset {
        /// The session as the list names it.
        session: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum Inbox {
    /// Show received messages, newest first.
    List {
        #[command(flatten)]
        scope: Scope,
        /// Those in this state.
        #[arg(long)]
        state: Option<InboxState>,
        #[command(flatten)]
        page: Page,
    },
    /// Show one received message.
    Show {
        /// Its number in the list; `in:7` is the same as `7`.
        #[arg(value_parser = received)]
        id: u64,
    },
}

#[derive(Debug, Subcommand)]
pub enum Outbox {
    /// Show messages of ours, newest first.
    List {
        #[command(flatten)]
        scope: Scope,
        /// Those in this state.
        #[arg(long)]
        state: Option<OutboxState>,
        #[command(flatten)]
        page: Page,
    },
    /// Show one message of ours.
    Show {
        /// Its number in the list; `out:7` is the same as `7`.
        #[arg(value_parser = ours)]
        id: u64,
    },
    /// Send a message now: a dead letter, or one that waits.
    Retry {
        /// Its number in the list; `out:7` is the same as `7`.
        #[arg(value_parser = ours)]
        id: u64,
    },
    /// Give a message up for good.
    Discard {
        /// Its number in the list; `out:7` is the same as `7`.
        #[arg(value_parser = ours)]
        id: u64,
    },
}

#[derive(Debug, Subcommand)]
pub enum Cron {
    /// Add a job: a text to send, or a prompt for the agent whose answer is sent.
    Add(CronAdd),
    /// Show all jobs: when each is due next, and what came of its last run.
    List,
    /// Show one job and its runs, each with how far its messages got.
    Show {
        /// Its number in the list.
        id: u64,
        #[command(flatten)]
        page: Page,
    },
    /// Remove a job and the records of its runs; what it has put into the outbox is still sent.
    Remove {
        /// Its number in the list.
        id: u64,
    },
    /// Let a disabled job run again from now on.
    Enable {
        /// Its number in the list.
        id: u64,
    },
    /// Keep a job from running until it is enabled.
    Disable {
        /// Its number in the list.
        id: u64,
    },
    /// Run a job now, whatever its schedule, also a disabled one.
    Run {
        /// Its number in the list.
        id: u64,
        /// Makes repeating this command harmless: a key that was used before runs nothing again.
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<String>,
    },
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  moorline cron add --account feishu:main --to oc_1 --schedule \"0 9 * * MON-FRI\" --tz Asia/Shanghai --text \"Good morning\""
)]
pub struct CronAdd {
    /// The account that sends; its channel may be left out.
    #[arg(long)]
    pub account: String,
    /// The chat, user or address it goes to, as the platform names it.
    #[arg(long, value_name = "CHAT")]
    pub to: String,
    /// When: minute, hour, day, month and weekday; with seconds before them if there are six; or @hourly, @daily, …
    #[arg(long, value_name = "PATTERN")]
    pub schedule: String,
    /// In which time zone, by its IANA name.
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub tz: String,
    /// What to send.
    #[arg(long, required_unless_present = "prompt", conflicts_with = "prompt")]
    pub text: Option<String>,
    /// What to ask the account's agent; its answer is sent.
    #[arg(long)]
    pub prompt: Option<String>,
    /// What people call it.
    #[arg(long)]
    pub name: Option<String>,
    /// What becomes of due times that went by while nothing ran; they are recorded in any case.
    #[arg(long, value_name = "POLICY", default_value = "once")]
    pub missed: MissedPolicy,
    /// A due time found later than this is not run any more; 720 by default.
    #[arg(long, value_name = "MINUTES")]
    pub max_delay: Option<u64>,
    /// Makes repeating this command harmless: a key that was used before adds nothing again.
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum MissedPolicy {
    /// None of them runs.
    Skip,
    /// The latest one runs.
    Once,
    /// All of them run, one after the other, 100 at most.
    All,
}

/// Whose messages.
#[derive(Debug, Args)]
pub struct Scope {
    /// Those of this account; its channel may be left out.
    #[arg(long)]
    pub account: Option<String>,
    /// Those of this conversation of the account.
    #[arg(long, requires = "account")]
    pub conversation: Option<String>,
}

#[derive(Debug, Args)]
pub struct Gaps {
    /// Those of this account; its channel may be left out.
    #[arg(long)]
    pub account: Option<String>,
    #[command(flatten)]
    pub page: Page,
}

/// Which page of a list.
#[derive(Debug, Args)]
pub struct Page {
    /// How many rows, at most 500.
    #[arg(long, default_value_t = 50, value_name = "COUNT")]
    pub limit: u32,
    /// The page after the one that ended with this number.
    #[arg(long, value_name = "NUMBER")]
    pub before: Option<i64>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum SessionState {
    Running,
    Interrupted,
    Waiting,
    Held,
    Idle,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum InboxState {
    Pending,
    Held,
    Answered,
    Dropped,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum OutboxState {
    Ready,
    Sending,
    Unknown,
    Held,
    Sent,
    Dead,
    Discarded,
}

/// The number of a received message, as it is listed or as a trace names it.
fn received(typed: &str) -> Result<u64, String> {
    number(typed, "in:")
}

/// The number of a message of ours.
fn ours(typed: &str) -> Result<u64, String> {
    number(typed, "out:")
}

fn number(typed: &str, prefix: &str) -> Result<u64, String> {
    let digits = typed.strip_prefix(prefix).unwrap_or(typed);
    digits.parse().map_err(|_| format!("expected a number such as `7` or `{prefix}7`"))
}

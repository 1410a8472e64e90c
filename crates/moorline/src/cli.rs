//! What may be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use moorline_core::AccountId;

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

/// Which Moorline is meant.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// The configuration file.
    #[arg(short, long, global = true, value_name = "FILE", default_value = "config/moorline.toml")]
    pub config: PathBuf,
    /// The data directory of the running process; by default the one that the configuration names.
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Connect the configured accounts and keep them connected.
    Run,
    /// Watch three simulated accounts connect, answer, lose their sockets and come back.
    Demo(Demo),
    /// Check the configuration without starting anything.
    Check,
    /// Show every account and the evidence that it lives; exit code 1 when one is not ready.
    Status,
    /// Show every actor: state, generation, restarts, last exit.
    Tree,
    /// Show or control accounts.
    #[command(subcommand)]
    Account(Account),
    /// Send a message from an account.
    Send(Send),
    /// End the running process in an orderly way.
    Shutdown,
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
    /// Show one account.
    Show { account: AccountId },
    /// Start an account that was stopped.
    Start { account: AccountId },
    /// Stop an account until it is started again or the process restarts.
    Stop { account: AccountId },
    /// Give every actor of an account a new life.
    Restart { account: AccountId },
    /// Ask an account for signs of life, or, while it waits to reconnect, let it try now.
    Probe { account: AccountId },
}

#[derive(Debug, Args)]
pub struct Send {
    /// The account that sends.
    pub account: AccountId,
    /// The chat, user or address it goes to, as the platform names it.
    pub to: String,
    /// The text.
    pub text: String,
    /// Makes repeating this command harmless: a key that was used before sends nothing again.
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
}

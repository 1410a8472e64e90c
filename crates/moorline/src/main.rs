//! The `moorline` binary: what was typed, carried out, and an exit code.

#![allow(
    unreachable_pub,
    reason = "a binary has no public surface; `pub` marks what its modules offer each other"
)]

mod channels;
mod check;
mod cli;
mod client;
mod clock;
mod commands;
mod completions;
mod demo;
mod exit;
mod log;
mod logins;
mod machine;
mod output;
mod replace;
mod retry;
mod run;
mod run_file;
mod settings;
mod signals;
mod systemd;
mod waiting_room;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use clap::error::ErrorKind;

use cli::{Cli, Command, DemoAction};
use exit::{Code, code_of, name_of};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, everything else is a misuse.
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            if !asked && std::env::args_os().any(|argument| argument == "--json") {
                output::refuse(Code::Usage.name(), error.to_string().trim_end());
            } else {
                drop(error.print());
            }
            return if asked { Code::Ok.into() } else { Code::Usage.into() };
        }
    };
    match carry_out(&cli) {
        Ok(code) => code.into(),
        Err(error) => {
            if cli.json {
                output::refuse(name_of(&error), &format!("{error:#}"));
            } else {
                output::complain(&error);
            }
            code_of(&error).into()
        }
    }
}

fn carry_out(cli: &Cli) -> Result<Code> {
    let (place, json) = (&cli.place, cli.json);
    match &cli.command {
        Command::Run => run::run(place),
        Command::Check(options) => check::check(place, options, json),
        Command::Demo(demo) => match &demo.action {
            None => demo::demo(place, demo.calm),
            Some(DemoAction::Say { account, text }) => talk(demo::say(place, account, text, json)),
        },
        Command::Status => talk(commands::status(place, json)),
        Command::Doctor(doctor) if doctor.offline => commands::offline(place, json),
        Command::Doctor(_) => talk(commands::doctor(place, json)),
        Command::Tree => talk(commands::tree(place, json)),
        Command::Account(action) => talk(commands::account(place, action, json)),
        Command::Send(send) => talk(commands::send(place, send, json)),
        Command::Session(action) => talk(commands::lists::session(place, action, json)),
        Command::Inbox(action) => talk(commands::lists::inbox(place, action, json)),
        Command::Outbox(action) => talk(commands::lists::outbox(place, action, json)),
        Command::Gaps(gaps) => talk(commands::lists::gaps(place, gaps, json)),
        Command::Cron(action) => talk(commands::cron::cron(place, action, json)),
        Command::Login { account } => commands::login::login(place, account, json),
        Command::Trace { message } => talk(commands::trace::trace(place, message, json)),
        Command::Watch(options) => talk(commands::watch(place, options, json)),
        Command::Reload => talk(commands::reload(place, json)),
        Command::Restart(wait) => talk(commands::end::restart(place, wait, json)),
        Command::Shutdown(wait) => talk(commands::end::shutdown(place, wait, json)),
        Command::Completions { shell } => completions::completions(*shell),
    }
}

/// Runs a command that only talks to another process.
fn talk<T>(command: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(command)
}

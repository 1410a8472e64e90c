//! Logs (design §9): one structured vocabulary, written as JSON, or as sentences for people.

use std::fmt::{self, Write as _};
use std::io;

use anyhow::{Context, Result};
use moorline_config::{Log, LogFormat};
use moorline_core::Clock;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

use crate::clock::SystemClock;
use crate::output::span;

/// What is logged when nothing is configured. Whoever sends rubbish to the admin port is told so; a line for each would be
/// his to write (F-100).
const DEFAULT_FILTER: &str = "info,actix_server=warn,actix_http::h1::dispatcher=off";

/// Starts logging to standard error.
///
/// # Errors
/// When the filter cannot be read, or logging was started before.
pub fn start(log: &Log) -> Result<()> {
    let filter = log.filter.as_deref().unwrap_or(DEFAULT_FILTER);
    let filter = EnvFilter::try_new(filter).with_context(|| format!("`{filter}` is not a log filter"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Unbreakable(io::stderr()))
        .log_internal_errors(false);
    let started = match log.format {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
        LogFormat::Pretty => {
            let colour = io::IsTerminal::is_terminal(&io::stderr());
            builder.event_format(Pretty { clock: SystemClock::new(), colour }).try_init()
        }
    };
    started.map_err(|error| anyhow::anyhow!("logging cannot be started: {error}"))
}

/// Standard error, and no error of its own: whoever collects the log may go away, and must not take with it a process
/// that is meant to run for months. (The subscriber would report a failed write by printing to standard error, which
/// panics, which is logged.)
struct Unbreakable<W>(W);

impl<W: io::Write> io::Write for Unbreakable<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        drop(self.0.write_all(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        drop(self.0.flush());
        Ok(())
    }
}

/// One event, one line: time, level, whom it concerns, what happened, and what else is worth knowing.
struct Pretty {
    clock: SystemClock,
    colour: bool,
}

impl<S, N> FormatEvent<S, N> for Pretty
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Line::default();
        event.record(&mut line);
        let now = self.clock.wall().to_string();
        let time = now.get(11..23).unwrap_or(&now);
        let level = *event.metadata().level();
        let (on, off) = if self.colour { (colour(level), "\x1b[0m") } else { ("", "") };
        writeln!(writer, "{time} {on}{level:>5}{off} {}", line.sentence())
    }
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        _ => "\x1b[2m",
    }
}

/// The fields of an event, sorted into what a sentence needs.
#[derive(Default)]
struct Line {
    account: Option<String>,
    actor: Option<String>,
    message: String,
    after_ms: Option<u64>,
    attempts: Option<u64>,
    next_in_ms: Option<u64>,
    rest: String,
}

impl Line {
    fn sentence(&self) -> String {
        let mut text = match (&self.account, &self.actor) {
            (Some(account), _) => format!("[{account}] "),
            (None, Some(actor)) => format!("[{actor}] "),
            (None, None) => String::new(),
        };
        text.push_str(&self.message);
        // Writing into a string cannot fail.
        if let Some(after) = self.after_ms {
            let _ = write!(text, " after {}", span(after));
        }
        if let Some(attempts) = self.attempts {
            let _ = write!(text, " ({attempts} attempt{})", if attempts == 1 { "" } else { "s" });
        }
        if let Some(wait) = self.next_in_ms {
            let _ = write!(text, ", next attempt in {}", span(wait));
        }
        text.push_str(&self.rest);
        text
    }

    fn put(&mut self, name: &str, value: &dyn fmt::Display) {
        match name {
            "message" => self.message = value.to_string(),
            "account" => self.account = Some(value.to_string()),
            "actor" => self.actor = Some(value.to_string()),
            // Said by the sentence itself, or of use to programs only.
            "generation" | "state" | "from" | "class" | "attempt" | "code" => {}
            _ => {
                let _ = write!(self.rest, " {name}={value}");
            }
        }
    }
}

impl Visit for Line {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "after_ms" => self.after_ms = Some(value),
            "attempts" => self.attempts = Some(value),
            "next_in_ms" => self.next_in_ms = Some(value),
            name => self.put(name, &value),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), &value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), &format_args!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Design §9 gives this line.
    #[test]
    fn a_recovery_reads_as_a_sentence() {
        let line = Line {
            account: Some("feishu:main".to_owned()),
            actor: Some("connection".to_owned()),
            message: "reconnected".to_owned(),
            after_ms: Some(4_210),
            attempts: Some(5),
            ..Line::default()
        };
        assert_eq!(line.sentence(), "[feishu:main] reconnected after 4.2 s (5 attempts)");
    }
}

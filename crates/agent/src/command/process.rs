//! One run of a program, in a process group of its own.

use std::ffi::OsString;
use std::io;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures_util::future::{Either, select};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

/// The longest output taken.
const LONGEST: u64 = 1 << 20;

/// How much of the end of standard error is kept for the log.
const LAST_WORDS: usize = 4 << 10;

/// How long standard error is listened to after the exit: a child may hold it open.
const LINGER: Duration = Duration::from_millis(100);

/// A run that came to its end.
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    /// Everything it wrote to standard output.
    pub(super) output: Vec<u8>,
}

/// A run that did not.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    #[error("there is no program {0:?}; check command")]
    NoProgram(String),
    #[error("the program {0:?} may not be run; check its mode")]
    NotAllowed(String),
    #[error("the program could not be started: {0}")]
    NotStarted(io::Error),
    #[error("the program's output could not be read: {0}")]
    Lost(io::Error),
    #[error("the program's output is longer than {LONGEST} bytes")]
    TooLong,
}

/// Everybody in the process group of a program that has not been waited for; killed when dropped. Until then its
/// leader's id cannot be given to anybody else.
struct Group(Option<Pid>);

/// The end of what a program said on standard error; logged when dropped, however the run ended.
struct Words<'a> {
    program: &'a str,
    end: Vec<u8>,
}

/// The group goes first: dropping the child may already be the end of its id.
struct Running {
    group: Group,
    child: Child,
}

/// Runs a program to its end. Dropping the future kills it and its children.
pub(super) async fn run(
    command: &[String],
    environment: impl Iterator<Item = (OsString, OsString)>,
    input: &[u8],
) -> Result<Ended, RunError> {
    let mut running = start(command, environment)?;
    let (stdin, stdout) = (running.child.stdin.take(), running.child.stdout.take());
    let stderr = running.child.stderr.take();
    let mut words =
        Words { program: command.first().map(String::as_str).unwrap_or_default(), end: Vec::new() };
    let work = async {
        // Together: neither side may wait for the other with a full pipe.
        let (output, ()) = futures_util::future::try_join(collect(stdout), feed(stdin, input)).await?;
        let status = running.child.wait().await.map_err(RunError::Lost)?;
        // Its id is free from now on; children that it left behind in peace are its own business.
        running.group.0 = None;
        Ok(Ended { status, output })
    };
    match select(pin!(work), pin!(words.hear(stderr))).await {
        Either::Left((ended, hearing)) => {
            if ended.is_ok() {
                // What it said last may be on its way. Whether it is heard decides nothing.
                drop(tokio::time::timeout(LINGER, hearing).await);
            }
            ended
        }
        Either::Right(((), work)) => work.await,
    }
}

fn start(
    command: &[String],
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Running, RunError> {
    let (program, arguments) = command.split_first().ok_or_else(|| RunError::NoProgram(String::new()))?;
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(environment)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => RunError::NoProgram(program.clone()),
            io::ErrorKind::PermissionDenied => RunError::NotAllowed(program.clone()),
            _ => RunError::NotStarted(error),
        })?;
    let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    Ok(Running { group: Group(id), child })
}

/// A program need not read what it is told.
async fn feed(stdin: Option<ChildStdin>, input: &[u8]) -> Result<(), RunError> {
    if let Some(mut stdin) = stdin
        && let Err(error) = stdin.write_all(input).await
    {
        tracing::debug!("the program does not read its input: {error}");
    }
    Ok(())
}

async fn collect(stdout: Option<ChildStdout>) -> Result<Vec<u8>, RunError> {
    let mut output = Vec::new();
    if let Some(stdout) = stdout {
        stdout.take(LONGEST + 1).read_to_end(&mut output).await.map_err(RunError::Lost)?;
    }
    if output.len() as u64 > LONGEST { Err(RunError::TooLong) } else { Ok(output) }
}

impl Words<'_> {
    async fn hear(&mut self, stderr: Option<ChildStderr>) {
        let Some(mut stderr) = stderr else { return };
        let mut buffer = [0; 1024];
        while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
            self.end.extend_from_slice(buffer.get(..count).unwrap_or_default());
            let surplus = self.end.len().saturating_sub(LAST_WORDS);
            self.end.drain(..surplus);
        }
    }
}

impl Drop for Words<'_> {
    fn drop(&mut self) {
        for line in String::from_utf8_lossy(&self.end).lines() {
            tracing::debug!(program = self.program, "standard error: {line:?}");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0.take()
            && let Err(error) = kill_process_group(leader, Signal::KILL)
        {
            // All of it is gone already.
            tracing::debug!("no process group to kill: {error}");
        }
    }
}

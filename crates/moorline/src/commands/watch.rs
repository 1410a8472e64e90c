//! `moorline watch`: what happens, a line each, for as long as somebody looks. A process that is replaced or begins anew is
//! waited for; one that is gone is the end.

mod line;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use futures_util::StreamExt;
use http::{HeaderValue, StatusCode, header};
use moorline_core::Secret;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::account_id;
use crate::cli::{self, Place};
use crate::client::{self, Client, data_dir};
use crate::exit::{Code, Failed};
use crate::output;
use crate::retry::DELAYS;
use crate::run_file::RunFile;

/// For the connection and the upgrade.
const CONNECTS_WITHIN: Duration = Duration::from_secs(15);

/// The endpoint pings every 20 s: one that says nothing for this long is not there any more.
const SPEAKS_WITHIN: Duration = Duration::from_secs(60);

/// How a connection ended, or did not come to be.
enum Ended {
    /// In a way that passes: the process is being replaced, begins, or the connection broke. It says how.
    Passing(String),
    /// In one that does not.
    Final(Failed),
    /// Nobody reads any more.
    Unread,
}

/// Prints what happens until it is interrupted, or there is nothing left to watch.
///
/// # Errors
/// When nothing runs there (any more), or it refuses to be watched.
pub async fn watch(place: &Place, options: &cli::Watch, as_json: bool) -> Result<Code> {
    let dir = data_dir(place)?;
    client::running(&dir)?;
    let account = match &options.account {
        Some(typed) => Some(account_id(&Client::of_running(place)?, typed).await?),
        None => None,
    };
    let options = cli::Watch { account, ..*options };
    tokio::select! {
        ended = watch_on(&dir, &options, as_json) => ended,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            Ok(Code::Ok)
        }
    }
}

/// One connection after the other.
async fn watch_on(dir: &Path, options: &cli::Watch, as_json: bool) -> Result<Code> {
    let mut attempt = 0;
    loop {
        let mut heard = false;
        let why = match follow(dir, options, as_json, &mut heard).await? {
            Ended::Passing(why) => why,
            Ended::Final(failed) => return Err(failed.into()),
            Ended::Unread => return Ok(Code::Ok),
        };
        // Whoever was heard of is waited for anew.
        attempt = if heard { 0 } else { attempt + 1 };
        // The last one is repeated for as long as there is a process to wait for.
        let wait = DELAYS[attempt.min(DELAYS.len() - 1)];
        output::note(&format!(
            "moorline: {why}; trying again in {}",
            output::span(moorline_core::millis(wait))
        ));
        tokio::time::sleep(wait).await;
        if RunFile::read(dir).is_none_or(|run| !run.is_alive()) {
            let message = format!("{why}, and nothing runs on {} any more", dir.display());
            return Err(Failed::new(Code::Unreachable, message).into());
        }
    }
}

/// One connection, from its beginning to its end; `heard` says that there was something to print.
async fn follow(dir: &Path, options: &cli::Watch, as_json: bool, heard: &mut bool) -> Result<Ended> {
    let mut socket = match connect(dir, options).await {
        Ok(socket) => socket,
        Err(ended) => return Ok(ended),
    };
    loop {
        let message = match tokio::time::timeout(SPEAKS_WITHIN, socket.next()).await {
            Ok(Some(Ok(message))) => message,
            Ok(Some(Err(error))) => return Ok(Ended::Passing(format!("the connection broke: {error}"))),
            Ok(None) => return Ok(Ended::Passing("the connection was closed".to_owned())),
            Err(_) => return Ok(Ended::Passing("the endpoint says nothing any more".to_owned())),
        };
        match message {
            Message::Text(text) => {
                *heard = true;
                let event: Value = serde_json::from_str(&text)?;
                if let Some(failed) = unknown_account(&event, options) {
                    return Ok(Ended::Final(failed));
                }
                let lines = if as_json { vec![text.to_string()] } else { line::lines(&event) };
                for line in lines {
                    let line = if as_json { line } else { output::harmless(&line) };
                    if !output::offer(&line)? {
                        return Ok(Ended::Unread);
                    }
                }
            }
            Message::Close(frame) => {
                let (code, why) = frame.map_or((CloseCode::Abnormal, String::new()), |frame| {
                    (frame.code, output::harmless(&frame.reason))
                });
                return Ok(match code {
                    CloseCode::Restart | CloseCode::Normal | CloseCode::Away | CloseCode::Abnormal => {
                        Ended::Passing(format!("the endpoint closes: {why} ({})", u16::from(code)))
                    }
                    // Slow for a moment, as when the terminal was stopped: nothing is lost that a snapshot does not show.
                    CloseCode::Policy => Ended::Passing(format!("the endpoint hangs up: {why} (1008)")),
                    code => {
                        let message = format!("the endpoint hangs up: {why} ({})", u16::from(code));
                        Ended::Final(Failed::new(Code::Unreachable, message))
                    }
                });
            }
            _ => {}
        }
    }
}

/// Whoever is asked for one account and has none shows an empty list.
fn unknown_account(event: &Value, options: &cli::Watch) -> Option<Failed> {
    let account = options.account.as_ref()?;
    let none = event["kind"] == "snapshot" && event["accounts"].as_array().is_some_and(Vec::is_empty);
    none.then(|| Failed::new(Code::Usage, format!("there is no account `{account}`")))
}

async fn connect(dir: &Path, options: &cli::Watch) -> Result<WebSocketStream<TcpStream>, Ended> {
    let passing = |what: String| Ended::Passing(what);
    let Some(run) = RunFile::read(dir) else {
        return Err(passing("there is no run.json".to_owned()));
    };
    // Read anew each time: the next process may have another one.
    let token = token(dir).map_err(Ended::Final)?;
    let connecting = async {
        let stream = TcpStream::connect(run.address).await.map_err(Error::Io)?;
        client_async(request(run.address, &token, options)?, stream).await
    };
    match tokio::time::timeout(CONNECTS_WITHIN, connecting).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(Error::Http(answer))) => Err(refused(answer.status(), answer.body().as_deref())),
        Ok(Err(error)) => Err(passing(format!("{} does not answer: {error}", run.address))),
        Err(_) => Err(passing(format!("{} did not answer in time", run.address))),
    }
}

fn request(address: SocketAddr, token: &Secret, options: &cli::Watch) -> Result<http::Request<()>, Error> {
    let account = options.account.as_ref().map(|account| format!("&account={account}")).unwrap_or_default();
    let target = format!("ws://{address}/v1/events?messages={}{account}", options.messages);
    let mut request = target.into_client_request()?;
    let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose()))
        .map_err(|error| Error::HttpFormat(error.into()))?;
    bearer.set_sensitive(true);
    request.headers_mut().insert(header::AUTHORIZATION, bearer);
    Ok(request)
}

/// An answer that is no upgrade: 503 is one of a process that begins or ends, every other is meant.
fn refused(status: StatusCode, body: Option<&[u8]>) -> Ended {
    let body: Value = body.and_then(|body| serde_json::from_slice(body).ok()).unwrap_or_default();
    let message = body.pointer("/error/message").and_then(Value::as_str).unwrap_or("no reason given");
    let message = format!("{message} ({})", status.as_u16());
    match status {
        StatusCode::SERVICE_UNAVAILABLE => Ended::Passing(message),
        StatusCode::TOO_MANY_REQUESTS => Ended::Final(Failed::new(Code::Unreachable, message)),
        status if status.is_client_error() => Ended::Final(Failed::new(Code::Usage, message)),
        _ => Ended::Final(Failed::new(Code::Internal, message)),
    }
}

fn token(dir: &Path) -> Result<Secret, Failed> {
    let file: PathBuf = dir.join("admin.token");
    let token = std::fs::read_to_string(&file);
    token.map(|token| Secret::new(token.trim())).map_err(|error| {
        Failed::new(Code::Unreachable, format!("{} cannot be read: {error}", file.display()))
    })
}

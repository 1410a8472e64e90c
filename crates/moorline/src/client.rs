//! Calls of the command line to HTTP endpoints on this machine.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use anyhow::Result;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use moorline_core::Secret;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::cli::Place;
use crate::exit::{Code, Failed};
use crate::retry::{self, Failure};
use crate::run_file::RunFile;

/// For one attempt.
const DEADLINE: Duration = Duration::from_secs(15);

/// For a call with all its attempts: none is begun later.
const LAST_ATTEMPT: Duration = Duration::from_secs(20);

/// One JSON endpoint.
#[derive(Debug, Clone)]
pub struct Client {
    address: SocketAddr,
    token: Option<Secret>,
    /// The data directory of the process behind it: a process that takes over may listen elsewhere.
    directory: Option<PathBuf>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body.
    pub body: Value,
}

/// Why an attempt has no answer.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error("no connection: {0}")]
    NoConnection(io::Error),
    #[error("the connection was closed without an answer: {0}")]
    Closed(String),
    #[error("no answer within {} s", DEADLINE.as_secs())]
    TimedOut,
    #[error("{0:#}")]
    Other(anyhow::Error),
}

impl Client {
    /// The admin endpoint of the process that runs on the data directory `place` names.
    ///
    /// # Errors
    /// When nothing runs there, or its token cannot be read.
    pub fn of_running(place: &Place) -> Result<Self> {
        let directory = data_dir(place)?;
        let run = running(&directory)?;
        let token_file = directory.join("admin.token");
        let token = std::fs::read_to_string(&token_file).map_err(|error| {
            Failed::new(Code::Unreachable, format!("{} cannot be read: {error}", token_file.display()))
        })?;
        let token = Some(Secret::new(token.trim()));
        Ok(Self { address: run.address, token, directory: Some(directory) })
    }

    /// An endpoint without a token.
    pub fn open(address: SocketAddr) -> Self {
        Self { address, token: None, directory: None }
    }

    /// Calls and takes whatever status comes. What fails because the process is being replaced is tried again, under the
    /// same idempotency key, so that it happens once.
    ///
    /// # Errors
    /// When there is no answer, or one that is not JSON; the words tell a restart from the rest.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        let key = (!method.is_safe()).then(|| format!("cli-{:032x}", fastrand::u128(..)));
        let began = Instant::now();
        let mut delays = retry::DELAYS.into_iter();
        let mut attempts = 1;
        let mut address = self.address;
        loop {
            let attempt = self.exchange(address, &method, path, body, key.as_deref());
            let outcome = tokio::time::timeout(DEADLINE, attempt).await.unwrap_or(Err(NoAnswer::TimedOut));
            let run = self.directory.as_deref().and_then(RunFile::read).filter(RunFile::is_alive);
            let is_restart = retry::is_restart(failure(&outcome), run.as_ref().map(|run| run.phase));
            let delay = delays.next().filter(|_| is_restart && began.elapsed() < LAST_ATTEMPT);
            let Some(delay) = delay else {
                let tried = is_restart.then(|| (attempts, began.elapsed()));
                return conclude(address, outcome, tried, run);
            };
            tokio::time::sleep(delay).await;
            attempts += 1;
            let run = self.directory.as_deref().and_then(RunFile::read);
            address = run.map_or(address, |run| run.address);
        }
    }

    /// Calls and insists on success.
    ///
    /// # Errors
    /// As [`Client::call`], and for every refusal, with the endpoint's own words.
    pub async fn expect(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let answer = self.call(method, path, body).await?;
        if answer.status.is_success() {
            return Ok(answer.body);
        }
        let message =
            answer.body.pointer("/error/message").and_then(Value::as_str).unwrap_or("no reason given");
        let code = match answer.status {
            StatusCode::SERVICE_UNAVAILABLE => Code::Unreachable,
            status if status.is_client_error() => Code::Usage,
            _ => Code::Internal,
        };
        let name = answer.body.pointer("/error/code").and_then(Value::as_str);
        Err(Failed::new(code, format!("{message} ({})", answer.status.as_u16())).named(name).into())
    }

    async fn exchange(
        &self,
        address: SocketAddr,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> Result<Answer, NoAnswer> {
        let stream = TcpStream::connect(address).await.map_err(NoAnswer::NoConnection)?;
        let closed = |error: hyper::Error| NoAnswer::Closed(error.to_string());
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(closed)?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::HOST, address.to_string())
            .header(http::header::CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(http::header::AUTHORIZATION, format!("Bearer {}", token.expose()));
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let bytes =
            body.map(serde_json::to_vec).transpose().map_err(|error| NoAnswer::Other(error.into()))?;
        let request = request.body(Full::new(Bytes::from(bytes.unwrap_or_default())));
        let request = request.map_err(|error| NoAnswer::Other(error.into()))?;
        let exchange = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let bytes = response.into_body().collect().await?.to_bytes();
            Ok::<_, hyper::Error>((status, bytes))
        };
        let mut exchange = pin!(exchange);
        // The connection has to be driven beside the exchange. It may end first, with the answer already here.
        let answered = tokio::select! {
            biased;
            answered = &mut exchange => answered,
            _ = connection => exchange.await,
        };
        let (status, bytes) = answered.map_err(closed)?;
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            let unreadable =
                |error| NoAnswer::Other(anyhow::Error::new(error).context("the answer is not JSON"));
            serde_json::from_slice(&bytes).map_err(unreadable)?
        };
        Ok(Answer { status, body })
    }
}

/// What the table of retries is to be asked.
fn failure(outcome: &Result<Answer, NoAnswer>) -> Failure<'_> {
    match outcome {
        Ok(answer) => {
            let code = answer.body.pointer("/error/code").and_then(Value::as_str).unwrap_or_default();
            Failure::Answered(answer.status.as_u16(), code)
        }
        Err(NoAnswer::NoConnection(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Failure::Refused
        }
        Err(NoAnswer::NoConnection(error)) if error.kind() == io::ErrorKind::ConnectionReset => {
            Failure::Closed
        }
        Err(NoAnswer::Closed(_)) => Failure::Closed,
        Err(NoAnswer::TimedOut) => Failure::TimedOut,
        Err(NoAnswer::NoConnection(_) | NoAnswer::Other(_)) => Failure::Other,
    }
}

/// The last outcome in words. `tried` says how often and for how long, if a restart was in the way.
fn conclude(
    address: SocketAddr,
    outcome: Result<Answer, NoAnswer>,
    tried: Option<(u32, Duration)>,
    run: Option<RunFile>,
) -> Result<Answer> {
    let what = match (outcome, tried) {
        (Ok(answer), None) => return Ok(answer),
        (Ok(_), Some((attempts, span))) => {
            let problem = run.and_then(|run| run.problem).map(|problem| format!(": {problem}"));
            format!(
                "the process was restarting, tried {attempts} times over {:.1} s{}",
                span.as_secs_f64(),
                problem.unwrap_or_default()
            )
        }
        (Err(error), Some((attempts, span))) => format!(
            "{address} does not answer, as if the process was restarting: tried {attempts} times over {:.1} s, the last: {error}",
            span.as_secs_f64()
        ),
        (Err(error), None) => format!("{address} does not answer: {error}"),
    };
    Err(Failed::new(Code::Unreachable, what).into())
}

/// The process that runs on the data directory.
///
/// # Errors
/// When nothing runs there.
pub fn running(dir: &std::path::Path) -> Result<RunFile> {
    RunFile::read(dir).filter(RunFile::is_alive).ok_or_else(|| {
        let message = format!(
            "nothing runs on the data directory {}: start it with `moorline run`, or name another with --data-dir or --config",
            dir.display()
        );
        Failed::new(Code::Unreachable, message).into()
    })
}

/// The data directory that is meant. Only this one key of the configuration is read: a command must work also where
/// the secrets of the configuration are not at hand.
pub fn data_dir(place: &Place) -> Result<PathBuf> {
    if let Some(dir) = &place.data_dir {
        return Ok(dir.clone());
    }
    if let Some(dir) = std::env::var_os("MOORLINE__DATA_DIR") {
        return Ok(dir.into());
    }
    let text = std::fs::read_to_string(&place.config).map_err(|error| {
        Failed::new(Code::BadConfiguration, format!("{} cannot be read: {error}", place.config.display()))
    })?;
    let table: toml::Table = text.parse().map_err(|error| {
        Failed::new(Code::BadConfiguration, format!("{}: {error}", place.config.display()))
    })?;
    Ok(table.get("data_dir").and_then(toml::Value::as_str).unwrap_or("data").into())
}

#[cfg(test)]
mod tests;

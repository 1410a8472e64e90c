//! Calls of the command line to HTTP endpoints on this machine.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use moorline_core::Secret;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::cli::Place;
use crate::exit::{Code, Failed};
use crate::run_file::RunFile;

/// For one whole call.
const DEADLINE: Duration = Duration::from_secs(15);

/// One JSON endpoint.
#[derive(Debug, Clone)]
pub struct Client {
    address: SocketAddr,
    token: Option<Secret>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body.
    pub body: Value,
}

impl Client {
    /// The admin endpoint of the process that runs on the data directory `place` names.
    ///
    /// # Errors
    /// When nothing runs there, or its token cannot be read.
    pub fn of_running(place: &Place) -> Result<Self> {
        let dir = data_dir(place)?;
        let run = running(&dir)?;
        let token_file = dir.join("admin.token");
        let token = std::fs::read_to_string(&token_file).map_err(|error| {
            Failed::new(Code::Unreachable, format!("{} cannot be read: {error}", token_file.display()))
        })?;
        Ok(Self { address: run.address, token: Some(Secret::new(token.trim())) })
    }

    /// An endpoint without a token.
    pub fn open(address: SocketAddr) -> Self {
        Self { address, token: None }
    }

    /// Calls and takes whatever status comes.
    ///
    /// # Errors
    /// When there is no answer, or one that is not JSON.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        let unreachable = |what: String| Failed::new(Code::Unreachable, what);
        match tokio::time::timeout(DEADLINE, self.exchange(method, path, body)).await {
            Ok(answer) => answer
                .map_err(|error| unreachable(format!("{} does not answer: {error:#}", self.address)).into()),
            Err(_) => {
                Err(unreachable(format!("{} did not answer within {} s", self.address, DEADLINE.as_secs()))
                    .into())
            }
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

    async fn exchange(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        let stream = TcpStream::connect(self.address).await.context("no connection")?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::HOST, self.address.to_string())
            .header(http::header::CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(http::header::AUTHORIZATION, format!("Bearer {}", token.expose()));
        }
        let bytes = body.map(serde_json::to_vec).transpose()?.unwrap_or_default();
        let request = request.body(Full::new(Bytes::from(bytes)))?;
        let exchange = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let bytes = response.into_body().collect().await?.to_bytes();
            Ok::<_, hyper::Error>((status, bytes))
        };
        // The connection has to be driven beside the exchange; it ends with it.
        let (status, bytes) = tokio::select! {
            answer = exchange => answer?,
            ended = connection => { ended?; anyhow::bail!("the connection was closed without an answer") }
        };
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).context("the answer is not JSON")?
        };
        Ok(Answer { status, body })
    }
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

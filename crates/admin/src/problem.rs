//! Every refusal there is and its words; the codes are in a table of their own.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use moorline_runtime::{CommandError, ReloadError, StoreError};
use serde_json::{Value, json};

use crate::body::LONGEST_BODY;
use crate::code::Code;
use crate::login::LONGEST_CODE;

/// Why a request was not carried out. The words tell the caller nothing he did not send or may not know.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("the Host header names neither a loopback address nor the one the endpoint listens on")]
    Misdirected,
    #[error("requests of other web pages are refused; leave the Origin header out")]
    ForeignOrigin,
    #[error(
        "a token in the query ends up in logs and histories: send it as `Authorization: Bearer <token>`, and replace \
         this one by deleting its file and restarting"
    )]
    TokenInQuery,
    #[error(
        "send the token of the file admin.token in the data directory as `Authorization: Bearer <token>`"
    )]
    Unauthorized,
    #[error("a request with a body needs `Content-Type: application/json`")]
    UnsupportedMediaType,
    #[error("a body needs a Content-Length; one in chunks is not taken")]
    LengthRequired,
    #[error("the body is longer than {LONGEST_BODY} bytes")]
    PayloadTooLarge,
    #[error("the body did not arrive in time")]
    SlowBody,
    #[error("the connection broke while the body was being read")]
    BrokenBody,
    #[error("the body is not JSON: {0}")]
    InvalidJson(serde_json::Error),
    #[error("the body has to be an object")]
    NotAnObject,
    #[error("the body is not what this path takes: {0}")]
    InvalidField(serde_json::Error),
    #[error("`{0}` must not be empty")]
    EmptyField(&'static str),
    #[error("`verify_code` has {LONGEST_CODE} characters at most")]
    LongCode,
    #[error(
        "an idempotency key has 1 to 255 visible ASCII characters, and there is one `Idempotency-Key` at most"
    )]
    InvalidKey,
    #[error("this idempotency key was used for another request: choose a new one for each")]
    KeyReused,
    #[error("the first request under this idempotency key is still being carried out")]
    InProgress,
    #[error("this is not an account id: it is written channel:name, each of a-z, 0-9, `_` and `-`")]
    InvalidAccountId,
    #[error("this is not a session id: it is written account~conversation, as lists show it")]
    InvalidSessionId,
    #[error("this is not a message's number: lists show it as `id`")]
    InvalidMessageId,
    #[error("{0}")]
    InvalidParameter(String),
    #[error("a job is named by its number, as `moorline cron list` shows it")]
    InvalidJobId,
    #[error("this is no job: {0}")]
    InvalidJob(String),
    #[error("this conversation never received a message")]
    UnknownSession,
    #[error("there is no message {0}")]
    UnknownMessage(i64),
    #[error(
        "this cannot be traced: give the platform's id of a message, the id of a delivery, or in:, turn: or out: with a number"
    )]
    InvalidTrace,
    #[error("nothing is known of a message or a delivery of this name")]
    NothingToTrace,
    #[error("there is nothing at this path")]
    UnknownRoute,
    #[error("this path takes {0} only")]
    MethodNotAllowed(String),
    #[error("this path is a WebSocket: ask for it with `Upgrade: websocket` and `Sec-WebSocket-Version: 13`")]
    UpgradeRequired,
    #[error("too many watch already, or are about to; end one, or try again later")]
    TooManyWatchers,
    #[error("Moorline is ending or being replaced by a fresh process: ask again in a moment")]
    Restarting,
    #[error("there was no answer in time; what was asked for may still happen")]
    NoAnswer,
    #[error("a fault in Moorline; the log tells more under this answer's x-request-id")]
    Internal,
    #[error(transparent)]
    Reload(ReloadError),
    #[error(transparent)]
    Command(#[from] CommandError),
}

impl Problem {
    /// As it is answered.
    pub(crate) fn body(&self) -> Value {
        json!({ "error": { "code": self.code().name(), "message": self.to_string() } })
    }

    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Misdirected => Code::MisdirectedRequest,
            Self::ForeignOrigin => Code::ForeignOrigin,
            Self::TokenInQuery => Code::TokenInQuery,
            Self::Unauthorized => Code::Unauthorized,
            Self::UnsupportedMediaType => Code::UnsupportedMediaType,
            Self::LengthRequired => Code::LengthRequired,
            Self::PayloadTooLarge => Code::PayloadTooLarge,
            Self::SlowBody => Code::RequestTimeout,
            Self::BrokenBody => Code::BrokenBody,
            Self::InvalidJson(_) => Code::InvalidJson,
            Self::NotAnObject | Self::InvalidField(_) | Self::LongCode => Code::InvalidField,
            Self::EmptyField(_) => Code::EmptyField,
            Self::InvalidKey => Code::InvalidIdempotencyKey,
            Self::KeyReused => Code::IdempotencyKeyReused,
            Self::InProgress => Code::InProgress,
            Self::InvalidAccountId => Code::InvalidAccountId,
            Self::InvalidSessionId => Code::InvalidSessionId,
            Self::InvalidMessageId | Self::InvalidTrace => Code::InvalidMessageId,
            Self::InvalidJobId => Code::InvalidJobId,
            Self::InvalidParameter(_) => Code::InvalidParameter,
            Self::InvalidJob(_) => Code::InvalidField,
            Self::UnknownRoute => Code::UnknownRoute,
            Self::UnknownSession => Code::UnknownSession,
            Self::UnknownMessage(_) | Self::NothingToTrace => Code::UnknownMessage,
            Self::MethodNotAllowed(_) => Code::MethodNotAllowed,
            Self::UpgradeRequired => Code::UpgradeRequired,
            Self::TooManyWatchers => Code::TooManyWatchers,
            Self::Restarting => Code::Restarting,
            Self::NoAnswer => Code::NoAnswer,
            Self::Internal => Code::InternalError,
            Self::Reload(ReloadError::NoFile) => Code::NoConfigurationFile,
            Self::Reload(ReloadError::Invalid(_)) => Code::InvalidConfiguration,
            Self::Reload(ReloadError::Command(error)) => of_command(error),
            Self::Command(error) => of_command(error),
        }
    }
}

fn of_command(error: &CommandError) -> Code {
    match error {
        CommandError::UnknownAccount(_) => Code::UnknownAccount,
        CommandError::IsStopped(_) => Code::AccountStopped,
        CommandError::Orphaned(_) => Code::AccountOrphaned,
        CommandError::Configured(_) => Code::AccountConfigured,
        CommandError::UnknownMessage(_) => Code::UnknownMessage,
        CommandError::NoLogins(_) => Code::LoginNotNeeded,
        CommandError::WrongState(..) | CommandError::NoCodeWanted(_) => Code::WrongState,
        CommandError::UnknownSession => Code::UnknownSession,
        CommandError::NothingToResume(_) => Code::NothingToResume,
        CommandError::UnknownJob(_) => Code::UnknownJob,
        CommandError::InvalidSchedule(_) => Code::InvalidSchedule,
        CommandError::TooManyJobs(_) => Code::TooManyJobs,
        CommandError::Busy => Code::Busy,
        CommandError::Logins(_) => Code::InternalError,
        CommandError::Store(StoreError::Full) => Code::StoreFull,
        CommandError::Store(StoreError::Failed(_)) => Code::StoreFailed,
        CommandError::Store(StoreError::Refused(_)) => Code::StoreRefused,
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::Command(error.into())
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.code().status()
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        let mut response = HttpResponse::build(status);
        match self {
            Self::Unauthorized => {
                response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"moorline\""));
            }
            Self::UpgradeRequired => {
                response.insert_header((header::UPGRADE, "websocket"));
                response.insert_header((header::SEC_WEBSOCKET_VERSION, "13"));
            }
            Self::TooManyWatchers => {
                response.insert_header((header::RETRY_AFTER, "10"));
            }
            Self::MethodNotAllowed(allowed) => {
                response.insert_header((header::ALLOW, allowed.as_str()));
            }
            // The rest of the body is not worth waiting for.
            Self::LengthRequired
            | Self::PayloadTooLarge
            | Self::SlowBody
            | Self::BrokenBody
            | Self::Internal => {
                response.force_close();
            }
            Self::Restarting => {
                response.insert_header((header::RETRY_AFTER, "1"));
                response.force_close();
            }
            _ if status == StatusCode::SERVICE_UNAVAILABLE => {
                response.insert_header((header::RETRY_AFTER, "1"));
            }
            _ => {}
        }
        response.json(self.body())
    }
}

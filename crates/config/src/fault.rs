//! Every way in which a configuration can be wrong: one table of codes, severities and messages.

use std::fmt;

/// Whether a configuration with the problem can be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It is refused: at the start, by `moorline check`, and by a reload.
    Error,
    /// It works, and probably not as it was meant.
    Warning,
}

impl Severity {
    /// In lower case, as it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

macro_rules! faults {
    ($($code:literal $severity:ident $name:ident $({ $($field:ident),+ })? $message:literal,)+) => {
        /// One kind of problem, with what its message names. Never the value of a secret (F-090).
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(crate) enum Fault {
            $($name $({ $($field: String),+ })?),+
        }

        /// Every code that a [`Problem`](crate::Problem) can have; each has a page in `docs/errors/`.
        pub const CODES: &[(&str, Severity)] = &[$(($code, Severity::$severity)),+];

        impl Fault {
            /// Its code, which never changes its meaning, and its severity.
            pub(crate) fn class(&self) -> (&'static str, Severity) {
                match self {
                    $(Self::$name $({ $($field: _),+ })? => ($code, Severity::$severity)),+
                }
            }
        }

        impl fmt::Display for Fault {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$name $({ $($field),+ })? => write!(f, $message)),+
                }
            }
        }
    };
}

// The file as a whole: 01. Secrets: 02. Accounts: 03. The network: 04. Hosts: 05. Saved logins: 06.
faults! {
    "ML0101" Error Unreadable { error } "cannot be read: {error}",
    "ML0102" Error NotToml { error } "{error}",
    "ML0103" Error UnknownKey { hint } "unknown key{hint}",
    "ML0104" Error UnknownChannel { hint } "unknown channel{hint}",
    "ML0105" Error WrongValue { expected, got } "expected {expected}{got}",
    "ML0106" Error Missing { expected } "missing, expected {expected}",
    "ML0107" Error AgentName "names of agents are of a-z, 0-9, `_` and `-`",
    "ML0108" Error NoSuchAgent { name, hint } "there is no agent {name}{hint}",
    "ML0109" Error NoDefaultAgent "missing; accounts that name no agent use it",
    "ML0110" Error AgentKind { kind, known } "there is no agent of kind {kind}; this version has {known}",
    "ML0111" Error UnknownVariable { hint } "unknown setting{hint}",
    "ML0112" Error FileOnly { table }
        "[{table}] is configured in the file only; a secret can be taken from the environment with {{ env = \"NAME\" }}",
    "ML0113" Error Layers { error } "file and environment cannot be put together: {error}",
    "ML0114" Error ChannelDefault { fault } "has a default that is no value: {fault}",
    "ML0115" Error LogFilter { error } "is not a log filter such as \"info,moorline_runtime=debug\": {error}",
    "ML0116" Error Stream "answers are not streamed yet: leave `stream` out, or set it to false",
    "ML0117" Warning NoProgram { program }
        "there is no program {program} here; without it the agent refuses every turn",

    "ML0201" Error SecretEmpty "the secret is empty",
    "ML0202" Error VariableName "expected the name of an environment variable",
    "ML0203" Error VariableUnset { name } "the environment variable {name} is not set",
    "ML0204" Error VariableEmpty { name } "the environment variable {name} is empty",
    "ML0205" Error SecretUnreadable { path, error } "cannot read the secret file {path}: {error}",
    "ML0206" Error SecretFileEmpty { path } "the secret file {path} is empty",
    "ML0207" Warning SecretExposed { path, mode, command }
        "others can read the secret file {path}, its mode is {mode}: {command}",
    "ML0208" Warning FileExposed { mode, command }
        "holds a secret, and others can read this file, its mode is {mode}: {command}",

    "ML0301" Error AccountId { error } "{error}",
    "ML0302" Error AccountAgain { name, place }
        "is `{name}` at {place} in another spelling: ids are of a-z, 0-9, `_` and `-`, and each is there once",
    "ML0303" Error Credentials { what, account, place, other }
        "{account} and {other} at {place} have the same {what}: one bot, two accounts, and the platform would give each \
         of them a part of the messages",
    "ML0304" Error Channel { problem } "{problem}",
    "ML0305" Error Delays { initial, max } "the first delay, {initial}, is longer than the longest, {max}",
    "ML0306" Warning Nobody { policy, list }
        "is empty while {policy} = \"allowlist\": nobody is admitted; list ids in {list}, or choose another policy",
    "ML0307" Warning ListIgnored { policy, word }
        "is ignored: {policy} is \"{word}\", and only \"allowlist\" asks for it",

    "ML0308" Warning NoAccounts "there is no account: nothing will be received; add one, as in config/moorline.toml",

    "ML0401" Error Exposed { address }
        "{address} can be reached from other machines: listen on 127.0.0.1, or set allow_remote = true behind a proxy \
         that adds TLS",
    "ML0402" Error Proxy "expected http://host:port or http://user:password@host:port",
    "ML0403" Error RootsUnreadable { path, error } "cannot read the certificates {path}: {error}",
    "ML0404" Error RootsNotPem { path, error } "{path} does not hold PEM certificates: {error}",
    "ML0405" Error Webhook "expected an http or https address, without user and password in front of the host",
    "ML0501" Error Unreachable { address, error }
        "{address} cannot be reached: {error}; a start is possible, and the account would go on trying",

    "ML0601" Warning LoginMissing { account } "nobody is logged in: `moorline login {account}`",
    "ML0602" Warning LoginUnreadable { account, why }
        "its saved login cannot be read: {why}; `moorline login {account}` makes another",
    "ML0603" Warning LoginExposed { what, command } "others can read saved logins: {what}: {command}",
    "ML0604" Warning LoginUnused { account }
        "is the login of {account}, which is not configured: configure it again, or `moorline account discard-rows \
         {account}`, which removes the login too",
}

impl Fault {
    /// A value that is not what was expected.
    pub(crate) fn wrong(expected: impl Into<String>, got: Option<&str>) -> Self {
        let got = got.map(|got| format!(", got {got}")).unwrap_or_default();
        Self::WrongValue { expected: expected.into(), got }
    }
}

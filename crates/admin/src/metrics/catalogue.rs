//! Every metric there is. Names and labels never change their meaning; no label holds a chat, a user, a message or
//! anything else whose number grows with use (F-090, F-097).

/// One metric.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Metric {
    /// Its name, with its unit.
    pub(crate) name: &'static str,
    /// What its samples are.
    pub(crate) kind: Kind,
    /// The names of its labels.
    pub(crate) labels: &'static [&'static str],
    /// What it means, in one line.
    pub(crate) help: &'static str,
}

/// What samples are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only grows.
    Counter,
    /// What is so now.
    Gauge,
    /// A histogram of spans, measured in microseconds and shown in seconds.
    Times,
    /// A histogram of numbers of things.
    Sizes,
}

impl Kind {
    /// As the format names it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Times | Self::Sizes => "histogram",
        }
    }
}

/// Defines metrics, and a list of all of them.
macro_rules! metrics {
    ($($constant:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub(super) const $constant: &Metric =
            &Metric { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };)*

        /// All of them, in the order of the page.
        #[cfg(test)]
        pub(crate) const ALL: &[&Metric] = &[$($constant),*];
    };
}

metrics! {
    BUILD_INFO: Gauge "moorline_build_info" ["version"] "Always 1; the label is the program's version.";
    START_TIME: Gauge "moorline_start_time_seconds" [] "When the process started, as Unix time.";
    UPTIME: Gauge "moorline_uptime_seconds" [] "For how long the process has run.";
    READY: Gauge "moorline_ready" [] "1 while every wanted account is ready and the store takes commits, as /readyz says.";
    FINDINGS: Gauge "moorline_findings" ["severity", "kind", "account"] "What the doctor finds wrong, by kind; account is empty for what concerns the whole process.";

    ACCOUNT_STATE: Gauge "moorline_account_state" ["account", "state"] "1 for the state in which the account's connection is, 0 for the others.";
    ACCOUNT_DOWN: Gauge "moorline_account_down_seconds" ["account"] "For how long the account has received nothing; 0 while it is ready or stopped.";
    ACCOUNT_ATTEMPT: Gauge "moorline_account_attempt" ["account"] "The number of the attempt to connect that is under way or waited for; 0 while ready.";
    ACCOUNT_IDENTITY: Gauge "moorline_account_identity" ["account", "state"] "1 for how well it is known who the bot is, 0 for the others.";
    ACCOUNT_LAST_FRAME: Gauge "moorline_account_last_frame_timestamp_seconds" ["account"] "When the last frame was received, as Unix time; missing until there is one.";
    ACCOUNT_LAST_EVENT: Gauge "moorline_account_last_event_timestamp_seconds" ["account"] "When the last event was received, as Unix time; missing until there is one.";
    ACCOUNT_LAST_SENT: Gauge "moorline_account_last_sent_timestamp_seconds" ["account"] "When the platform last confirmed a message of ours, as Unix time; missing until there is one.";
    ACCOUNT_FAILURES: Counter "moorline_account_connection_failures_total" ["account", "class"] "Connections that ended or were refused, by the class of the failure.";
    ACCOUNT_RECONNECTS: Counter "moorline_account_reconnects_total" ["account"] "How often the account became ready again after a failure.";
    ACCOUNT_SKIPPED: Counter "moorline_account_skipped_total" ["account"] "Frames and answers that could not be read.";

    GAPS: Counter "moorline_gaps_total" ["account"] "Times in which messages may have been lost, since the data directory exists.";
    RECEIVED: Counter "moorline_messages_received_total" ["account"] "Messages that were stored, since the data directory exists.";
    DUPLICATES: Counter "moorline_messages_duplicate_total" ["account"] "Deliveries of messages that were stored before, since the data directory exists.";
    ANSWERED: Counter "moorline_messages_answered_total" ["account"] "Messages whose turn is done, since the data directory exists.";
    DROPPED: Gauge "moorline_messages_dropped" ["account", "reason"] "Messages that will not be answered, by reason; a session that is resumed takes its own away again.";
    HELD: Gauge "moorline_messages_held" ["account", "reason"] "Messages that wait until they can be judged, by reason.";
    PENDING: Gauge "moorline_messages_pending" ["account"] "Messages that wait for their turn, or whose turn is not over.";
    REFUSED: Counter "moorline_deliveries_refused_total" ["account"] "Deliveries that were refused because the store did not take them in time; the platform repeats them.";
    ACKNOWLEDGEMENT: Times "moorline_acknowledgement_duration_seconds" [] "From the receipt of a delivery to the answer for the platform, the commit included.";

    OUTBOX: Gauge "moorline_outbox_messages" ["account"] "Messages of ours that are not settled.";
    OUTBOX_HELD: Gauge "moorline_outbox_held_messages" ["account"] "Messages of ours that are held until their user writes; they are among those that are not settled.";
    DEAD: Gauge "moorline_outbox_dead_messages" ["account"] "Messages of ours that the platform will not take.";
    DISCARDED: Gauge "moorline_outbox_discarded_messages" ["account"] "Messages of ours that an operator gave up.";
    SENDS: Counter "moorline_send_attempts_total" ["account", "outcome"] "Attempts to send a message; the outcome is sent, or the class of the failure.";
    SEND: Times "moorline_send_duration_seconds" ["outcome"] "How long an attempt to send took, a token's fetch included.";

    TURNS_RUNNING: Gauge "moorline_turns_running" [] "Turns that an agent is working on.";
    TURNS_WAITING: Gauge "moorline_turns_waiting" [] "Turns that wait for an agent that is not available.";
    TURNS: Counter "moorline_turns_total" ["agent", "outcome"] "Turns that ended, by outcome: answered, silent or failed.";
    TURN: Times "moorline_turn_duration_seconds" ["agent"] "How long a turn took, from its claim to the agent's answer.";
    TURNS_RESUMED: Counter "moorline_turns_resumed_total" ["account"] "Interrupted turns that were taken up again.";
    AGENT_STATE: Gauge "moorline_agent_state" ["agent", "state"] "1 for whether the agent takes calls, 0 for the other.";
    AGENT_UNANSWERED: Gauge "moorline_agent_unanswered" ["agent"] "Turns in a row that the agent took and gave no answer to.";

    CONVERSATIONS: Gauge "moorline_conversations_active" [] "Conversations that have an actor now.";
    CONVERSATIONS_LIMIT: Gauge "moorline_conversations_active_limit" [] "How many may have one; more wait in the store.";
    ACTORS: Gauge "moorline_actors" ["state"] "Actors, by what they are doing.";
    RESTARTS: Counter "moorline_actor_restarts_total" ["actor"] "New lives of the root's children, by name; accounts count in a metric of their own.";
    ACCOUNT_RESTARTS: Counter "moorline_account_actor_restarts_total" ["account", "actor"] "New lives of an account's actors; missing while there was none.";
    HEARTBEAT: Gauge "moorline_heartbeat_age_seconds" ["thread"] "How long ago a thread that must not stand still showed that it does not; normally below 1.";

    STORE_STATE: Gauge "moorline_store_state" ["state"] "1 for whether commits can succeed, 0 for the others.";
    STORE_READABLE: Gauge "moorline_store_readable" [] "1 when the store answered this request in time; without that, what is counted in it is missing here.";
    STORE_COMMIT: Times "moorline_store_commit_duration_seconds" [] "How long a group commit took, its sync included.";
    STORE_GROUP: Sizes "moorline_store_commit_transactions" [] "How many transactions shared a group commit.";
    STORE_FAILED: Counter "moorline_store_failed_commits_total" [] "Group commits that were refused as a whole.";
    STORE_QUEUE: Gauge "moorline_store_queue_transactions" [] "Transactions that wait for the writer.";
    STORE_QUEUE_LIMIT: Gauge "moorline_store_queue_limit_transactions" [] "How many there is room for.";
    STORE_CHECKPOINTS: Counter "moorline_store_checkpoints_total" [] "Checkpoints that were run.";

    REQUESTS: Counter "moorline_admin_requests_total" ["route", "method", "status"] "Requests that the admin endpoint has answered.";
    REQUEST: Times "moorline_admin_request_duration_seconds" ["route"] "How long an answer of the admin endpoint took.";

    RESIDENT: Gauge "moorline_process_resident_memory_bytes" [] "Resident memory.";
    FILES: Gauge "moorline_process_open_fds" [] "Open file descriptors.";
    FILES_LIMIT: Gauge "moorline_process_max_fds" [] "How many there may be.";
    THREADS: Gauge "moorline_process_threads" [] "Threads.";
    CPU: Counter "moorline_process_cpu_seconds_total" [] "Processor time used.";
}

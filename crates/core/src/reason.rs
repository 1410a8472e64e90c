//! Why a message was not given to the agent. Each reason is counted and shown (F-092, F-102).

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Defines an enum of reasons with the stable name each is stored, counted and shown under.
macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// All reasons, for tables and documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The stable name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The reason with this stable name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.as_str() == name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

reasons! {
    /// A message was stored, acknowledged, and will not be answered.
    DropReason {
        /// A group message that does not mention the bot, where mentions are required.
        NotMentioned = "not_mentioned",
        /// Direct messages are denied by `access.direct`.
        DirectDenied = "direct_denied",
        /// Group messages are denied by `access.group`.
        GroupDenied = "group_denied",
        /// The sender is not in `access.users`.
        UserNotAllowed = "user_not_allowed",
        /// The chat is not in `access.groups`.
        GroupNotAllowed = "group_not_allowed",
        /// Our own message came back (F-041).
        OwnMessage = "own_message",
        /// Written by another bot (F-041).
        FromBot = "from_bot",
        /// Held for the identity longer than `runtime.hold_limit` (F-016).
        IdentityUnknown = "identity_unknown",
        /// A message without anything an agent could read.
        Unsupported = "unsupported",
        /// A delivery that could not be parsed; its bytes are kept (F-037).
        Unreadable = "unreadable",
        /// Its turn ended its actor or the process too often (F-069).
        TurnParked = "turn_parked",
        /// Its turn was given up when an operator reset the conversation (F-052).
        SessionReset = "session_reset",
        /// An operator discarded it.
        Discarded = "discarded",
    }
}

reasons! {
    /// A message was stored and acknowledged, and waits for something before it can be judged.
    HoldReason {
        /// Whether it mentions us cannot be told before our identity is known (F-016).
        Identity = "identity",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_reads_back_from_its_name() {
        for &reason in DropReason::ALL {
            assert_eq!(DropReason::from_name(reason.as_str()), Some(reason));
            assert_eq!(serde_json::to_string(&reason).unwrap(), format!("\"{reason}\""));
        }
        assert_eq!(HoldReason::from_name("identity"), Some(HoldReason::Identity));
        assert_eq!(DropReason::from_name("no such reason"), None);
    }
}

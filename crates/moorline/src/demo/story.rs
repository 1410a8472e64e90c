//! What happens in a demo: users write, and things go wrong. An actor like any other, so it shows in the tree.

use std::time::Duration;

use actix::prelude::*;
use moorline_runtime::{ChildFactory, Handle};
use moorline_simulator::Simulator;
use moorline_simulator::feishu::{AppId, Cut, OddFrame, Push, Reach, UnknownApp};
use moorline_supervision::{ActorRef, ChildSpec, Fault, Tree};

/// One thing that happens.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// A user writes to a bot.
    Say(&'static str, &'static str, &'static str),
    /// A bot's socket is reset.
    Reset(&'static str),
    /// A bot's socket stays open and nothing comes through it any more.
    BlackHole(&'static str),
    /// A bot is sent a frame that is cut off in the middle.
    Malformed(&'static str),
    /// The platform's port is closed, and every socket with it.
    Outage,
    /// The platform is back.
    Return,
    /// The platform forgets a bot's access token.
    Revoke(&'static str),
    /// An actor panics.
    Panic(&'static str),
    /// Nothing more is done to it.
    End,
}

/// When what happens, in seconds from the start.
const STORY: &[(u64, Event)] = &[
    (2, Event::Say("main", "alice", "good morning")),
    (4, Event::Reset("support")),
    (7, Event::Say("support", "bob", "is anybody there?")),
    (9, Event::Malformed("main")),
    (11, Event::BlackHole("sales")),
    (13, Event::Say("sales", "carol", "what does it cost?")),
    (34, Event::Revoke("main")),
    (35, Event::Say("main", "alice", "still awake?")),
    (40, Event::Outage),
    (48, Event::Return),
    (56, Event::Say("main", "dave", "that was quick")),
    (60, Event::Panic("runtime/accounts/feishu:support/connection")),
    (66, Event::Say("support", "bob", "and again?")),
    (70, Event::End),
];

/// Plays the story, or, in a calm demo, only what users say.
pub struct Story {
    simulator: Simulator,
    drills: Tree,
    calm: bool,
}

impl Story {
    /// The story as a child of the root. It is told once; its end is not a fault.
    pub fn child(simulator: Simulator, calm: bool) -> ChildFactory {
        Box::new(move |handle: &Handle| {
            let (simulator, drills) = (simulator.clone(), handle.drills().clone());
            let story = move |_| Self { simulator: simulator.clone(), drills: drills.clone(), calm };
            ChildSpec::new("demo", &ActorRef::new(), story).transient()
        })
    }

    fn play(&self, event: Event) {
        if self.calm && !matches!(event, Event::Say(..)) {
            return;
        }
        match self.carry_out(event) {
            Ok(said) => tracing::info!(actor = "demo", "{said}"),
            Err(error) => tracing::error!(actor = "demo", "{error}"),
        }
    }

    fn carry_out(&self, event: Event) -> Result<String, UnknownApp> {
        let simulator = &self.simulator;
        Ok(match event {
            Event::Say(bot, user, text) => {
                simulator
                    .push(&self.app(bot), Push::direct(format!("oc_{user}"), format!("ou_{user}"), text))?;
                format!("{user} writes to {bot}: {text}")
            }
            Event::Reset(bot) => {
                simulator.drop_connections(&self.app(bot), &Cut::Reset)?;
                format!("{bot}'s socket is reset")
            }
            Event::BlackHole(bot) => {
                simulator.drop_connections(&self.app(bot), &Cut::BlackHole)?;
                format!(
                    "{bot}'s socket becomes a black hole: open, and silent; only a missing pong will tell"
                )
            }
            Event::Malformed(bot) => {
                simulator.inject(&self.app(bot), OddFrame::Truncated)?;
                format!("{bot} is sent half a frame")
            }
            Event::Outage => {
                simulator.set_reach(Reach::Refused);
                for bot in ["main", "sales", "support"] {
                    simulator.drop_connections(&self.app(bot), &Cut::Reset)?;
                }
                "the platform is gone: every socket is reset, its port is closed".to_owned()
            }
            Event::Return => {
                simulator.set_reach(Reach::Open);
                "the platform is back".to_owned()
            }
            Event::Revoke(bot) => {
                simulator.revoke_tokens(&self.app(bot))?;
                format!("{bot}'s access token is revoked; its next reply will need another")
            }
            Event::Panic(path) => {
                self.drills.inject(path, Fault::Panic);
                format!("a bug: {path} panics")
            }
            Event::End => "that was all; now it is yours: try `demo say`, `status`, `tree`".to_owned(),
        })
    }

    /// The app of the account with this name.
    fn app(&self, bot: &str) -> AppId {
        let name = format!("{bot} bot");
        let found = self.simulator.state().apps.into_values().find(|view| view.app.bot_name == name);
        found.map_or_else(|| AppId::new(bot), |view| view.app.app_id)
    }
}

impl Actor for Story {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        for &(second, event) in STORY {
            ctx.run_later(Duration::from_secs(second), move |this, _| this.play(event));
        }
    }
}

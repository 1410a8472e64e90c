//! Feishu that passes for another platform: it promises something else, and its connection says what a test has it say.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use moorline_channel::{
    Capabilities, Connector, Credentials, Effect, Event, IdentityProbe, Output, Plan, Redelivery, Sender,
    Start,
};
use moorline_core::{Fingerprint, Monotonic, TextLimit, TextUnit};
use parking_lot::Mutex;

/// What is different from Feishu; nothing by default. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Disguise(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    capabilities: Option<&'static Capabilities>,
    says: Vec<Output>,
}

const NONE: &Capabilities = &promising(Redelivery::None);
const PERHAPS: &Capabilities = &promising(Redelivery::Perhaps);

const fn promising(redelivery: Redelivery) -> Capabilities {
    Capabilities {
        redelivery,
        idempotency: None,
        text_limit: TextLimit { max: 1_000, unit: TextUnit::Bytes },
        chat_rate: 4,
        reply_window: false,
    }
}

impl Disguise {
    /// A platform that never hands anything out again.
    #[must_use]
    pub fn forgetful() -> Self {
        Self::with(NONE)
    }

    /// A platform that promises nothing.
    #[must_use]
    pub fn noncommittal() -> Self {
        Self::with(PERHAPS)
    }

    fn with(capabilities: &'static Capabilities) -> Self {
        Self(Arc::new(Mutex::new(Inner { capabilities: Some(capabilities), says: Vec::new() })))
    }

    /// Has a connection say this with whatever it does next.
    pub fn say(&self, output: Output) {
        self.0.lock().says.push(output);
    }

    /// Whether it has said everything.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.0.lock().says.is_empty()
    }

    pub(crate) fn over(&self, plan: Arc<dyn Plan>) -> Arc<dyn Plan> {
        Arc::new(Disguised { plan, disguise: self.clone() })
    }
}

struct Disguised {
    plan: Arc<dyn Plan>,
    disguise: Disguise,
}

impl Plan for Disguised {
    fn fingerprint(&self) -> Fingerprint {
        self.plan.fingerprint()
    }

    fn host(&self) -> &str {
        self.plan.host()
    }

    fn capabilities(&self) -> &'static Capabilities {
        self.disguise.0.lock().capabilities.unwrap_or_else(|| self.plan.capabilities())
    }

    fn connector(&self, start: Start) -> Box<dyn Connector> {
        Box::new(Prompted { connector: self.plan.connector(start), disguise: self.disguise.clone() })
    }

    fn credentials(&self) -> Option<Rc<dyn Credentials>> {
        self.plan.credentials()
    }

    fn identity(&self) -> Rc<dyn IdentityProbe> {
        self.plan.identity()
    }

    fn sender(&self) -> Rc<dyn Sender> {
        self.plan.sender()
    }

    fn typing(&self) -> Option<Rc<dyn moorline_channel::Typing>> {
        self.plan.typing()
    }

    fn editor(&self) -> Option<Rc<dyn moorline_channel::Editor>> {
        self.plan.editor()
    }

    fn resources(&self) -> Option<Rc<dyn moorline_channel::Resources>> {
        self.plan.resources()
    }
}

/// A connection that says what it is told, before what it has to say itself.
struct Prompted {
    connector: Box<dyn Connector>,
    disguise: Disguise,
}

impl Connector for Prompted {
    fn step(&mut self, event: Event, now: Monotonic) -> Vec<Effect> {
        let mut effects: Vec<Effect> =
            std::mem::take(&mut self.disguise.0.lock().says).into_iter().map(Effect::Emit).collect();
        effects.extend(self.connector.step(event, now));
        effects
    }

    fn wake_at(&self) -> Option<Monotonic> {
        self.connector.wake_at()
    }

    fn patience(&self) -> Duration {
        self.connector.patience()
    }

    fn in_hand(&self) -> Option<Monotonic> {
        self.connector.in_hand()
    }
}

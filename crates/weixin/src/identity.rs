//! Who the bot is.

use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use moorline_channel::{Http, IdentityProbe};
use moorline_core::{Failure, Identity, Secret, UserId};

use crate::bot::{Bot, needs_login};

/// Says what the login said. The platform has no call that would tell it again, and none is needed: the id comes with
/// the token and lives as long as that. Nor has it a name that people see.
pub(crate) struct FromLogin {
    pub(crate) bot: Option<Arc<Bot>>,
}

impl IdentityProbe for FromLogin {
    fn probe(
        &self,
        _: Rc<dyn Http>,
        _: Option<Secret>,
    ) -> LocalBoxFuture<'static, Result<Identity, Failure>> {
        let bot = self.bot.clone();
        Box::pin(async move {
            let bot = bot.ok_or_else(|| needs_login("identity"))?;
            Ok(Identity { id: UserId::new(&*bot.id), name: bot.id.clone() })
        })
    }
}

#[cfg(test)]
mod tests {
    use moorline_core::FailureClass;

    use super::*;
    use crate::fake::{self, FakeHttp};

    #[test]
    fn the_login_says_who_we_are_and_nobody_is_asked() {
        let probe = |bot| fake::now(FromLogin { bot }.probe(FakeHttp::new([]), None));
        assert_eq!(probe(Some(Arc::new(fake::bot()))).unwrap().id, UserId::new(fake::BOT));
        assert_eq!(probe(None).unwrap_err().class, FailureClass::NeedsLogin);
    }
}

//! What an operator does: the file and the commands.

use futures_util::FutureExt;
use moorline_config::{Config, DirectPolicy};
use moorline_core::{Secret, Value};
use moorline_simulator::feishu::NewApp;

use super::super::faults::{Command, Edit};
use super::{Answered, Stage};

impl Stage {
    pub(super) fn reload(&mut self, kind: &str, edit: Edit) {
        self.misled |= self.set_far;
        match edit {
            Edit::Nothing => {}
            Edit::Deny(n) => self.accounts[n].denied = true,
            Edit::Allow(n) => self.accounts[n].denied = false,
            Edit::Remove(n) => self.accounts[n].removed = true,
            Edit::Add(n) => self.accounts[n].removed = false,
            Edit::RotateOnPlatform(n) => {
                self.accounts[n].secret_on_platform += 1;
                let secret = secret(n, self.accounts[n].secret_on_platform);
                let app = &self.world.apps[n];
                let new = NewApp {
                    bot_name: app.bot_name.clone(),
                    app_id: Some(app.app_id.clone()),
                    app_secret: Some(secret),
                    bot_open_id: Some(app.bot_open_id.clone()),
                };
                self.world.simulator.add_app(new);
                return;
            }
            Edit::RotateInFile(n) => self.accounts[n].secret = self.accounts[n].secret_on_platform,
        }
        let config = self.configuration();
        let applying = self.world.begin_reload(config);
        if !self.world.is_up() {
            return;
        }
        let kind = kind.to_owned();
        self.commands.push(
            async move { applying.await.map_or(Answered::Nothing, |_| Answered::Done(kind)) }.boxed_local(),
        );
    }

    /// The configuration as the file has it now.
    pub(super) fn configuration(&self) -> Config {
        let mut config = self.original.clone();
        for (n, file) in self.accounts.iter().enumerate() {
            let account = &mut config.accounts[n];
            if file.secret > 0 {
                let value = Value::Secret(Secret::new(secret(n, file.secret)));
                account.settings.values.insert("app_secret".to_owned(), value);
            }
            if file.denied {
                account.access.direct = DirectPolicy::Deny;
            }
        }
        let mut files = self.accounts.iter();
        config.accounts.retain(|_| files.next().is_none_or(|file| !file.removed));
        config
    }

    pub(super) fn command(&mut self, kind: &str, account: usize, command: Command) {
        self.misled |= self.set_far && command != Command::Probe;
        if !self.world.is_up() {
            return;
        }
        let (handle, id, kind) = (self.world.handle.clone(), self.world.id(account), kind.to_owned());
        self.commands.push(
            async move {
                let result = match command {
                    Command::Stop => handle.stop(&id).await,
                    Command::Start => handle.start(&id).await,
                    Command::Restart => handle.restart(&id).await,
                    Command::Probe => handle.probe(&id).await,
                };
                if result == Ok(true) && !kind.is_empty() { Answered::Done(kind) } else { Answered::Nothing }
            }
            .boxed_local(),
        );
    }
}

/// The secret of an app after so many rotations.
fn secret(account: usize, rotations: u32) -> String {
    if rotations == 0 { format!("secret-of-a{account}") } else { format!("secret-of-a{account}-{rotations}") }
}

//! The channels of this program: a new one is one more line here.

use std::collections::BTreeMap;
use std::sync::Arc;

use moorline_channel::{Factory, Plan};
use moorline_config::{Account, Config, Diagnosis, Problem, Source};
use moorline_core::{AccountId, Schema};
use moorline_feishu::Feishu;
use moorline_weixin::Weixin;

/// Every channel, by its factory.
const FACTORIES: &[&dyn Factory] = &[&Feishu, &Weixin];

/// The settings that name one bot on a platform, whatever else two accounts may differ in.
const BOTS: &[&str] = &["app_id"];

/// What two accounts share whose plans have the same fingerprint.
const CREDENTIALS: &str = "credentials";

/// What accounts can be configured with.
pub fn schemas() -> Vec<&'static Schema> {
    FACTORIES.iter().map(|factory| factory.schema()).collect()
}

/// The plan of every configured account.
///
/// # Errors
/// Everything the channels object to, with its place in the file, and every account whose credentials are another
/// one's.
pub fn plans(config: &Config, source: &Source) -> Result<BTreeMap<AccountId, Arc<dyn Plan>>, Diagnosis> {
    let mut plans = BTreeMap::new();
    let mut problems = Vec::new();
    let mut bots = Bots::default();
    for account in &config.accounts {
        let factory = FACTORIES.iter().find(|f| f.schema().channel == account.id.channel().as_str());
        match factory.map(|factory| factory.parse(&account.settings)) {
            Some(Ok(plan)) => {
                problems.extend(bots.twin(account, &*plan, source));
                plans.insert(account.id.clone(), plan);
            }
            Some(Err(findings)) => {
                problems.extend(findings.iter().map(|finding| Problem::locate(source, &account.id, finding)));
            }
            // `load` knows the channels' names and has refused others.
            None => {}
        }
    }
    if problems.is_empty() { Ok(plans) } else { Err(Diagnosis::of(problems)) }
}

/// Which account has which bot. Two connections of one bot would each be given a part of its messages.
#[derive(Default)]
struct Bots<'a> {
    /// By channel, what marks a bot, and the mark.
    seen: BTreeMap<(&'a str, &'static str, String), &'a Account>,
}

impl<'a> Bots<'a> {
    /// What is wrong if an account before this one has the same bot.
    fn twin(&mut self, account: &'a Account, plan: &dyn Plan, source: &Source) -> Option<Problem> {
        let named = BOTS.iter().map(|key| (*key, account.settings.text(key).to_owned()));
        // What a person logs in with is not in the configuration.
        let of_plan = plan.login(&[], 0).is_none().then(|| plan.fingerprint().as_str().to_owned());
        let marks = named.chain(of_plan.map(|fingerprint| (CREDENTIALS, fingerprint)));
        let mut twin = None;
        for (what, mark) in marks.filter(|(_, mark)| !mark.is_empty()) {
            match self.seen.get(&(account.id.channel().as_str(), what, mark.clone())) {
                Some(first) => {
                    // The first mark names the key that is at fault; the fingerprint stands for several.
                    twin.get_or_insert((*first, what));
                }
                None => drop(self.seen.insert((account.id.channel().as_str(), what, mark), account)),
            }
        }
        let (first, what) = twin?;
        let key = Some(what).filter(|what| *what != CREDENTIALS);
        Some(Problem::same_credentials(source, first, account, key, what))
    }
}

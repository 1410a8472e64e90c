//! The channels of this program: a new one is one more line here.

use std::collections::BTreeMap;
use std::sync::Arc;

use moorline_channel::{Factory, Plan};
use moorline_config::{Config, Diagnosis, Problem, Source};
use moorline_core::{AccountId, Schema};
use moorline_feishu::Feishu;

/// Every channel, by its factory.
const FACTORIES: &[&dyn Factory] = &[&Feishu];

/// What accounts can be configured with.
pub fn schemas() -> Vec<&'static Schema> {
    FACTORIES.iter().map(|factory| factory.schema()).collect()
}

/// The plan of every configured account.
///
/// # Errors
/// Everything the channels object to, with its place in the file.
pub fn plans(config: &Config, source: &Source) -> Result<BTreeMap<AccountId, Arc<dyn Plan>>, Diagnosis> {
    let mut plans = BTreeMap::new();
    let mut problems = Vec::new();
    for account in &config.accounts {
        let factory = FACTORIES.iter().find(|f| f.schema().channel == account.id.channel().as_str());
        match factory.map(|factory| factory.parse(&account.settings)) {
            Some(Ok(plan)) => drop(plans.insert(account.id.clone(), plan)),
            Some(Err(findings)) => {
                problems.extend(findings.iter().map(|finding| Problem::locate(source, &account.id, finding)));
            }
            // `load` knows the channels' names and has refused others.
            None => {}
        }
    }
    if problems.is_empty() { Ok(plans) } else { Err(Diagnosis(problems)) }
}

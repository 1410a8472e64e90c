//! From a configuration file to everything a run needs, or to everything that is wrong with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use moorline_channel::Plan;
use moorline_config::{AGENT_KINDS, Config, Diagnosis, Source, load};
use moorline_core::AccountId;
use serde_json::json;

use crate::channels;
use crate::cli::Place;
use crate::exit::{Code, Failed};
use crate::output;

/// A configuration that will work as far as can be told without trying.
pub struct Settings {
    /// The configuration.
    pub config: Config,
    /// The plan of each account.
    pub plans: BTreeMap<AccountId, Arc<dyn Plan>>,
}

impl Settings {
    /// Reads and checks the configuration that `place` names. Nothing is bound, connected or written before this
    /// has succeeded.
    ///
    /// # Errors
    /// Everything that is wrong, as one message, with exit code 78.
    pub fn read(place: &Place) -> Result<Self> {
        let settings = Source::read(&place.config).and_then(|source| Self::from_source(&source));
        let mut settings = settings.map_err(|diagnosis| Failed::new(Code::BadConfiguration, diagnosis))?;
        if let Some(dir) = &place.data_dir {
            settings.config.data_dir.clone_from(dir);
        }
        Ok(settings)
    }

    /// Checks the text of a configuration file.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn from_source(source: &Source) -> Result<Self, Diagnosis> {
        // Variables that are not UTF-8 can hold nothing of ours.
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let config = load(source, &environment, &channels::schemas(), AGENT_KINDS)?;
        let plans = channels::plans(&config, source)?;
        Ok(Self { config, plans })
    }
}

/// `moorline check`.
///
/// # Errors
/// Everything that is wrong with the configuration, with exit code 78.
pub fn check(place: &Place, as_json: bool) -> Result<Code> {
    let settings = Settings::read(place)?;
    let accounts: Vec<String> =
        settings.config.accounts.iter().map(|account| account.id.to_string()).collect();
    if as_json {
        output::json(&json!({ "ok": true, "file": place.config, "accounts": accounts }))?;
    } else {
        let listed = if accounts.is_empty() { "none".to_owned() } else { accounts.join(", ") };
        output::line(&format!("{} is good: accounts {listed}", place.config.display()))?;
    }
    Ok(Code::Ok)
}

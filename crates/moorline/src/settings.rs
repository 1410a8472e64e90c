//! From a configuration file to everything a run needs, or to everything that is wrong with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use moorline_channel::Plan;
use moorline_config::{AGENT_KINDS, Config, Diagnosis, Problem, Source, load_partly};
use moorline_core::AccountId;
use moorline_transport::Proxy;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tracing_subscriber::EnvFilter;

use crate::channels;
use crate::cli::Place;
use crate::exit::{Code, Failed};

/// A configuration that will work as far as can be told without trying.
pub struct Settings {
    /// The configuration.
    pub config: Config,
    /// The plan of each account.
    pub plans: BTreeMap<AccountId, Arc<dyn Plan>>,
    /// What is probably not meant as it is written (F-092, F-096).
    pub warnings: Diagnosis,
}

impl Settings {
    /// Reads and checks the configuration that `place` names. Nothing is bound, connected or written before this
    /// has succeeded. The start, `moorline check` and a reload all come through here, so that none of them can take
    /// what another one refuses (F-079).
    ///
    /// # Errors
    /// Everything that is wrong, as one message, with exit code 78.
    pub fn read(place: &Place) -> Result<Self> {
        Self::examine(place).map_err(|diagnosis| Failed::new(Code::BadConfiguration, diagnosis).into())
    }

    /// As [`Settings::read`], for who wants to know the problems one by one.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn examine(place: &Place) -> Result<Self, Diagnosis> {
        let mut settings = Self::from_source(&Source::read(&place.config)?)?;
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
        let (config, mut warnings) = load_partly(source, &environment, &channels::schemas(), AGENT_KINDS)?;
        // What only those can judge who will build from it. All of it is looked at, to find everything.
        let problems = unusable(&config, source, &environment);
        let plans = channels::plans(&config, source);
        match plans {
            Ok(plans) if problems.is_empty() && !warnings.has_errors() => {
                Ok(Self { config, plans, warnings })
            }
            plans => {
                warnings.0.extend(plans.err().unwrap_or_default().0);
                warnings.0.extend(problems);
                Err(Diagnosis::of(warnings.0))
            }
        }
    }
}

/// Settings outside accounts that the libraries would refuse that they are for.
fn unusable(config: &Config, source: &Source, environment: &BTreeMap<String, String>) -> Vec<Problem> {
    let filter = config.log.filter.as_deref().and_then(|filter| EnvFilter::try_new(filter).err());
    let filter = filter.map(|error| Problem::log_filter(source, environment, &error.to_string()));
    let proxy = config.network.proxy.as_ref().and_then(|proxy| Proxy::parse(proxy.expose()).err());
    let proxy = proxy.map(|_| Problem::proxy(source, environment));
    let roots = config.network.extra_roots.iter().enumerate().filter_map(|(index, file)| {
        let mut store = RootCertStore::empty();
        let error = CertificateDer::pem_slice_iter(file).find_map(|certificate| match certificate {
            Ok(certificate) => store.add(certificate).err().map(|error| error.to_string()),
            Err(error) => Some(error.to_string()),
        })?;
        Some(Problem::extra_roots(source, index, &error))
    });
    filter.into_iter().chain(proxy).chain(roots).collect()
}

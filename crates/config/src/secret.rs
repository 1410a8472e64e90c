//! Secrets that are kept in the environment.

use std::collections::BTreeMap;

use crate::fault::Fault;

/// The text of the variable `name`.
///
/// # Errors
/// When it is not set or empty. Names the variable, if what was written can be a variable's name at all: somebody
/// may have put the secret itself in its place.
pub(crate) fn from_environment(environment: &BTreeMap<String, String>, name: &str) -> Result<String, Fault> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts_well || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(Fault::VariableName);
    }
    match environment.get(name) {
        Some(text) if !text.is_empty() => Ok(text.clone()),
        Some(_) => Err(Fault::VariableEmpty { name: name.to_owned() }),
        None => Err(Fault::VariableUnset { name: name.to_owned() }),
    }
}

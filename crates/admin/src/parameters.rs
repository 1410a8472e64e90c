//! Query parameters: known ones only, each once, each with what it may be. One that is misspelt is refused, because
//! whoever gave it expects a narrower answer (F-083).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use actix_web::dev::Payload;
use actix_web::web::Query;
use actix_web::{FromRequest, HttpRequest};
use futures_util::future::{Ready, ready};
use moorline_core::{AccountId, ConversationId};
use moorline_runtime::{LONGEST_PAGE, Page, Scope};

use crate::problem::Problem;

/// Rows on a page when nobody says how many.
const PAGE: u32 = 50;

/// The longest value, in bytes; ids of platforms are well below it.
const LONGEST: usize = 512;

/// The parameters of one request; reading one takes it out, so that what is left is unknown.
#[derive(Debug)]
pub(crate) struct Parameters {
    given: RefCell<BTreeMap<String, String>>,
    known: RefCell<Vec<&'static str>>,
}

impl FromRequest for Parameters {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::read(request.query_string()))
    }
}

impl Parameters {
    fn read(query: &str) -> Result<Self, Problem> {
        let pairs = Query::<Vec<(String, String)>>::from_query(query)
            .map_err(|_| refused("the query is not of the form name=value&…, percent-encoded"))?;
        let mut given = BTreeMap::new();
        for (name, value) in pairs.into_inner() {
            if value.is_empty() || value.len() > LONGEST {
                return Err(refused(format!("`{name}` needs a value of 1 to {LONGEST} bytes")));
            }
            if given.contains_key(&name) {
                return Err(refused(format!("`{name}` is given twice")));
            }
            given.insert(name, value);
        }
        Ok(Self { given: RefCell::new(given), known: RefCell::default() })
    }

    fn take(&self, name: &'static str) -> Option<String> {
        self.known.borrow_mut().push(name);
        self.given.borrow_mut().remove(name)
    }

    /// A parameter of its own type; `form` says what it has to be.
    fn parsed<T: FromStr>(&self, name: &'static str, form: impl Display) -> Result<Option<T>, Problem> {
        let parse = |text: String| text.parse().map_err(|_| refused(format!("`{name}` has to be {form}")));
        self.take(name).map(parse).transpose()
    }

    /// `true` or `false`; not, when it is not given.
    pub(crate) fn flag(&self, name: &'static str) -> Result<bool, Problem> {
        Ok(self.parsed(name, "`true` or `false`")?.unwrap_or(false))
    }

    /// `account`.
    pub(crate) fn account(&self) -> Result<Option<AccountId>, Problem> {
        self.parsed("account", "an account id: channel:name, each of a-z, 0-9, `_` and `-`")
    }

    /// `account` and `conversation`.
    pub(crate) fn scope(&self) -> Result<Scope, Problem> {
        match (self.account()?, self.take("conversation")) {
            (None, None) => Ok(Scope::All),
            (Some(account), None) => Ok(Scope::Account(account)),
            (Some(account), Some(conversation)) => {
                Ok(Scope::Conversation(account, ConversationId::new(conversation)))
            }
            (None, Some(_)) => {
                Err(refused("`conversation` needs `account` too: its name is unique within an account only"))
            }
        }
    }

    /// `state`, one of these by name.
    pub(crate) fn state<T: Copy>(
        &self,
        all: &[T],
        name: impl Fn(T) -> &'static str,
    ) -> Result<Option<T>, Problem> {
        let Some(given) = self.take("state") else { return Ok(None) };
        match all.iter().find(|state| name(**state) == given) {
            Some(state) => Ok(Some(*state)),
            None => {
                let names: Vec<_> = all.iter().map(|state| name(*state)).collect();
                Err(refused(format!("`state` has to be one of {}", names.join(", "))))
            }
        }
    }

    /// `limit` and `before`.
    pub(crate) fn page(&self) -> Result<Page, Problem> {
        let limit = self.count("limit", PAGE)?;
        let before = self.parsed("before", "the `next` of the page before")?;
        Ok(Page { before, limit })
    }

    /// A number of rows or entries.
    pub(crate) fn count(&self, name: &'static str, otherwise: u32) -> Result<u32, Problem> {
        let form = format!("a number from 1 to {LONGEST_PAGE}");
        match self.parsed(name, &form)? {
            None => Ok(otherwise),
            Some(count) if (1..=LONGEST_PAGE).contains(&count) => Ok(count),
            Some(_) => Err(refused(format!("`{name}` has to be {form}"))),
        }
    }

    /// Refuses what nobody asked for.
    pub(crate) fn end(self) -> Result<(), Problem> {
        let known = self.known.into_inner();
        match self.given.into_inner().into_keys().next() {
            None => Ok(()),
            Some(name) if known.is_empty() => {
                Err(refused(format!("this path takes no parameters, and not `{name}`")))
            }
            Some(name) => Err(refused(format!("this path takes {}, and not `{name}`", known.join(", ")))),
        }
    }
}

fn refused(what: impl Into<String>) -> Problem {
    Problem::InvalidParameter(what.into())
}

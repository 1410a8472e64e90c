//! One entry of the table of routes. It is made from a handler whose types tell what it takes and answers, so that a
//! route without its description cannot be written.

use std::collections::BTreeMap;

use actix_web::dev::Handler;
use actix_web::http::Method;
use actix_web::web::{self, Data, Payload, ServiceConfig};
use actix_web::{FromRequest, HttpRequest, Responder, Route};

use crate::answer::{Answer, Answers, Shown};
use crate::code::Code;
use crate::operation::{Operation, Parameter};
use crate::problem::Problem;

/// What a handler's arguments add to the document.
pub(crate) trait Takes {
    fn describe(operation: &mut Operation<'_>);
}

/// A method of a path: what serves it, and what the document says of it.
pub(crate) struct Endpoint {
    pub(crate) method: Method,
    pub(crate) path: String,
    /// What it is for, in one sentence.
    pub(crate) summary: &'static str,
    /// Whether it is served without the token.
    pub(crate) is_open: bool,
    parameters: Vec<Parameter>,
    codes: Vec<Code>,
    describe: fn(&mut Operation<'_>),
    route: Route,
}

pub(crate) fn get<F, Args>(path: impl Into<String>, summary: &'static str, handler: F) -> Endpoint
where
    F: Handler<Args>,
    Args: FromRequest + Takes + 'static,
    F::Output: Responder + Answers + 'static,
{
    Endpoint::new(Method::GET, path.into(), summary, handler)
}

pub(crate) fn post<F, Args>(path: impl Into<String>, summary: &'static str, handler: F) -> Endpoint
where
    F: Handler<Args>,
    Args: FromRequest + Takes + 'static,
    F::Output: Responder + Answers + 'static,
{
    Endpoint::new(Method::POST, path.into(), summary, handler)
}

pub(crate) fn delete<F, Args>(path: impl Into<String>, summary: &'static str, handler: F) -> Endpoint
where
    F: Handler<Args>,
    Args: FromRequest + Takes + 'static,
    F::Output: Responder + Answers + 'static,
{
    Endpoint::new(Method::DELETE, path.into(), summary, handler)
}

impl Endpoint {
    fn new<F, Args>(method: Method, path: String, summary: &'static str, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + Takes + 'static,
        F::Output: Responder + Answers + 'static,
    {
        let describe = |operation: &mut Operation<'_>| {
            Args::describe(operation);
            F::Output::describe(operation);
        };
        let route = web::method(method.clone()).to(handler);
        Self {
            method,
            path,
            summary,
            is_open: false,
            parameters: Vec::new(),
            codes: Vec::new(),
            describe,
            route,
        }
    }

    /// Serves it without the token.
    pub(crate) fn open(mut self) -> Self {
        self.is_open = true;
        self
    }

    /// Query parameters and headers.
    pub(crate) fn takes(mut self, parameters: &[Parameter]) -> Self {
        self.parameters.extend(parameters.iter().cloned());
        self
    }

    /// What it may refuse for, beside what its arguments and every route do.
    pub(crate) fn refuses(mut self, codes: &[Code]) -> Self {
        self.codes.extend(codes);
        self
    }

    /// Tells all that the document says of it.
    pub(crate) fn describe(&self, operation: &mut Operation<'_>) {
        operation.refuses(&self.codes);
        operation.takes(&self.parameters);
        (self.describe)(operation);
    }
}

/// Makes one resource of the endpoints of each path. Other methods of it are refused with those that there are.
pub(crate) fn serve(endpoints: Vec<Endpoint>, api: &mut ServiceConfig) {
    let mut paths: BTreeMap<String, Vec<Endpoint>> = BTreeMap::new();
    for endpoint in endpoints {
        paths.entry(endpoint.path.clone()).or_default().push(endpoint);
    }
    for (path, endpoints) in paths {
        let methods: Vec<_> = endpoints.iter().map(|endpoint| endpoint.method.to_string()).collect();
        let allowed = methods.join(", ");
        let refuse = move || {
            let allowed = allowed.clone();
            async move { Answer::<Shown<()>>::Err(Problem::MethodNotAllowed(allowed)) }
        };
        let resource = web::resource(path).default_service(web::to(refuse));
        api.service(
            endpoints.into_iter().fold(resource, |resource, endpoint| resource.route(endpoint.route)),
        );
    }
}

impl<T: ?Sized> Takes for Data<T> {
    fn describe(_: &mut Operation<'_>) {}
}

/// What a handler looks up in the head itself is told with [`Endpoint::takes`].
impl Takes for HttpRequest {
    fn describe(_: &mut Operation<'_>) {}
}

/// What does not come as JSON is told by who reads it.
impl Takes for Payload {
    fn describe(_: &mut Operation<'_>) {}
}

/// For handlers with as many arguments.
macro_rules! arguments {
    ($($name:ident)*) => {
        impl<$($name: Takes),*> Takes for ($($name,)*) {
            fn describe(_operation: &mut Operation<'_>) {
                $($name::describe(_operation);)*
            }
        }
    };
}

arguments! {}
arguments! { A }
arguments! { A B }
arguments! { A B C }
arguments! { A B C D }
arguments! { A B C D E }
arguments! { A B C D E F }
arguments! { A B C D E F G }

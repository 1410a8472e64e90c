//! Where panics stop.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Arc;

use moorline_core::Generation;

/// Whose code is running on this thread.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    pub(crate) path: Arc<str>,
    pub(crate) generation: Generation,
}

thread_local! {
    static CURRENT: RefCell<Option<Scope>> = const { RefCell::new(None) };
}

/// Runs `work` so that a panic in it becomes its text.
///
/// `AssertUnwindSafe` holds because callers drop the actor after a panic and never look at it again; state shared
/// between actors is theirs to protect (share by message).
pub(crate) fn contain<T>(scope: &Scope, work: impl FnOnce() -> T) -> Result<T, String> {
    let outer = CURRENT.replace(Some(scope.clone()));
    let outcome = catch_unwind(AssertUnwindSafe(work));
    CURRENT.set(outer);
    outcome.map_err(|payload| panic_text(payload.as_ref()))
}

/// Logs every panic as one line with the actor's path and generation, instead of a backtrace on standard error.
///
/// Before a subscriber listens, and where it does not want errors, the hook that was there before speaks.
pub fn install_panic_hook() {
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if tracing::event_enabled!(tracing::Level::ERROR) { log(panic) } else { previous(panic) }
    }));
}

fn log(panic: &PanicHookInfo<'_>) {
    let text = panic_text(panic.payload());
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    // A hook must never panic itself: a borrow that fails, or a thread that is ending, only loses the name.
    let scope =
        CURRENT.try_with(|current| current.try_borrow().ok().and_then(|scope| scope.clone())).ok().flatten();
    match scope {
        Some(Scope { path, generation }) => {
            tracing::error!(actor = %path, %generation, %location, reason = %text, "panicked");
        }
        None => {
            let thread = std::thread::current();
            let thread = thread.name().unwrap_or("unnamed");
            tracing::error!(thread, %location, reason = %text, "panicked");
        }
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a payload that is not text".to_owned()
    }
}

//! What every call passes before it is looked at, by HTTP and by WebSocket alike: parameters are
//! not nested deeper than any method's, and a WebSocket, which may ask without waiting for answers,
//! asks seldom.
//!
//! Breaks if: a WebSocket may ask faster than its answers leave. The server starts a task for every
//! message it reads, and keeps it and its answer until that is sent.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jsonrpsee::MethodResponse;
use jsonrpsee::core::middleware::{Batch, Notification, RpcServiceT};
use jsonrpsee::types::{ErrorObjectOwned, Id, Request};
use lockstep_client::rpc::code;

use super::INVALID_PARAMS;

/// Arrays and objects within each other. No method takes more than two.
pub(super) const MAX_DEPTH: usize = 32;
/// Calls of a WebSocket at once. It is there for subscriptions; calls have HTTP.
const MAX_CALLS: u32 = 64;
/// After that many, one more in this time. Who asks for more is cut off.
const CALL_EVERY: Duration = Duration::from_millis(50);

/// How much a connection may still ask.
#[derive(Debug, Default)]
pub(super) struct Allowance(Mutex<Asked>);

#[derive(Debug, Default)]
struct Asked {
    web_socket: bool,
    /// When all that was asked will be forgotten.
    until: Option<Instant>,
    too_much: bool,
}

impl Allowance {
    fn asked(&self) -> std::sync::MutexGuard<'_, Asked> {
        self.0.lock().expect("no holder of this lock panics")
    }

    /// From now on calls do not wait for each other's answers.
    pub(super) fn upgrade(&self) {
        self.asked().web_socket = true;
    }

    /// The connection is to end.
    pub(super) fn is_used_up(&self) -> bool {
        self.asked().too_much
    }

    /// Takes a call, if it is allowed.
    fn take(&self, now: Instant) -> bool {
        let mut asked = self.asked();
        if !asked.web_socket {
            return true;
        }
        let until = asked.until.unwrap_or(now).max(now) + CALL_EVERY;
        asked.too_much |= until > now + CALL_EVERY * MAX_CALLS;
        asked.until = Some(until);
        !asked.too_much
    }
}

/// The door.
#[derive(Clone)]
pub(super) struct Calls<S> {
    service: S,
    allowance: Arc<Allowance>,
}

impl<S> Calls<S> {
    pub(super) fn new(service: S, allowance: Arc<Allowance>) -> Self {
        Calls { service, allowance }
    }
}

fn too_deep() -> ErrorObjectOwned {
    let text = format!("parameters are nested deeper than {MAX_DEPTH}");
    ErrorObjectOwned::owned(INVALID_PARAMS, text, None::<()>)
}

fn too_many() -> ErrorObjectOwned {
    let text = format!("more than {MAX_CALLS} calls at once on a WebSocket");
    ErrorObjectOwned::owned(code::BUSY, text, None::<()>)
}

/// How deep a JSON text nests, whether or not it is right otherwise.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => depth += 1,
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

impl<S> RpcServiceT for Calls<S>
where
    S: RpcServiceT<
            MethodResponse = MethodResponse,
            BatchResponse = MethodResponse,
            NotificationResponse = MethodResponse,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    type MethodResponse = MethodResponse;
    type BatchResponse = MethodResponse;
    type NotificationResponse = MethodResponse;

    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let Calls { service, allowance } = self.clone();
        async move {
            if !allowance.take(Instant::now()) {
                return MethodResponse::error(request.id, too_many());
            };
            let params = request.params.as_ref().map_or("", |params| params.get());
            if depth(params) > MAX_DEPTH {
                return MethodResponse::error(request.id, too_deep());
            }
            service.call(request).await
        }
    }

    fn batch<'a>(&self, batch: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let Calls { service, allowance } = self.clone();
        async move {
            if !allowance.take(Instant::now()) {
                return MethodResponse::error(Id::Null, too_many());
            };
            let params = batch.iter().flatten().filter_map(|entry| entry.params());
            if params.map(|params| depth(params.get())).max() > Some(MAX_DEPTH) {
                return MethodResponse::error(Id::Null, too_deep());
            }
            service.batch(batch).await
        }
    }

    fn notification<'a>(
        &self,
        notification: Notification<'a>,
    ) -> impl Future<Output = MethodResponse> + Send + 'a {
        let service = self.service.clone();
        async move { service.notification(notification).await }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_that_of_brackets_outside_of_strings() {
        assert_eq!(depth("1"), 0);
        assert_eq!(depth(r#"["a", 1]"#), 1);
        assert_eq!(depth(r#"[{"a":[1]},[2]]"#), 3);
        assert_eq!(depth(r#"["[[[\"[[[", "\\"]"#), 1);
        assert_eq!(depth("]]]["), 1);
        assert_eq!(depth(&"[".repeat(200_000)), 200_000);
    }

    #[test]
    fn a_web_socket_that_asks_too_much_is_used_up_and_http_never() {
        let (now, all) = (Instant::now(), Allowance::default());
        assert!((0..1_000).all(|_| all.take(now)));
        all.upgrade();
        assert!((0..MAX_CALLS).all(|_| all.take(now)));
        assert!((1..100).all(|later| all.take(now + later * CALL_EVERY)));
        assert!(!all.is_used_up());
        assert!(!all.take(now + 99 * CALL_EVERY));
        assert!(all.is_used_up() && !all.take(now + Duration::from_secs(9)));
    }
}

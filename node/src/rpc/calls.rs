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
/// Frames for each call: also what is no call costs work, and some frames are none.
const FRAMES_PER_CALL: u32 = 2;

/// How much a connection may still ask.
#[derive(Debug, Default)]
pub(super) struct Allowance(Mutex<Asked>);

#[derive(Debug, Default)]
struct Asked {
    requests: u32,
    /// The frames of a WebSocket would be counted.
    followed: bool,
    web_socket: bool,
    calls: Bucket,
    frames: Bucket,
    /// What might be frames, before it is known.
    early: u32,
    too_much: bool,
}

/// So many at once, and one more in each stretch of time.
#[derive(Debug, Default)]
struct Bucket {
    /// When all that was taken will be forgotten.
    until: Option<Instant>,
}

impl Bucket {
    fn take(&mut self, now: Instant, count: u32, most: u32, every: Duration) -> bool {
        let until = self.until.unwrap_or(now).max(now) + every * count;
        self.until = Some(until);
        until <= now + every * most
    }
}

impl Allowance {
    fn asked(&self) -> std::sync::MutexGuard<'_, Asked> {
        self.0.lock().expect("no holder of this lock panics")
    }

    /// A request has begun.
    pub(super) fn request(&self) {
        let mut asked = self.asked();
        asked.requests = asked.requests.saturating_add(1);
    }

    /// From now on calls do not wait for each other's answers. Refused to a connection on which they
    /// could not be counted.
    pub(super) fn upgrade(&self) -> bool {
        let mut asked = self.asked();
        asked.web_socket = asked.followed && asked.requests == 1;
        asked.web_socket
    }

    /// The client has sent so many frames, if it is a WebSocket. `followed`: they can be told apart.
    pub(super) fn sent(&self, now: Instant, frames: u32, followed: bool) {
        let mut asked = self.asked();
        asked.followed = followed;
        asked.early = asked.early.saturating_add(frames);
        if asked.web_socket {
            let frames = std::mem::take(&mut asked.early);
            let (most, every) = (FRAMES_PER_CALL * MAX_CALLS, CALL_EVERY / FRAMES_PER_CALL);
            asked.too_much |= !asked.frames.take(now, frames.min(2 * most), most, every);
        }
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
        asked.too_much |= !asked.calls.take(now, 1, MAX_CALLS, CALL_EVERY);
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
        all.request();
        all.sent(now, 0, true);
        assert!((0..1_000).all(|_| all.take(now)));
        assert!(all.upgrade());
        assert!((0..MAX_CALLS).all(|_| all.take(now)));
        assert!((1..100).all(|later| all.take(now + later * CALL_EVERY)));
        assert!(!all.is_used_up());
        assert!(!all.take(now + 99 * CALL_EVERY));
        assert!(all.is_used_up() && !all.take(now + Duration::from_secs(9)));
    }

    #[test]
    fn frames_are_paid_for_also_those_that_came_with_the_request() {
        let now = Instant::now();
        let all = Allowance::default();
        all.request();
        all.sent(now, 0, false);
        assert!(!all.upgrade(), "its frames cannot be told apart");
        all.sent(now, 1_000_000, true);
        assert!(!all.is_used_up(), "these are no frames as far as is known");
        assert!(all.upgrade());
        all.sent(now, 0, true);
        assert!(all.is_used_up());

        let all = Allowance::default();
        all.request();
        all.sent(now, 0, true);
        assert!(all.upgrade());
        let most = FRAMES_PER_CALL * MAX_CALLS;
        all.sent(now, most, true);
        assert!(!all.is_used_up());
        all.sent(now + CALL_EVERY, FRAMES_PER_CALL, true);
        assert!(!all.is_used_up());
        all.sent(now + CALL_EVERY, 1, true);
        assert!(all.is_used_up());

        let all = Allowance::default();
        (0..2).for_each(|_| all.request());
        all.sent(now, 0, true);
        assert!(!all.upgrade(), "not what opened the connection");
    }
}

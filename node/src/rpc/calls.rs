//! What every call passes before it is looked at, by HTTP and by WebSocket alike: parameters are
//! not nested deeper than any method's, and a WebSocket, which may ask without waiting for answers,
//! asks seldom and for little. And what its answer passes: there is room for it until it is sent.
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
use super::room::{Reserved, Room, is_large};

/// Arrays and objects within each other. No method takes more than two.
pub(super) const MAX_DEPTH: usize = 32;
/// Calls of a WebSocket at once, also those of a batch. It is there for subscriptions; calls have HTTP.
const MAX_CALLS: u32 = 32;
/// After that many, one more in this time. Who asks for more is cut off.
pub(super) const CALL_EVERY: Duration = Duration::from_millis(50);
/// Bytes of the answer to a WebSocket's call. With all of them unread, and what was asked, 256
/// connections hold 96 MiB.
pub(super) const MAX_WEB_SOCKET_ANSWER: usize = 4 << 10;
/// Frames for each call: also what is no call costs work, and some frames are none. A long one
/// counts for several, so that all that is asked at once has 256 KiB.
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

    /// Takes so many calls, if they are allowed.
    fn take(&self, now: Instant, calls: u32) -> bool {
        let mut asked = self.asked();
        if !asked.web_socket {
            return true;
        }
        asked.too_much |= !asked.calls.take(now, calls, MAX_CALLS, CALL_EVERY);
        !asked.too_much
    }

    fn is_web_socket(&self) -> bool {
        self.asked().web_socket
    }
}

/// The door.
#[derive(Clone)]
pub(super) struct Calls<S> {
    service: S,
    allowance: Arc<Allowance>,
    room: Room,
}

/// What is asked at once.
struct Question<'a> {
    /// How many calls.
    calls: u32,
    params: Vec<&'a str>,
    /// One of them may have a large answer.
    large: bool,
}

impl<S> Calls<S> {
    pub(super) fn new(service: S, allowance: Arc<Allowance>, room: Room) -> Self {
        Calls {
            service,
            allowance,
            room,
        }
    }

    /// Lets a question in, with room for its answer if that may be large.
    async fn admit(&self, question: Question<'_>) -> Result<Option<Reserved>, ErrorObjectOwned> {
        if !self.allowance.take(Instant::now(), question.calls) {
            return Err(too_many());
        }
        if question
            .params
            .into_iter()
            .any(|params| depth(params) > MAX_DEPTH)
        {
            return Err(too_deep());
        }
        if !question.large {
            return Ok(None);
        }
        if self.allowance.is_web_socket() {
            return Err(by_http());
        }
        self.room.reserve().await.ok_or_else(no_room).map(Some)
    }

    /// Lets the answer to so many calls out, or says why not.
    fn fit(
        &self,
        mut answer: MethodResponse,
        calls: u32,
        reserved: Option<Reserved>,
    ) -> Result<MethodResponse, ErrorObjectOwned> {
        let bytes = answer.as_ref().len();
        if self.allowance.is_web_socket() {
            let most = calls as usize * MAX_WEB_SOCKET_ANSWER;
            return if bytes <= most {
                Ok(answer)
            } else {
                Err(by_http())
            };
        }
        let taken = self.room.take(reserved, bytes).ok_or_else(no_room)?;
        answer.extensions_mut().insert(taken);
        Ok(answer)
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

fn no_room() -> ErrorObjectOwned {
    let text = "answers that are not yet sent take as much memory as they may; try again";
    ErrorObjectOwned::owned(code::BUSY, text, None::<()>)
}

fn by_http() -> ErrorObjectOwned {
    let text =
        format!("an answer on a WebSocket has at most {MAX_WEB_SOCKET_ANSWER} bytes: ask by HTTP");
    ErrorObjectOwned::owned(code::BY_HTTP, text, None::<()>)
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
        let door = self.clone();
        async move {
            let id = request.id.clone();
            let question = Question {
                calls: 1,
                params: request.params.iter().map(|params| params.get()).collect(),
                large: is_large(request.method_name()),
            };
            let reserved = match door.admit(question).await {
                Ok(reserved) => reserved,
                Err(refusal) => return MethodResponse::error(id, refusal),
            };
            let answer = door.service.call(request).await;
            let answer = door.fit(answer, 1, reserved);
            answer.unwrap_or_else(|refusal| MethodResponse::error(id, refusal))
        }
    }

    fn batch<'a>(&self, batch: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let door = self.clone();
        async move {
            // An empty one is answered as well.
            let calls = u32::try_from(batch.len()).unwrap_or(u32::MAX).max(1);
            let entries = || batch.iter().flatten();
            let params = entries().filter_map(|entry| entry.params());
            let question = Question {
                calls,
                params: params.map(|params| params.get()).collect(),
                large: entries().any(|entry| is_large(entry.method_name())),
            };
            let reserved = match door.admit(question).await {
                Ok(reserved) => reserved,
                Err(refusal) => return MethodResponse::error(Id::Null, refusal),
            };
            let answer = door.service.batch(batch).await;
            let answer = door.fit(answer, calls, reserved);
            answer.unwrap_or_else(|refusal| MethodResponse::error(Id::Null, refusal))
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
    use std::future::ready;

    use jsonrpsee::ResponsePayload;
    use jsonrpsee::core::middleware::BatchEntry;
    use lockstep_client::rpc::method;

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
        assert!((0..1_000).all(|_| all.take(now, 10)));
        assert!(all.upgrade());
        assert!((0..MAX_CALLS).all(|_| all.take(now, 1)));
        assert!((1..100).all(|later| all.take(now + later * CALL_EVERY, 1)));
        assert!(!all.is_used_up());
        assert!(!all.take(now + 99 * CALL_EVERY, 1));
        assert!(all.is_used_up() && !all.take(now + Duration::from_secs(9), 1));
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

    /// Answers everything with so many bytes.
    #[derive(Clone)]
    struct Talkative(usize);

    impl RpcServiceT for Talkative {
        type MethodResponse = MethodResponse;
        type BatchResponse = MethodResponse;
        type NotificationResponse = MethodResponse;

        fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = MethodResponse> + 'a {
            ready(self.talk(request.id, 1))
        }

        fn batch<'a>(&self, batch: Batch<'a>) -> impl Future<Output = MethodResponse> + 'a {
            ready(self.talk(Id::Null, batch.len()))
        }

        fn notification<'a>(
            &self,
            _: Notification<'a>,
        ) -> impl Future<Output = MethodResponse> + 'a {
            ready(MethodResponse::notification())
        }
    }

    impl Talkative {
        fn talk(&self, id: Id<'_>, calls: usize) -> MethodResponse {
            let text = "x".repeat(self.0 * calls);
            MethodResponse::response(id, ResponsePayload::success(text), usize::MAX)
        }
    }

    fn question(method: &'static str) -> Request<'static> {
        Request::borrowed(method, None, Id::Number(1))
    }

    fn batch(method: &'static str, calls: usize) -> Batch<'static> {
        let entry = |_| Ok(BatchEntry::Call(question(method)));
        Batch::from((0..calls).map(entry).collect())
    }

    fn door(bytes: usize, web_socket: bool) -> Calls<Talkative> {
        let allowance = Allowance::default();
        if web_socket {
            allowance.request();
            allowance.sent(Instant::now(), 0, true);
            assert!(allowance.upgrade());
        }
        Calls::new(Talkative(bytes), Arc::new(allowance), Room::default())
    }

    #[tokio::test]
    async fn a_batch_on_a_web_socket_costs_what_its_calls_cost() {
        let door = door(10, true);
        for _ in 0..MAX_CALLS / 10 {
            assert!(door.batch(batch("small", 10)).await.is_success());
        }
        let refused = door.batch(batch("small", 10)).await;
        assert_eq!(refused.as_error_code(), Some(code::BUSY));
        assert!(door.allowance.is_used_up());
    }

    #[tokio::test]
    async fn what_is_large_goes_by_http() {
        let (fits, most) = (MAX_WEB_SOCKET_ANSWER - 100, MAX_WEB_SOCKET_ANSWER);
        assert!(door(fits, true).call(question("any")).await.is_success());
        assert!(door(fits, true).batch(batch("any", 9)).await.is_success());
        for (bytes, method) in [(most, "any"), (1, method::EVIDENCE)] {
            let answer = door(bytes, true).call(question(method)).await;
            assert_eq!(answer.as_error_code(), Some(code::BY_HTTP));
            let answer = door(bytes, true).batch(batch(method, 9)).await;
            assert_eq!(answer.as_error_code(), Some(code::BY_HTTP));
            assert!(door(bytes, false).call(question(method)).await.is_success());
            assert!(
                door(bytes, false)
                    .batch(batch(method, 9))
                    .await
                    .is_success()
            );
        }
    }

    #[tokio::test]
    async fn an_answer_without_room_is_refused_and_a_small_one_never() {
        let large = door(15 << 20, false);
        let mut held = Vec::new();
        for method in ["any", method::BARRIERS] {
            held.push(large.call(question(method)).await);
        }
        held.push(large.batch(batch("any", 1)).await);
        assert!(held.iter().all(MethodResponse::is_success));
        let refused = large.call(question("any")).await;
        assert_eq!(refused.as_error_code(), Some(code::BUSY));
        let small = Calls {
            service: Talkative(1),
            ..large.clone()
        };
        assert!(small.call(question("any")).await.is_success());
        held.pop();
        assert!(large.call(question("any")).await.is_success());
    }
}

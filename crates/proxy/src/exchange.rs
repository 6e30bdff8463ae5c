//! One request and its answer: choosing an instance, sending, and trying another one when that is safe.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::{EXPECT, HOST};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderValue, Method, Request, Response, Version};
use hyper::body::Incoming;
use kiln_model::Protocol;

use crate::answer::Failure;
use crate::body::{RequestBody, Upload};
use crate::continued::Gate;
use crate::hold::{self, Gap};
use crate::live::{Attempts, Destination, LiveFleet, LiveMode, NoTarget};
use crate::pool::Borrowed;
use crate::serve::Client;
use crate::target::Lease;
use crate::ticker::Watch;
use crate::upstream;
use crate::worker::Worker;

/// Instances tried for one request.
const TRIES: usize = 4;
/// A request that cannot be repeated takes only connections that were busy so recently: an idle one may be closed
/// by the instance in the moment it is used, and then nobody knows whether the request was read.
const SURELY_OPEN: Duration = Duration::from_millis(500);

/// A chosen instance, counted.
pub(crate) struct Chosen {
    pub(crate) destination: Destination,
    pub(crate) fleet: usize,
    pub(crate) lease: Lease,
}

impl Chosen {
    pub(crate) fn fleet(&self) -> &LiveFleet {
        &self.destination.backend.fleets[self.fleet]
    }

    /// The instance could not be reached, or broke before it answered.
    pub(crate) fn blame(&self, worker: &Worker) {
        let now = worker.shared.now();
        let target = self.lease.target();
        target.failed(now, &worker.shared.ejecting, || self.fleet().others(target, now));
    }
}

/// What an instance answered.
pub(crate) struct Answer {
    pub(crate) response: Response<Incoming>,
    pub(crate) borrowed: Borrowed,
    pub(crate) chosen: Chosen,
    /// The request's body, as far as it is still to come.
    pub(crate) upload: Option<Rc<Upload>>,
    /// How long the request was held on its way.
    pub(crate) held: Duration,
}

/// A request that waits for its answer.
pub(crate) struct Exchange<'a> {
    pub(crate) client: &'a Client,
    pub(crate) host: &'a HeaderValue,
    pub(crate) body: RequestBody,
    /// Time to the head of the answer; zero is no limit.
    pub(crate) timeout: Duration,
}

/// A try whose client may leave; what becomes of it then is counted.
struct Attended<'a> {
    exchange: &'a Exchange<'a>,
    chosen: &'a Chosen,
    ended: bool,
}

impl Drop for Attended<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let (client, stats) = (self.exchange.client, &self.chosen.fleet().stats);
        let awaited = self.exchange.body.upload().is_some_and(|upload| upload.is_awaited());
        // Cut for silence, it was given up here: because of the instance, unless the client owed something.
        if client.control.is_cut() && !awaited {
            stats.failed(client.worker.index);
        } else {
            stats.abandoned(client.worker.index);
        }
    }
}

/// How one try failed.
struct Miss {
    failure: Failure,
    /// The head, when the request may be sent again.
    again: Option<Parts>,
    /// The instance is at fault, not a connection that had grown old.
    blame: bool,
}

/// Why no instance can be chosen, and whether that may change.
pub(crate) struct Refusal {
    pub(crate) failure: Failure,
    /// The request may wait for another table.
    pub(crate) gap: Option<Gap>,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self { failure, gap: None }
    }
}

/// Chooses an instance by the table in force and counts the request on it.
pub(crate) fn choose(
    client: &Client,
    host: &HeaderValue,
    head: &Parts,
    attempts: &mut Attempts,
) -> Result<Chosen, Refusal> {
    let host = host.to_str().map_err(|_| Failure::BadHost)?;
    let now = client.worker.now();
    let ((destination, fleet), lease) = client.worker.claim(|live| {
        let listener = live.listeners.get(&client.control.slot);
        let Some(LiveMode::Http(router)) = listener.map(|listener| &listener.mode) else {
            return Err(Refusal::from(Failure::NoRoute));
        };
        let destination = router.find(host, head.uri.path()).ok_or(Failure::NoRoute)?;
        let backend = &destination.backend;
        let forced = if attempts.copy {
            Some(backend.mirror.as_ref().ok_or(Failure::NoFleet)?.fleet)
        } else {
            backend.asked(&head.headers).map_err(|()| Failure::NoFleet)?.or(destination.fleet)
        };
        let choice = match forced {
            Some(fleet) => backend.choose_in(fleet, attempts, now).ok_or(NoTarget::NoneReady),
            None => backend.choose_for(&head.headers, &client.worker.keys, attempts, now),
        };
        let choice = choice.map_err(|none| Refusal {
            failure: match none {
                NoTarget::NoWeight => Failure::NoWeight,
                NoTarget::NoneReady => Failure::NoneReady,
            },
            // The preview is asked for as it is now, and copies are nobody's requests.
            gap: if forced.is_none() { backend.gap(live.generation) } else { None },
        })?;
        Ok(((destination.clone(), choice.fleet), Arc::clone(choice.target)))
    })?;
    Ok(Chosen { destination, fleet, lease })
}

impl Exchange<'_> {
    /// Sends the request to `chosen`, or to others when that did not reach it. Failures are counted on the fleet.
    pub(crate) async fn run(
        self,
        mut head: Parts,
        mut chosen: Chosen,
        mut attempts: Attempts,
    ) -> Result<Answer, Failure> {
        let worker = &self.client.worker;
        let watch = worker.ticker.watch(self.timeout);
        let mut fresh = false;
        for left in (0..TRIES).rev() {
            let mut attended = Attended { exchange: &self, chosen: &chosen, ended: false };
            let result = self.attempt(head, &chosen, fresh, &watch).await;
            attended.ended = true;
            drop(attended);
            let miss = match result {
                Ok((response, borrowed)) => {
                    chosen.lease.target().succeeded();
                    let (upload, held) = (self.body.upload(), attempts.held);
                    return Ok(Answer { response, borrowed, chosen, upload, held });
                }
                Err(miss) => miss,
            };
            if miss.blame {
                chosen.blame(worker);
                attempts.tried.push(chosen.lease.target().key);
            }
            fresh = !miss.blame;
            let stats = Arc::clone(&chosen.fleet().stats);
            let mut next = None;
            if let Some(again) = miss.again.filter(|_| left > 0) {
                drop(chosen);
                next = self.another(&again, &mut attempts, &watch).await.map(|chosen| (chosen, again));
            }
            match next {
                Some(next) => (chosen, head) = next,
                None => {
                    if miss.failure != Failure::ClientGone {
                        stats.failed(worker.index);
                    }
                    return Err(miss.failure);
                }
            }
        }
        Err(Failure::Broken)
    }

    /// Another instance for a request that did not reach the one before.
    async fn another(&self, head: &Parts, attempts: &mut Attempts, watch: &Watch) -> Option<Chosen> {
        let refusal = match choose(self.client, self.host, head, attempts) {
            Ok(chosen) => return Some(chosen),
            Err(refusal) => refusal,
        };
        let chosen = Box::pin(hold::wait(self.client, self.host, head, attempts, refusal)).await.ok()?;
        watch.set(self.timeout);
        Some(chosen)
    }

    /// One try on one instance.
    async fn attempt(
        &self,
        mut head: Parts,
        chosen: &Chosen,
        fresh: bool,
        watch: &Watch,
    ) -> Result<(Response<Incoming>, Borrowed), Miss> {
        let worker = &self.client.worker;
        let protocol = chosen.destination.backend.protocol;
        let repeatable = is_idempotent(&head.method);
        let age = match (fresh, repeatable) {
            (true, _) => Duration::ZERO,
            (false, true) => Duration::MAX,
            (false, false) => SURELY_OPEN,
        };
        let target = chosen.lease.target();
        let mut borrowed = match upstream::kept(worker, target, protocol, age) {
            Ok(kept) => kept,
            Err(opening) => {
                let opened = watch.limit(upstream::open_for(worker, target, protocol, opening)).await;
                match opened.unwrap_or(Err(Failure::ConnectTimeout)) {
                    Ok(fresh) => fresh,
                    Err(failure) => return Err(Miss { failure, again: Some(head), blame: true }),
                }
            }
        };
        if !address(&mut head, protocol, self.host) {
            return Err(Miss { failure: Failure::BadHost, again: None, blame: false });
        }
        let copy = repeatable.then(|| head.clone());
        let request = self.request(head, protocol);
        let result = wait(borrowed.send(request), &self.body, watch, self.timeout).await;
        let Some(result) = result else {
            borrowed.distrust();
            return Err(Miss { failure: Failure::Timeout, again: None, blame: false });
        };
        let mut error = match result {
            Ok(response) => return Ok((response, borrowed)),
            Err(error) => error,
        };
        if let Some(unsent) = error.take_message() {
            let again = Some(unsent.into_parts().0);
            return Err(Miss { failure: Failure::Broken, again, blame: !borrowed.reused });
        }
        Err(self.judge(error.error(), copy, borrowed.reused))
    }

    fn request(&self, head: Parts, protocol: Protocol) -> Request<RequestBody> {
        let expects = head.headers.contains_key(EXPECT);
        let mut request = Request::from_parts(head, self.body.again());
        if let Some(upload) = self.body.upload().filter(|_| expects) {
            if protocol == Protocol::Http {
                let gate = Gate::of(&mut request, &self.client.worker.ticker);
                upload.wait_for(gate);
            } else {
                request.headers_mut().remove(EXPECT);
            }
        }
        request
    }

    /// What an error after the request was (perhaps) sent means.
    fn judge(&self, error: &hyper::Error, copy: Option<Parts>, reused: bool) -> Miss {
        if error.is_user() {
            return Miss { failure: Failure::ClientGone, again: None, blame: false };
        }
        if error.is_parse() {
            return Miss { failure: Failure::Nonsense, again: None, blame: true };
        }
        let untouched = self.body.upload().is_none_or(|upload| !upload.begun.get());
        let refused = refused_stream(error);
        let again = copy.filter(|_| untouched);
        Miss { failure: Failure::Broken, again, blame: !reused && !refused }
    }
}

/// Whether HTTP/2 says that the stream was not looked at (RFC 9113 §8.7).
fn refused_stream(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>());
    source.is_some_and(|error| error.reason() == Some(h2::Reason::REFUSED_STREAM))
}

/// Waits for the head of the answer; `None` when the time is over. As long as the request's body moves, the time
/// begins anew.
async fn wait<T>(
    answer: impl Future<Output = T>,
    body: &RequestBody,
    watch: &Watch,
    timeout: Duration,
) -> Option<T> {
    let mut answer = std::pin::pin!(answer);
    let upload = body.upload();
    loop {
        if let Some(output) = watch.limit(answer.as_mut()).await {
            return Some(output);
        }
        if !upload.as_ref().is_some_and(|upload| upload.moved.take()) {
            return None;
        }
        watch.set(timeout);
    }
}

/// RFC 9110 §9.2.2.
fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}

/// Writes where the request goes as the protocol has it: `Host` and a path, or a whole URI.
fn address(head: &mut Parts, protocol: Protocol, host: &HeaderValue) -> bool {
    if protocol == Protocol::H2c {
        head.version = Version::HTTP_2;
        head.headers.remove(HOST);
        if head.uri.authority().is_some() && head.uri.scheme() == Some(&Scheme::HTTP) {
            return true;
        }
        let mut parts = std::mem::take(&mut head.uri).into_parts();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Authority::try_from(host.as_bytes()).ok();
        parts.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
        let uri = parts.authority.is_some().then(|| Uri::from_parts(parts).ok()).flatten();
        let good = uri.is_some();
        head.uri = uri.unwrap_or_default();
        return good;
    }
    head.version = Version::HTTP_11;
    if head.uri.authority().is_some() || head.uri.scheme().is_some() {
        let path = std::mem::take(&mut head.uri).into_parts().path_and_query;
        head.uri = Uri::from(path.unwrap_or(PathAndQuery::from_static("/")));
    }
    if !head.headers.contains_key(HOST) {
        head.headers.insert(HOST, host.clone());
    }
    true
}

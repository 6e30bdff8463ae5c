//! Connections that leave HTTP (WebSocket and its kind).

use std::rc::Rc;
use std::time::Duration;

use http::{Response, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::body::ResponseBody;
use crate::exchange::Answer;
use crate::headers::{set_upgrade, strip_hop_by_hop};
use crate::relay::Relay;
use crate::serve::{Client, Upgrade};
use crate::target::UpgradedLease;
use crate::worker::Worker;

/// A client may take so long to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// The instance said 101: the client is told, and what follows are bytes.
pub(crate) fn begin(client: &Rc<Client>, upgrade: Upgrade, answer: Answer) -> Response<ResponseBody> {
    let Answer { mut response, chosen, .. } = answer;
    let websocket = upgrade.protocol.as_bytes().eq_ignore_ascii_case(b"websocket");
    let silence = chosen.destination.backend.idle_timeout;
    let instance = hyper::upgrade::on(&mut response);
    let lease = chosen.lease.upgrade();
    let protocol = strip_hop_by_hop(response.headers_mut()).unwrap_or(upgrade.protocol);
    let worker = Rc::clone(&client.worker);
    tokio::task::spawn_local(async move {
        worker.shared.connection_begun(worker.index);
        carry(&worker, upgrade.client, instance, &lease, silence, websocket).await;
        worker.shared.connection_ended(worker.index);
    });
    let (mut head, _) = response.into_parts();
    head.version = Version::HTTP_11;
    head.extensions.clear();
    set_upgrade(&mut head.headers, protocol);
    Response::from_parts(head, ResponseBody::Empty)
}

async fn carry(
    worker: &Worker,
    client: OnUpgrade,
    instance: OnUpgrade,
    lease: &UpgradedLease,
    silence: Duration,
    websocket: bool,
) {
    let both = async { tokio::try_join!(client, instance) };
    let watch = worker.ticker.watch(worker.shared.config.limits.head_timeout);
    let Some(Ok((client, instance))) = watch.limit(both).await else { return };
    let mut relay = Relay::upgraded(TokioIo::new(client), TokioIo::new(instance), websocket);
    watch.set(silence);
    let told = tokio::select! {
        _ = relay.run(&watch, silence) => false,
        () = lease.closed() => true,
    };
    if told {
        watch.set(GOODBYE);
        let _ = relay.say_goodbye(&watch).await;
    }
}
